"""``fairbrush attribute --stamp`` and ``fairbrush inspect`` as a user types them."""

import json
import os
import shutil
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest
from certificates import make_signer
from PIL import Image
from running import Fairbrush, without_network
from stamped_files import PROMPT, picture, png, saved, with_chunk
from workspaces import Gallery, answer, command, pending, rows

from fairbrush.corpus.images import ImageLimits, hash_file
from fairbrush.corpus.stamped import original_of
from fairbrush.lookup import Answer, Lookup

SIGNER = make_signer()


@pytest.fixture
def image(gallery: Gallery, tmp_path: Path) -> Path:
    return Path(shutil.copy(gallery.credited, tmp_path / "image.webp"))


def inspected(workspace: Path | str, *words: object) -> list[dict]:  # type: ignore[type-arg]
    return answer(Path(workspace), "inspect", *words)["images"]  # type: ignore[no-any-return]


def test_a_stamped_copy_says_what_was_answered_and_the_ledger_agrees(
    workspace: Path, image: Path, tmp_path: Path
) -> None:
    before = image.read_bytes()
    [document] = answer(workspace, "attribute", image, "--stamp", tmp_path / "new" / "out")["attributions"]
    copy = tmp_path / "new" / "out" / "image.webp"
    assert document["stamp"] == {"path": str(copy), "signed": False}
    assert image.read_bytes() == before
    assert original_of(copy.read_bytes()) == before
    [found] = inspected(workspace, copy)
    stamp = found["stamp"]
    assert (found["is_bound"], found["manifest"], found["ledger"]["word"]) == (True, None, "matches")
    assert found["original_sha256"] == document["image"]["sha256"] != found["sha256"]
    assert stamp["attribution_id"] == document["attribution_id"]
    assert stamp["model_share_e12"] == document["model_share_e12"]
    assert stamp["artists"] == [
        {"artist_id": one["artist_id"], "share_e12": one["share_e12"]} for one in document["artists"]
    ]
    [row] = rows(workspace, "SELECT attribution_id, body_digest FROM attribution")
    assert row == {"attribution_id": stamp["attribution_id"], "body_digest": stamp["record_digest"]}


def test_a_stamped_copy_is_the_same_image_to_every_command(
    workspace: Path, image: Path, tmp_path: Path
) -> None:
    out, again = tmp_path / "out", tmp_path / "again"
    [first] = answer(workspace, "attribute", image, "--stamp", out)["attributions"]
    ran = command(workspace, "attribute", out, "--stamp", again, "--json")
    assert "is a stamped copy: the answer is that of its original" in ran.stderr
    [second] = ran.json["attributions"]
    assert second["attribution_id"] == first["attribution_id"]
    assert second["image"]["sha256"] == first["image"]["sha256"]
    assert (again / "image.webp").read_bytes() == (out / "image.webp").read_bytes()
    shutil.rmtree(workspace / "embeddings")  # embedded from the copy, kept under the original
    [third] = answer(workspace, "attribute", out, "--no-metadata")["attributions"]
    assert third["image"]["sha256"] == first["image"]["sha256"]
    assert [one["share_e12"] for one in third["artists"]] == [one["share_e12"] for one in first["artists"]]
    added = answer(workspace, "revenue", "add", "r-1", "1.00", "EUR", "--image", out / "image.webp")
    assert added["image"] == first["image"]["sha256"]
    asked = ("report", "image", first["attribution_id"], "--image", out / "image.webp", "--json")
    assert command(workspace, *asked).code == 0


def test_names_are_stamped_only_of_those_who_opted_in_and_only_when_asked(
    workspace: Path, gallery: Gallery, tmp_path: Path
) -> None:
    image = gallery.credited
    artist, artist_id = (gallery.answers[image]["artists"][0][name] for name in ("artist", "artist_id"))

    def name(folder: str, *words: object) -> str | None:
        out = tmp_path / folder
        assert command(workspace, "attribute", image, "--stamp", out, "--no-record", *words).code == 0
        found = inspected(workspace, out)[0]["stamp"]["artists"]
        said = next(one for one in found if one["artist_id"] == artist_id).get("name")
        assert (artist.encode() in (out / image.name).read_bytes()) == (said is not None)
        return said  # type: ignore[no-any-return]

    assert name("unclaimed", "--stamp-names") is None
    assert command(workspace, "artist", "consent", artist, "opted_in").code == 0
    assert name("unasked") is None
    assert name("asked", "--stamp-names") == artist


