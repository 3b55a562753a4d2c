"""Look at an LMDB file with plain reads, before anything maps it.

In: the path of a ``data.mdb``. Out: nothing, or CacheDamagedError. The one rule: a page that lies beyond the
end of a mapped file kills the process (SIGBUS), so a file is mapped only after its length was checked.
Layout: LMDB 0.9, data version 1, 64-bit, as in ``mdb.c`` (MDB_page, MDB_meta).
"""

import os
import shlex
import struct
import sys
from dataclasses import dataclass
from pathlib import Path

from fairbrush.errors import CacheDamagedError

_MAGIC = 0xBEEFC0DE
_DATA_VERSION = 1
_META_PAGE_FLAG = 0x08
_NO_PAGE = (1 << 64) - 1
_ORDER = "<" if sys.byteorder == "little" else ">"
# Page header (page number, pad, flags, lower, upper), then the meta record. A MDB_db is pad u32, flags u16,
# depth u16 and five u64 of which the last is the root's page; the free pages' pad holds the page size.
_META = struct.Struct(_ORDER + "QHHHH" + "IIQQ" + "IHH4QQ" + "IHH4QQ" + "QQ")
_LOCK_BYTES = 16384
_ATTEMPTS_AT_REST = 5


@dataclass(frozen=True)
class _Meta:
    page_bytes: int
    roots: tuple[int, int]
    last_page: int
    transaction_id: int


def delete_step(folder: Path) -> str:
    """The way out of a cache that cannot be trusted; the folder may hold other things of the user's."""
    return (
        f"Delete data.mdb and lock.mdb in {folder} and run the command again: "
        "the vectors will be recomputed, nothing else is lost."
    )


def cache_option(folder: Path) -> str:
    """How a next step names this cache on the command line.

    >>> cache_option(Path("my vectors"))
    "--cache 'my vectors'"
    """
    return f"--cache {shlex.quote(str(folder))}"


def check_before_mapping(data_file: Path) -> None:
    """Refuse a file that LMDB could crash on: garbage, overwritten meta pages, a truncated file.

    Raises CacheDamagedError. An absent or empty file is sound: LMDB starts a new one.
    """
    if not data_file.exists() or data_file.stat().st_size == 0:
        return
    meta = _committed_meta(data_file)
    for root in meta.roots:
        if root != _NO_PAGE and not 2 <= root <= meta.last_page:
            raise _damaged(data_file, f"its root page {root} lies outside pages 2 to {meta.last_page}")
    expected_bytes = (meta.last_page + 1) * meta.page_bytes
    if data_file.stat().st_size >= expected_bytes:
        return
    # Short is not yet damaged: the last pages may be free ones that were never written. Walk the tree.
    problems = structure_problems(data_file)
    if problems:
        size = data_file.stat().st_size
        raise _damaged(data_file, f"it has {size} bytes of {expected_bytes} ({problems[0]})")


def structure_problems(data_file: Path) -> list[str]:
    """Every broken page or link of the file's tree, in words; read without mapping it.

    A commit in the middle of the walk would look like damage, so a walk with findings counts only when no
    commit came between its start and its end.
    """
    from lmdb import verify

    for _ in range(_ATTEMPTS_AT_REST):
        before = _committed_meta(data_file).transaction_id
        try:
            problems: list[str] = verify.verify(str(data_file))  # type: ignore[no-untyped-call]
        except verify.VerifyError as error:
            problems = [str(error)]
        if not problems or _committed_meta(data_file).transaction_id == before:
            return problems
    return []  # never at rest: a writer is at work on it, and LMDB itself reports what it meets


def reserve_lock_file(lock_file: Path) -> None:
    """Create LMDB's lock file with its blocks already on the disk.

    LMDB would create a sparse one and write to it through a map, which on a full disk is a SIGBUS; here a
    full disk is an OSError. The link is atomic: another process sees no lock file or a whole one.
    """
    if lock_file.exists():
        return
    draft = lock_file.with_name(f"{lock_file.name}.{os.getpid()}")
    try:
        with draft.open("wb") as stream:
            stream.write(bytes(_LOCK_BYTES))
            stream.flush()
            os.fsync(stream.fileno())
        lock_file.hardlink_to(draft)
    except FileExistsError:
        pass  # another process was first
    except PermissionError:
        # A file system without hard links (exFAT): LMDB makes its own. Without rights, open says so next.
        pass
    finally:
        draft.unlink(missing_ok=True)


def _committed_meta(data_file: Path) -> _Meta:
    """The newer of the file's two meta pages, chosen as LMDB chooses."""
    with data_file.open("rb") as stream:
        first = _read_meta(data_file, stream.read(_META.size), page=0)
        stream.seek(first.page_bytes)
        second = _read_meta(data_file, stream.read(_META.size), page=1)
    if first.page_bytes != second.page_bytes:
        raise _damaged(data_file, "its two meta pages disagree on the page size")
    return max(first, second, key=lambda meta: meta.transaction_id)


def _read_meta(data_file: Path, head: bytes, *, page: int) -> _Meta:
    if len(head) < _META.size:
        raise _damaged(data_file, f"it ends inside meta page {page}")
    fields = _META.unpack(head)
    (page_number, _, flags, _, _, magic, version, _, _) = fields[:9]
    if magic != _MAGIC or flags != _META_PAGE_FLAG or page_number != page:
        raise _damaged(data_file, f"meta page {page} is not one LMDB writes")
    if version != _DATA_VERSION:
        raise _damaged(data_file, f"it has LMDB data format {version}, fairbrush reads {_DATA_VERSION}")
    page_bytes, free_root, main_root, last_page, transaction_id = (
        fields[9],
        fields[16],
        fields[24],
        fields[25],
        fields[26],
    )
    if page_bytes not in (1 << power for power in range(9, 17)):
        raise _damaged(data_file, f"meta page {page} gives pages of {page_bytes} bytes")
    return _Meta(page_bytes, (free_root, main_root), last_page, transaction_id)


def _damaged(data_file: Path, what: str) -> CacheDamagedError:
    return CacheDamagedError(
        f"The embedding cache's file {data_file} is damaged: {what}.",
        next_step=delete_step(data_file.parent),
    )
