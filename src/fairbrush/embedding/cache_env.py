"""One LMDB environment a process, shared by everyone who opens the same cache; only this file opens LMDB.

In: a folder and short functions to run inside a transaction. Out: their results, or the fairbrush error that
says what to do. The one rule: a transaction never outlives the call that began it. So the map can grow, a
reader never pins old pages, and nothing handed out points into the map.

LMDB must not be opened twice in a process (its file locks belong to the process), so an environment is shared
and counted. It must not cross a fork either: a child that inherits an open cache is refused, so close it
before a fork, or start workers by spawn. Threads take turns. The map is read-only (``writemap=False``): LMDB
writes through the file, so a full disk is an error and never a SIGBUS.
"""

import contextlib
import errno
import os
import shutil
import sys
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from fairbrush.embedding.cache_file import (
    cache_option,
    check_before_mapping,
    delete_step,
    reserve_lock_file,
    structure_problems,
)
from fairbrush.errors import CacheDamagedError, CacheError, CacheFullError

if TYPE_CHECKING:
    import lmdb

T = TypeVar("T")

FIRST_MAP_BYTES = 64 * 2**20
# Deleting writes pages too (LMDB copies what it changes): a cache at its limit may still be pruned.
_ROOM_TO_DELETE_BYTES = 16 * 2**20
_META_PAGES = 2
_FILLER = b"filler"
_FULL_DISK = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
_NOT_ALLOWED = (errno.EACCES, errno.EPERM, errno.EROFS)

# By device and inode: a file deleted and created anew is another cache.
_open_environments: dict[tuple[int, int], "CacheEnvironment"] = {}
_open_lock = threading.Lock()


def data_file_of(folder: Path) -> Path:
    """The file that holds a cache's rows."""
    return folder / "data.mdb"


def open_environment(folder: Path, *, readonly: bool, max_bytes: int) -> "CacheEnvironment":
    """The environment of ``folder``: the one this process already has, or a new one.

    Raises CacheError (absent, no folder, no permission), CacheFullError and CacheDamagedError.
    """
    try:
        return _open_environment(folder, readonly=readonly, max_bytes=max_bytes)
    except OSError as error:
        raise CacheError(
            f"The embedding cache {folder} cannot be opened: {error.strerror}.",
            next_step="It must be a folder you may read: check its name and permissions, or choose another.",
        ) from error


def _open_environment(folder: Path, *, readonly: bool, max_bytes: int) -> "CacheEnvironment":
    data_file = data_file_of(folder)
    if readonly and not (data_file.exists() and data_file.stat().st_size):
        raise CacheError(
            f"There is no embedding cache in {folder}.",
            next_step=f"Fill it first: fairbrush embed IMAGES {cache_option(folder)}",
        )
    with _open_lock:
        identity = _identity(data_file)
        environment = _open_environments.get(identity) if identity else None
        if environment is None:
            environment = CacheEnvironment(folder, readonly=readonly, max_bytes=max_bytes)
            identity = _identity(data_file)
            assert identity is not None, f"LMDB left no {data_file}"
            _open_environments[identity] = environment
        environment.refuse_after_fork()
        if environment.readonly and not readonly:
            environment.reopen_for_writing(max_bytes)
        environment.users += 1
        return environment


def close_environment(environment: "CacheEnvironment") -> None:
    """Let go of a shared environment; the last user closes it."""
    with _open_lock:
        environment.users -= 1
        if environment.users == 0:
            for identity, known in list(_open_environments.items()):
                if known is environment:
                    del _open_environments[identity]
            environment.close()


def _identity(data_file: Path) -> tuple[int, int] | None:
    try:
        status = data_file.stat()
    except FileNotFoundError:
        return None
    return status.st_dev, status.st_ino


@dataclass(frozen=True)
class Databases:
    """The two tables of a cache: a record for each space, and the rows of all of them."""

    spaces: "lmdb._Database"
    rows: "lmdb._Database"


