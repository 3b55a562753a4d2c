"""Coalitions' prompts."""

import doctest

import pytest

import fairbrush.validation.prompts
from fairbrush.errors import PromptError
from fairbrush.validation.prompts import Template, coalition_prompt


@pytest.mark.parametrize(
    ("artists", "model", "prompt"),
    [
        ([], False, ""),
        ([], True, "a fox"),
        (["Ann"], False, "by Ann"),
        (["Ann"], True, "a fox by Ann"),
        (["Ann", "Bo"], True, "a fox by Ann and Bo"),
        (["Ann", "Bo", "Cy"], False, "by Ann, Bo and Cy"),
    ],
)
def test_each_coalition_has_its_prompt(artists: list[str], model: bool, prompt: str) -> None:
    template = Template.parse("{content} by {artists}")
    assert coalition_prompt(template, "a fox", artists, model=model) == prompt


def test_what_a_content_says_in_braces_is_left_as_it_is() -> None:
    assert coalition_prompt(Template(), "{artists} {x}", ["Ann"], model=True) == (
        "{artists} {x}, in the style of Ann"
    )


@pytest.mark.parametrize(
    ("both", "alone"),
    [
        ("{content} by {artists}", "by {artists}"),
        ("{content}, in the style of {artists}", "in the style of {artists}"),
        ("{content}, art by {artists}, 8k", "art by {artists}, 8k"),
        ("{artists} style {content}", "{artists} style"),
        ("{artists}: {content}", "{artists}"),
        ("painting of {content} | {artists}", "{artists}"),
    ],
)
def test_a_template_of_one_text_tells_the_artists_side(both: str, alone: str) -> None:
    assert Template.parse(both) == Template(both=both, artists_alone=alone)


@pytest.mark.parametrize(
    "text",
    ["", "{content}", "{artists}", "{content} {artists} {artists}", "{content} by {artists} {x}", "{content"],
)
def test_a_template_without_its_two_places_is_refused(text: str) -> None:
    with pytest.raises(PromptError, match=r"must say \{content\} and \{artists\} once") as raised:
        Template.parse(text)
    assert raised.value.next_step
    with pytest.raises(PromptError):
        Template(both=text)


def test_artists_alone_are_not_drawn_with_a_content() -> None:
    with pytest.raises(PromptError, match=r"must say \{artists\} once"):
        Template(artists_alone="{content} by {artists}")


def test_a_blank_content_or_name_is_refused() -> None:
    with pytest.raises(PromptError, match="no content"):
        coalition_prompt(Template(), " ", ["Ann"], model=True)
    with pytest.raises(PromptError, match="blank name"):
        coalition_prompt(Template(), "a fox", ["Ann", " "], model=False)


def test_the_examples_in_the_docstrings_hold() -> None:
    assert doctest.testmod(fairbrush.validation.prompts).failed == 0
