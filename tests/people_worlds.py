"""A workspace with two artists of whom everything is known that can be: works, vectors, records, money."""

import json
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
from fake_records import digest, record

from fairbrush.chain.commitment import committed
from fairbrush.chain.log import Append, insert_chained
from fairbrush.chain.tables import CLAIMS, DISPUTE_EVENTS
from fairbrush.corpus.changes import open_registry
from fairbrush.corpus.consent import set_consent
from fairbrush.corpus.registry import add_artist
from fairbrush.corpus.works import PreparedWork, thumbnail_path
from fairbrush.embedding.cache import EmbeddingCache
from fairbrush.ledger.book import Account, AccountKind, EntryKind, Posting, post
from fairbrush.ledger.records import Record, drain, write_pending
from fairbrush.store import Store
from fairbrush.workspace import create_workspace

ADA, BO = "Ada Quillfeather", "Bo Tannenberg"
NOW = datetime(2026, 3, 1, 12)
SHARED = digest("shared")


@dataclass(frozen=True)
class World:
    """``ids``, ``payees``, ``creators``, ``works``: by artist's name."""

    workspace: Path
    ids: dict[str, str]
    creators: dict[str, str]
    payees: dict[str, str]
    works: dict[str, list[str]]

    @property
    def cache(self) -> Path:
        return self.workspace / "embeddings"

    def needles(self, name: str) -> list[bytes]:
        """What no byte may tell once they are erased."""
        own = [sha256 for sha256 in self.works[name] if sha256 != SHARED]
        alias = f"{name.split()[1]} the Elder"
        return [
            *(text.encode() for text in (name, alias, name.lower().replace(" ", "_"))),
            *(sha256.encode() for sha256 in own),
            *(bytes.fromhex(sha256) for sha256 in own),
        ]


def about(name: str, path: str, evidence: dict[str, list[str]], ids: dict[str, str]) -> Record:
    """A look-up of the image ``name`` at ``path`` that credits both, with works as evidence."""
    plain = record(name, artists=tuple(ids.values()))
    works = {
        key: [{"work_sha256": sha256, "similarity": "0.9"} for sha256 in held]
        for key, held in evidence.items()
    }
    return Record(plain.body, {**plain.about, "path": path, "evidence": works}, plain.recorded_at)


def make_world(folder: Path) -> World:
    """Ada is owed 12.34 EUR, 500 JPY of hers are held and 7 EUR disputed; Bo is owed 1.00 EUR."""
    workspace = folder / "space"
    create_workspace(workspace)
    works = {
        ADA: [digest(f"a{n}") for n in range(3)] + [SHARED],
        BO: [digest(f"b{n}") for n in range(3)] + [SHARED],
    }
    ids, creators, payees = {}, {}, {}
    with open_registry(workspace) as store:
        for name in (ADA, BO):
            artist, _ = add_artist(
                store,
                name,
                [PreparedWork(one, f"/art/{name}/{one[:6]}.png") for one in works[name]],
                aliases=[f"{name.split()[1]} the Elder"],
                now=NOW,
            )
            ids[name], creators[name], payees[name] = artist.artist_id, artist.creator_id, artist.payee_id
            set_consent(store, artist.artist_id, "opted_in", reason=f"a letter by {name}", now=NOW)  # type: ignore[arg-type]
        world = World(workspace, ids, creators, payees, works)
        _add_money(store, world)
        _add_texts(store, world)
    for sha256 in {*works[ADA], *works[BO]}:
        thumbnail_path(workspace, sha256).write_bytes(b"a picture")
    with EmbeddingCache.open(world.cache) as cache:
        every = sorted({*works[ADA], *works[BO]})
        cache.space("mini", "torch-fp32").put_many(
            {one: np.full((1, 8), place, np.float32) for place, one in enumerate(every)}
        )
    return _with_records(world)


def _with_records(world: World) -> World:
    evidence = {world.ids[name]: world.works[name] for name in (ADA, BO)}
    folder = world.workspace / "records"
    write_pending(folder, [about("p1", "/in/ada_quillfeather/p1.png", evidence, world.ids)])
    write_pending(folder, [about("p2", "/in/p2.png", evidence, world.ids)])
    with Store.open(world.workspace) as store:
        drain(store.connection, folder)
    write_pending(folder, [about("p3", f"/in/{ADA}.png", evidence, world.ids)])  # waits
    damaged = write_pending(folder, [about(f"p{n}", f"/in/p{n}.png", evidence, world.ids) for n in (4, 5)])
    assert damaged is not None
    refused = folder / "refused"
    refused.mkdir()
    lines = damaged.read_bytes().splitlines(keepends=True)
    damaged.unlink()
    (refused / damaged.name).write_bytes(b"".join([lines[0], lines[1], lines[2][:-40]]))
    (refused / f"{damaged.name}.reason.txt").write_text("The file is damaged.\n")
    return world


def _add_money(store: Store, world: World) -> None:
    ada, bo = world.ids[ADA], world.ids[BO]
    amounts = [
        (Account(AccountKind.PAYABLE, world.payees[ADA], ada), "EUR", 1234),
        (Account(AccountKind.ESCROW, ada), "JPY", 500),
        (Account(AccountKind.DISPUTED, "d1", ada), "EUR", 700),
        (Account(AccountKind.PAYABLE, world.payees[BO], bo), "EUR", 100),
    ]
    postings = [Posting(*one) for one in amounts]
    postings += [Posting(Account(AccountKind.REVENUE), currency, -minor) for _, currency, minor in amounts]
    with store.transaction() as connection:
        append = Append(connection)
        post(
            append,
            connection,
            EntryKind.SETTLEMENT,
            postings,
            reference="s1",
            policy_digest="0" * 64,
            now=NOW,
        )
        append.commit(now=NOW)


def _add_texts(store: Store, world: World) -> None:
    with store.transaction() as connection:
        connection.execute(
            "INSERT INTO fidelity VALUES ('sd-1.5', ?, 900000, true, ?, ?)",
            [world.ids[ADA], f"seen by {ADA}", NOW],
        )
        connection.execute(
            "INSERT INTO membership VALUES ('sd-1.5', ?, 'yes', ?, ?)", [world.ids[BO], f"said {ADA}", NOW]
        )
        claim = (
            1,
            world.ids[ADA],
            world.creators[ADA],
            world.payees[ADA],
            NOW,
            *committed(f"{ADA} came").columns,
        )
        insert_chained(connection, CLAIMS, [claim], now=NOW)
        told = committed(f"it looks like {ADA.upper()}")
        body = json.dumps({"subject_id": record("p2").attribution_id})
        dispute = (
            1,
            "d1",
            "opened",
            "attribution",
            record("p2").attribution_id,
            world.creators[BO],
            body,
            digest(body),
            NOW,
        )
        insert_chained(connection, DISPUTE_EVENTS, [(*dispute, *told.columns)], now=NOW)
        connection.execute(
            "INSERT INTO payee_account VALUES (?, ?, 'DE89370400440532013000', NULL, ?)",
            [world.payees[ADA], ADA, NOW],
        )


def every_byte(folder: Path) -> bytes:
    return b"".join(file.read_bytes() for file in sorted(folder.rglob("*")) if file.is_file())


NOW_UTC = NOW.replace(tzinfo=UTC)
