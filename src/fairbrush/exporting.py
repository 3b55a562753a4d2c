"""Everything that is held about an artist, for the artist (articles 15 and 20 of the GDPR).

Enters: an open store. Leaves: one JSON document (schema ``fairbrush.export/1``), CSVs of its long lists,
thumbnails, vectors. The one rule: what is another person's stays out. Of a record that credits several, only
this artist's row is given; of a payout, only what it paid for this artist's work.
"""

from __future__ import annotations

import json
import os
import shutil
import tempfile
import zipfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fairbrush.corpus.registry import find_artist
from fairbrush.corpus.works import list_works, thumbnail_path
from fairbrush.durable import flush_folder
from fairbrush.embedding.cache import EmbeddingCache
from fairbrush.errors import CacheError, WorkspaceError
from fairbrush.plain import plain
from fairbrush.spreadsheets import csv_text
from fairbrush.store import utc_now
from fairbrush.workspace import COPIES

if TYPE_CHECKING:
    from fairbrush.store import Store

SCHEMA = "fairbrush.export/1"
DOCUMENT_NAME = "export.json"
README_NAME = "README.txt"
# Lists of the document that come as CSV too.
_LISTS = (
    "works",
    "consents",
    "attributions",
    "validations",
    "recognitions",
    "tunings",
    "earnings",
    "postings",
    "chain",
)

_README = """\
Everything that is held here about one artist, as of {at} UTC.

export.json        all of it, schema {schema}
works.csv          your works: the SHA-256 of each file, and where it lay when it was registered
consents.csv       what you allowed, and when
attributions.csv   the look-ups that credit you, or whose prompt named you: the image, your share, how like
                   your works it is. share_e12 is in millionths of a millionth of the image's worth.
validations.csv    measurements by regeneration that you had a part in
recognitions.csv   how exactly generating models reproduce your style by your name, as measured
tunings.csv        whether fine-tunes are nearer to your works than their bases
earnings.csv       what settlements earned you, line by line. amount_minor is in the currency's smallest unit
postings.csv       the book's entries on your accounts; positive: owed to you
chain.csv          where these records stand in the chain that shows if any of them is altered
thumbnails/        small pictures of your works, by SHA-256; works/ has copies, where they were kept
vectors/           what the encoder makes of each work: <sha256>.npy, float32, a folder an encoder

Not in here: what is other people's, copies made before (backups), and the image files, which are yours.
"""


@dataclass(frozen=True)
class Export:
    """``records``: how many rows each list of the document has."""

    target: Path
    files: int
    records: Mapping[str, int]


def export_artist(
    store: Store, name_or_id: str, target: Path, cache_folder: Path, *, now: datetime | None = None
) -> Export:
    """Write a folder, or a zip file where the target ends in ``.zip``, whole or not at all.

    Raises RegistryError for an unknown artist, WorkspaceError where the target exists or cannot be written.
    """
    if target.exists() or target.is_symlink():
        raise WorkspaceError(
            f"{target} exists.", next_step="Name a folder or a .zip that does not exist yet."
        )
    document = artist_document(store, name_or_id, now=now)
    try:
        with tempfile.TemporaryDirectory(
            dir=target.absolute().parent, prefix=".fairbrush-export-"
        ) as scratch:
            folder = Path(scratch, "export")
            folder.mkdir()
            _write(store, document, folder, cache_folder)
            files = sorted(file for file in folder.rglob("*") if file.is_file())
            if target.suffix.lower() == ".zip":
                packed = Path(scratch, "export.zip")
                _pack(packed, folder, files)
                packed.rename(target)
            else:
                folder.rename(target)
            flush_folder(target.absolute().parent)
    except OSError as error:
        raise WorkspaceError(
            f"The export {target} cannot be written: {error.strerror or error}.",
            next_step="Check the folder, its permissions and the disk's space.",
        ) from error
    return Export(target, len(files), {name: len(document[name]) for name in _LISTS})


