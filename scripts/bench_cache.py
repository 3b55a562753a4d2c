"""Compare LMDB, SQLite and DuckDB as the embedding cache's store, on this machine.

In: a number of rows. Out: a Markdown table on stdout. The one rule: every store keeps the same rows (a key of
40 bytes, a checksummed value), commits durably after each batch, and is asked the same questions in one run.

    python scripts/bench_cache.py --rows 20000
"""

import argparse
import os
import platform
import sqlite3
import statistics
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from time import perf_counter
from typing import Protocol

import numpy as np

from fairbrush.embedding.cache import EmbeddingCache
from fairbrush.embedding.cache_rows import decode_row, encode_row, row_damage, row_key, space_id

BATCH_ROWS = 256
LOOK_UPS = 2000
ENCODER, VARIANT = "bench", "fp32"
SPACE = space_id(ENCODER, VARIANT)


class Store(Protocol):
    """What the cache asks of a store."""

    def put_many(self, rows: dict[str, np.ndarray]) -> None: ...
    def get(self, sha256: str) -> np.ndarray | None: ...
    def scan(self) -> Iterator[np.ndarray]: ...
    def close(self) -> None: ...


class LmdbStore:
    """The cache itself, as shipped."""

    def __init__(self, folder: Path) -> None:
        self._cache = EmbeddingCache.open(folder)
        self._space = self._cache.space(ENCODER, VARIANT)
        self.put_many, self.get, self.close = self._space.put_many, self._space.get, self._cache.close

    def scan(self) -> Iterator[np.ndarray]:
        return (vectors for _, vectors in self._space.scan())


class SqlStore:
    """SQLite or DuckDB: one table of blobs under the same key."""

    def __init__(self, connect: Callable[[], object], create: list[str]) -> None:
        self._database = connect()
        for statement in create:
            self._database.execute(statement)

    def put_many(self, rows: dict[str, np.ndarray]) -> None:
        encoded = [(key := row_key(SPACE, name), encode_row(key, vectors)) for name, vectors in rows.items()]
        self._database.execute("BEGIN")
        self._database.executemany("INSERT INTO vectors VALUES (?, ?) ON CONFLICT DO NOTHING", encoded)
        self._database.execute("COMMIT")

    def get(self, sha256: str) -> np.ndarray | None:
        key = row_key(SPACE, sha256)
        found = self._database.execute("SELECT value FROM vectors WHERE key = ?", (key,)).fetchone()
        return decode_row(found[0]) if found and row_damage(key, found[0]) is None else None

    def scan(self) -> Iterator[np.ndarray]:
        cursor = self._database.execute("SELECT key, value FROM vectors ORDER BY key")
        while rows := cursor.fetchmany(1024):
            yield from (decode_row(row) for key, row in rows if row_damage(key, row) is None)

    def close(self) -> None:
        self._database.close()


def sqlite_store(folder: Path) -> SqlStore:
    return SqlStore(
        lambda: sqlite3.connect(folder / "cache.sqlite", isolation_level=None),
        [
            "PRAGMA journal_mode=WAL",
            "PRAGMA synchronous=FULL",  # durable at each commit, as LMDB is
            "CREATE TABLE vectors (key BLOB PRIMARY KEY, value BLOB NOT NULL)",
        ],
    )


def duckdb_store(folder: Path) -> SqlStore:
    import duckdb

    return SqlStore(
        lambda: duckdb.connect(str(folder / "cache.duckdb")),
        ["SET threads = 1", "CREATE TABLE vectors (key BLOB PRIMARY KEY, value BLOB NOT NULL)"],
    )


@dataclass(frozen=True)
class Measured:
    get_median_us: float
    get_p99_us: float
    put_batch_ms: float
    scan_rows_s: float
    megabytes: float


def measure(open_store: Callable[[Path], Store], rows: dict[str, np.ndarray], asked: list[str]) -> Measured:
    """Fill a new store batch by batch, look up ``asked``, scan it whole, close it and weigh it."""
    names = list(rows)
    with tempfile.TemporaryDirectory() as place:
        store = open_store(Path(place))
        put_s = []
        for start in range(0, len(names), BATCH_ROWS):
            batch = {name: rows[name] for name in names[start : start + BATCH_ROWS]}
            began = perf_counter()
            store.put_many(batch)
            put_s.append(perf_counter() - began)
        get_s = []
        for name in asked:
            began = perf_counter()
            found = store.get(name)
            get_s.append(perf_counter() - began)
            assert found is not None
            assert np.array_equal(found, rows[name])
        began = perf_counter()
        scanned = sum(1 for _ in store.scan())
        scan_s = perf_counter() - began
        assert scanned == len(rows)
        store.close()
        size = sum(file.stat().st_size for file in Path(place).rglob("*") if file.is_file())
    return Measured(
        get_median_us=statistics.median(get_s) * 1e6,
        get_p99_us=float(np.quantile(get_s, 0.99)) * 1e6,
        put_batch_ms=statistics.median(put_s) * 1e3,
        scan_rows_s=scanned / scan_s,
        megabytes=size / 1e6,
    )


def machine() -> str:
    """The processor and its number of cores, by name."""
    lines = Path("/proc/cpuinfo").read_text().splitlines() if Path("/proc/cpuinfo").exists() else []
    model = next((line.split(":")[1].strip() for line in lines if line.startswith("model name")), "")
    system = f"{platform.platform()}, Python {platform.python_version()}"
    return f"{model or platform.processor()}, {os.cpu_count()} cores, {system}"


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rows", type=int, default=20_000)
    parser.add_argument("--dim", type=int, default=512)
    arguments = parser.parse_args()
    rng = np.random.default_rng(0)
    rows = {
        rng.bytes(32).hex(): rng.standard_normal((1, arguments.dim), dtype=np.float32)
        for _ in range(arguments.rows)
    }
    asked = [str(name) for name in rng.choice(list(rows), size=LOOK_UPS)]

    stores = {"LMDB": LmdbStore, "SQLite": sqlite_store, "DuckDB": duckdb_store}
    results = {name: measure(store, rows, asked) for name, store in stores.items()}
    ours = results["LMDB"]
    print(f"{arguments.rows} vectors of {arguments.dim} float32 on {machine()}.")
    print(f"Each batch of {BATCH_ROWS} is durable. In brackets, how many times worse than LMDB.\n")
    print("| store | look-up median, µs | look-up p99, µs | put a batch, ms | scan, rows/s | on disk, MB |")
    print("|---|--:|--:|--:|--:|--:|")
    for name, it in results.items():
        print(
            f"| {name} | {it.get_median_us:.0f} ({it.get_median_us / ours.get_median_us:.1f}) "
            f"| {it.get_p99_us:.0f} ({it.get_p99_us / ours.get_p99_us:.1f}) "
            f"| {it.put_batch_ms:.1f} ({it.put_batch_ms / ours.put_batch_ms:.1f}) "
            f"| {it.scan_rows_s:.0f} ({ours.scan_rows_s / it.scan_rows_s:.1f}) "
            f"| {it.megabytes:.0f} ({it.megabytes / ours.megabytes:.1f}) |"
        )


if __name__ == "__main__":
    main()
