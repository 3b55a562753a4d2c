"""Leave no byte of a dropped row in a cache's file, while other processes read and write it.

In: an open environment. Out: ``Wiped``. The one rule: killed at any moment it has done part of this and
harmed nothing.
"""

import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

from fairbrush.embedding.cache_env import CacheEnvironment, Databases
from fairbrush.embedding.cache_walk import PAGE_BYTES, walk
from fairbrush.errors import CacheError

if TYPE_CHECKING:
    import lmdb

    Transaction = lmdb.Transaction[memoryview]

_ZEROS = bytes(2000)  # two to a page
_MOST_ZEROS, _LEAST_ZEROS = 4096, 32  # a transaction: many while there is much to fill, few at the end
_LEAST_LEFT_PAGES = 256
_LEFT_IN = 50  # one page in so many is freed by the filling itself, for the list of free pages
_WIPE_ATTEMPTS = 20
_WIPE_PAUSE_S = 0.1


@dataclass(frozen=True)
class Wiped:
    """What a wipe did: the file's bytes before and after, which later rows reuse."""

    bytes_before: int
    bytes_after: int
    elapsed_s: float


def wipe(environment: CacheEnvironment) -> Wiped:
    """Leave no byte of a dropped row in the file, while other processes read and write it.

    A deleted row leaves its bytes in unused pages, in the gaps of used ones, and its key in the tree
    above them. So the rows are written into a new tree in one transaction, and then zeros into every
    page that is free. The file grows to twice the size of the rows, once. Killed, it has done part of
    this and harmed nothing. Raises CacheError where another process reads all the while.
    """
    started, before = time.monotonic(), environment.bytes_on_disk()
    environment.reopen()
    for _ in range(2):
        environment.open_filler()  # pages freed by the last two transactions become free for the next

    def rebuild(transaction: "Transaction", databases: Databases) -> None:
        spaces = [(bytes(key), bytes(record)) for key, record in transaction.cursor(databases.spaces)]
        for database in (databases.spaces, databases.rows):
            transaction.drop(database, delete=False)
        for key, record in spaces:
            transaction.put(key, record, db=databases.spaces)
        # read beside the transaction: the rows as they were before it, and nobody else can write
        for key, row in walk(environment, b"", lambda key, row: bytes(row)):
            transaction.put(key, row, db=databases.rows, append=True)

    environment.write(rebuild, new_bytes=before, rewrites=True)
    for _ in range(_WIPE_ATTEMPTS):
        if _fill_free_pages(environment):
            return Wiped(before, environment.bytes_on_disk(), time.monotonic() - started)
        time.sleep(_WIPE_PAUSE_S)
    raise CacheError(
        f"The embedding cache {environment.folder} is being read all the time: forgotten rows keep their"
        " place in its file until then.",
        next_step="Try again when the process that reads it has ended.",
    )


def _fill_free_pages(environment: CacheEnvironment) -> bool:
    """Zeros into free pages until the file has to grow; False where some were left out, since somebody
    still reads them."""
    since, was_pinned = environment.last_transaction(), False
    filler, count, grown = environment.open_filler(), 0, 0
    expected = environment.reusable_bytes() // PAGE_BYTES * 2
    while grown < 3:  # what was freed two transactions ago can be filled, so the first ones find less
        last_page = environment.last_page()
        size = max(_LEAST_ZEROS, min(_MOST_ZEROS, (expected - count) // 2))

        def put(transaction: "Transaction", databases: Databases, first: int = count, n: int = size) -> None:
            for number in range(first, first + n):
                transaction.put(number.to_bytes(8, "big"), _ZEROS, db=filler, append=True)

        environment.write(put, new_bytes=size * PAGE_BYTES, rewrites=True)
        count += size
        grown = grown + 1 if environment.last_page() > last_page else 0
        was_pinned = was_pinned or environment.is_read_since_before(since)
    left_pages = environment.reusable_bytes() // PAGE_BYTES - count // 2
    most_left = max(_LEAST_LEFT_PAGES, environment.last_page() // _LEFT_IN)
    environment.write(
        lambda transaction, databases: transaction.drop(filler), new_bytes=PAGE_BYTES * 64, rewrites=True
    )
    return left_pages <= most_left and not was_pinned
