"""Read all of a cache: the record of every space, and rows in the order of their keys.

In: an open environment. Out: records, and whatever ``look`` makes of each row. The one rule: a walk is many
short transactions, so it pins no old pages however long it takes.
"""

from collections.abc import Callable, Iterator
from itertools import islice
from typing import TYPE_CHECKING, TypeVar

from fairbrush.embedding.cache_env import CacheEnvironment, Databases
from fairbrush.embedding.cache_rows import ROW_KEY_BYTES, SpaceRecord, decode_space

if TYPE_CHECKING:
    import lmdb

    Transaction = lmdb.Transaction[memoryview]

Found = TypeVar("Found")

ROWS_A_TRANSACTION = 1024
PAGE_BYTES = 4096


def read_records(environment: CacheEnvironment) -> dict[bytes, SpaceRecord | None]:
    """The record of every space by id; None for a damaged one."""

    def collect(transaction: "Transaction", databases: Databases) -> dict[bytes, SpaceRecord | None]:
        return {
            bytes(space): decode_space(bytes(space), bytes(stored))
            for space, stored in transaction.cursor(databases.spaces)
        }

    return environment.read(collect)


def walk(
    environment: CacheEnvironment, prefix: bytes, look: Callable[[bytes, memoryview], Found]
) -> Iterator[tuple[bytes, Found]]:
    """``look(key, row)`` for every row whose key starts with ``prefix``, in key order; short transactions."""
    start = prefix
    while True:

        def chunk(
            transaction: "Transaction", databases: Databases, start: bytes = start
        ) -> list[tuple[bytes, Found]]:
            with transaction.cursor(databases.rows) as cursor:
                if not cursor.set_range(start):
                    return []
                found = []
                for view, row in islice(cursor, ROWS_A_TRANSACTION):
                    if len(view) != ROW_KEY_BYTES:
                        raise environment.damaged("a key has the wrong length")
                    key = bytes(view)
                    if not key.startswith(prefix):
                        break
                    found.append((key, look(key, row)))
                return found

        found = environment.read(chunk)
        yield from found
        if len(found) < ROWS_A_TRANSACTION:
            return
        start = found[-1][0] + b"\0"  # the first possible key after the last one read
