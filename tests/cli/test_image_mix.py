"""``fairbrush attribute --inputs``: a mix of given images, shared by those who made them."""

import csv
import io
import json
from pathlib import Path
from typing import Any

import pytest
from PIL import Image
from workspaces import Gallery, answer, command, pending, rows

from fairbrush.chain.canonical import parse_canonical
from fairbrush.documents import recompute


@pytest.fixture
def inputs(gallery: Gallery) -> list[Path]:
    """A work each of two artists."""
    return [next(iter(works)) for works in list(gallery.works.values())[1:3]]


@pytest.fixture
def mixed(inputs: list[Path], tmp_path: Path) -> Path:
    first, second = (Image.open(path).convert("RGB").resize((256, 256)) for path in inputs)
    Image.blend(first, second, 0.5).save(tmp_path / "mix.png")
    return tmp_path / "mix.png"


def asked(workspace: Path, *words: Any) -> Any:
    (document,) = answer(workspace, "attribute", *words)["attributions"]
    return document


def test_a_blend_of_two_works_is_shared_by_their_artists(
    workspace: Path, mixed: Path, inputs: list[Path]
) -> None:
    first, second = inputs
    told = asked(workspace, mixed, "--inputs", f"{first}:0.6", f"{second}:0.4")
    assert {share["artist"] for share in told["artists"]} == {path.parent.name for path in inputs}
    assert all(share["share"] > 0 and share["interval"] is None for share in told["artists"])
    assert sum(share["share"] for share in told["artists"]) == pytest.approx(0.5)
    assert told["value_function"]["name"] == "mix"
    assert (told["confidence"], told["certificate"]["exact"], told["hint"]) == (None, True, None)
    assert [(one["path"], one["weight"]) for one in told["inputs"]] == [(str(first), 0.6), (str(second), 0.4)]
    again = asked(workspace, mixed, "--inputs", f"{second}:2", "--inputs", f"{first}:3")
    assert again["attribution_id"] == told["attribution_id"], "only proportions count, and no order"
    assert asked(workspace, mixed)["attribution_id"] != told["attribution_id"]
    even = asked(workspace, mixed, "--inputs", first, "--inputs", second)
    assert [one["weight"] for one in even["inputs"]] == [0.5, 0.5]
    assert even["attribution_id"] != told["attribution_id"]


def test_the_record_drains_and_gives_the_same_shares(
    workspace: Path, mixed: Path, inputs: list[Path]
) -> None:
    told = asked(workspace, mixed, "--inputs", f"{inputs[0]}:0.6", f"{inputs[1]}:0.4")
    (row,) = rows(workspace, "SELECT value_function, body::TEXT AS body, about FROM attribution")
    assert row["value_function"] == "mix"
    body = parse_canonical(row["body"])
    split = recompute(body)
    assert split.artists == tuple(share["share"] for share in told["artists"])
    assert split.artists_e12 == tuple(share["share_e12"] for share in told["artists"])
    assert not [name for name in (*map(str, inputs), "mix.png") if name in row["body"]]
    assert inputs[0].name not in json.dumps(row["about"])
    shown = answer(workspace, "report", "lookups")
    assert str(told["attribution_id"]) in json.dumps(shown)


def test_the_table_says_what_was_mixed_and_explain_who_explains_what(
    workspace: Path, mixed: Path, inputs: list[Path]
) -> None:
    words = (mixed, "--inputs", f"{inputs[0]}:0.6", f"{inputs[1]}:0.4", "--no-record")
    names = [path.parent.name for path in inputs]
    shown = command(workspace, "attribute", *words, "--explain", "--why", names[0]).text
    assert f"{mixed}: mixed from\n  0.600 {inputs[0]}: {names[0]}\n  0.400 {inputs[1]}: {names[1]}\n" in shown
    assert "no threshold is asked for" in shown
    assert "explain 1.000 of the style" in shown
    assert f"{mixed}: {names[0]}: credited" in shown
    told = asked(workspace, *words, "--explain", "--why", names[1])
    assert told["explain"]["runner_up"] is None
    assert [one["verdict"] for one in told["why"]] == ["credited"]
    table = list(csv.DictReader(io.StringIO(command(workspace, "attribute", *words, "--csv").text)))
    assert [row["to"] for row in table][1:-1] == [share["artist"] for share in told["artists"]]


def test_an_input_that_is_no_work_needs_its_artist_named(
    workspace: Path, mixed: Path, inputs: list[Path], tmp_path: Path
) -> None:
    new = tmp_path / "new.png"
    Image.open(inputs[0]).convert("RGB").rotate(90).save(new)
    ran = command(workspace, "attribute", mixed, "--inputs", f"{new}:0.5", f"{inputs[1]}:0.5")
    assert (ran.code, ran.stdout, pending(workspace)) == (2, b"", [])
    assert f"Nobody is known to have made the input {new}" in ran.stderr
    assert "fairbrush index extend" in ran.stderr
    name = inputs[0].parent.name
    told = asked(workspace, mixed, "--inputs", f"{new}:0.5={name.upper()}", f"{inputs[1]}:0.5")
    assert name in {share["artist"] for share in told["artists"]}


