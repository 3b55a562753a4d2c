"""``fairbrush attribute --prompt``, and the prompt that generators leave in the image's file."""

import json
import subprocess
from pathlib import Path
from typing import Any

import pytest
from PIL import Image, PngImagePlugin
from running import Fairbrush
from workspaces import Gallery, answer, command, rows

USER_COMMENT, EXIF_DIRECTORY, SOFTWARE = 0x9286, 0x8769, 0x0131
SETTINGS = "Steps: 20, Sampler: Euler a, CFG scale: 7, Seed: 1, Size: 512x512"


def generated(source: Path, target: Path, prompt: str) -> Path:
    """An image as AUTOMATIC1111 saves it; ``target``'s ending decides the format."""
    parameters = f"{prompt}\n{SETTINGS}"
    image = Image.open(source).convert("RGB")
    if target.suffix == ".png":
        info = PngImagePlugin.PngInfo()
        info.add_text("parameters", parameters)
        image.save(target, pnginfo=info)
    else:
        exif = Image.Exif()
        exif[SOFTWARE] = "any"
        exif.get_ifd(EXIF_DIRECTORY)[USER_COMMENT] = b"UNICODE\0" + parameters.encode("utf-16-be")
        image.save(target, exif=exif)
    return target


def asked(workspace: Path, *words: Any) -> Any:
    (document,) = answer(workspace, "attribute", *words)["attributions"]
    return document


@pytest.fixture
def others(gallery: Gallery) -> list[str]:
    """Names of artists who are not credited for the image ``gallery.credited``."""
    credited = {share["artist"] for share in gallery.answers[gallery.credited]["artists"]}
    return [name for name in gallery.works if name not in credited]


def test_a_named_artist_is_a_candidate_and_takes_nothing_by_it(
    workspace: Path, gallery: Gallery, others: list[str]
) -> None:
    plain = gallery.answers[gallery.credited]
    prompt = f"a harbour by ({others[0].upper()}:1.2), {plain['artists'][0]['artist']}, secret-word"
    named = asked(workspace, gallery.credited, "--prompt", prompt)
    assert named["artists"] == plain["artists"]
    assert named["attribution_id"] != plain["attribution_id"]
    assert named["hint"]["source"] == "prompt"
    near, far = named["hint"]["artists"]
    assert (near["artist"], near["z"], near["near"]) == (
        plain["artists"][0]["artist"],
        plain["artists"][0]["z"],
        True,
    )
    assert (far["artist"], far["near"]) == (others[0], False)
    shown = command(workspace, "attribute", gallery.credited, "--prompt", prompt, "--explain").text
    threshold = float(plain["value_function"]["parameters"]["entry"])
    assert f"named in the prompt: {near['artist']}, z {near['z']:.4f}\n" in shown
    assert (
        f"named in the prompt, not near enough: {others[0]}, z {far['z']:.4f}, threshold {threshold:.4f}"
        in shown
    )
    (record,) = rows(workspace, "SELECT body, about FROM attribution")
    ids = sorted([near["artist_id"], far["artist_id"]])
    assert json.loads(record["body"])["identity"]["hint"] == {"source": "prompt", "artist_ids": ids}
    for file in filter(Path.is_file, workspace.rglob("*")):
        assert b"secret-word" not in file.read_bytes(), file


@pytest.mark.parametrize("name", ["image.png", "image.jpg", "image.webp", "image.tiff"])
def test_the_files_own_prompt_is_read(
    workspace: Path, gallery: Gallery, others: list[str], tmp_path: Path, name: str
) -> None:
    if name.endswith("tiff"):
        image = tmp_path / name
        comment = b"ASCII\0\0\0" + f"by {others[0]}\n{SETTINGS}".encode()
        pixels = Image.open(gallery.credited).convert("RGB")
        pixels.save(image, tiffinfo={EXIF_DIRECTORY: {USER_COMMENT: comment}})
    else:
        image = generated(gallery.credited, tmp_path / name, f"by {others[0]}\nNegative prompt: {others[1]}")
    first, cached = (asked(workspace, image) for _ in range(2))
    assert (first["encoder"]["device"] is None, cached["encoder"]["device"]) == (False, None)
    for document in (first, cached):
        assert document["hint"]["source"] == "metadata"
        assert [one["artist"] for one in document["hint"]["artists"]] == [others[0]]
    assert first["attribution_id"] == cached["attribution_id"]
    assert asked(workspace, image, "--no-metadata")["hint"] is None
    assert asked(workspace, image, "--prompt", "by nobody")["hint"] is None
    other = asked(workspace, image, "--prompt", others[1])["hint"]
    assert (other["source"], other["artists"][0]["artist"]) == ("prompt", others[1])
    assert (
        "named in the file's prompt, not near enough"
        in command(workspace, "attribute", image, "--explain").text
    )


def test_a_pasted_negative_prompt_names_nobody(workspace: Path, gallery: Gallery, others: list[str]) -> None:
    pasted = f"by {others[0]}\nNegative prompt: by {others[1]}\n{SETTINGS}"
    hint = asked(workspace, gallery.credited, "--prompt", pasted, "--no-record")["hint"]
    assert [one["artist"] for one in hint["artists"]] == [others[0]]