def test_the_ledger_says_what_it_does_not_know_and_what_differs(
    workspace: Path, image: Path, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    assert command(workspace, "attribute", image, "--stamp", out, "--no-record").code == 0
    [found] = inspected(workspace, out)
    assert found["ledger"]["word"] == "not in this ledger"
    assert answer(workspace, "attribute", image, "--value", "nearest")["attributions"]
    forged = (out / "image.webp").read_bytes().replace(b"&quot;blend&quot;", b"&quot;bland&quot;")
    (out / "image.webp").write_bytes(forged.replace(b'Function="blend"', b'Function="bland"'))
    assert command(workspace, "attribute", image).code == 0
    [found] = inspected(workspace, out)
    assert found["is_bound"]  # an unsigned stamp can be rewritten by anybody
    assert found["ledger"] | {"recorded_at": None} == {
        "word": "differs",
        "differing": ["value function"],
        "recorded_at": None,
    }


def test_signed_copies_say_who_signed_and_a_change_is_seen(
    workspace: Path, image: Path, tmp_path: Path
) -> None:
    chain, key = SIGNER.write(tmp_path)
    out = tmp_path / "out"
    [document] = answer(workspace, "attribute", image, "--stamp", out, "--certificate", chain, "--key", key)[
        "attributions"
    ]
    assert document["stamp"]["signed"] is True
    [found] = inspected(workspace, out)
    manifest = found["manifest"]
    assert (manifest["state"], manifest["signer"], manifest["organisation"]) == (
        "intact",
        "Example Signer",
        "Example Platform",
    )
    assert (manifest["agrees_with_stamp"], manifest["attribution"]) == (True, found["stamp"])
    (tmp_path / "ca.pem").write_bytes(SIGNER.anchor)
    assert inspected(workspace, out, "--trust", tmp_path / "ca.pem")[0]["manifest"]["state"] == "trusted"
    copy = out / "image.webp"
    content = copy.read_bytes()
    at = content.index(b"VP8") + 40
    copy.write_bytes(content[:at] + bytes([content[at] ^ 1]) + content[at + 1 :])
    [found] = inspected(workspace, out)
    assert (found["is_bound"], found["manifest"]["state"]) == (False, "invalid")
    text = command(workspace, "inspect", out).text
    assert "not bound: the file was changed since" in text
    assert "INVALID: assertion.dataHash.mismatch" in text


def test_in_place_changes_the_file_itself_and_keeps_its_permissions(workspace: Path, image: Path) -> None:
    image.chmod(0o640)
    before = image.read_bytes()
    link = image.with_name("link.webp")
    link.symlink_to(image)
    assert command(workspace, "attribute", link, "--in-place").code == 0
    assert link.is_symlink()
    assert original_of(image.read_bytes()) == before
    assert image.stat().st_mode & 0o777 == 0o640
    once = image.read_bytes()
    ran = command(workspace, "attribute", image, "--in-place")
    assert "0 new, 1 there already" in ran.stderr
    assert image.read_bytes() == once
    os.link(image, image.with_name("second.webp"))
    image.write_bytes(before)
    ran = command(workspace, "attribute", image, "--in-place")
    assert (ran.code, "2 names (hard links)" in ran.stderr) == (1, True)
    assert image.read_bytes() == before


def test_nothing_of_the_users_is_overwritten(workspace: Path, image: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    out.mkdir()
    (out / "image.webp").write_bytes(b"mine")
    ran = command(workspace, "attribute", image, "--stamp", out)
    assert (ran.code, "There is another file" in ran.stderr) == (1, True)
    assert (out / "image.webp").read_bytes() == b"mine"
    target = tmp_path / "elsewhere.webp"
    target.write_bytes(b"linked")
    (out / "image.webp").unlink()
    (out / "image.webp").symlink_to(target)
    assert command(workspace, "attribute", image, "--stamp", out).code == 1
    assert command(workspace, "attribute", image, "--stamp", out, "--force").code == 0
    assert target.read_bytes() == b"linked"
    assert not (out / "image.webp").is_symlink()
    assert command(workspace, "attribute", image, "--stamp", out).code == 0  # the same is there
    assert sorted(path.name for path in out.iterdir()) == ["image.webp"]


def test_what_cannot_be_stamped_is_said_and_stops_no_other(
    workspace: Path, image: Path, tmp_path: Path
) -> None:
    picture().convert("P").save(tmp_path / "b.gif")
    (tmp_path / "c.png").write_bytes(with_chunk(png(), b"caBX", b"any manifest"))
    ran = command(
        workspace,
        "attribute",
        tmp_path / "b.gif",
        tmp_path / "c.png",
        image,
        "--stamp",
        tmp_path / "out",
        "--json",
    )
    assert ran.code == 1
    failed = {Path(one["path"]).name: one["detail"] for one in ran.json["failures"]}
    assert "Only PNG, JPEG and WebP" in failed["b.gif"]
    assert "Content Credentials" in failed["c.png"]
    assert "1 new, 2 not stamped." in ran.stderr
    assert len(ran.json["attributions"]) == 3  # answered and recorded all the same
    assert [one["stamp"] is None for one in ran.json["attributions"]] == [True, True, False]
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["image.webp"]


def test_interrupted_it_says_what_is_answered_and_stamped(
    workspace: Path, image: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    attribute = Lookup.attribute

    def stop(self: Lookup, paths: Sequence[Path]) -> Iterator[Answer]:
        yield from attribute(self, paths[:1])
        raise KeyboardInterrupt

    monkeypatch.setattr(Lookup, "attribute", stop)
    shutil.copy(image, tmp_path / "second.webp")
    ran = command(workspace, "attribute", image, tmp_path / "second.webp", "--stamp", tmp_path / "out")
    assert ran.code == 130
    assert "1 of 2 images are answered and recorded" in ran.stderr
    assert "1 new" in ran.stderr
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["image.webp"]


def test_what_cannot_run_is_said_before_any_work(workspace: Path, image: Path, tmp_path: Path) -> None:
    chain, key = SIGNER.write(tmp_path)
    other_key = tmp_path / "other.pem"
    other_key.write_bytes(make_signer().key)
    (tmp_path / "sub").mkdir()
    twin = Path(shutil.copy(image, tmp_path / "sub" / "IMAGE.webp"))
    Image.open(image).save(twin, lossless=True)
    out = tmp_path / "out"
    for words, says in (
        ([image, "--stamp", image.parent], "is the image itself"),
        ([image, twin, "--stamp", out], "would both be"),
        ([image, "--stamp", image], "cannot be made"),
        ([image, "--stamp", out, "--in-place"], "Choose one"),
        ([image, "--in-place", "--force"], "--force goes with --stamp"),
        ([image, "--stamp-names"], "is about stamps"),
        ([image, "--certificate", chain], "is about stamps"),
        ([image, "--stamp", out, "--key", key], "takes --certificate and --key"),
        ([image, "--stamp", out, "--certificate", chain, "--key", other_key], "is not that of the first"),
        ([image, "--stamp", out, "--certificate", chain, "--key", tmp_path / "none"], "cannot be read"),
        (["-", "--stamp", out], "stdin are not stamped"),
    ):
        ran = command(workspace, "attribute", *words)
        assert (ran.code, ran.stdout) == (2, b""), words
        assert says in ran.stderr, words
    assert pending(workspace) == []
    assert not out.exists()


def test_inspect_needs_no_workspace_and_no_network(fairbrush: Fairbrush, tmp_path: Path) -> None:
    (tmp_path / "made.png").write_bytes(png())
    (tmp_path / "plain.bmp").write_bytes(saved("BMP"))
    (tmp_path / "bad.png").write_bytes(b"no image")
    ran = fairbrush("inspect", "made.png", "plain.bmp", "bad.png", "--json", env=without_network(tmp_path))
    assert ran.code == 1
    assert ran.json["schema"] == "fairbrush.inspection/1"
    made, plain = ran.json["images"]
    assert made["generation"] == {
        **dict.fromkeys(("model_hash", "scheduler", "guidance", "size")),
        **{"tool": "automatic1111", "model": "v1-5", "prompt": "a harbour at dawn", "loras": []},
        **{"negative_prompt": "blurry", "seed": 7, "steps": 20, "sampler": "Euler a"},
    }
    assert (made["stamp"], made["manifest"], made["ledger"], made["is_bound"]) == (None, None, None, False)
    assert (plain["format"], plain["generation"], plain["stamp"]) == ("BMP", None, None)
    assert [one["reason"] for one in ran.json["failures"]] == ["unsupported"]


def test_without_the_extra_signing_is_refused_and_inspecting_says_what_is_missing(
    fairbrush: Fairbrush, gallery: Gallery, workspace: Path, tmp_path: Path
) -> None:
    chain, key = SIGNER.write(tmp_path)
    blocked = tmp_path / "blocked"
    blocked.mkdir()
    (blocked / "c2pa.py").write_text("raise ImportError('not here')")
    env = {"PYTHONPATH": str(blocked)}
    signing = ("attribute", gallery.credited, "--stamp", "out", "--certificate", chain, "--key", key)
    ran = fairbrush("--workspace", workspace, *signing, env=env)
    assert (ran.code, "pip install 'fairbrush[c2pa]'" in ran.stderr) == (2, True)
    (tmp_path / "signed.png").write_bytes(with_chunk(png(), b"caBX", b"any manifest"))
    ran = fairbrush("inspect", "signed.png", env=env)
    assert (ran.code, "pip install 'fairbrush[c2pa]'" in ran.text) == (0, True)


HOSTILE = {
    "controls.png": png().replace(b"a harbour at dawn", b"a \x1b[31m\x07 harbour!!"),
    "bomb.jpg": saved("JPEG", xmp=b'<!DOCTYPE a [<!ENTITY b "c">]><a xmlns:f="urn:uuid:908ccd96-05cc-47bc'
                      b'-8f35-89e609d515ca#">&b;</a>'),
    "cut.png": png()[:50],
    "segments.jpg": b"\xff\xd8\xff\xe1\xff\xff short",
    "riff.webp": b"RIFF\xff\xff\xff\xffWEBPVP8 ",
    "manifest.png": with_chunk(png(), b"caBX", b"\0" * 500),
}  # fmt: skip


def test_hostile_files_get_a_statement_each(tmp_path: Path, workspace: Path) -> None:
    for name, content in HOSTILE.items():
        (tmp_path / name).write_bytes(content)
    files = [tmp_path / name for name in HOSTILE]
    ran = command(workspace, "inspect", *files)
    assert ran.code == 0, ran.stderr
    assert "\x1b" not in ran.text
    assert "\x07" not in ran.text
    found = {Path(one["path"]).name: one for one in inspected(workspace, *files)}
    assert "DTD" in found["bomb.jpg"]["stamp_problem"]
    assert found["manifest.png"]["manifest"]["state"] == "invalid"
    assert "cut short" in found["cut.png"]["stamp_problem"] or found["cut.png"]["stamp_problem"]
    assert hash_file(tmp_path / "bomb.jpg", ImageLimits())


def test_all_formats_say_the_same(workspace: Path, image: Path, tmp_path: Path) -> None:
    content = saved("JPEG", comment=PROMPT.encode())
    (tmp_path / "plain.jpg").write_bytes(content)
    assert command(workspace, "attribute", image, "--stamp", tmp_path / "out").code == 0
    files = [tmp_path / "out" / "image.webp", tmp_path / "plain.jpg"]
    documents = inspected(workspace, *files)
    written = Path(__file__).parents[2] / "docs" / "provenance.md"
    assert all(f"`{name}`" in written.read_text(encoding="utf-8") for name in documents[0])
    lines = command(workspace, "inspect", *files, "--nl").stdout.splitlines()
    assert list(map(json.loads, lines)) == documents
    table = command(workspace, "inspect", *files, "--csv").text.splitlines()
    assert len(table) == 3
    assert documents[0]["stamp"]["attribution_id"] in table[1]
    assert (
        command(workspace, "inspect", *files, "--format", "parquet", "-o", tmp_path / "a.parquet").code == 0
    )
    text = command(workspace, "inspect", *files).text
    assert "bound: without it this is, byte for byte, the file that was looked up" in text
    assert "ledger" in text
