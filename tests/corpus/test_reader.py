"""Reading through worker processes: real files, real limits, real kills."""

import io
import json
import os
import signal
import struct
import subprocess
import sys
import textwrap
import threading
import time
import zlib
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from fairbrush.corpus.images import DecodedImage, ImageLimits, Refusal, RefusalReason, decode_image
from fairbrush.corpus.reader import ImageReader

posix_only = pytest.mark.skipif(sys.platform == "win32", reason="signals and memory limits are POSIX")
linux_only = pytest.mark.skipif(sys.platform != "linux", reason="looks for processes in /proc")


@pytest.fixture(scope="module")
def reader() -> Iterator[ImageReader]:
    with ImageReader(ImageLimits(), workers=2) as opened:
        yield opened


def write_noise(path: Path, width: int = 40, height: int = 30, seed: int = 0) -> Path:
    pixels = np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(path)
    return path


def read_one(reader: ImageReader, path: Path) -> DecodedImage | Refusal:
    [(same_path, outcome)] = reader.read([path])
    assert same_path == path
    return outcome


def is_running(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def worker_pids(parent_pid: int) -> list[int]:
    stats = [path.read_text() for path in Path("/proc").glob("[0-9]*/stat") if path.exists()]
    fields = [(int(stat.split()[0]), stat.rpartition(")")[2].split()) for stat in stats]
    return [pid for pid, (state, parent, *_) in fields if int(parent) == parent_pid and state != "Z"]


def test_images_come_in_input_order_as_decoded_here(tmp_path: Path, reader: ImageReader) -> None:
    paths = [
        write_noise(tmp_path / f"{seed}.png", 1500 if seed % 3 == 0 else 20, 11 + seed, seed)
        for seed in range(12)
    ]
    outcomes = list(reader.read(paths))
    assert [path for path, _ in outcomes] == paths
    for path, outcome in outcomes:
        expected = decode_image(path.read_bytes(), ImageLimits())
        assert isinstance(outcome, DecodedImage)
        np.testing.assert_array_equal(outcome.pixels, expected.pixels)
        assert (outcome.sha256, outcome.format) == (expected.sha256, "PNG")
        assert (outcome.original_width, outcome.original_height) == (
            expected.original_width,
            expected.original_height,
        )
        assert outcome.pixels.flags.writeable, "torch.from_numpy warns otherwise"


def test_every_bad_file_has_its_reason_and_the_good_ones_are_read(
    tmp_path: Path, reader: ImageReader
) -> None:
    good = write_noise(tmp_path / "good.png")
    (tmp_path / "empty.png").touch()
    (tmp_path / "drawing.png").write_text("<svg/>")
    (tmp_path / "cut.png").write_bytes(good.read_bytes()[:-20])
    damaged = bytearray(good.read_bytes())
    damaged[100] ^= 1
    (tmp_path / "damaged.png").write_bytes(damaged)
    os.mkfifo(tmp_path / "fifo.png")
    reasons = {
        tmp_path / "absent.png": RefusalReason.MISSING,
        tmp_path: RefusalReason.NOT_A_FILE,
        tmp_path / "fifo.png": RefusalReason.NOT_A_FILE,
        tmp_path / "empty.png": RefusalReason.EMPTY,
        tmp_path / "drawing.png": RefusalReason.UNSUPPORTED,
        tmp_path / "cut.png": RefusalReason.TRUNCATED,
        tmp_path / "damaged.png": RefusalReason.CORRUPT,
    }
    paths = [path for bad in reasons for path in (bad, good)]
    for path, outcome in reader.read(paths):
        if path == good:
            assert isinstance(outcome, DecodedImage)
        else:
            assert isinstance(outcome, Refusal)
            assert (outcome.path, outcome.reason) == (path, reasons[path])


@pytest.mark.parametrize("name", ["with space.png", "naïve 画像.png", "new\nline.png", 'quo"te.png'])
def test_any_file_name_is_read(tmp_path: Path, reader: ImageReader, name: str) -> None:
    assert isinstance(read_one(reader, write_noise(tmp_path / name)), DecodedImage)


@linux_only
def test_file_name_that_is_not_utf8_is_read(tmp_path: Path, reader: ImageReader) -> None:
    path = Path(os.fsdecode(os.fsencode(tmp_path) + b"/\xff\xfe.png"))
    assert isinstance(read_one(reader, write_noise(tmp_path / "x.png").rename(path)), DecodedImage)


def test_relative_path_follows_this_process(
    tmp_path: Path, reader: ImageReader, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_noise(tmp_path / "here.png")
    monkeypatch.chdir(tmp_path)
    assert isinstance(read_one(reader, Path("here.png")), DecodedImage)


def test_paths_are_taken_lazily(tmp_path: Path, reader: ImageReader) -> None:
    path = write_noise(tmp_path / "x.png")
    taken: list[int] = []

    def endless() -> Iterator[Path]:
        while True:
            taken.append(1)
            yield path

    outcomes = reader.read(endless())
    for _ in range(3):
        next(outcomes)
    assert len(taken) <= 3 + 2 * 8, "two workers look eight images ahead each"
    outcomes.close()
    assert isinstance(read_one(reader, path), DecodedImage), "an abandoned reading leaves the reader usable"


def large_png(path: Path, side: int) -> Path:
    """A tiny file of many pixels, within the pixel limit."""

    def chunk(name: bytes, body: bytes) -> bytes:
        return struct.pack(">I", len(body)) + name + body + struct.pack(">I", zlib.crc32(name + body))

    deflate = zlib.compressobj(9)
    rows = deflate.compress(bytes(side * (4 * side + 1))) + deflate.flush()
    header = chunk(b"IHDR", struct.pack(">IIBBBBB", side, side, 8, 6, 0, 0, 0))
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + header + chunk(b"IDAT", rows) + chunk(b"IEND", b""))
    return path


def only_worker(others: set[int]) -> int:
    [pid] = set(worker_pids(os.getpid())) - others
    return pid


@linux_only
def test_image_over_the_time_limit_is_out_of_time_and_the_next_is_read(tmp_path: Path) -> None:
    path = write_noise(tmp_path / "x.png", 4, 4)
    others = set(worker_pids(os.getpid()))
    with ImageReader(replace(ImageLimits(), timeout_s=1)) as reader:
        assert isinstance(read_one(reader, path), DecodedImage)
        os.kill(only_worker(others), signal.SIGSTOP)  # it never answers
        outcomes = [outcome for _, outcome in reader.read([path, path])]
    assert isinstance(outcomes[0], Refusal)
    assert outcomes[0].reason is RefusalReason.OUT_OF_TIME
    assert "1 s" in outcomes[0].detail
    assert isinstance(outcomes[1], DecodedImage)


@linux_only
def test_worker_idle_for_longer_than_the_time_limit_is_still_there(tmp_path: Path) -> None:
    path = write_noise(tmp_path / "x.png")
    with ImageReader(replace(ImageLimits(), timeout_s=1)) as reader:
        read_one(reader, path)
        workers = worker_pids(os.getpid())
        time.sleep(2.2)
        assert isinstance(read_one(reader, path), DecodedImage)
        assert worker_pids(os.getpid()) == workers


@linux_only
def test_image_over_the_memory_limit_is_out_of_memory_and_the_next_is_read(tmp_path: Path) -> None:
    large, small = large_png(tmp_path / "large.png", 3000), write_noise(tmp_path / "small.png")
    with ImageReader(replace(ImageLimits(), memory_bytes=40_000_000)) as reader:
        outcomes = [outcome for _, outcome in reader.read([small, large, small])]
    assert isinstance(outcomes[0], DecodedImage)
    assert isinstance(outcomes[1], Refusal)
    assert outcomes[1].reason is RefusalReason.OUT_OF_MEMORY
    assert isinstance(outcomes[2], DecodedImage)


@linux_only
@pytest.mark.parametrize("image_format", ["JPEG", "WEBP", "GIF", "BMP", "TIFF"])
def test_every_codec_reports_memory_as_memory(tmp_path: Path, image_format: str) -> None:
    path = tmp_path / "large"
    options = {"compression": "tiff_lzw"} if image_format == "TIFF" else {}
    Image.new("RGB", (3000, 3000)).save(path, image_format, **options)
    # working_side as large as the image: a JPEG is not made small while decoding
    limits = replace(ImageLimits(), memory_bytes=8_000_000, working_side=3000)
    with ImageReader(limits) as reader:
        outcome = read_one(reader, path)
    assert isinstance(outcome, Refusal)
    assert outcome.reason is RefusalReason.OUT_OF_MEMORY, outcome.detail


@linux_only
def test_killed_worker_costs_one_image_and_is_replaced(tmp_path: Path) -> None:
    path = write_noise(tmp_path / "x.png")
    others = set(worker_pids(os.getpid()))
    with ImageReader(ImageLimits()) as reader:
        read_one(reader, path)
        pid = only_worker(others)
        os.kill(pid, signal.SIGSTOP)  # it is at work on the image until it is killed
        killer = threading.Timer(0.1, os.kill, (pid, signal.SIGKILL))
        killer.start()
        outcomes = [outcome for _, outcome in reader.read([path, path])]
        killer.join()
    assert isinstance(outcomes[0], Refusal)
    assert outcomes[0].reason is RefusalReason.WORKER_DIED
    assert "-9" in outcomes[0].detail
    assert isinstance(outcomes[1], DecodedImage)


@linux_only
def test_no_worker_is_left_after_the_reader(tmp_path: Path) -> None:
    path = write_noise(tmp_path / "x.png")
    before = worker_pids(os.getpid())
    with ImageReader(ImageLimits(), workers=2) as reader:
        next(reader.read([path] * 10))
        assert len(worker_pids(os.getpid())) == len(before) + 2
    assert worker_pids(os.getpid()) == before


PROGRAM = """
    import sys
    from pathlib import Path
    from fairbrush.corpus.images import ImageLimits
    from fairbrush.corpus.reader import ImageReader
    print("main", __name__, file=sys.stderr)
    with ImageReader(ImageLimits(), workers=2) as reader:
        for path, outcome in reader.read(Path(sys.argv[1]) for _ in range(int(sys.argv[2]))):
            print(outcome.pixels.shape, flush=True)
"""


def start_program(folder: Path, image: Path, n_images: int, how: str) -> subprocess.Popen[str]:
    script = folder / "program"
    script.write_text(textwrap.dedent(PROGRAM))
    (folder / "program_module.py").write_text(textwrap.dedent(PROGRAM))
    started_as = {"console script": [str(script)], "module": ["-m", "program_module"]}[how]
    return subprocess.Popen(
        [sys.executable, *started_as, str(image), str(n_images)],
        cwd=folder,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(path for path in sys.path if path)},
        process_group=0,
    )