def artist_document(store: Store, name_or_id: str, *, now: datetime | None = None) -> dict[str, Any]:
    """The schema ``fairbrush.export/1``, ready for JSON: money in minor units, times in UTC."""
    entry = find_artist(store, name_or_id)
    artist = entry.artist
    about = _About(store, artist.artist_id, artist.creator_id)
    return {
        "schema": SCHEMA,
        "exported_at": plain(now or utc_now()),
        "artist": {
            "artist_id": artist.artist_id,
            "name": artist.name or None,
            "aliases": list(entry.aliases),
            "consent": str(artist.consent),
            "added": plain(entry.added),
            "creator_id": artist.creator_id,
            "creator": entry.creator_name or None,
            "payee_id": artist.payee_id,
        },
        "consents": about.rows(
            "SELECT sequence, consent, effective_at, recorded_at, source, reason FROM consent_event"
            " WHERE artist_id = $artist ORDER BY sequence"
        ),
        "erasures": about.rows(
            "SELECT erased_at, works, reason FROM redaction_event WHERE artist_id = $artist ORDER BY sequence"
        ),
        "works": [
            {"sha256": work.sha256, "path": str(work.path)} for work in list_works(store, artist.artist_id)
        ],
        "memberships": about.rows(
            "SELECT model_id, trained, source, recorded_at FROM membership WHERE artist_id = $artist"
            " ORDER BY model_id"
        ),
        "distinctiveness": about.rows(
            "SELECT manifest_digest, verdict, works, recognisability, margin, look_alikes, home, credited"
            " FROM artist_distinctiveness WHERE artist_id = $artist ORDER BY manifest_digest"
        ),
        "fidelity": about.rows(
            "SELECT model_id, fidelity_e6, is_reproducible, source, recorded_at FROM fidelity"
            " WHERE artist_id = $artist ORDER BY model_id"
        ),
        "recognitions": about.rows(
            "SELECT recognition_id, model_id, contents, images, fidelity, low, high, raw, p_value, nulls,"
            " recorded_at FROM recognition WHERE artist_id = $artist ORDER BY recorded_at, recognition_id"
        ),
        "attributions": about.attributions(),
        "validations": about.rows(
            "SELECT validation_id, image_sha256, image_path, model_id, fast, regenerated, regenerated_error,"
            " recorded_at FROM validation JOIN validation_share USING (validation_id)"
            " WHERE creator_id = $creator ORDER BY recorded_at, validation_id"
        ),
        "audits": about.rows(
            "SELECT plan_id, image_sha256, attribution_id, outcome, share, recorded_at FROM (SELECT *,"
            " json_extract_string(body, '/shares/' || $creator) AS share FROM audit_result)"
            " WHERE share IS NOT NULL ORDER BY sequence"
        ),
        "tunings": about.rows(
            "SELECT test_id, model_id, base_model_id, contents, seeds, other_styles, p, named, behind_name,"
            " leak, recorded_at FROM tuning_test WHERE artist_id = $artist ORDER BY recorded_at, test_id"
        ),
        "earnings": about.earnings(),
        "settled": about.rows(
            "SELECT settlement_id, number, kind, period_from, period_to, account, currency, exact_minor,"
            " amount_minor FROM settlement_part JOIN settlement USING (settlement_id)"
            f" WHERE {_THEIR_ACCOUNT} ORDER BY number, account, holder, currency"
        ),
        "standings": about.rows(
            "SELECT settlement_id, model_id, consent, treatment, factor, dispute_id FROM settlement_standing"
            " WHERE artist_id = $artist ORDER BY settlement_id, model_id"
        ),
        "postings": about.rows(
            "SELECT number AS entry, kind, reference, account, CASE account WHEN 'payable' THEN holder END"
            " AS payee_id, currency, amount_minor, recorded_at FROM posting"
            f" JOIN entry ON number = entry_number WHERE {_THEIR_ACCOUNT} ORDER BY number, line"
        ),
        "balances": about.rows(
            "SELECT account, currency, sum(amount_minor)::BIGINT AS amount_minor FROM posting"
            f" WHERE {_THEIR_ACCOUNT} GROUP BY account, currency ORDER BY account, currency"
        ),
        "payouts": about.payouts(),
        "disputes": about.disputes(),
        "claims": about.rows(
            "SELECT sequence, creator_id, payee_id, recorded_at, reason FROM claim_event"
            " WHERE artist_id = $artist ORDER BY sequence"
        ),
        "chain": about.chain(),
    }


_THEIR_ACCOUNT = (
    "CASE account WHEN 'escrow' THEN holder WHEN 'payable' THEN subject WHEN 'disputed' THEN subject END"
    " = $artist"
)


# What decided disputes give them: dispute_id, attribution_id, share_e12.
_GIVEN = """(
    SELECT dispute_id, subject_id AS attribution_id, (pair ->> 1)::BIGINT AS share_e12
    FROM (SELECT dispute_id, subject_id, unnest(json_extract(body, '$.outcome.shares_e12[*]')) AS pair
          FROM dispute_event WHERE event = 'resolved')
    WHERE pair ->> 0 = $artist)"""
