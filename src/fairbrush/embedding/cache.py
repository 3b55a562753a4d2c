"""The embedding cache: (SHA-256 of an image file, encoder id, variant) -> float32 (k, dim).

In: vectors as an encoder makes them, a batch at a time. Out: the same vectors, or a miss. The one rule: the
cache is disposable. Every row carries a checksum, a damaged row is a miss, and losing the folder costs time
only. The first vector stored wins: a sound row is never overwritten, so an answer given once stays the same.

A batch is durable when ``put_many`` returns, and wholly absent when the process dies before. Many processes
may read while one writes; a second writer waits. Rows that are dropped leave room in the file for later ones,
and their bytes until ``wipe``; the file itself never shrinks, because replacing it under other processes is
not safe: to get the disk space back, delete its files.
"""

import shlex
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from itertools import islice
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Self

from fairbrush.embedding.cache_env import (
    CacheEnvironment,
    Databases,
    close_environment,
    open_environment,
)
from fairbrush.embedding.cache_file import cache_option
from fairbrush.embedding.cache_rows import (
    HEADER_BYTES,
    SPACE_ID_BYTES,
    SpaceRecord,
    decode_row,
    decode_space,
    encode_row,
    encode_space,
    image_of,
    row_damage,
    row_key,
    space_id,
)
from fairbrush.embedding.cache_walk import PAGE_BYTES, ROWS_A_TRANSACTION, read_records, walk
from fairbrush.embedding.cache_wipe import Wiped, wipe
from fairbrush.errors import CacheDamagedError, CacheError

if TYPE_CHECKING:
    import lmdb

    from fairbrush.embedding.cache_rows import Vectors

    Transaction = lmdb.Transaction[memoryview]

DEFAULT_MAX_BYTES = 256 * 2**30
_DAMAGED_RECORD = "the record of this encoder and variant is damaged"


@dataclass(frozen=True)
class SpaceInfo:
    """The rows of one encoder and variant. ``images`` have a row each; a row holds one or more vectors."""

    encoder_id: str
    variant: str
    dim: int
    images: int
    vectors: int
    first_written: datetime
    last_written: datetime


@dataclass(frozen=True)
class CacheInfo:
    """What a cache holds. ``reusable_bytes`` of the file are empty and will be filled first."""

    path: Path
    bytes_on_disk: int
    reusable_bytes: int
    max_bytes: int
    spaces: tuple[SpaceInfo, ...]


@dataclass(frozen=True)
class DamagedRow:
    """A row that is never returned. The names are empty when the record that holds them is damaged too."""

    sha256: str
    encoder_id: str
    variant: str
    what: str


@dataclass(frozen=True)
class VerifyResult:
    """``structure`` lists broken pages of the file: then no row was read, and the whole cache must go."""

    rows_checked: int
    damaged: tuple[DamagedRow, ...]
    structure: tuple[str, ...]

    @property
    def is_sound(self) -> bool:
        return not self.damaged and not self.structure


@dataclass(frozen=True)
class PruneResult:
    """``bytes_freed`` counts the rows dropped; ``reusable_bytes`` is all the room in the file now."""

    rows_dropped: int
    bytes_freed: int
    reusable_bytes: int