def test_an_alias_names_the_artist_from_the_next_look_up_on(
    workspace: Path, gallery: Gallery, others: list[str]
) -> None:
    def hint() -> Any:
        return asked(workspace, gallery.credited, "--prompt", "by the_old master", "--no-record")["hint"]

    assert hint() is None
    command(workspace, "artist", "alias", others[0], "--add", "The Old Master")
    assert hint()["artists"][0]["artist"] == others[0]
    before = gallery.answers[gallery.credited]["eligibility_digest"]
    assert asked(workspace, gallery.credited, "--no-record")["eligibility_digest"] == before
    command(workspace, "artist", "alias", others[0], "--remove", "the old master")
    assert hint() is None


def test_who_opted_out_is_not_hinted_at_nor_taken_for_another(
    workspace: Path, gallery: Gallery, others: list[str]
) -> None:
    first, second = others[:2]
    command(workspace, "artist", "alias", first, "--add", "Frida Kahlo")
    command(workspace, "artist", "alias", second, "--add", "Frida")
    command(workspace, "artist", "consent", first, "opted_out")
    words = ("attribute", gallery.credited, "--prompt", "by Frida Kahlo", "--explain", "--no-record")
    document = answer(workspace, *words)["attributions"][0]
    assert document["hint"] is None
    assert document["explain"]["hint"] == {"source": "prompt", "artist_ids": [], "problem": None}
    assert "the prompt names no artist who may be credited" in command(workspace, *words).text


def test_erasing_a_named_artist_leaves_the_id_alone_in_the_record(
    workspace: Path, gallery: Gallery, others: list[str]
) -> None:
    named = asked(workspace, gallery.credited, "--prompt", others[0])["hint"]["artists"][0]
    answer(workspace, "artist", "erase", others[0], "--yes")
    assert asked(workspace, gallery.credited, "--prompt", others[0])["hint"] is None
    (record,) = rows(workspace, 'SELECT body, about FROM attribution WHERE body LIKE \'%"source":"prompt"%\'')
    assert json.loads(record["body"])["identity"]["hint"]["artist_ids"] == [named["artist_id"]]
    assert others[0] not in record["body"]


@pytest.mark.parametrize(
    ("keyword", "text", "said"),
    [
        ("prompt", "[" * 100_000, "nested too deeply"),
        ("prompt", "{}", "No prompt was found in what comfyui wrote."),
        ("parameters", "x" * (2 * 1024 * 1024 + 1), "more than 2,097,152 bytes"),
    ],
)
def test_metadata_that_cannot_be_read_stops_no_look_up(
    workspace: Path, gallery: Gallery, tmp_path: Path, keyword: str, text: str, said: str
) -> None:
    info = PngImagePlugin.PngInfo()
    info.add(b"tEXt", keyword.encode() + b"\0" + text.encode())
    image = tmp_path / "odd.png"
    Image.open(gallery.credited).convert("RGB").save(image, pnginfo=info)
    document = asked(workspace, image, "--explain")
    assert document["hint"] is None
    assert said in document["explain"]["hint"]["problem"]
    assert (
        f"the file's prompt was not read: {document['explain']['hint']['problem']}"
        in command(workspace, "attribute", image, "--explain").text
    )


def test_a_stream_of_images_has_each_its_own_hint(
    fairbrush: Fairbrush, workspace: Path, gallery: Gallery, others: list[str], tmp_path: Path
) -> None:
    images = [
        generated(gallery.credited, tmp_path / f"{n}.png", f"by {name}") for n, name in enumerate(others)
    ]
    paths = [*images, gallery.credited]
    process = fairbrush.start("--workspace", workspace, "attribute", "-", "--explain", stdin=subprocess.PIPE)
    stdout, stderr = process.communicate("".join(f"{path}\n" for path in paths).encode(), timeout=60)
    documents = [json.loads(line) for line in stdout.splitlines()]
    assert process.returncode == 0, stderr
    named = [[one["artist"] for one in d["hint"]["artists"]] for d in documents[:-1]]
    assert named == [[name] for name in others]
    assert (documents[-1]["hint"], documents[-1]["explain"]["hint"]) == (None, None)


def test_the_command_line_names_the_artists_of_several_images(
    fairbrush: Fairbrush, workspace: Path, gallery: Gallery, others: list[str]
) -> None:
    images = gallery.works[others[0]][:2]
    ran = fairbrush(
        "--workspace", workspace, "attribute", *images, "--prompt", f"<lora:{others[1]}:1>", "--json"
    )
    assert ran.code == 0, ran.stderr
    for document in ran.json["attributions"]:
        assert [one["artist"] for one in document["hint"]["artists"]] == [others[1]]
    odd = fairbrush("--workspace", workspace, "attribute", images[0], "--prompt", b"\xff\xfe by \xed\xa0\x80")
    assert odd.code == 0, odd.stderr