_THEIR_DISPUTE = "(creator_id = $creator OR subject_id = $artist OR contains(body::VARCHAR, $artist))"


class _About:
    """Queries about one artist. ``$artist`` and ``$creator`` are the only parameters."""

    def __init__(self, store: Store, artist_id: str, creator_id: str) -> None:
        self._connection = store.connection
        self._ids = {"artist": artist_id, "creator": creator_id}

    def rows(self, query: str) -> list[dict[str, Any]]:
        cursor = self._connection.execute(
            query, {name: value for name, value in self._ids.items() if f"${name}" in query}
        )
        names = [column[0] for column in cursor.description or ()]
        return [
            {name: plain(value) for name, value in zip(names, row, strict=True)} for row in cursor.fetchall()
        ]

    def attributions(self) -> list[dict[str, Any]]:
        """Who credits them, names them in a hint, or is decided to credit them; of the evidence, their own
        works."""
        found = self.rows(
            f"""
            SELECT lookup.attribution_id, lookup.recorded_at, image_sha256, image_path, model_id,
                   value_function, share_e12, phi, similarity, z, rank, index_version,
                   share.artist_id IS NOT NULL AS is_credited,
                   coalesce(list_contains(
                       (body -> '$.identity.hint.artist_ids')::VARCHAR[], $artist), false) AS is_named,
                   (about -> '$.evidence') ->> $artist AS evidence
            FROM attribution AS lookup
            LEFT JOIN attribution_share AS share
                ON share.attribution_id = lookup.attribution_id AND share.artist_id = $artist
            WHERE share.artist_id IS NOT NULL OR contains(body::VARCHAR, $artist)
                OR lookup.attribution_id IN (SELECT attribution_id FROM {_GIVEN})
            ORDER BY lookup.recorded_at, lookup.attribution_id
            """
        )
        for row in found:
            row["evidence"] = json.loads(row["evidence"]) if row["evidence"] else []
        return found

    def earnings(self) -> list[dict[str, Any]]:
        """Line by line: which image, which record, which share of which revenue: as it was recorded, or as a
        dispute decided."""
        return self.rows(
            f"""
            SELECT settlement_id, settlement.number, settlement.kind, revenue_id, revenue.reference,
                   revenue.currency, revenue.amount_minor AS line_amount_minor, line.image_sha256,
                   attribution_id,
                   CASE WHEN line.decided_by IS NULL THEN share.share_e12 ELSE coalesce(given.share_e12, 0)
                   END AS share_e12,
                   coalesce(share.share_e12, 0) AS recorded_share_e12,
                   standing.treatment, standing.factor, line.contested_by, line.decided_by
            FROM settlement_line AS line
            JOIN settlement USING (settlement_id)
            JOIN revenue USING (revenue_id)
            JOIN attribution AS lookup USING (attribution_id)
            LEFT JOIN attribution_share AS share
                ON share.attribution_id = lookup.attribution_id AND share.artist_id = $artist
            LEFT JOIN {_GIVEN} AS given ON given.dispute_id = line.decided_by
            LEFT JOIN settlement_standing AS standing
                ON standing.settlement_id = coalesce(settlement.reverses, line.settlement_id)
                AND standing.artist_id = $artist AND standing.model_id = lookup.model_id
            WHERE share.artist_id IS NOT NULL OR given.share_e12 IS NOT NULL
            ORDER BY settlement.number, revenue_id, line.image_sha256
            """
        )

    def payouts(self) -> list[dict[str, Any]]:
        """What left their accounts with each payout: not what it paid for others."""
        return self.rows(
            f"""
            WITH last_event AS (
                SELECT payout_id, arg_max(status, sequence) AS status, max(recorded_at) AS changed_at
                FROM payout_event GROUP BY payout_id)
            SELECT payout_id, payee_id, payout.currency, -sum(posting.amount_minor)::BIGINT AS amount_minor,
                   status, changed_at
            FROM posting JOIN entry ON number = entry_number
            JOIN payout ON payout_id = entry.reference AND payout.currency = posting.currency
            LEFT JOIN last_event USING (payout_id)
            WHERE entry.kind = 'payout_proposed' AND {_THEIR_ACCOUNT}
            GROUP BY ALL ORDER BY changed_at, payout_id
            """
        )

    def disputes(self) -> list[dict[str, Any]]:
        """Those over their standing, those their creator opened, those over records that credit them, and
        those that give them a share; the reason only of the first two: the others may be about others."""
        return self.rows(
            f"""
            SELECT sequence, dispute_id, event, subject, subject_id, recorded_at,
                   creator_id = $creator AS is_theirs,
                   CASE WHEN creator_id = $creator OR subject_id = $artist THEN reason END AS reason
            FROM dispute_event
            WHERE {_THEIR_DISPUTE} OR subject_id IN (
                SELECT attribution_id FROM attribution_share WHERE artist_id = $artist)
            ORDER BY sequence
            """
        )

    def chain(self) -> list[dict[str, Any]]:
        """Where each of these records stands in the chain."""
        return self.rows(
            f"""
            WITH mine AS (
                SELECT 'consent' AS kind, sequence::VARCHAR AS record_key FROM consent_event
                    WHERE artist_id = $artist
                UNION ALL SELECT 'redaction', sequence::VARCHAR FROM redaction_event WHERE artist_id = $artist
                UNION ALL SELECT 'claim', sequence::VARCHAR FROM claim_event WHERE artist_id = $artist
                UNION ALL (SELECT 'attribution', attribution_id FROM attribution_share
                    WHERE artist_id = $artist UNION SELECT 'attribution', attribution_id FROM {_GIVEN})
                UNION ALL SELECT 'dispute', sequence::VARCHAR FROM dispute_event WHERE {_THEIR_DISPUTE}
                UNION ALL SELECT 'posting', entry_number || '/' || line FROM posting WHERE {_THEIR_ACCOUNT}
                UNION ALL SELECT 'settlement_standing', settlement_id || '/' || model_id || '/' || artist_id
                    FROM settlement_standing WHERE artist_id = $artist
            )
            SELECT position, batch, kind, record_key, digest
            FROM chain_leaf JOIN mine USING (kind, record_key) ORDER BY position
            """
        )


