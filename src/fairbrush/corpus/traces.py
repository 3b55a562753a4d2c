"""What may tell of a person who is erased: names, works' digests, paths.

Enters: the registry before the erasure. Leaves: frozen ``Traces``, and the condition that finds them in a
column. The one rule: they live as long as the command that erases, and are never written down.

A name counts where its words stand in that order, whatever stands between them, in any case: ``Ada Lovelace``
is in ``art/ada_lovelace/7.png`` and not in ``Canada Lovelaces``. A name with letters beyond ASCII counts
inside a word too, since not every script parts its words.
"""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from fairbrush.corpus.names import name_key
from fairbrush.store import Store

_GAP = re.compile(r"[\W_]+")
_SQL_GAP = r"[^\p{L}\p{M}\p{N}]+"


@dataclass(frozen=True)
class Traces:
    """``subject``: the id that stays as a pseudonym. ``names``: what nobody else is called; how many others
    are is ``shared_names``. ``works``: digests of files that are nobody else's; how many are is
    ``shared_works``. ``paths``: where the works lie. ``folders``: those that works lie in, shared ones too;
    each ends with a separator.
    """

    subject: str
    names: tuple[str, ...] = ()
    works: tuple[str, ...] = ()
    paths: tuple[str, ...] = ()
    folders: tuple[str, ...] = ()
    shared_names: int = 0
    shared_works: int = 0

    def names_in(self, text: str) -> bool:
        """
        >>> Traces("x", names=("Ada Lovelace",)).names_in("art/ada_lovelace/7.png")
        True
        """
        return any(pattern.search(text) for pattern in self.patterns())

    def patterns(self) -> list[re.Pattern[str]]:
        """One a name, for text."""
        return [re.compile(_pattern(words), re.IGNORECASE) for words in self._words()]

    def found_in(self, column: str) -> tuple[str, list[Any]]:
        """A condition that holds where a column of text names the person, and its parameters.

        column: ours, not a user's.
        """
        text = f"lower({column}::VARCHAR)"
        words = f"(' ' || regexp_replace({text}, '{_SQL_GAP}', ' ', 'g') || ' ')"
        conditions, parameters = ["false"], []
        for wanted in self._words():
            longest = max(wanted, key=len)
            phrase = " ".join(wanted)
            conditions.append(f"(contains({text}, ?) AND contains({words}, ?))")
            parameters += [longest, f" {phrase} " if phrase.isascii() else phrase]
        return f"({' OR '.join(conditions)})", parameters

    def works_in(self, column: str) -> tuple[str, list[Any]]:
        """A condition that holds where a column of text has the digest of a work, and its parameters."""
        text = f"{column}::VARCHAR"
        return (
            f"CASE WHEN length({text}) < 64 THEN false"
            f" WHEN length({text}) = 64 THEN list_contains(?::VARCHAR[], {text})"
            f" ELSE list_has_any(regexp_extract_all({text}, '[0-9a-f]{{64}}'), ?::VARCHAR[]) END",
            [list(self.works), list(self.works)],
        )

    def paths_in(self, column: str) -> tuple[str, list[Any]]:
        """A condition that holds where a column of text has one of the paths, and its parameters."""
        return (
            f"len(list_filter(?::VARCHAR[], lambda p: contains({column}::VARCHAR, p))) > 0",
            [list(self.paths)],
        )

    def beside_works(self, column: str) -> tuple[str, list[Any]]:
        """A condition that holds where a column has a path in one of the folders, or below."""
        return (
            f"len(list_filter(?::VARCHAR[], lambda folder: starts_with({column}, folder))) > 0",
            [list(self.folders)],
        )

    def _words(self) -> list[list[str]]:
        each = [_GAP.sub(" ", name_key(name)).split() for name in self.names]
        return [words for words in each if words]


def artist_traces(store: Store, artist_id: str) -> Traces:
    """All that may tell of an artist: what it and, where it has no other artist, its creator are called, and
    its works. Of an erased one: the works that are still to be dropped."""
    connection = store.connection
    names = connection.execute(
        """
        SELECT name FROM artist WHERE artist_id = $1
        UNION SELECT alias FROM artist_alias WHERE artist_id = $1
        UNION SELECT creator.name FROM creator JOIN artist USING (creator_id) WHERE artist_id = $1
            AND creator_id NOT IN (
                SELECT creator_id FROM artist WHERE artist_id <> $1 AND artist.name IS NOT NULL)
        """,
        [artist_id],
    ).fetchall()
    others = connection.execute(
        """
        SELECT name FROM artist WHERE artist_id <> $1
        UNION SELECT alias FROM artist_alias WHERE artist_id <> $1
        UNION SELECT creator.name FROM creator JOIN artist USING (creator_id)
            WHERE artist_id <> $1 AND artist.name IS NOT NULL
        """,
        [artist_id],
    ).fetchall()
    works = connection.execute(
        """
        SELECT sha256, any_value(path), bool_or(sha256 IN (SELECT sha256 FROM work WHERE artist_id <> $1))
        FROM (SELECT sha256, path FROM work WHERE artist_id = $1
              UNION ALL SELECT sha256, NULL FROM redaction_pending WHERE artist_id = $1 AND sha256 <> '')
        GROUP BY sha256 ORDER BY sha256
        """,
        [artist_id],
    ).fetchall()
    taken = {name_key(name) for (name,) in others if name}
    own = sorted({name for (name,) in names if name})
    kept = tuple(name for name in own if name_key(name) not in taken)
    return Traces(
        subject=artist_id,
        names=kept,
        works=tuple(sha256 for sha256, _, shared in works if not shared),
        paths=tuple(path for _, path, shared in works if path and not shared),
        folders=tuple(sorted({_folder(path) for _, path, _ in works if path and Path(path).is_absolute()})),
        shared_names=len(own) - len(kept),
        shared_works=sum(shared for _, _, shared in works),
    )


def payee_traces(store: Store, payee_id: str) -> Traces:
    """What may tell of a payee: its name, and where its money goes. A creator or an artist of the same name
    goes on being called so."""
    connection = store.connection
    texts = connection.execute(
        "SELECT name FROM payee WHERE payee_id = $1"
        " UNION SELECT unnest([holder, iban]) FROM payee_account WHERE payee_id = $1",
        [payee_id],
    ).fetchall()
    others = connection.execute(
        "SELECT name FROM artist UNION SELECT alias FROM artist_alias UNION SELECT name FROM creator"
        " UNION SELECT name FROM payee WHERE payee_id <> $1"
        " UNION SELECT unnest([holder, iban]) FROM payee_account WHERE payee_id <> $1",
        [payee_id],
    ).fetchall()
    taken = {name_key(text) for (text,) in others if text}
    own = sorted({text for (text,) in texts if text})
    kept = [text for text in own if name_key(text) not in taken]
    kept += [" ".join(text[i : i + 4] for i in range(0, len(text), 4)) for text in kept if _is_account(text)]
    return Traces(payee_id, tuple(kept), shared_names=len(own) - len([t for t in own if t in kept]))


def _folder(path: str) -> str:
    return str(Path(path).parent).rstrip(os.sep) + os.sep


def _is_account(text: str) -> bool:
    """Whether it is an IBAN, which people write in groups of four too."""
    return re.fullmatch(r"[A-Z]{2}\d{2}[A-Z0-9]{8,30}", text) is not None


def _pattern(words: list[str]) -> str:
    joined = r"[\W_]+".join(map(re.escape, words))
    return rf"(?<![^\W_]){joined}(?![^\W_])" if " ".join(words).isascii() else joined
