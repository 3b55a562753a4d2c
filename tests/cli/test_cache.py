"""``fairbrush cache info|verify|prune``: what they find, and that their next steps work as printed."""

import shlex
import shutil
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import duckdb
import pytest
from running import Fairbrush, copy_art, rows_in

from fairbrush.corpus.images import ImageLimits, decode_image, decoder_id
from fairbrush.embedding.cache import DEFAULT_MAX_BYTES, EmbeddingCache
from fairbrush.embedding.encoder import load_encoder

LIMITS = ImageLimits()
MINI = load_encoder("mini", decoder_id=decoder_id(LIMITS))
CLIP = load_encoder("mini:clip", decoder_id=decoder_id(LIMITS))


@pytest.fixture(scope="module")
def filled_once(tmp_path_factory: pytest.TempPathFactory) -> Path:
    home = tmp_path_factory.mktemp("home")
    art = copy_art(home)
    run = Fairbrush(home)
    assert run("embed", "art", "--cache", "cache").code == 0
    assert run("embed", *art[:2], "--cache", "cache", "--encoder", "mini:clip").code == 0
    return home / "cache"


@pytest.fixture
def filled(filled_once: Path, cache: Path, art: list[Path]) -> Path:
    """A cache with the four images of ``art`` under ``mini``, and two of them under ``mini:clip``."""
    return Path(shutil.copytree(filled_once, cache))


def damage_a_row(cache: Path, image: Path) -> str:
    """Flip the bits of one float of one row in the file; gives the image's SHA-256."""
    decoded = decode_image(image.read_bytes(), LIMITS)
    with EmbeddingCache.open(cache, readonly=True) as opened:
        vectors = opened.space(MINI.encoder_id, MINI.variant).get(decoded.sha256)
    assert vectors is not None
    file = cache / "data.mdb"
    content = bytearray(file.read_bytes())
    at = content.index(vectors.tobytes()) + 40
    assert content.count(vectors.tobytes()) == 1
    content[at : at + 4] = bytes(byte ^ 0xFF for byte in content[at : at + 4])
    file.write_bytes(content)
    return decoded.sha256


def printed_command(stderr: str, program: str) -> list[str]:
    """The arguments of the command that a next step tells the user to run."""
    (line,) = [line for line in stderr.splitlines() if line.startswith(f"  next: {program} ")]
    return shlex.split(line.removeprefix(f"  next: {program} ").partition(";")[0])


def test_info_counts_each_encoder(fairbrush: Fairbrush, filled: Path) -> None:
    ran = fairbrush("cache", "info", "--cache", filled, "--json")
    answer = ran.json
    assert ran.code == 0
    assert answer["schema"] == "fairbrush.cache_info/1"
    assert answer["path"] == str(filled)
    assert answer["bytes_on_disk"] == (filled / "data.mdb").stat().st_size
    assert answer["max_bytes"] == DEFAULT_MAX_BYTES
    assert 0 <= answer["reusable_bytes"] < answer["bytes_on_disk"]
    today = datetime.now(UTC)
    for space in answer["encoders"]:
        for written in (space.pop("first_written"), space.pop("last_written")):
            assert 0 <= (today - datetime.fromisoformat(written)).total_seconds() < 120
    assert answer["encoders"] == [
        {
            "encoder_id": encoder.encoder_id,
            "variant": "onnx-float32",
            "dim": encoder.dim,
            "images": images,
            "vectors": images,
        }
        for encoder, images in sorted([(MINI, 4), (CLIP, 2)], key=lambda pair: pair[0].encoder_id)
    ]