def _write(store: Store, document: Mapping[str, Any], folder: Path, cache_folder: Path) -> None:
    text = json.dumps(document, ensure_ascii=False, indent=2) + "\n"
    (folder / DOCUMENT_NAME).write_text(text, encoding="utf-8")
    readme = _README.format(at=document["exported_at"], schema=SCHEMA)
    (folder / README_NAME).write_text(readme, encoding="utf-8")
    for name in _LISTS:
        rows = document[name]
        text = csv_text(rows, list(rows[0]) if rows else [])
        (folder / f"{name}.csv").write_text(text, encoding="utf-8", newline="")
    sha256s = [work["sha256"] for work in document["works"]]
    for source, name in _pictures(store.workspace, sha256s):
        (folder / name).parent.mkdir(exist_ok=True)
        shutil.copyfile(source, folder / name)
    _write_vectors(folder / "vectors", cache_folder, sha256s)


def _pictures(workspace: Path, sha256s: Sequence[str]) -> Iterator[tuple[Path, str]]:
    for sha256 in sha256s:
        thumbnail = thumbnail_path(workspace, sha256)
        copies = sorted((workspace / COPIES).glob(f"{sha256}.*"))
        for file, home in [(thumbnail, "thumbnails"), *((copy, COPIES) for copy in copies)]:
            if file.is_file():
                yield file, f"{home}/{file.name}"


def _write_vectors(folder: Path, cache_folder: Path, sha256s: Sequence[str]) -> None:
    """A folder an encoder and variant, with a file that names them. Without a cache, none."""
    import numpy as np

    try:
        with EmbeddingCache.open(cache_folder, readonly=True) as cache:
            for number, space in enumerate(cache.info().spaces, start=1):
                vectors = cache.space(space.encoder_id, space.variant).get_many(sha256s)
                if not vectors:
                    continue
                home = folder / f"encoder-{number}"
                home.mkdir(parents=True)
                named = {"encoder_id": space.encoder_id, "variant": space.variant}
                (home / "encoder.json").write_text(json.dumps(named, indent=2) + "\n", encoding="utf-8")
                for sha256, rows in vectors.items():
                    np.save(home / f"{sha256}.npy", rows, allow_pickle=False)
    except CacheError:
        return  # disposable: what is not there is made again from the works


def _pack(packed: Path, folder: Path, files: Sequence[Path]) -> None:
    with packed.open("wb") as stream:
        with zipfile.ZipFile(stream, "w", zipfile.ZIP_DEFLATED) as archive:
            for file in files:
                archive.write(file, file.relative_to(folder).as_posix())
        stream.flush()
        os.fsync(stream.fileno())