class EmbeddingCache:
    """A folder of vectors that any number of processes read while one writes.

    >>> import tempfile, numpy as np
    >>> image = "ab" * 32
    >>> with tempfile.TemporaryDirectory() as folder, EmbeddingCache.open(Path(folder)) as cache:
    ...     space = cache.space("ViT-B-32/openai", "torch-fp32")
    ...     space.put_many({image: np.ones((1, 4), np.float32)})
    ...     space.get(image)
    array([[1., 1., 1., 1.]], dtype=float32)
    """

    def __init__(self, environment: CacheEnvironment, *, readonly: bool) -> None:
        self._shared: CacheEnvironment | None = environment
        self._readonly = readonly

    @classmethod
    def open(cls, folder: Path, *, readonly: bool = False, max_bytes: int = DEFAULT_MAX_BYTES) -> Self:
        """Open the cache in ``folder``, creating it unless ``readonly``.

        Raises CacheError when it is absent or not permitted, CacheDamagedError when its file cannot be
        trusted and CacheFullError when the disk has no room for a new one.
        """
        return cls(open_environment(folder, readonly=readonly, max_bytes=max_bytes), readonly=readonly)

    def close(self) -> None:
        """Let go of the file; harmless when repeated."""
        shared, self._shared = self._shared, None
        if shared is not None:
            close_environment(shared)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def space(self, encoder_id: str, variant: str) -> "CacheSpace":
        """The rows of one encoder and variant; it may hold none yet."""
        return CacheSpace(self, encoder_id, variant)

    def info(self) -> CacheInfo:
        """Count the rows of every encoder and variant. Raises CacheDamagedError when a record is damaged."""
        spaces = []
        for space, record in read_records(self._environment).items():
            if record is None:
                raise CacheDamagedError(
                    f"The embedding cache {self._environment.folder} has lost the name of one encoder.",
                    next_step="Drop its rows, which will be recomputed: fairbrush cache prune --damaged "
                    + cache_option(self._environment.folder),
                )
            spaces.append(_count(self._environment, space, record))
        return CacheInfo(
            path=self._environment.folder,
            bytes_on_disk=self._environment.bytes_on_disk(),
            reusable_bytes=self._environment.reusable_bytes(),
            max_bytes=self._environment.max_bytes,
            spaces=tuple(sorted(spaces, key=lambda space: (space.encoder_id, space.variant))),
        )

    def verify(self) -> VerifyResult:
        """Check the file's structure without mapping it, then every row's checksum. Changes nothing."""
        structure = self._environment.structure_problems()
        if structure:
            return VerifyResult(0, (), tuple(structure))
        records = read_records(self._environment)
        checked = 0
        damaged = [
            DamagedRow("", "", "", f"{_DAMAGED_RECORD} ({space.hex()})")
            for space, record in records.items()
            if record is None
        ]
        for key, what in walk(self._environment, b"", row_damage):
            checked += 1
            if what is not None:
                record = records.get(key[:SPACE_ID_BYTES])
                names = (record.encoder_id, record.variant) if record else ("", "")
                damaged.append(DamagedRow(image_of(key), *names, what))
        return VerifyResult(checked, tuple(damaged), ())

    def prune(
        self,
        *,
        encoder_id: str | None = None,
        variant: str | None = None,
        keep_encoders: Collection[str] | None = None,
        images_not_in: Collection[str] | None = None,
        damaged: bool = False,
    ) -> PruneResult:
        """Drop the rows that any of these names; with none, nothing.

        ``encoder_id`` and ``variant``: the rows of this encoder, of this variant, or of both at once.
        ``keep_encoders``: the rows of every other encoder. ``images_not_in``: the rows of images that are not
        among these. ``damaged``: rows whose checksum fails, and all rows of a space whose record is damaged.
        """
        self._assert_writable()

        def drops_space(record: SpaceRecord | None) -> bool:
            if record is None:
                return damaged
            named = (encoder_id is not None or variant is not None) and (
                encoder_id in (None, record.encoder_id) and variant in (None, record.variant)
            )
            return named or (keep_encoders is not None and record.encoder_id not in keep_encoders)

        def drops_row(key: bytes, row: memoryview) -> bool:
            if images_not_in is not None and image_of(key) not in images_not_in:
                return True
            return damaged and row_damage(key, row) is not None

        whole_spaces = {s for s, record in read_records(self._environment).items() if drops_space(record)}

        def drops(key: bytes, row: memoryview) -> bool:
            return key[:SPACE_ID_BYTES] in whole_spaces or drops_row(key, row)

        keys = (key for key, dropped in walk(self._environment, b"", drops) if dropped)
        rows_dropped, bytes_freed = self._drop(keys, drops)
        self._drop_empty_spaces()
        return PruneResult(rows_dropped, bytes_freed, self._environment.reusable_bytes())

    def forget(self, sha256s: Iterable[str]) -> int:
        """Drop every encoder's rows of these images; returns how many rows there were.

        Their bytes stay in unused pages until new rows fill those, or ``wipe``.
        """
        self._assert_writable()
        spaces = list(read_records(self._environment))
        keys = (row_key(space, sha256) for sha256 in sha256s for space in spaces)
        rows_dropped, _ = self._drop(keys, lambda key, row: True)
        self._drop_empty_spaces()
        return rows_dropped

    def wipe(self) -> Wiped:
        """Leave no byte of a dropped row in the file; see ``cache_wipe``. Raises CacheError where another
        process reads all the while."""
        self._assert_writable()
        return wipe(self._environment)

    @property
    def _environment(self) -> CacheEnvironment:
        assert self._shared is not None, "this EmbeddingCache is closed"
        return self._shared

    def _assert_writable(self) -> None:
        assert not self._readonly, f"the cache {self._environment.folder} was opened read-only"

    def _drop(self, keys: Iterable[bytes], drops: Callable[[bytes, memoryview], bool]) -> tuple[int, int]:
        """Delete the rows that ``drops`` still holds for; how many, and their bytes.

        Asked again under the writer's lock: another process may have repaired a damaged row meanwhile.
        """
        rows = freed = 0
        remaining = iter(keys)
        while batch := list(islice(remaining, ROWS_A_TRANSACTION)):

            def delete(
                transaction: "Transaction", databases: Databases, batch: list[bytes] = batch
            ) -> list[int]:
                sizes = []
                for key in batch:
                    row = transaction.get(key, db=databases.rows)
                    if row is not None and drops(key, row):
                        sizes.append(len(key) + len(row))
                        transaction.delete(key, db=databases.rows)
                return sizes

            sizes = self._environment.write(delete, new_bytes=PAGE_BYTES * 64, deletes=True)
            rows, freed = rows + len(sizes), freed + sum(sizes)
        return rows, freed

    def _drop_empty_spaces(self) -> None:
        """Delete the record of every space that has no row left."""

        def delete(transaction: "Transaction", databases: Databases) -> None:
            with transaction.cursor(databases.rows) as cursor:
                for space in [bytes(key) for key, _ in transaction.cursor(databases.spaces)]:
                    if not (cursor.set_range(space) and bytes(cursor.key()).startswith(space)):
                        transaction.delete(space, db=databases.spaces)

        self._environment.write(delete, new_bytes=PAGE_BYTES * 64, deletes=True)


