"""The embedding cache: its promises about rows, crashes, damage and full disks, against the real thing."""

import contextlib
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from hashlib import sha256
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from fairbrush.embedding import cache_env
from fairbrush.embedding.cache import EmbeddingCache, VerifyResult
from fairbrush.embedding.cache_file import check_before_mapping
from fairbrush.errors import CacheDamagedError, CacheError, CacheFullError

SOURCE = Path(__file__).parents[2] / "src"
ENCODER, VARIANT = "ViT-B-32/openai", "torch-fp32"
DIM = 512
NOON = datetime(2026, 1, 2, 12, tzinfo=UTC)
LATER = datetime(2026, 1, 3, 12, tzinfo=UTC)


def image(name: object) -> str:
    return sha256(str(name).encode()).hexdigest()


def vector(name: object, *, k: int = 1, dim: int = DIM) -> np.ndarray:
    """The vectors anyone can recompute for an image's name."""
    seed = int.from_bytes(sha256(str(name).encode()).digest()[:8], "little")
    return np.random.default_rng(seed).standard_normal((k, dim), dtype=np.float32)


def batch(names: range) -> dict[str, np.ndarray]:
    return {image(name): vector(name) for name in names}


@contextlib.contextmanager
def filled(folder: Path, names: range) -> Iterator[EmbeddingCache]:
    with EmbeddingCache.open(folder) as cache:
        cache.space(ENCODER, VARIANT).put_many(batch(names), now=NOON)
        yield cache


