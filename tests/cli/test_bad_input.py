"""Bad input, a full disk, Ctrl-C, a kill: a clear word, the right exit code, and nothing done is lost."""

import ctypes
import os
import resource
import shutil
import signal
import struct
import subprocess
import sys
import time
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from running import Fairbrush, rows_in, wait_until

CAP_DAC_OVERRIDE, CAP_DAC_READ_SEARCH, PR_CAPBSET_DROP = 1, 2, 24


def png_chunk(name: bytes, body: bytes) -> bytes:
    return struct.pack(">I", len(body)) + name + body + struct.pack(">I", zlib.crc32(name + body))


def png_of(side: int, body: bytes) -> bytes:
    header = png_chunk(b"IHDR", struct.pack(">IIBBBBB", side, side, 8, 2, 0, 0, 0))
    return b"\x89PNG\r\n\x1a\n" + header + png_chunk(b"IDAT", body) + png_chunk(b"IEND", b"")


BOMB = png_of(50_000, zlib.compress(b""))  # 68 bytes that promise 2.5 billion pixels
CORRUPT = png_of(64, bytes(range(256)))  # what should be a compressed stream is none


BAD_FILES: dict[str, tuple[Callable[[bytes], bytes], str, str]] = {
    "empty.png": (lambda _: b"", "empty", "Save or download it again."),
    "corrupt.png": (lambda _: CORRUPT, "corrupt", "Save it again as PNG."),
    "truncated.webp": (lambda whole: whole[: len(whole) // 2], "truncated", "Save or download it again."),
    "bomb.png": (lambda _: BOMB, "too many pixels", "Save a smaller copy."),
    "text.png": (lambda _: b"<html>404 not found</html>", "unsupported", "Convert it to PNG."),
    "drawing.svg": (
        lambda _: b"<svg xmlns='http://www.w3.org/2000/svg'/>",
        "unsupported",
        "Convert it to PNG.",
    ),
}


@pytest.mark.parametrize("name", BAD_FILES)
def test_a_bad_file_fails_alone(fairbrush: Fairbrush, cache: Path, art: list[Path], name: str) -> None:
    make, reason, next_step = BAD_FILES[name]
    bad = art[0].with_name(name)
    bad.write_bytes(make(art[0].read_bytes()))
    ran = fairbrush("embed", "art", "art/" + name, "--cache", cache, "--json")
    failed = [row for row in ran.json["images"] if row["status"] == "failed"]
    assert ran.code == 1
    assert [(row["path"], row["reason"]) for row in failed] == [(f"art/{name}", reason)]
    assert failed[0]["detail"].endswith(next_step)
    assert ran.stderr == f"failed: art/{name}: {reason}. {failed[0]['detail']}\n"
    assert ran.json["counts"]["new"] == rows_in(cache) == 4


def test_a_missing_file_fails_alone(fairbrush: Fairbrush, cache: Path, art: list[Path]) -> None:
    ran = fairbrush("embed", "~/nowhere.png", art[0], "--cache", cache)
    assert ran.code == 1
    assert ran.stderr == "failed: ~/nowhere.png: missing. There is no such file. Check the path.\n"
    assert rows_in(cache) == 1


def test_a_file_over_the_limit_names_the_limit(fairbrush: Fairbrush, cache: Path, art: list[Path]) -> None:
    ran = fairbrush("embed", art[0], "--cache", cache, env={"FAIRBRUSH_MAX_BYTES": "100"})
    assert ran.code == 1
    assert "the limit is 100. Save a smaller copy." in ran.stderr


def test_nothing_but_bad_files_is_still_an_answer(fairbrush: Fairbrush, cache: Path, art: list[Path]) -> None:
    art[0].write_bytes(b"")
    ran = fairbrush("embed", art[0], "--cache", cache, "--json")
    assert ran.code == 1
    counts = ran.json["counts"]
    assert (counts["images"], counts["new"], counts["failed"]) == (1, 0, 1)


@pytest.mark.parametrize("member", [None, ".hidden.png", "notes.txt", ".hidden/1.webp"])
def test_a_folder_without_images_cannot_run(
    fairbrush: Fairbrush, cache: Path, art: list[Path], member: str | None
) -> None:
    folder = fairbrush.home / "empty"
    folder.mkdir()
    if member:
        (folder / member).parent.mkdir(exist_ok=True)
        shutil.copy(art[0], folder / member)
    ran = fairbrush("embed", "empty", "--cache", cache, "--json")
    assert (ran.code, ran.stdout) == (2, b"")
    assert ran.stderr.splitlines() == [
        "fairbrush: No images in empty.",
        "  next: Looked for PNG, JPEG, WebP, GIF, BMP and TIFF files, in sub-folders too; "
        "hidden ones are left out.",
    ]


@pytest.fixture
def as_ordinary_user() -> Callable[[], None] | None:
    """What makes a child process obey file permissions; root loses the right to pass over them."""
    if os.geteuid() != 0:
        return None
    libc = ctypes.CDLL(None, use_errno=True)
    if not hasattr(libc, "prctl"):
        pytest.skip("root passes over file permissions here, and cannot lay that right down")

    def lay_down() -> None:
        for right in (CAP_DAC_OVERRIDE, CAP_DAC_READ_SEARCH):
            if libc.prctl(PR_CAPBSET_DROP, right, 0, 0, 0) != 0:
                os._exit(77)

    probe = subprocess.run([sys.executable, "-c", ""], preexec_fn=lay_down)
    if probe.returncode == 77:
        pytest.skip("root passes over file permissions here, and may not lay that right down")
    return lay_down


def test_unreadable_files_and_folders_fail_alone(
    fairbrush: Fairbrush, cache: Path, art: list[Path], as_ordinary_user: Callable[[], None] | None
) -> None:
    locked = art[0].parent / "locked"
    locked.mkdir(mode=0)
    art[1].chmod(0)
    ran = fairbrush("embed", "art", "--cache", cache, "--json", preexec_fn=as_ordinary_user)
    locked.chmod(0o700)
    failed = [(row["path"], row["reason"]) for row in ran.json["images"] if row["status"] == "failed"]
    assert ran.code == 1
    assert failed == [("art/2.webp", "unreadable"), ("art/locked", "unreadable")]
    assert "cannot be opened (Permission denied). Check its name and permissions." in ran.stderr
    assert rows_in(cache) == 3


def test_a_cache_folder_that_cannot_be_written_cannot_run(
    fairbrush: Fairbrush, cache: Path, art: list[Path], as_ordinary_user: Callable[[], None] | None
) -> None:
    cache.mkdir(mode=0o500)
    ran = fairbrush("embed", "art", "--cache", cache, preexec_fn=as_ordinary_user)
    assert (ran.code, ran.stdout) == (2, b"")
    assert f"The embedding cache {cache} cannot be opened: Permission denied." in ran.stderr
    assert "next: Give yourself write permission on the folder" in ran.stderr


def test_a_cache_that_is_a_file_cannot_run(fairbrush: Fairbrush, cache: Path, art: list[Path]) -> None:
    cache.write_text("mine")
    ran = fairbrush("embed", "art", "--cache", cache)
    assert ran.code == 2
    assert f"The embedding cache {cache}" in ran.stderr
    assert "next: " in ran.stderr
    assert cache.read_text() == "mine"


@pytest.mark.parametrize(
    ("arguments", "message", "next_step"),
    [
        (["--encoder", "mimi"], "'mimi' is not an encoder fairbrush knows.", "Use mini, open_clip:NAME"),
        (["--encoder", "mini+shade"], "'shade' is not a part of an encoder.", "Known parts: early, colour"),
        (["--encoder", "open_clip:ViT-B-32"], "open_clip:ViT-B-32 names no weights.", "open_clip:NAME/TAG"),
        (["--device", "tpu"], "'tpu' is not a device.", "Use one of auto, cpu, cuda, mps."),
        (["--json", "--csv"], "Two formats were asked for: csv and json.", "Choose one."),
        (["--format", "xml"], "'xml' is not one of 'table', 'json'", "embed --help shows"),
        (["--workers", "-1"], "-1 is not in the range x>=0.", "embed --help shows"),
        (["--jsn"], "No such option: --jsn", "embed --help shows"),
        (["--output", "no/such/answer.txt"], "its folder does not exist.", "Choose another --output."),
        (["--output", "art"], "art cannot be written: it is a folder.", "Choose another --output."),
        (["-o", "art/1.webp"], "art/1.webp cannot be written: it is named like an image.", "Choose another"),
        (["--cache=~nobody-of-this-name/x"], "~nobody-of-this-name/x: ", "Write the whole path"),
    ],
)
def test_a_wrong_option_cannot_run(
    fairbrush: Fairbrush, cache: Path, art: list[Path], arguments: list[str], message: str, next_step: str
) -> None:
    before = art[0].read_bytes()
    ran = fairbrush("embed", "art", "--cache", cache, *arguments)
    assert (ran.code, ran.stdout) == (2, b"")
    said, next_said = ran.stderr.splitlines()
    assert said.startswith("fairbrush: ")
    assert message in said
    assert next_said.startswith("  next: ")
    assert next_step in next_said
    assert not cache.exists()
    assert art[0].read_bytes() == before


def test_an_unknown_model_names_its_neighbours(fairbrush: Fairbrush, cache: Path, art: list[Path]) -> None:
    ran = fairbrush("embed", "art", "--cache", cache, "--encoder", "open_clip:ViT-B-33/openai")
    assert (ran.code, ran.stdout) == (2, b"")
    assert "fairbrush: open_clip has no model named ViT-B-33." in ran.stderr
    assert "next: Did you mean ViT-B-32" in ran.stderr


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ([], "Usage: python -m fairbrush [OPTIONS] COMMAND"),
        (["cache"], "Usage: python -m fairbrush cache [OPTIONS] COMMAND"),
        (["embed"], "fairbrush: Missing argument 'paths'.\n  next: python -m fairbrush embed --help shows"),
        (
            ["embd"],
            "fairbrush: No such command 'embd'. Did you mean 'embed'?\n  next: python -m fairbrush --help",
        ),
        (["cache", "purge"], "fairbrush: No such command 'purge'."),
    ],
)
def test_half_a_command_says_what_is_missing(fairbrush: Fairbrush, arguments: list[str], said: str) -> None:
    ran = fairbrush(*arguments)
    assert (ran.code, ran.stdout) == (2, b"")
    assert ran.stderr.startswith(said)


