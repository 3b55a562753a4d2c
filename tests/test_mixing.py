"""Inputs as they are typed, and whose they are."""

from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fairbrush.corpus.eligibility import Eligibility
from fairbrush.domain import Artist, Consent
from fairbrush.errors import MixError, RegistryError
from fairbrush.mixing import MixInput, joined, looks_like_input, parse_input, parse_inputs, parted

ARTISTS = {
    artist_id: Artist(artist_id, name, f"c-{artist_id}", f"p-{artist_id}", Consent.UNCLAIMED)
    for artist_id, name in (("1", "Ada"), ("2", "Bo"))
}
REGISTRY = Eligibility(ARTISTS, {"sd-1.5": frozenset()}, aliases={"2": ("Bob",)})
STYLE = np.array([1.0, 0.0])
ONE, OTHER = "11" * 32, "22" * 32


@pytest.mark.parametrize(
    ("text", "path", "weight", "artist"),
    [
        ("a.png", "a.png", 1, None),
        ("a.png:0.6", "a.png", Fraction(3, 5), None),
        ("a.png:.5", "a.png", Fraction(1, 2), None),
        ("a.png:3", "a.png", 3, None),
        ("a.png:1e-3=Ada", "a.png", Fraction(1, 1000), "Ada"),
        ("a.png=Ada Lovelace", "a.png", 1, "Ada Lovelace"),
        ("a.png:2=Ada: the second", "a.png", 2, "Ada: the second"),
        ("a=b.png:2=X=Y", "a=b.png", 2, "X=Y"),
        ("a:1:2", "a:1", 2, None),
        (r"C:\x.png:0.4", r"C:\x.png", Fraction(2, 5), None),
        (r"C:\x.png", r"C:\x.png", 1, None),
        ("a.png:heavy", "a.png:heavy", 1, None),
    ],
)
def test_the_weight_is_the_number_behind_the_last_colon(
    text: str, path: str, weight: Fraction, artist: str | None
) -> None:
    assert parse_input(text) == MixInput(Path(path), Fraction(weight), artist)


@given(
    st.text("ab:=/ .", min_size=1, max_size=8),
    st.decimals("0.001", "1000", places=3),
    st.none() | st.text("Ab :", min_size=1, max_size=6),
)
def test_what_is_written_out_is_read_back(name: str, weight: object, artist: str | None) -> None:
    path = f"{name}.png"
    said = f"{path}:{weight}" + ("" if artist is None else f"={artist}")
    assert parse_input(said) == MixInput(Path(path), Fraction(str(weight)), artist)


@pytest.mark.parametrize("weight", ["0", "-1", "nan", "NaN", "inf", "-inf", "1e999999999", "1e-10", "9" * 50])
def test_a_weight_is_a_number_above_zero(weight: str) -> None:
    with pytest.raises(MixError, match="must be a number above 0"):
        parse_input(f"a.png:{weight}")


@pytest.mark.parametrize("text", ["", ":0.5x=", "=Ada", "a.png:0.5=", "a.png="])
def test_a_path_or_an_artist_left_empty_is_refused(text: str) -> None:
    with pytest.raises(MixError, match=r"has no (path|artist)"):
        parse_input(text)


def test_a_file_by_the_very_name_is_that_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("odd:0.5", "a.png", "odd=Ada"):
        Path(name).touch()
    assert parse_input("odd:0.5") == MixInput(Path("odd:0.5"))
    assert parse_input("odd=Ada") == MixInput(Path("odd=Ada"))
    assert parse_input("odd:0.5:2").weight == 2
    assert parse_input("odd:0.5=Ada") == MixInput(Path("odd:0.5"), artist="Ada")
    assert not looks_like_input("odd:0.5")
    assert not looks_like_input("odd:0.5=Ada")
    with pytest.raises(MixError, match=r"weight of the input a.png is 'o\.6', no number"):
        parse_input("a.png:o.6")