def python(code: str, *arguments: object, **options: object) -> subprocess.Popen[str]:
    """Another process, with this file's helpers and ``argv`` at hand."""
    head = "import sys; from pathlib import Path; from test_cache import *; argv = sys.argv[1:]\n"
    environment = os.environ | {
        "PYTHONPATH": os.pathsep.join([str(SOURCE), str(Path(__file__).parent)]),
        "OMP_NUM_THREADS": "1",
        "PYTHONDONTWRITEBYTECODE": "1",
    }
    return subprocess.Popen(
        [sys.executable, "-c", head + code, *map(str, arguments)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=environment,
        **options,
    )


def run(code: str, *arguments: object, **options: object) -> str:
    process = python(code, *arguments, **options)
    out, err = process.communicate(timeout=60)
    assert process.returncode == 0, f"exit {process.returncode}: {err}"
    return out


def corrupt_row(folder: Path, name: object) -> None:
    """Flip one byte in the middle of a row's vectors, in the file itself."""
    file = folder / "data.mdb"
    content = bytearray(file.read_bytes())
    place = content.index(vector(name).tobytes())
    content[place + 1000] ^= 0x10
    file.write_bytes(content)


# ---- rows


@settings(max_examples=25, deadline=None)
@given(
    rows=st.dictionaries(
        st.binary(min_size=32, max_size=32).map(bytes.hex),
        st.integers(1, 3).flatmap(
            lambda k: hnp.arrays(
                np.float32, (k, 7), elements=st.floats(width=32, allow_nan=False, allow_infinity=False)
            )
        ),
        min_size=1,
        max_size=12,
    ),
    cut=st.integers(0, 12),
)
def test_what_was_put_is_got_and_scanned_bit_for_bit(rows: dict[str, np.ndarray], cut: int) -> None:
    names = list(rows)
    with tempfile.TemporaryDirectory() as folder, EmbeddingCache.open(Path(folder)) as cache:
        space = cache.space(ENCODER, VARIANT)
        for part in (names[:cut], names[cut:]):
            space.put_many({name: rows[name] for name in part})
        found = space.get_many(names)
        scanned = list(space.scan())
        assert {name: array.tobytes() for name, array in found.items()} == {
            name: array.tobytes() for name, array in rows.items()
        }
        assert [name for name, _ in scanned] == sorted(names)
        assert all(array.tobytes() == rows[name].tobytes() for name, array in scanned)
        assert space.missing(names) == []
        assert cache.verify().rows_checked == len(rows)


@settings(max_examples=15, deadline=None)
@given(st.lists(st.tuples(st.sampled_from("abc"), st.sampled_from("xy"), st.integers(0, 4)), max_size=20))
def test_the_first_vector_wins_and_spaces_are_isolated(puts: list[tuple[str, str, int]]) -> None:
    expected: dict[tuple[str, str], dict[str, float]] = {}
    with tempfile.TemporaryDirectory() as folder, EmbeddingCache.open(Path(folder)) as cache:
        for moment, (encoder, variant, number) in enumerate(puts):
            value = np.full((1, 3), moment, np.float32)
            cache.space(encoder, variant).put_many({image(number): value})
            expected.setdefault((encoder, variant), {}).setdefault(image(number), float(moment))
        for encoder in "abc":
            for variant in "xy":
                scanned = {name: float(rows[0, 0]) for name, rows in cache.space(encoder, variant).scan()}
                assert scanned == expected.get((encoder, variant), {})


def test_missing_keeps_the_order_and_names_each_image_once(tmp_path: Path) -> None:
    with filled(tmp_path, range(0, 3)) as cache:
        wanted = [image(n) for n in (9, 1, 8, 9, 2, 8)]
        assert cache.space(ENCODER, VARIANT).missing(wanted) == [image(9), image(8)]


def test_a_returned_array_is_the_callers_own(tmp_path: Path) -> None:
    with filled(tmp_path, range(1)) as cache:
        space = cache.space(ENCODER, VARIANT)
        taken = space.get(image(0))
        assert taken is not None
        taken += 1
        np.testing.assert_array_equal(space.get(image(0)), vector(0))
    np.testing.assert_array_equal(taken, vector(0) + 1)  # and it outlives the cache


def test_another_encoder_adds_rows_and_deletes_nothing(tmp_path: Path) -> None:
    with filled(tmp_path, range(4)) as cache:
        cache.space("other", VARIANT).put_many({image(0): vector("o", dim=8)}, now=LATER)
        np.testing.assert_array_equal(cache.space(ENCODER, VARIANT).get(image(0)), vector(0))
        counted = [(s.encoder_id, s.dim, s.images, s.vectors, s.first_written) for s in cache.info().spaces]
    assert counted == [(ENCODER, DIM, 4, 4, NOON), ("other", 8, 1, 1, LATER)]


def test_info_tells_images_from_vectors_and_the_first_write_from_the_last(tmp_path: Path) -> None:
    with EmbeddingCache.open(tmp_path) as cache:
        space = cache.space(ENCODER, VARIANT)
        space.put_many({image("a"): vector("a", k=1)}, now=NOON)
        space.put_many({image("b"): vector("b", k=5)}, now=LATER)
        info = cache.info()
    assert info.path == tmp_path
    assert info.bytes_on_disk == (tmp_path / "data.mdb").stat().st_size
    (only,) = info.spaces
    assert (only.images, only.vectors, only.first_written, only.last_written) == (2, 6, NOON, LATER)


def test_a_nan_is_refused_with_its_image_and_nothing_of_the_batch_is_stored(tmp_path: Path) -> None:
    rows = batch(range(3))
    rows[image(1)][0, 7] = np.nan
    with EmbeddingCache.open(tmp_path) as cache:
        with pytest.raises(CacheError, match=image(1)) as refused:
            cache.space(ENCODER, VARIANT).put_many(rows)
        assert refused.value.next_step
        assert list(cache.space(ENCODER, VARIANT).scan()) == []


def test_another_dim_for_the_same_encoder_is_refused(tmp_path: Path) -> None:
    with filled(tmp_path, range(1)) as cache:
        with pytest.raises(CacheError, match=r"has 512 dims .* gives 768; .* cache prune --encoder"):
            cache.space(ENCODER, VARIANT).put_many({image("x"): vector("x", dim=768)})
        assert cache.space(ENCODER, VARIANT).get(image("x")) is None


def test_the_map_grows_by_itself_while_another_process_reads(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cache_env, "FIRST_MAP_BYTES", 2**18)
    reader = """
cache_env.FIRST_MAP_BYTES = 2**18
with EmbeddingCache.open(Path(argv[0]), readonly=True) as cache:
    print("open", flush=True)
    sys.stdin.readline()
    print(sum(1 for _ in cache.space(ENCODER, VARIANT).scan()))
"""
    with filled(tmp_path, range(2)) as cache:
        process = python(reader, tmp_path, stdin=subprocess.PIPE)
        assert process.stdout is not None
        assert process.stdout.readline() == "open\n"
        scan = cache.space(ENCODER, VARIANT).scan()
        next(scan)
        cache.space(ENCODER, VARIANT).put_many(batch(range(600)))  # 2.4 MB in a map of 256 KiB
        next(scan)  # a scan in this process survives the growth too
        out, err = process.communicate("go\n", timeout=30)
    assert out == "600\n", err


def test_the_size_limit_names_the_folder_and_the_next_step_and_keeps_what_was_done(tmp_path: Path) -> None:
    with EmbeddingCache.open(tmp_path, max_bytes=2**20) as cache:
        space = cache.space(ENCODER, VARIANT)
        space.put_many(batch(range(100)))
        with pytest.raises(CacheFullError, match=str(tmp_path)) as full:
            space.put_many(batch(range(100, 400)))
        assert f"fairbrush cache prune --encoder ID --cache {tmp_path} " in str(full.value)
        assert space.missing(list(batch(range(100)))) == []
        assert len(space.missing(list(batch(range(100, 400))))) == 300
        assert cache.verify().is_sound
        assert cache.prune(encoder_id=ENCODER).rows_dropped == 100  # a full cache can be pruned
        cache.space("next", VARIANT).put_many(batch(range(100)))  # and its room is used again
        assert cache.info().bytes_on_disk <= 2**20 + 2**16


# ---- prune and forget


def test_prune_drops_what_it_was_told_to_and_nothing_else(tmp_path: Path) -> None:
    def spaces(cache: EmbeddingCache) -> dict[tuple[str, str], int]:
        return {(s.encoder_id, s.variant): s.images for s in cache.info().spaces}

    with EmbeddingCache.open(tmp_path) as cache:
        for encoder in ("a", "b", "c"):
            for variant in ("fp32", "fp16"):
                cache.space(encoder, variant).put_many(batch(range(5)))
        assert cache.prune().rows_dropped == 0
        assert cache.prune(encoder_id="a", variant="fp16").rows_dropped == 5
        assert spaces(cache)[("a", "fp32")] == 5
        assert cache.prune(variant="fp16").rows_dropped == 10
        assert spaces(cache) == {("a", "fp32"): 5, ("b", "fp32"): 5, ("c", "fp32"): 5}
        pruned = cache.prune(keep_encoders={"a", "b"})
        assert (pruned.rows_dropped, pruned.bytes_freed) == (5, 5 * (40 + 20 + 4 * DIM))
        assert pruned.reusable_bytes > 5 * 4 * DIM
        kept = {image(1), image(2)}
        assert cache.prune(images_not_in=kept).rows_dropped == 6
        assert spaces(cache) == {("a", "fp32"): 2, ("b", "fp32"): 2}
        assert {name for name, _ in cache.space("a", "fp32").scan()} == kept


def test_forget_drops_every_encoders_rows_of_an_image(tmp_path: Path) -> None:
    with filled(tmp_path, range(4)) as cache:
        cache.space("other", VARIANT).put_many({image(0): vector("o", dim=8)})
        assert cache.forget([image(0), image(2), image("never seen")]) == 3
        assert cache.space(ENCODER, VARIANT).missing([image(n) for n in range(4)]) == [image(0), image(2)]
        assert [s.encoder_id for s in cache.info().spaces] == [ENCODER]  # an empty space goes too


# ---- opening


def test_reading_an_absent_cache_creates_nothing_and_says_how_to_fill_it(tmp_path: Path) -> None:
    with pytest.raises(CacheError, match="fairbrush embed"):
        EmbeddingCache.open(tmp_path / "embeddings", readonly=True)
    assert not (tmp_path / "embeddings").exists()


def test_one_process_may_open_a_cache_twice_and_write_after_it_read(tmp_path: Path) -> None:
    with filled(tmp_path, range(2)):
        pass
    with EmbeddingCache.open(tmp_path, readonly=True) as reader:
        scan = reader.space(ENCODER, VARIANT).scan()
        next(scan)
        with EmbeddingCache.open(tmp_path) as writer:
            writer.space(ENCODER, VARIANT).put_many(batch(range(2, 4)))
        assert len(reader.space(ENCODER, VARIANT).get_many([image(n) for n in range(4)])) == 4
        with pytest.raises(AssertionError, match="read-only"):
            reader.space(ENCODER, VARIANT).put_many(batch(range(1)))


def test_a_deleted_folder_is_a_new_cache_even_while_the_old_one_is_open(tmp_path: Path) -> None:
    with filled(tmp_path / "embeddings", range(2)):
        shutil.rmtree(tmp_path / "embeddings")
        with filled(tmp_path / "embeddings", range(5, 6)) as fresh:
            assert [name for name, _ in fresh.space(ENCODER, VARIANT).scan()] == [image(5)]


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system has no fork")
def test_a_forked_child_cannot_use_an_inherited_cache_and_does_the_parent_no_harm(tmp_path: Path) -> None:
    code = """
with filled(Path(argv[0]), range(2)) as cache:
    child = os.fork()
    if child == 0:
        inherited = cache.space(ENCODER, VARIANT)
        for use in (lambda: inherited.get(image(0)), lambda: EmbeddingCache.open(Path(argv[0]))):
            try:
                use()
            except CacheError as error:
                print(error, flush=True)
        cache.close()
        os._exit(0)
    assert os.waitpid(child, 0)[1] == 0
    cache.space(ENCODER, VARIANT).put_many(batch(range(2, 3)))
    print(sorted(name for name, _ in cache.space(ENCODER, VARIANT).scan()) == sorted(batch(range(3))))
"""
    *told, complete = run(code, tmp_path).splitlines()
    assert len(told) == 2
    assert all("was open when this process was forked. Close it before the fork" in line for line in told)
    assert complete == "True"


@pytest.mark.skipif(
    not hasattr(os, "seteuid") or os.geteuid() != 0, reason="needs root to become another user"
)
@pytest.mark.parametrize("readonly", [False, True])
def test_a_folder_without_permission_is_refused_with_a_next_step(readonly: bool) -> None:
    code = """
os.seteuid(65534)
try:
    EmbeddingCache.open(Path(argv[0]), readonly=argv[1] == "True")
except CacheError as error:
    print(type(error).__name__, error)
"""
    with tempfile.TemporaryDirectory() as place:
        Path(place).chmod(0o755)
        folder = Path(place) / "embeddings"
        with filled(folder, range(1)):
            pass
        out = run(code, folder, readonly)
    assert out.startswith("CacheError")
    assert "Permission denied" in out
    assert "write permission on the folder" in out


# ---- many processes, and their death


def test_three_readers_see_only_whole_batches_while_a_writer_commits(tmp_path: Path) -> None:
    code = """
with EmbeddingCache.open(Path(argv[0]), readonly=True) as cache:
    space = cache.space(ENCODER, VARIANT)
    expected = batch(range(400))
    print("open", flush=True)
    while True:
        found = space.get_many(list(expected))
        assert len(found) % 40 == 0, len(found)
        assert all((expected[name] == vectors).all() for name, vectors in found.items())
        if len(found) == 400:
            break
print("all")
"""
    with filled(tmp_path, range(40)) as cache:
        readers = [python(code, tmp_path) for _ in range(3)]
        for reader in readers:
            assert reader.stdout is not None
            assert reader.stdout.readline() == "open\n"
        for start in range(40, 400, 40):
            cache.space(ENCODER, VARIANT).put_many(batch(range(start, start + 40)))
        for reader in readers:
            out, err = reader.communicate(timeout=30)
            assert (reader.returncode, out) == (0, "all\n"), err


def test_a_writer_killed_at_any_moment_loses_no_batch_it_acknowledged(tmp_path: Path) -> None:
    code = """
import itertools
with EmbeddingCache.open(Path(argv[0])) as cache:
    space = cache.space(ENCODER, VARIANT)
    for number in itertools.count(int(argv[1])):
        space.put_many(batch(range(number * 20, number * 20 + 20)))
        print(number, flush=True)
"""
    acknowledged: list[int] = []
    for kill_round in range(4):
        writer = python(code, tmp_path, kill_round * 10_000)
        assert writer.stdout is not None
        lines = [writer.stdout.readline() for _ in range(3 + 4 * kill_round)]
        writer.send_signal(signal.SIGKILL)
        rest, _ = writer.communicate(timeout=30)
        acknowledged += [int(line) for line in lines + rest.splitlines()]
        with EmbeddingCache.open(tmp_path) as cache:  # the dead writer's lock does not hold us
            space = cache.space(ENCODER, VARIANT)
            space.put_many(batch(range(-kill_round - 1, -kill_round)))
            assert cache.verify().is_sound
            for number in acknowledged:
                for name in range(number * 20, number * 20 + 20):
                    np.testing.assert_array_equal(space.get(image(name)), vector(name))
            unfinished = [image(n) for n in range((acknowledged[-1] + 1) * 20, (acknowledged[-1] + 2) * 20)]
            assert len(space.missing(unfinished)) in (0, 20)


def test_a_reader_killed_in_the_middle_leaves_no_slot_behind(tmp_path: Path) -> None:
    code = """
import time
with EmbeddingCache.open(Path(argv[0]), readonly=True) as cache:
    cache._environment.read(lambda *_: (print("in", flush=True), time.sleep(60)))
"""
    with filled(tmp_path, range(2)) as cache:
        reader = python(code, tmp_path)
        assert reader.stdout is not None
        assert reader.stdout.readline() == "in\n"
        pid = str(reader.pid)
        assert pid in cache._environment._env.readers()
        reader.kill()
        reader.communicate()
    with EmbeddingCache.open(tmp_path) as cache:
        assert pid not in cache._environment._env.readers()


# ---- damage


def test_a_damaged_row_is_a_miss_that_put_repairs_and_the_others_stay(tmp_path: Path) -> None:
    with filled(tmp_path, range(5)):
        pass
    corrupt_row(tmp_path, 3)
    with EmbeddingCache.open(tmp_path) as cache:
        space = cache.space(ENCODER, VARIANT)
        (found,) = cache.verify().damaged
        assert (found.sha256, found.encoder_id, found.variant) == (image(3), ENCODER, VARIANT)
        assert found.what == "the checksum does not match the vectors"
        assert space.get(image(3)) is None
        assert space.damaged_reads == 1
        assert space.missing([image(n) for n in range(5)]) == [image(3)]
        assert sorted(name for name, _ in space.scan()) == sorted(image(n) for n in (0, 1, 2, 4))
        space.put_many(batch(range(5)))
        np.testing.assert_array_equal(space.get(image(3)), vector(3))
        assert cache.verify().is_sound


def test_prune_drops_the_damaged_rows(tmp_path: Path) -> None:
    with filled(tmp_path, range(5)):
        pass
    corrupt_row(tmp_path, 3)
    with EmbeddingCache.open(tmp_path) as cache:
        assert cache.prune(damaged=True).rows_dropped == 1
        verified = cache.verify()
    assert (verified.rows_checked, verified.is_sound) == (4, True)


def test_a_row_under_another_images_key_fails_its_checksum(tmp_path: Path) -> None:
    with filled(tmp_path, range(2)):
        pass
    file = tmp_path / "data.mdb"
    file.write_bytes(file.read_bytes().replace(bytes.fromhex(image(0)), bytes.fromhex(image(0))[:-1] + b"\0"))
    moved = image(0)[:-2] + "00"
    with EmbeddingCache.open(tmp_path) as cache:
        assert cache.space(ENCODER, VARIANT).get(moved) is None
        assert [row.sha256 for row in cache.verify().damaged] == [moved]


def test_a_damaged_record_names_the_way_out_and_put_writes_it_anew(tmp_path: Path) -> None:
    with filled(tmp_path, range(2)):
        pass
    file = tmp_path / "data.mdb"
    file.write_bytes(file.read_bytes().replace(b'"variant": "torch', b'"variant": "tarch'))
    with EmbeddingCache.open(tmp_path) as cache:
        assert not cache.verify().is_sound
        with pytest.raises(CacheDamagedError, match=f"cache prune --damaged --cache {tmp_path}$"):
            cache.info()
        np.testing.assert_array_equal(cache.space(ENCODER, VARIANT).get(image(1)), vector(1))
        assert cache.prune(damaged=True).rows_dropped == 2
        assert cache.info().spaces == ()


def _garbage(file: Path) -> None:
    file.write_bytes(b"this was never a cache" * 1000)


def _first_meta_page(file: Path) -> None:
    file.write_bytes(bytes(4096) + file.read_bytes()[4096:])


def _both_meta_roots(file: Path) -> None:
    content = bytearray(file.read_bytes())
    for page in (0, 4096):
        content[page + 128 : page + 136] = (10**6).to_bytes(8, "little")
    file.write_bytes(content)


def _half_the_file(file: Path) -> None:
    os.truncate(file, file.stat().st_size // 2 // 4096 * 4096)


def _one_page_less(file: Path) -> None:
    os.truncate(file, file.stat().st_size - 4096)


def _inside_a_meta_page(file: Path) -> None:
    os.truncate(file, 4096 + 60)


@pytest.mark.parametrize(
    "damage",
    [_garbage, _first_meta_page, _both_meta_roots, _half_the_file, _one_page_less, _inside_a_meta_page],
)
def test_a_file_that_cannot_be_trusted_is_refused_before_it_is_mapped(
    tmp_path: Path, damage: Callable[[Path], None]
) -> None:
    code = """
for readonly in (False, True):
    try:
        EmbeddingCache.open(Path(argv[0]), readonly=readonly)
    except CacheDamagedError as error:
        print(error.message, "|", error.next_step)
"""
    with filled(tmp_path, range(60)):
        pass
    damage(tmp_path / "data.mdb")
    before = (tmp_path / "data.mdb").read_bytes()
    writing, reading = run(code, tmp_path).splitlines()
    assert writing == reading
    message, next_step = reading.split(" | ")
    assert str(tmp_path / "data.mdb") in message
    assert f"Delete data.mdb and lock.mdb in {tmp_path}" in next_step
    assert "nothing else is lost" in next_step
    assert (tmp_path / "data.mdb").read_bytes() == before  # refused, never repaired silently


def test_a_file_that_is_short_of_free_pages_only_is_sound(tmp_path: Path) -> None:
    import lmdb

    # LMDB does not write the pages that a transaction both took and gave back: such a file ends early.
    with lmdb.open(str(tmp_path), max_dbs=1, map_size=2**26, sync=False) as environment:
        rows = environment.open_db(b"rows")
        page_bytes = environment.stat()["psize"]
        rng = np.random.default_rng(1)
        keys: list[bytes] = []
        shortest = 0
        for _ in range(300):
            with environment.begin(write=True, db=rows) as transaction:
                for _ in range(int(rng.integers(1, 60))):
                    keys.append(rng.bytes(40))
                    transaction.put(keys[-1], rng.bytes(2068))
                for _ in range(int(rng.integers(0, 60))):
                    if keys:
                        transaction.delete(keys.pop(int(rng.integers(len(keys)))))
            expected = (environment.info()["last_pgno"] + 1) * page_bytes
            shortest = min(shortest, (tmp_path / "data.mdb").stat().st_size - expected)
            check_before_mapping(tmp_path / "data.mdb")
    assert shortest < 0, "the workload made no short file: it tests nothing"


def test_verify_reports_a_broken_tree_without_dying_of_it(tmp_path: Path) -> None:
    with filled(tmp_path, range(300)):
        pass
    file = tmp_path / "data.mdb"
    content = bytearray(file.read_bytes())
    # Every pointer to an overflow page, in the leaf that holds the key, becomes one far beyond the file.
    place = content.index(bytes.fromhex(image(7))) + 32
    content[place : place + 8] = (2**40).to_bytes(8, "little")
    file.write_bytes(content)
    code = """
with EmbeddingCache.open(Path(argv[0])) as cache:
    print(cache.verify().structure)
    try:
        cache.space(ENCODER, VARIANT).get(image(7))
    except CacheDamagedError as error:
        print(error)
"""
    structure, error = run(code, tmp_path).splitlines()
    assert "overflow" in structure
    assert f"Delete data.mdb and lock.mdb in {tmp_path}" in error


# ---- a full disk


FILL_UNTIL_FULL = """
import itertools
with EmbeddingCache.open(Path(argv[0])) as cache:
    space = cache.space(ENCODER, VARIANT)
    try:
        for number in itertools.count():
            space.put_many(batch(range(number * 20, number * 20 + 20)))
    except CacheFullError as error:
        print(error.message, "|", error.next_step, "|", number)
    assert space.missing(list(batch(range(number * 20)))) == []
    assert len(space.missing(list(batch(range(number * 20, number * 20 + 20))))) == 20
"""


def _full_disk_is_clear_and_loses_nothing(folder: Path, told: str) -> None:
    message, next_step, batches = told.split(" | ")
    assert "No room on the disk" in message
    assert str(folder) in message
    assert "needs about 81920 bytes" in message
    assert "goes on where it stopped" in next_step
    with EmbeddingCache.open(folder, readonly=True) as cache:
        assert cache.verify().is_sound
        assert cache.verify().rows_checked == int(batches) * 20 > 0


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A real file system of 2 MB."""
    disk = tmp_path / "disk"
    disk.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=2m", "fairbrush-test", str(disk)]
    if not shutil.which("mount") or subprocess.run(mount, capture_output=True).returncode:
        pytest.skip("mounting a small file system is not permitted here")
    yield disk
    subprocess.run(["umount", str(disk)], check=True)


def test_a_full_disk_says_so_and_loses_nothing_that_was_done(small_disk: Path) -> None:
    folder = small_disk / "embeddings"
    _full_disk_is_clear_and_loses_nothing(folder, run(FILL_UNTIL_FULL, folder))


def test_a_full_disk_that_gets_room_goes_on_where_it_stopped(small_disk: Path) -> None:
    (small_disk / "ballast").write_bytes(bytes(2**20))
    with EmbeddingCache.open(small_disk / "embeddings") as cache:
        space = cache.space(ENCODER, VARIANT)
        wanted = batch(range(300))

        def embed_what_is_missing() -> None:
            names = space.missing(wanted)
            for start in range(0, len(names), 20):
                space.put_many({name: wanted[name] for name in names[start : start + 20]})

        with pytest.raises(CacheFullError):
            embed_what_is_missing()
        assert 0 < len(space.missing(wanted)) < 300
        (small_disk / "ballast").unlink()
        embed_what_is_missing()
        assert space.missing(wanted) == []
        assert cache.verify().is_sound


def test_no_room_even_for_an_empty_cache_is_an_error_and_not_a_crash(small_disk: Path) -> None:
    with contextlib.suppress(OSError), (small_disk / "ballast").open("wb", buffering=0) as ballast:
        while ballast.write(bytes(4096)):
            pass
    code = """
try:
    EmbeddingCache.open(Path(argv[0]))
except CacheFullError as error:
    print(error)
"""
    assert "No room on the disk" in run(code, small_disk / "embeddings")


def test_a_read_only_file_system_is_read_and_refuses_a_writer(small_disk: Path) -> None:
    with filled(small_disk / "embeddings", range(2)):
        pass
    subprocess.run(["mount", "-o", "remount,ro", str(small_disk)], check=True)
    with EmbeddingCache.open(small_disk / "embeddings", readonly=True) as cache:
        with pytest.raises(CacheError, match="Read-only file system"):
            EmbeddingCache.open(small_disk / "embeddings")
        np.testing.assert_array_equal(cache.space(ENCODER, VARIANT).get(image(1)), vector(1))


@pytest.mark.skipif(sys.platform == "win32", reason="this system has no limit on a process's files")
def test_a_limit_on_file_sizes_is_a_full_disk_too(tmp_path: Path) -> None:
    limit = "import resource; resource.setrlimit(resource.RLIMIT_FSIZE, (1_000_000, 1_000_000))\n"
    _full_disk_is_clear_and_loses_nothing(tmp_path, run(limit + FILL_UNTIL_FULL, tmp_path))


# ---- wiping


@pytest.mark.parametrize("dim", [16, 700])
def test_a_wiped_cache_holds_no_byte_of_a_forgotten_image(tmp_path: Path, dim: int) -> None:
    """Rows inside pages (16 dims) and on pages of their own (700), forgotten one by one and in stretches."""
    names = sorted((image(number) for number in range(2000)), key=bytes.fromhex)
    luck = np.random.default_rng(5)
    rows = {name: luck.standard_normal((1, dim), np.float32) for name in names}
    gone = {*names[::7], *names[1000:1300]}
    with EmbeddingCache.open(tmp_path) as cache:
        space = cache.space(ENCODER, VARIANT)
        for start in range(0, len(names), 500):
            space.put_many({name: rows[name] for name in names[start : start + 500]})
        cache.forget(gone)
        held = (tmp_path / "data.mdb").read_bytes()
        assert any(bytes.fromhex(name) in held for name in gone), "else this shows nothing"
        wiped = cache.wipe()
        again = cache.wipe()
        assert cache.verify().is_sound
        left = dict(space.scan())
    assert left.keys() == {*names} - gone
    assert all(np.array_equal(left[name], rows[name]) for name in left)
    held = (tmp_path / "data.mdb").read_bytes()
    assert not [name for name in gone if bytes.fromhex(name) in held]
    assert not [name for name in gone if rows[name].tobytes()[:24] in held]
    assert wiped.bytes_after == len(held) or wiped.bytes_after <= again.bytes_after == len(held)
    assert again.bytes_after - wiped.bytes_after < 2**19, "it does not double each time"


def test_a_cache_is_wiped_while_others_read_and_write_it(tmp_path: Path) -> None:
    code = """
import time
with EmbeddingCache.open(Path(argv[0])) as cache:
    space = cache.space(ENCODER, VARIANT)
    print("open", flush=True)
    for number in range(1000, 1000 + 60):
        space.put_many(batch(range(number, number + 1)))
        assert not space.missing(list(batch(range(1000, number + 1))))
        time.sleep(0.01)
"""
    with filled(tmp_path, range(200)) as cache:
        other = python(code, tmp_path)
        assert other.stdout is not None
        assert other.stdout.readline() == "open\n"
        gone = [image(number) for number in range(50)]
        cache.forget(gone)
        rounds = 0
        while other.poll() is None:
            cache.wipe()
            rounds += 1
        assert (other.communicate(), other.returncode, rounds > 1) == (("", ""), 0, True)
        cache.wipe()
        assert cache.verify().is_sound
        assert {name for name, _ in cache.space(ENCODER, VARIANT).scan()} == {
            *batch(range(50, 200)),
            *batch(range(1000, 1060)),
        }
    held = (tmp_path / "data.mdb").read_bytes()
    assert not [name for name in gone if bytes.fromhex(name) in held]


def test_a_wipe_killed_anywhere_loses_nothing(tmp_path: Path) -> None:
    code = """
with EmbeddingCache.open(Path(argv[0])) as cache:
    print("open", flush=True)
    while True:
        cache.wipe()
"""
    with filled(tmp_path, range(2000)):
        pass
    for pause_s in (0.0, 0.03, 0.06, 0.1, 0.15, 0.2):
        with python(code, tmp_path) as other:
            assert other.stdout is not None
            assert other.stdout.readline() == "open\n"
            time.sleep(pause_s)
            other.kill()
        with EmbeddingCache.open(tmp_path) as cache:
            assert cache.verify() == VerifyResult(2000, (), ())
    with EmbeddingCache.open(tmp_path) as cache:
        cache.wipe()
        assert cache.verify() == VerifyResult(2000, (), ())