@posix_only
@pytest.mark.parametrize("how", ["console script", "module"])
def test_workers_do_not_run_the_main_program_again(tmp_path: Path, how: str) -> None:
    # no `if __name__ == "__main__"` in the program: spawning would run it without end
    program = start_program(tmp_path, write_noise(tmp_path / "x.png"), 2, how)
    output, talk = program.communicate(timeout=20)
    assert output.splitlines() == ["(30, 40, 3)"] * 2
    assert talk == "main __main__\n"
    assert program.returncode == 0


@linux_only
@pytest.mark.parametrize("sent", [signal.SIGINT, signal.SIGKILL])
def test_interrupted_program_ends_at_once_and_leaves_no_worker(tmp_path: Path, sent: signal.Signals) -> None:
    program = start_program(tmp_path, large_png(tmp_path / "x.png", 2000), 1000, "console script")
    assert program.stdout is not None
    assert program.stdout.readline() == "(1024, 1024, 3)\n"
    workers = worker_pids(program.pid)
    assert len(workers) == 2
    os.killpg(program.pid, sent)
    _, talk = program.communicate(timeout=5)
    assert talk.count("Traceback") == (1 if sent is signal.SIGINT else 0), "the program's own and no other"
    deadline = time.monotonic() + 3
    while any(is_running(pid) for pid in workers):
        assert time.monotonic() < deadline
        time.sleep(0.02)


def test_importing_the_reader_is_cheap() -> None:
    program = (
        "import sys, json, fairbrush.corpus.reader;"
        "heavy = {'PIL', 'numpy', 'pebble', 'multiprocessing', 'concurrent.futures', 'subprocess', 'torch'};"
        "print(json.dumps(sorted(heavy & set(sys.modules))))"
    )
    output = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    ).stdout
    assert json.loads(output) == []


def test_worker_never_imports_numpy() -> None:
    program = "import sys, fairbrush.corpus.decode_worker; print('numpy' in sys.modules)"
    output = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    ).stdout
    assert output == "False\n"


def test_pixels_are_those_of_the_bytes_that_were_hashed(tmp_path: Path, reader: ImageReader) -> None:
    path = tmp_path / "x.bmp"
    buffer = io.BytesIO()
    Image.new("RGB", (3, 2), (10, 20, 30)).save(buffer, "BMP")
    path.write_bytes(buffer.getvalue())
    outcome = read_one(reader, path)
    assert isinstance(outcome, DecodedImage)
    assert outcome.sha256 == decode_image(buffer.getvalue(), ImageLimits()).sha256
    np.testing.assert_array_equal(outcome.pixels, np.full((2, 3, 3), (10, 20, 30)))