def test_a_folder_that_is_gone_cannot_run(fairbrush: Fairbrush, cache: Path, art: list[Path]) -> None:
    gone = fairbrush.home / "gone"
    gone.mkdir()
    program = ("-c", "import os; os.rmdir(os.getcwd()); from fairbrush.__main__ import main; main()")
    ran = fairbrush("embed", art[0], "--cache", cache, program=program, cwd=gone)
    assert ran.code == 2
    assert "fairbrush: The current folder is gone.\n  next: Change to a folder that exists" in ran.stderr


# A full disk


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 160 KiB."""
    folder = tmp_path / "disk"
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=160k", "tmpfs", str(folder)]
    if os.geteuid() != 0 or subprocess.run(mount, capture_output=True).returncode != 0:
        pytest.skip("only root may mount a small file system; see the test with a limit on the file's size")
    yield folder
    subprocess.run(["umount", str(folder)], check=True)


def test_a_full_disk_keeps_what_was_done(fairbrush: Fairbrush, many_images: Path, small_disk: Path) -> None:
    cache = small_disk / "cache"
    arguments = ("embed", many_images, "--cache", cache, "--json")
    ran = fairbrush(*arguments, env={"FAIRBRUSH_BATCH": "4"})
    kept = rows_in(cache)
    assert (ran.code, ran.stdout) == (2, b"")
    assert 4 <= kept < 160
    assert f"{kept} of 160 images are embedded and kept." in ran.stderr
    assert f"No room on the disk for the embedding cache {cache}" in ran.stderr
    assert "next: Free some space and run the command again: it goes on where it stopped." in ran.stderr
    subprocess.run(["mount", "-o", "remount,size=8m", str(small_disk)], check=True)
    again = fairbrush(*arguments).json["counts"]
    assert (again["cached"], again["new"]) == (kept, 160 - kept)


def test_a_limit_on_the_files_size_keeps_what_was_done(
    fairbrush: Fairbrush, many_images: Path, cache: Path
) -> None:
    def limit_files() -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (160 * 1024, 160 * 1024))

    arguments = ("embed", many_images, "--cache", cache, "--json")
    ran = fairbrush(*arguments, env={"FAIRBRUSH_BATCH": "4"}, preexec_fn=limit_files)
    kept = rows_in(cache)
    assert (ran.code, ran.stdout) == (2, b"")
    assert 4 <= kept < 160
    assert f"{kept} of 160 images are embedded and kept." in ran.stderr
    assert f"No room on the disk for the embedding cache {cache}" in ran.stderr
    again = fairbrush(*arguments).json["counts"]
    assert (again["cached"], again["new"]) == (kept, 160 - kept)


# An interrupted run


def started_run(fairbrush: Fairbrush, images: Path, cache: Path) -> "subprocess.Popen[bytes]":
    """A run that has committed something and still has most of its work before it."""
    process = fairbrush.start(
        "embed", images, "--cache", cache, "--workers", "2", env={"FAIRBRUSH_BATCH": "4"}
    )
    wait_until(lambda: rows_in(cache) > 0)
    assert process.poll() is None, "the run ended before it could be interrupted"
    return process


@pytest.mark.usefixtures("no_process_left")
def test_ctrl_c_keeps_what_was_done(fairbrush: Fairbrush, many_images: Path, cache: Path) -> None:
    process = started_run(fairbrush, many_images, cache)
    pressed = time.monotonic()
    os.killpg(process.pid, signal.SIGINT)  # a terminal sends it to the whole group
    stdout, stderr = process.communicate(timeout=20)
    kept = rows_in(cache)
    assert time.monotonic() - pressed < 5
    assert (process.returncode, stdout) == (130, b"")
    assert stderr.decode().splitlines() == [
        f"{kept} of 160 images are embedded and kept. The same command goes on from there.",
        "fairbrush: Interrupted.",
    ]
    assert 0 < kept < 160
    again = fairbrush("embed", many_images, "--cache", cache, "--json")
    assert (again.code, again.json["counts"]["cached"], again.json["counts"]["new"]) == (0, kept, 160 - kept)


@pytest.mark.usefixtures("no_process_left")
def test_ctrl_c_pressed_again_and_again_is_no_traceback(
    fairbrush: Fairbrush, many_images: Path, cache: Path
) -> None:
    process = started_run(fairbrush, many_images, cache)
    while process.poll() is None:
        os.killpg(process.pid, signal.SIGINT)
        time.sleep(0.01)
    _, stderr = process.communicate()
    assert process.returncode in (130, -signal.SIGINT)
    assert b"Traceback" not in stderr
    assert fairbrush("cache", "verify", "--cache", cache).code == 0


INTERRUPTED_AFTER = """
import signal, sys
from fairbrush.__main__ import main
signal.signal(signal.SIGALRM, signal.default_int_handler)
signal.setitimer(signal.ITIMER_REAL, float(sys.argv.pop(1)))
main()
"""


@pytest.mark.usefixtures("no_process_left")
@pytest.mark.parametrize("after_s", ["0.01", "0.05", "0.1", "0.15", "0.2", "0.3"])
def test_ctrl_c_while_starting_is_no_traceback(
    fairbrush: Fairbrush, many_images: Path, cache: Path, after_s: str
) -> None:
    ran = fairbrush(after_s, "embed", many_images, "--cache", cache, program=("-c", INTERRUPTED_AFTER))
    assert (ran.code, ran.stdout) == (130, b"")


def test_a_decoding_process_whose_parent_is_gone_ends_quietly(fairbrush: Fairbrush) -> None:
    ours, theirs = os.pipe()
    os.close(ours)
    worker = "from fairbrush.corpus.decode_worker import serve; serve('{}')"
    ran = fairbrush(program=("-c", worker), stdout=theirs)
    os.close(theirs)
    assert (ran.code, ran.stderr) == (0, "")


@pytest.mark.usefixtures("no_process_left")
def test_a_killed_run_is_resumed(fairbrush: Fairbrush, many_images: Path, cache: Path) -> None:
    process = started_run(fairbrush, many_images, cache)
    process.kill()
    process.communicate()
    kept = rows_in(cache)
    verified = fairbrush("cache", "verify", "--cache", cache, "--json")
    assert (verified.code, verified.json["sound"], verified.json["rows_checked"]) == (0, True, kept)
    again = fairbrush("embed", many_images, "--cache", cache, "--json").json["counts"]
    assert 0 < kept < 160
    assert (again["cached"], again["new"]) == (kept, 160 - kept)