class CacheSpace:
    """The rows of one encoder and variant. ``damaged_reads`` counts the damaged rows met so far."""

    def __init__(self, cache: EmbeddingCache, encoder_id: str, variant: str) -> None:
        self.encoder_id = encoder_id
        self.variant = variant
        self.damaged_reads = 0
        self._cache = cache
        self._id = space_id(encoder_id, variant)

    def get(self, sha256: str) -> "Vectors | None":
        """The vectors of one image: float32 (k, dim), the caller's own copy. None: compute them."""
        return self.get_many([sha256]).get(sha256)

    def get_many(self, sha256s: Sequence[str]) -> "dict[str, Vectors]":
        """The vectors of those images that have a sound row, on one snapshot."""

        def look_up(transaction: "Transaction", databases: Databases) -> "dict[str, Vectors]":
            found = {}
            for sha256 in sha256s:
                row = self._sound_row(transaction, databases, row_key(self._id, sha256))
                if row is not None:
                    found[sha256] = decode_row(row)
            return found

        return self._cache._environment.read(look_up)

    def missing(self, sha256s: Iterable[str]) -> list[str]:
        """Which images have no sound row: in the order given, each once."""
        wanted = list(dict.fromkeys(sha256s))

        def look_up(transaction: "Transaction", databases: Databases) -> list[str]:
            return [
                sha256
                for sha256 in wanted
                if self._sound_row(transaction, databases, row_key(self._id, sha256)) is None
            ]

        return self._cache._environment.read(look_up)

    def put_many(self, rows: "Mapping[str, Vectors]", *, now: datetime | None = None) -> None:
        """Store a batch in one transaction: durable when this returns, wholly absent when it raises.

        A sound row already there stays (the first vector wins); a damaged one is replaced. Raises CacheError
        for a NaN, an infinity or another dim than the space has, and CacheFullError when there is no room.
        """
        if not rows:
            return
        self._cache._assert_writable()
        dim = self._dim_of(rows)
        encoded = {key: encode_row(key, rows[image_of(key)]) for key in sorted(self._keys(rows))}
        written = now or datetime.now(UTC)

        def store(transaction: "Transaction", databases: Databases) -> None:
            record = self._record_for(dim, written, transaction.get(self._id, db=databases.spaces))
            for key, row in encoded.items():
                if self._sound_row(transaction, databases, key) is None:
                    transaction.put(key, row, db=databases.rows)
            transaction.put(self._id, encode_space(self._id, record), db=databases.spaces)

        new_bytes = sum(-(-len(row) // PAGE_BYTES) * PAGE_BYTES for row in encoded.values())
        self._cache._environment.write(store, new_bytes=new_bytes)

    def scan(self) -> "Iterator[tuple[str, Vectors]]":
        """Every sound row, in the order of the images' SHA-256.

        Read a thousand rows at a time, so a long scan holds no old pages: rows stored meanwhile may or may
        not appear, a row that was there at the start and was not dropped always does.
        """

        def sound(key: bytes, row: memoryview) -> "Vectors | None":
            if row_damage(key, row) is None:
                return decode_row(row)
            self.damaged_reads += 1
            return None

        for key, vectors in walk(self._cache._environment, self._id, sound):
            if vectors is not None:
                yield image_of(key), vectors

    def _keys(self, rows: "Mapping[str, Vectors]") -> list[bytes]:
        keys = [row_key(self._id, sha256) for sha256 in rows]
        assert all(image_of(key) in rows for key in keys), "a SHA-256 is written in lower-case hexadecimal"
        return keys

    def _dim_of(self, rows: "Mapping[str, Vectors]") -> int:
        """The one dim of a batch; refuses what no encoder should give."""
        import numpy as np

        dims = set()
        for sha256, vectors in rows.items():
            assert vectors.ndim == 2, f"vectors of {sha256} have shape {vectors.shape}, not (k, dim)"
            assert vectors.shape[0] >= 1, f"{sha256} has no vector"
            assert vectors.dtype == np.float32, f"vectors of {sha256} are {vectors.dtype}, not float32"
            if not np.isfinite(vectors).all():
                raise CacheError(
                    f"Encoder {self.encoder_id} ({self.variant}) gave a NaN or an infinity for image "
                    f"{sha256}; the batch was not stored.",
                    next_step="Try the float32 variant; if it does the same, check the encoder's weights.",
                )
            dims.add(vectors.shape[1])
        assert len(dims) == 1, f"one batch has vectors of dims {sorted(dims)}"
        return int(dims.pop())

    def _record_for(self, dim: int, written: datetime, stored: memoryview | None) -> SpaceRecord:
        record = decode_space(self._id, bytes(stored)) if stored is not None else None
        if record is None:
            return SpaceRecord(self.encoder_id, self.variant, dim, written, written)
        assert (record.encoder_id, record.variant) == (self.encoder_id, self.variant), (
            "two names, one space id"
        )
        if record.dim != dim:
            raise CacheError(
                f"The cache has {record.dim} dims for encoder {self.encoder_id} ({self.variant}), the "
                f"encoder gives {dim}; the batch was not stored.",
                next_step="If its weights changed, drop the old rows: fairbrush cache prune "
                f"--encoder {shlex.quote(self.encoder_id)} {cache_option(self._cache._environment.folder)}",
            )
        return replace(record, last_written=written)

    def _sound_row(self, transaction: "Transaction", databases: Databases, key: bytes) -> memoryview | None:
        """A row that passes its checksum, as a view into the map; it dies with the transaction."""
        row = transaction.get(key, db=databases.rows)
        if row is None:
            return None
        if row_damage(key, row) is None:
            return row
        self.damaged_reads += 1
        return None


def _count(environment: CacheEnvironment, space: bytes, record: SpaceRecord) -> SpaceInfo:
    """Count from the rows' lengths: nothing to keep in step, and no vector is read."""
    vectors = [
        (length - HEADER_BYTES) // (4 * record.dim)
        for _, length in walk(environment, space, lambda key, row: len(row))
    ]
    return SpaceInfo(
        encoder_id=record.encoder_id,
        variant=record.variant,
        dim=record.dim,
        images=len(vectors),
        vectors=sum(vectors),
        first_written=record.first_written,
        last_written=record.last_written,
    )
