"""Who plays in an image mix, and what each brings to a coalition."""

from dataclasses import dataclass, replace
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from fairbrush.domain import Artist, Consent
from fairbrush.errors import ValidationError
from fairbrush.mixing import InputImage
from fairbrush.validation.generators import Sampling
from fairbrush.validation.inputs import left_out, players_of_inputs
from fairbrush.validation.prompts import Template
from fairbrush.validation.study import Question

ARTISTS = {
    "ann": Artist("ann", "Ann", "one", "payee", Consent.OPTED_IN),
    "pen": Artist("pen", "Pen Name", "one", "payee", Consent.OPTED_IN),
    "bo": Artist("bo", "Bo", "two", "payee", Consent.OPTED_IN),
    "cy": Artist("cy", "Cy", "three", "payee", Consent.OPTED_OUT),
}


@dataclass(frozen=True)
class Fake:
    """An eligibility in which those may be credited who opted in."""

    artists: dict[str, Artist]

    def may_be_credited(self, artist_id: str, model_id: str) -> bool:
        return self.artists[artist_id].consent is Consent.OPTED_IN


def mixed(*artist_ids: str) -> tuple[InputImage, ...]:
    part = Fraction(1, len(artist_ids))
    return tuple(
        InputImage(f"{place}" * 64, Path(f"{place}.png"), part, artist_id, np.zeros(2))
        for place, artist_id in enumerate(artist_ids)
    )


def players(*artist_ids: str) -> Any:
    return players_of_inputs(mixed(*artist_ids), Fake(ARTISTS), model_id="sd")  # type: ignore[arg-type]


def test_a_creator_plays_once_with_all_of_their_inputs() -> None:
    one, two = players("ann", "bo", "pen", "ann")
    assert (one.creator_id, one.names) == ("one", ("Ann", "Pen Name"))
    assert [each.path.name for each in one.inputs] == ["0.png", "2.png", "3.png"]
    assert [(each.path.name, each.weight) for each in two.inputs] == [("1.png", 0.25)]


def test_an_input_of_nobody_who_may_be_credited_is_in_no_coalition() -> None:
    [two] = players("cy", "bo")
    assert [each.path.name for each in two.inputs] == ["1.png"]
    assert "1 of 2 inputs" in str(left_out(mixed("cy", "bo"), [two]))
    assert left_out(mixed("bo"), players("bo")) is None
    with pytest.raises(ValidationError, match="no artist of the inputs may be credited for images of sd"):
        players("cy")


def test_a_coalition_has_its_members_inputs_and_never_their_names() -> None:
    question = Question(
        image=Path("x.png"),
        players=players("ann", "bo"),
        content="a fox",
        template=Template(),
        negative_prompt="",
        seeds=(7,),
        sampling=Sampling(2, 7.5, None, 64, 64),
    )
    drawn = question.requests(range(8))
    assert [request.prompt for request in drawn] == ["", "a fox"] * 4
    assert [[one.path.name for one in request.inputs] for request in drawn[::2]] == [
        [],
        ["0.png"],
        ["1.png"],
        ["0.png", "1.png"],
    ]
    without = replace(question, content="").requests(range(8))
    assert without[0::2] == without[1::2], "without a prompt the model adds nothing"
