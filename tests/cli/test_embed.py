"""``fairbrush embed``: what it counts, what it answers, what it keeps."""

import csv
import hashlib
import io
import json
import os
import pty
import re
import shutil
from pathlib import Path

import duckdb
import numpy as np
import pytest
from running import Fairbrush, without_network

from fairbrush.corpus.images import ImageLimits, decode_image, decoder_id
from fairbrush.embedding.cache import EmbeddingCache
from fairbrush.embedding.encoder import Encoder, load_encoder

LIMITS = ImageLimits()


def sha256_of(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def encoder_of(spec: str) -> Encoder:
    return load_encoder(spec, decoder_id=decoder_id(LIMITS))


def vectors_of(cache: Path, spec: str) -> dict[str, bytes]:
    """The bytes of every vector the cache holds of one encoder, by image."""
    encoder = encoder_of(spec)
    with EmbeddingCache.open(cache, readonly=True) as opened:
        space = opened.space(encoder.encoder_id, encoder.variant)
        return {sha256: vectors.tobytes() for sha256, vectors in space.scan()}


def test_a_mixed_folder_is_answered_exactly(fairbrush: Fairbrush, cache: Path, art: list[Path]) -> None:
    twin = Path(shutil.copy(art[0], art[0].with_name("2b.webp")))
    art[2].with_name("broken.png").write_bytes(b"not an image at all")
    ran = fairbrush("embed", "absent.png", "art", "--cache", cache, "--json")
    encoder = encoder_of("mini")
    assert ran.code == 1
    assert ran.json["schema"] == "fairbrush.embed/1"
    assert ran.json["encoder"] == {
        "id": encoder.encoder_id,
        "variant": "onnx-float32",
        "device": "cpu",
    }
    assert ran.json["cache"] == str(cache)
    counts = ran.json["counts"]
    assert counts.pop("elapsed_s") > 0
    assert counts == {"images": 7, "cached": 0, "new": 5, "failed": 2}
    answers = [(row["path"], row["status"], row["sha256"], row["reason"]) for row in ran.json["images"]]
    assert answers == [
        ("absent.png", "failed", None, "missing"),
        ("art/1.webp", "new", sha256_of(art[0]), ""),
        ("art/2.webp", "new", sha256_of(art[1]), ""),
        ("art/2b.webp", "new", sha256_of(twin), ""),
        ("art/3.webp", "new", sha256_of(art[2]), ""),
        ("art/4.webp", "new", sha256_of(art[3]), ""),
        ("art/broken.png", "failed", None, "unsupported"),
    ]
    assert len(vectors_of(cache, "mini")) == 4  # the twins share a row


def test_the_order_is_that_of_the_arguments(fairbrush: Fairbrush, cache: Path, art: list[Path]) -> None:
    arguments = ["art/3.webp", "gone.png", "art/1.webp", "art/3.webp", "gone.png", "art"]
    ran = fairbrush("embed", *arguments, "--cache", cache, "--json")
    paths = [row["path"] for row in ran.json["images"]]
    assert paths == ["art/3.webp", "gone.png", "art/1.webp", "art/2.webp", "art/4.webp"]
    assert ran.json["counts"]["images"] == 5


def test_a_second_run_computes_nothing(fairbrush: Fairbrush, cache: Path, art: list[Path]) -> None:
    first = fairbrush("embed", "art", "--cache", cache, "--json")
    before = vectors_of(cache, "mini")
    second = fairbrush("embed", "art", "--cache", cache, "--json")
    assert (first.code, second.code) == (0, 0)
    assert [row["status"] for row in first.json["images"]] == ["new"] * 4
    assert [row["status"] for row in second.json["images"]] == ["cached"] * 4
    assert [row["sha256"] for row in second.json["images"]] == [sha256_of(path) for path in art]
    assert vectors_of(cache, "mini") == before


def test_the_same_content_under_another_name_is_cached(
    fairbrush: Fairbrush, cache: Path, art: list[Path], tmp_path: Path
) -> None:
    fairbrush("embed", art[0], "--cache", cache)
    copy = Path(shutil.copy(art[0], tmp_path / "renamed.png"))
    ran = fairbrush("embed", copy, art[1], "--cache", cache, "--json")
    assert [row["status"] for row in ran.json["images"]] == ["cached", "new"]


def test_the_cache_holds_what_the_encoder_gives(fairbrush: Fairbrush, cache: Path, art: list[Path]) -> None:
    assert fairbrush("embed", "art", "--cache", cache).code == 0
    images = [decode_image(path.read_bytes(), LIMITS) for path in art]
    expected = encoder_of("mini").embed([image.pixels for image in images])
    kept = vectors_of(cache, "mini")
    for image, vector in zip(images, expected, strict=True):
        # a batch of another size may round otherwise
        found = np.frombuffer(kept[image.sha256], np.float32)
        np.testing.assert_allclose(found, vector, rtol=0, atol=1e-6)
    assert kept.keys() == {image.sha256 for image in images}


def test_another_encoder_adds_rows_and_keeps_the_others(
    fairbrush: Fairbrush, cache: Path, art: list[Path]
) -> None:
    fairbrush("embed", "art", "--cache", cache)
    before = vectors_of(cache, "mini")
    ran = fairbrush("embed", "art", "--cache", cache, "--encoder", "mini:clip", "--json")
    assert ran.json["encoder"]["id"] == encoder_of("mini:clip").encoder_id
    assert ran.json["counts"]["new"] == 4
    assert vectors_of(cache, "mini") == before
    assert vectors_of(cache, "mini:clip").keys() == before.keys()


def test_every_format_tells_the_same(fairbrush: Fairbrush, cache: Path, art: list[Path]) -> None:
    art[1].write_bytes(b"")
    fairbrush("embed", "art", "--cache", cache)
    answer = fairbrush("embed", "art", "--cache", cache, "--json").json
    ran_on = {"encoder_id": answer["encoder"]["id"], "variant": "onnx-float32", "device": "cpu"}
    rows = [{**row, **ran_on} for row in answer["images"]]
    assert [row["status"] for row in rows] == ["cached", "failed", "cached", "cached"]

    lines = fairbrush("embed", "art", "--cache", cache, "--nl").text.splitlines()
    assert [json.loads(line) for line in lines] == rows

    table = csv.DictReader(io.StringIO(fairbrush("embed", "art", "--cache", cache, "--csv").text))
    assert list(table) == [{**row, "sha256": row["sha256"] or ""} for row in rows]

    file = fairbrush.home / "answer.parquet"
    ran = fairbrush("embed", "art", "--cache", cache, "--format", "parquet", "--output", file)
    assert (ran.code, ran.stdout) == (1, b"")
    with duckdb.connect() as database:
        found = database.execute("SELECT * FROM read_parquet(?)", [str(file)])
        names = [column[0] for column in found.description]
        assert [dict(zip(names, values, strict=True)) for values in found.fetchall()] == rows


def test_a_relative_path_means_the_current_folder(fairbrush: Fairbrush, cache: Path, art: list[Path]) -> None:
    ran = fairbrush("embed", "../art/1.webp", ".", "--cache", "../cache", "--json", cwd=art[0].parent)
    assert [row["path"] for row in ran.json["images"]] == ["../art/1.webp", "2.webp", "3.webp", "4.webp"]
    assert ran.code == 0
    assert cache.is_dir()


def test_a_home_sign_the_shell_left_is_understood_in_options(fairbrush: Fairbrush, art: list[Path]) -> None:
    ran = fairbrush("embed", art[0], "--cache=~/vectors", "--json")
    assert ran.json["cache"] == str(fairbrush.home / "vectors")
    assert not (fairbrush.home / "~").exists()


def test_the_command_without_module_is_the_same(fairbrush: Fairbrush, cache: Path, art: list[Path]) -> None:
    program = ("-c", "from fairbrush.__main__ import main; main()")
    ran = fairbrush("embed", "art", "--cache", cache, "--json", program=program)
    assert (ran.code, ran.json["counts"]["new"]) == (0, 4)


def test_embedding_opens_no_socket(
    fairbrush: Fairbrush, cache: Path, art: list[Path], tmp_path: Path
) -> None:
    env = without_network(tmp_path)
    look_up = (
        "-c",
        "import socket\ntry: socket.getaddrinfo('localhost', 80)\nexcept AssertionError: print('no')",
    )
    assert fairbrush(program=look_up, env=env).text == "no\n"  # sockets are refused indeed
    ran = fairbrush("embed", "art", "--cache", cache, "--json", env=env)
    assert (ran.code, ran.json["counts"]["new"]) == (0, 4)


FAKE_OPEN_CLIP = """
import os
raise SystemExit("offline: " + os.environ.get("HF_HUB_OFFLINE", "no"))
"""


@pytest.mark.parametrize(("flags", "offline"), [([], "1"), (["--allow-download"], "0")])
def test_hubs_are_offline_unless_a_download_is_allowed(
    fairbrush: Fairbrush, art: list[Path], tmp_path: Path, flags: list[str], offline: str
) -> None:
    site = tmp_path / "site"
    site.mkdir()
    (site / "open_clip.py").write_text(FAKE_OPEN_CLIP)
    ran = fairbrush("embed", art[0], "--encoder", "open_clip:a/b", *flags, env={"PYTHONPATH": str(site)})
    assert ran.stderr.strip().endswith(f"offline: {offline}")


# What a terminal shows


def test_a_terminal_is_shown_counts_and_rate(fairbrush: Fairbrush, cache: Path, art: list[Path]) -> None:
    fairbrush("embed", art[0], "--cache", cache)
    art[1].write_bytes(b"broken")
    ours, theirs = pty.openpty()
    env = {"TERM": "xterm", "COLUMNS": "120"}
    process = fairbrush.start("embed", "art", "--cache", cache, "--json", env=env, stderr=theirs)
    os.close(theirs)
    shown = b""
    try:
        while part := os.read(ours, 65536):
            shown += part
    except OSError:
        pass  # the end of a pseudo-terminal
    os.close(ours)
    answer = json.loads(process.communicate()[0])
    assert answer["counts"]["images"] == 4
    talk = re.sub(rb"\x1b\[[0-9;?]*[A-Za-z]", b"", shown).decode()
    assert re.search(r"4/4 +1 cached, 2 new, 1 failed, \d+\.\d new/s", talk), talk


def test_no_progress_is_written_to_a_file(fairbrush: Fairbrush, cache: Path, art: list[Path]) -> None:
    ran = fairbrush("embed", "art", "--cache", cache)
    assert (ran.code, ran.stderr) == (0, "")