def test_info_shows_a_table(fairbrush: Fairbrush, filled: Path) -> None:
    ran = fairbrush("cache", "info", "--cache", filled)
    lines = ran.text.splitlines()
    assert lines[0].split() == [
        *("encoder_id", "variant", "dim", "images", "vectors", "first_written", "last_written"),
    ]
    assert sorted(line.split()[:5] for line in lines[1:]) == sorted(
        [
            [MINI.encoder_id, "onnx-float32", str(MINI.dim), "4", "4"],
            [CLIP.encoder_id, "onnx-float32", str(CLIP.dim), "2", "2"],
        ]
    )
    assert ran.stderr.startswith(f"{filled}: ")


def test_a_sound_cache_is_said_to_be_sound(fairbrush: Fairbrush, filled: Path) -> None:
    ran = fairbrush("cache", "verify", "--cache", filled, "--json")
    assert ran.code == 0
    assert ran.json == {
        "schema": "fairbrush.cache_verify/1",
        "sound": True,
        "rows_checked": 6,
        "damaged": [],
        "structure": [],
    }
    plain = fairbrush("cache", "verify", "--cache", filled)
    assert (plain.code, plain.text, plain.stderr) == (0, "", "6 vectors checked, 0 damaged.\n")


def test_a_sound_cache_gives_a_table_without_rows(fairbrush: Fairbrush, filled: Path) -> None:
    csv = fairbrush("cache", "verify", "--cache", filled, "--csv")
    assert (csv.code, csv.text) == (0, "sha256,encoder_id,variant,what\n")
    file = fairbrush.home / "damaged.parquet"
    ran = fairbrush("cache", "verify", "--cache", filled, "--format", "parquet", "-o", file)
    assert ran.code == 0
    with duckdb.connect() as database:
        found = database.execute("SELECT * FROM read_parquet(?)", [str(file)])
        names = [column[0] for column in found.description]
        assert (names, found.fetchall()) == (["sha256", "encoder_id", "variant", "what"], [])


def test_a_damaged_row_is_named_and_dropped_as_printed(
    fairbrush: Fairbrush, filled: Path, art: list[Path]
) -> None:
    sha256 = damage_a_row(filled, art[2])
    ran = fairbrush("cache", "verify", "--cache", filled, "--json")
    assert (ran.code, ran.json["sound"], ran.json["rows_checked"]) == (1, False, 6)
    assert ran.json["damaged"] == [
        {
            "sha256": sha256,
            "encoder_id": MINI.encoder_id,
            "variant": "onnx-float32",
            "what": "the checksum does not match the vectors",
        }
    ]
    pruned = fairbrush(*printed_command(ran.stderr, "fairbrush"), "--json")
    assert (pruned.code, pruned.json["rows_dropped"]) == (0, 1)
    assert fairbrush("cache", "verify", "--cache", filled).code == 0
    again = fairbrush("embed", "art", "--cache", filled, "--json").json["images"]
    assert [row["status"] for row in again] == ["cached", "cached", "new", "cached"]


def test_a_damaged_row_is_computed_again_and_replaced(
    fairbrush: Fairbrush, filled: Path, art: list[Path]
) -> None:
    damage_a_row(filled, art[0])
    ran = fairbrush("embed", "art", "--cache", filled, "--json")
    assert [row["status"] for row in ran.json["images"]] == ["new", "cached", "cached", "cached"]
    assert ran.stderr == f"The cache {filled} held damaged vectors of these images: computed again.\n"
    assert fairbrush("cache", "verify", "--cache", filled).code == 0