def test_arguments_are_parted_only_where_there_are_inputs() -> None:
    images, inputs = parted(["mix.png", "b.png:0.4", "c.png:1=Bo"], ["a.png:0.6"])
    assert images == ["mix.png"]
    assert [str(one.path) for one in inputs] == ["a.png", "b.png", "c.png"]
    assert parted(["mix.png", "b.png:0.4"], []) == (["mix.png", "b.png:0.4"], ())
    images, inputs = parted(["b.png:0.4"], ["a.png:0.6"], image_needed=False)
    assert (images, [str(one.path) for one in inputs]) == ([], ["a.png", "b.png"])
    with pytest.raises(MixError, match="no image that was mixed"):
        parted(["b.png:0.4"], ["a.png:0.6"])


def test_ten_inputs_are_the_most() -> None:
    assert len(parse_inputs(["a.png"] * 10)) == 10
    with pytest.raises(MixError, match="at most 10 inputs, not 11"):
        parse_inputs(["a.png"] * 11)


def of(*said: tuple[str, str], works: dict[str, tuple[str, ...]]) -> list[tuple[str, str, Fraction, str]]:
    found = [(parse_input(text), sha256, STYLE) for text, sha256 in said]
    answer = joined(found, artists_by_work=works, registry=REGISTRY)
    return [(one.sha256, str(one.path), one.weight, one.artist_id) for one in answer]


def test_weights_of_one_file_add_and_all_sum_to_one() -> None:
    works = {ONE: ("1",), OTHER: ("2",)}
    found = of(("a.png:1", ONE), ("b.png:3", OTHER), ("copy.png:1", ONE), works=works)
    assert found == [(OTHER, "b.png", Fraction(3, 5), "2"), (ONE, "a.png", Fraction(2, 5), "1")]
    even = of(("b.png", OTHER), ("a.png", ONE), works=works)
    assert [sha256 for sha256, *_ in even] == [ONE, OTHER], "ties by digest, not as typed"


def test_an_artist_is_named_by_name_alias_or_id() -> None:
    for name in ("Bo", "bob", "2"):
        assert of((f"new.png:1={name}", ONE), works={})[0][3] == "2"
    with pytest.raises(RegistryError, match="No artist is called 'Cy'"):
        of(("new.png=Cy", ONE), works={})


def test_an_input_by_nobody_known_says_both_ways_out() -> None:
    with pytest.raises(MixError, match=r"Nobody is known to have made the input new\.png") as refused:
        of(("new.png", ONE), works={})
    assert "fairbrush index extend" in (refused.value.next_step or "")
    assert "ARTIST" in (refused.value.next_step or "")


def test_what_is_said_must_fit_what_is_registered() -> None:
    with pytest.raises(MixError, match=r"is a registered work, and not one of Bo\."):
        of(("a.png=Bo", ONE), works={ONE: ("1",)})
    with pytest.raises(MixError, match="is given two artists"):
        of(("a.png=Bo", ONE), ("copy.png=Ada", ONE), works={})
    both = {ONE: ("1", "2")}
    with pytest.raises(MixError, match="a registered work of Ada and Bo"):
        of(("a.png", ONE), works=both)
    assert of(("a.png=Bo", ONE), works=both)[0][3] == "2"


def test_an_erased_artist_of_an_older_index_is_known_and_not_named() -> None:
    assert of(("a.png", ONE), works={ONE: ("gone",)})[0][3] == "gone"
    assert of(("a.png", ONE), works={ONE: ("gone", "2")})[0][3] == "2"


def test_where_an_image_need_not_be_named_inputs_without_weights_are_refused() -> None:
    with pytest.raises(MixError, match=r"b.png may be the image, or one more input"):
        parted(["b.png"], ["a.png"], image_needed=False)
    images, inputs = parted(["b.png"], ["a.png:1"], image_needed=False)
    assert (images, len(inputs)) == (["b.png"], 1)