def test_an_artist_who_opted_out_gets_nothing_and_is_not_named(
    workspace: Path, mixed: Path, inputs: list[Path]
) -> None:
    words = (mixed, "--inputs", f"{inputs[0]}:0.6", f"{inputs[1]}:0.4")
    before = {share["artist"]: share["phi"] for share in asked(workspace, *words)["artists"]}
    gone, stays = (path.parent.name for path in inputs)
    assert command(workspace, "artist", "consent", gone, "opted_out").code == 0
    told = asked(workspace, *words)
    assert [share["artist"] for share in told["artists"]] == [stays]
    assert told["unattributed"] > 0
    assert told["artists"][0]["phi"] >= before[stays]
    assert [one["is_creditable"] for one in told["inputs"]] == [False, True]
    shown = command(workspace, "attribute", *words).text
    assert f"0.600 {inputs[0]}: of nobody who may be credited" in shown


def test_an_erased_artist_s_work_is_nobody_s(workspace: Path, mixed: Path, inputs: list[Path]) -> None:
    assert command(workspace, "artist", "erase", inputs[0].parent.name, "--yes").code == 0
    ran = command(workspace, "attribute", mixed, "--inputs", f"{inputs[0]}:0.6", f"{inputs[1]}:0.4")
    assert ran.code == 2
    assert "Nobody is known to have made the input" in ran.stderr


def test_inputs_are_those_of_every_image_and_of_a_stream(
    workspace: Path, mixed: Path, inputs: list[Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    words = ("--inputs", f"{inputs[0]}:0.6", f"{inputs[1]}:0.4")
    told = answer(workspace, "attribute", mixed, inputs[0], *words)["attributions"]
    assert [one["image"]["path"] for one in told] == [str(mixed), str(inputs[0])]
    assert told[1]["artists"][0]["artist"] == inputs[0].parent.name
    assert told[0]["inputs"] == told[1]["inputs"]
    stdin = io.TextIOWrapper(io.BytesIO(f"{mixed}\n".encode()))
    monkeypatch.setattr("sys.stdin", stdin)
    streamed = json.loads(command(workspace, "attribute", "-", *words).stdout)
    assert streamed["attribution_id"] == told[0]["attribution_id"]


def test_an_input_that_cannot_be_read_stops_everything_before_any_answer(
    workspace: Path, mixed: Path, inputs: list[Path], tmp_path: Path
) -> None:
    (tmp_path / "bad.png").write_bytes(b"nonsense")
    for bad, reason in ((tmp_path / "bad.png", "unsupported"), (tmp_path / "none.png", "missing")):
        ran = command(workspace, "attribute", mixed, "--inputs", f"{bad}:0.5", f"{inputs[1]}:0.5", "--nl")
        assert (ran.code, ran.stdout) == (2, b"")
        assert f"The input {bad} is not usable: {reason}" in ran.stderr
    assert rows(workspace, "SELECT count(*) AS n FROM attribution") == [{"n": 0}]
    refused = rows(workspace, "SELECT path, reason, doing FROM refusal ORDER BY path")
    assert [(one["reason"], one["doing"]) for one in refused] == [
        ("unsupported", "attribute"),
        ("missing", "attribute"),
    ]


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["mix.png", "--inputs", "a.png:0"], "must be a number above 0"),
        (["mix.png", "--inputs", "a.png:nan"], "must be a number above 0"),
        (["mix.png", "--inputs", "a.png", *(f"{n}.png:1" for n in range(10))], "at most 10 inputs, not 11"),
        (["--inputs", "a.png:0.6", "b.png:0.4"], "no image that was mixed"),
        (["mix.png", "--inputs", "a.png", "--value", "blend"], "--value does not go with --inputs"),
        (["mix.png", "--inputs", "a.png", "--prompt", "by Bo"], "--prompt does not go with --inputs"),
        (["mix.png", "--value", "mix"], "--value mix is what --inputs plays"),
    ],
)
def test_what_cannot_be_meant_is_said(workspace: Path, words: list[str], says: str) -> None:
    ran = command(workspace, "attribute", *words)
    assert (ran.code, ran.stdout) == (2, b"")
    assert says in ran.stderr


def test_a_policy_cannot_say_mix(workspace: Path, mixed: Path) -> None:
    with (workspace / "fairbrush.toml").open("a", encoding="utf-8") as file:
        file.write('\n[policy]\nvalue = "mix"\n')
    ran = command(workspace, "attribute", mixed)
    assert ran.code == 2
    assert "must name a value function, not 'mix'" in ran.stderr