def overwritten(content: bytes) -> bytes:
    return b"garbage " * (len(content) // 8)


def cut(content: bytes) -> bytes:
    return content[: len(content) // 2]


@pytest.mark.parametrize("spoil", [overwritten, cut])
@pytest.mark.parametrize("command", [["embed", "art"], ["cache", "info"], ["cache", "verify"]])
def test_a_ruined_file_cannot_be_used_until_deleted(
    fairbrush: Fairbrush, filled: Path, spoil: Callable[[bytes], bytes], command: list[str]
) -> None:
    file = filled / "data.mdb"
    ruined = spoil(file.read_bytes())
    file.write_bytes(ruined)
    ran = fairbrush(*command, "--cache", filled)
    assert (ran.code, ran.stdout) == (2, b"")
    said, next_said = ran.stderr.splitlines()
    assert said.startswith(f"fairbrush: The embedding cache's file {file} is damaged: ")
    assert next_said.startswith(
        f"  next: Delete data.mdb and lock.mdb in {filled} and run the command again: "
    )
    assert file.read_bytes() == ruined  # never repaired silently
    for name in ("data.mdb", "lock.mdb"):
        (filled / name).unlink()
    assert fairbrush("embed", "art", "--cache", filled, "--json").json["counts"]["new"] == 4


@pytest.mark.parametrize("command", [["info"], ["verify"], ["prune", "--damaged"]])
def test_an_absent_cache_cannot_be_looked_at(fairbrush: Fairbrush, cache: Path, command: list[str]) -> None:
    ran = fairbrush("cache", *command, "--cache", cache)
    assert (ran.code, ran.stdout) == (2, b"")
    assert ran.stderr.splitlines() == [
        f"fairbrush: There is no embedding cache in {cache}.",
        f"  next: Fill it first: fairbrush embed IMAGES --cache {cache}",
    ]
    assert not cache.exists()


def test_prune_drops_the_encoder_named(fairbrush: Fairbrush, filled: Path) -> None:
    ran = fairbrush("cache", "prune", "--cache", filled, "--encoder", CLIP.encoder_id, "--json")
    assert (ran.code, ran.json["schema"], ran.json["rows_dropped"]) == (0, "fairbrush.cache_prune/1", 2)
    info = fairbrush("cache", "info", "--cache", filled, "--json").json
    assert [(space["encoder_id"], space["images"]) for space in info["encoders"]] == [(MINI.encoder_id, 4)]


def test_prune_keeps_the_encoder_named(fairbrush: Fairbrush, filled: Path) -> None:
    ran = fairbrush("cache", "prune", "--cache", filled, "--keep", CLIP.encoder_id, "--json")
    assert (ran.code, ran.json["rows_dropped"]) == (0, 4)
    info = fairbrush("cache", "info", "--cache", filled, "--json").json
    assert [(space["encoder_id"], space["images"]) for space in info["encoders"]] == [(CLIP.encoder_id, 2)]


def test_prune_without_a_name_drops_nothing(fairbrush: Fairbrush, filled: Path) -> None:
    ran = fairbrush("cache", "prune", "--cache", filled)
    assert (ran.code, ran.stdout) == (2, b"")
    assert "fairbrush: Nothing was named to drop.\n  next: Use --encoder ID" in ran.stderr
    assert rows_in(filled) == 6


@pytest.mark.parametrize("option", ["--encoder", "--keep"])
def test_prune_refuses_an_encoder_the_cache_does_not_hold(
    fairbrush: Fairbrush, filled: Path, option: str
) -> None:
    # a mistyped --keep would drop everything
    ran = fairbrush("cache", "prune", "--cache", filled, option, "mini")
    assert (ran.code, ran.stdout) == (2, b"")
    assert ran.stderr.startswith("fairbrush: The cache holds no vectors of an encoder 'mini'.\n  next: ")
    assert MINI.encoder_id in ran.stderr
    assert rows_in(filled) == 6


def test_prune_takes_a_variant_with_its_encoder_alone(fairbrush: Fairbrush, filled: Path) -> None:
    prune = ("cache", "prune", "--cache", filled, "--variant", "onnx-float32")
    ran = fairbrush(*prune, "--keep", MINI.encoder_id)  # would drop what is to be kept
    assert (ran.code, ran.stdout) == (2, b"")
    assert ran.stderr.startswith(
        "fairbrush: --variant was given without --encoder.\n  next: Name the encoder"
    )
    assert rows_in(filled) == 6
    assert fairbrush(*prune, "--encoder", CLIP.encoder_id, "--json").json["rows_dropped"] == 2