class CacheEnvironment:
    """Short transactions over one cache's file, and the growth of its map."""

    def __init__(self, folder: Path, *, readonly: bool, max_bytes: int) -> None:
        self.folder = folder
        self.data_file = data_file_of(folder)
        self.readonly = readonly
        self.max_bytes = max_bytes
        self.users = 0
        self._pid = os.getpid()
        self._lock = threading.RLock()
        self._open()

    def reopen_for_writing(self, max_bytes: int) -> None:
        """Turn a read-only environment into one that writes; safe, as no transaction outlives its call."""
        with self._lock:
            self.close()
            self.readonly = False
            try:
                self._open()
            except CacheError:
                self.readonly = True
                self._open()  # those who read go on reading
                raise
            self.max_bytes = max_bytes

    def reopen(self) -> None:
        """Begin with fresh memory: LMDB writes whole pages, and a used one may hold bytes of rows since
        dropped. Safe, as no transaction outlives its call."""
        with self._lock:
            self.close()
            self._open()

    def refuse_after_fork(self) -> None:
        """Raise CacheError in a child of the process that opened this environment."""
        if self._pid != os.getpid():
            raise CacheError(
                f"The embedding cache {self.folder} was open when this process was forked.",
                next_step="Close it before the fork, or start the process by spawn.",
            )

    def close(self) -> None:
        if self._pid == os.getpid():
            self._env.close()

    def read(self, work: "Callable[[lmdb.Transaction[memoryview], Databases], T]") -> T:
        """Run ``work`` on one snapshot. What it returns must not point into the map."""
        self.refuse_after_fork()
        with self._lock, self._translated(), self._begin(write=False) as transaction:
            return work(transaction, self._databases)

    def write(
        self,
        work: "Callable[[lmdb.Transaction[memoryview], Databases], T]",
        *,
        new_bytes: int,
        deletes: bool = False,
        rewrites: bool = False,
    ) -> T:
        """Run ``work`` in one transaction: durable when this returns, absent when it raises.

        ``work`` runs again from the start when the map had to grow, so it must have no other effect.
        ``deletes``, ``rewrites``: it may go over the size limit for a while.
        Raises CacheFullError at the size limit and on a full disk.
        """
        limit = self.max_bytes + (_ROOM_TO_DELETE_BYTES if deletes or rewrites else 0)
        if rewrites:
            limit = max(limit, 2 * self.bytes_on_disk() + _ROOM_TO_DELETE_BYTES)
        import lmdb

        self.refuse_after_fork()
        with self._lock, self._translated(new_bytes):
            while True:
                try:
                    with self._begin(write=True) as transaction:
                        return work(transaction, self._databases)
                except lmdb.MapFullError:
                    self._grow(limit, new_bytes)

    def bytes_on_disk(self) -> int:
        return self.data_file.stat().st_size

    def reusable_bytes(self) -> int:
        """Bytes of the file that hold nothing now and that later rows will fill."""

        def count(transaction: "lmdb.Transaction[memoryview]", databases: Databases) -> int:
            page_bytes = self._env.stat()["psize"]
            used_pages = _META_PAGES
            for database in (None, databases.spaces, databases.rows):
                stat = transaction.stat(database) if database else self._env.stat()
                used_pages += stat["branch_pages"] + stat["leaf_pages"] + stat["overflow_pages"]
            return max(0, self.bytes_on_disk() - used_pages * page_bytes)

        return self.read(count)

    def open_filler(self) -> "lmdb._Database":
        """An empty table of no rows, to be filled and dropped; what a killed process left of it goes."""
        with self._lock, self._translated(), self._begin(write=True) as transaction:
            filler = self._env.open_db(_FILLER, txn=transaction)
            transaction.drop(filler, delete=False)
            return filler

    def last_page(self) -> int:
        """The number of the last page that was ever used; it never goes down."""
        return int(self._env.info()["last_pgno"])

    def last_transaction(self) -> int:
        """The number of the last commit."""
        return int(self._env.info()["last_txnid"])

    def is_read_since_before(self, transaction: int) -> bool:
        """Whether any process is reading pages of an older commit just now: those stay as they are."""
        self._env.reader_check()
        lines = [line.split() for line in self._env.readers().splitlines()[1:]]
        return any(words[-1].isdigit() and int(words[-1]) < transaction for words in lines if words)

    def damaged(self, what: str) -> CacheDamagedError:
        """The error for a file that cannot be trusted."""
        return CacheDamagedError(
            f"The embedding cache's file {self.data_file} is damaged: {what}.",
            next_step=delete_step(self.folder),
        )

    def structure_problems(self) -> list[str]:
        """Every broken page or link of the file, read without mapping it."""
        return structure_problems(self.data_file)

    def _open(self) -> None:
        import lmdb

        with self._translated():
            if not self.readonly:
                self.folder.mkdir(parents=True, exist_ok=True)
                reserve_lock_file(self.folder / "lock.mdb")
            check_before_mapping(self.data_file)
            size = self.bytes_on_disk() if self.data_file.exists() else 0
            self._env = lmdb.open(
                str(self.folder),
                map_size=max(min(max(FIRST_MAP_BYTES, 2 * size), self.max_bytes), size),
                readonly=self.readonly,
                create=False,
                max_dbs=3,
                lib_version=0,
                writemap=False,
            )
            try:
                # A reader killed in its transaction keeps old pages from being reused: clear its slot.
                self._env.reader_check()
                self._databases = self._open_databases()
            except BaseException:  # Ctrl-C too: what is not whole is not kept open
                self._env.close()
                raise

    def _open_databases(self) -> "Databases":
        import lmdb

        if not self.readonly:
            with self._begin(write=True) as transaction:
                return Databases(
                    spaces=self._env.open_db(b"spaces", txn=transaction),
                    rows=self._env.open_db(b"rows", txn=transaction),
                )
        try:
            return Databases(
                spaces=self._env.open_db(b"spaces", create=False),
                rows=self._env.open_db(b"rows", create=False),
            )
        except lmdb.NotFoundError:
            raise CacheError(
                f"The file {self.data_file} is not an embedding cache of fairbrush, or holds nothing yet.",
                next_step=f"Fill it first: fairbrush embed IMAGES {cache_option(self.folder)}",
            ) from None

    def _begin(self, *, write: bool) -> "lmdb.Transaction[memoryview]":
        """A transaction on the map as large as other processes have made it."""
        import lmdb

        while True:
            try:
                return self._env.begin(write=write, buffers=True)
            except lmdb.MapResizedError:
                self._env.set_mapsize(0)

    def _grow(self, limit: int, new_bytes: int) -> None:
        size = self._env.info()["map_size"]
        if size >= limit:
            raise CacheFullError(
                f"The embedding cache {self.folder} has reached its limit of {limit} bytes: {new_bytes} more "
                "bytes of vectors do not fit. What was stored before is kept.",
                next_step="Drop an encoder's vectors: fairbrush cache prune --encoder ID "
                f"{cache_option(self.folder)} (fairbrush cache info lists the ids); or use another folder.",
            )
        self._env.set_mapsize(min(2 * size, limit))

    @contextlib.contextmanager
    def _translated(self, new_bytes: int = 0) -> Iterator[None]:
        """Turn the errors of LMDB and of the operating system into ours."""
        import lmdb

        try:
            yield
        except (
            lmdb.CorruptedError,
            lmdb.PageNotFoundError,
            lmdb.PanicError,
            lmdb.InvalidError,
            lmdb.VersionMismatchError,
            lmdb.IncompatibleError,
        ) as error:
            raise self.damaged(str(error)) from error
        except (lmdb.Error, OSError) as error:
            raise self._system_error(error, new_bytes) from error

    def _system_error(self, error: Any, new_bytes: int) -> CacheError:
        """The error for what the operating system refused: space, permission or anything else."""
        code = error.errno if isinstance(error, OSError) else _code_of(error)
        # LMDB reports a write that was cut short by a full disk as EIO.
        if code in _FULL_DISK or (code == errno.EIO and self._room_bytes() < 2 * new_bytes + 2**16):
            return CacheFullError(
                f"No room on the disk for the embedding cache {self.folder}: this batch needs about "
                f"{new_bytes} bytes and {self._room_bytes()} are free. What was stored before is kept.",
                next_step="Free some space and run the command again: it goes on where it stopped.",
            )
        if code in _NOT_ALLOWED:
            return CacheError(
                f"The embedding cache {self.folder} cannot be opened: {os.strerror(code)}.",
                next_step="Give yourself write permission on the folder and its files (a reader needs it for "
                "the lock file), or choose another folder.",
            )
        return CacheError(
            f"The embedding cache {self.folder} cannot be read or written: {str(error).rstrip('.')}.",
            next_step="Check the disk and the folder, then run again: it goes on where it stopped.",
        )

    def _room_bytes(self) -> int:
        """How much the file may still grow: the disk's free bytes, or this process's limit on a file."""
        existing = next(folder for folder in (self.folder, *self.folder.parents) if folder.exists())
        room = shutil.disk_usage(existing).free
        if sys.platform != "win32":
            import resource

            file_limit = resource.getrlimit(resource.RLIMIT_FSIZE)[0]
            if file_limit != resource.RLIM_INFINITY and self.data_file.exists():
                room = min(room, file_limit - self.bytes_on_disk())
        return max(0, room)


def _code_of(error: "lmdb.Error") -> int:
    """The operating system's number for an LMDB error; some of its classes carry none."""
    import lmdb

    if isinstance(error, lmdb.DiskError):
        return errno.ENOSPC
    if isinstance(error, lmdb.ReadonlyError):
        return errno.EACCES
    return int(getattr(error, "code", 0))
