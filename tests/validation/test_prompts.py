"""Coalitions' prompts, and users' prompts without their artists."""

import doctest
import re
import time

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

import fairbrush.validation.prompts
from fairbrush.corpus.generation.facts import LONGEST_PROMPT
from fairbrush.corpus.hints import NameFinder
from fairbrush.errors import PromptError
from fairbrush.validation.prompts import Content, Template, coalition_prompt, content_of

FINDER = NameFinder.of(
    {
        "frida": ["Frida Kahlo"],
        "greg": ["Greg Rutkowski"],
        "monet": ["Claude Monet", "Monet"],
        "mucha": ["Alphonse Mucha", "Mucha"],
        "okeeffe": ["Georgia O'Keeffe"],
    }
)


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


@pytest.mark.parametrize(
    ("prompt", "text", "named"),
    [
        (
            "a red fox in the snow, in the style of Greg Rutkowski and Alphonse Mucha, highly detailed",
            "a red fox in the snow, highly detailed",
            "greg mucha",
        ),
        ("a fox by Monet and Mucha", "a fox", "monet mucha"),
        ("a fox, art by Monet, Mucha", "a fox", "monet mucha"),
        ("a painting by Monet of a fox", "a painting of a fox", "monet"),
        ("concept art by Greg Rutkowski, 8k", "concept art, 8k", "greg"),
        ("a fox painted by Monet.", "a fox.", "monet"),
        ("A fox. By Monet. Highly detailed.", "A fox. Highly detailed.", "monet"),
        ("a fox in style of monet", "a fox", "monet"),
        ("a fox, in the painterly style of both Monet and Mucha", "a fox", "monet mucha"),
        ("the style of Monet, a fox", "a fox", "monet"),
        ("a fox, Monet style", "a fox", "monet"),
        ("a fox in Monet's style", "a fox", "monet"),
        ("a fox, Georgia O’Keeffe’s style, 8k", "a fox, 8k", "okeeffe"),
        ("Monet-style painting of a fox", "painting of a fox", "monet"),
        ("monet inspired fox", "fox", "monet"),
        ("a fox, inspired by Monet, reminiscent of Mucha", "a fox", "monet mucha"),
        ("a fox, by Monet, in the style of Mucha, in the snow", "a fox, in the snow", "monet mucha"),
        ("a fox, (Greg Rutkowski:1.2), 8k", "a fox, 8k", "greg"),
        ("a fox, (art by greg rutkowski, 8k:1.2)", "a fox, (8k:1.2)", "greg"),
        ("a fox (in the style of (Monet:1.1) and (Mucha:0.9)), 8k", "a fox, 8k", "monet mucha"),
        ("a fox, ((greg_rutkowski)), [Monet|Mucha]", "a fox", "greg monet mucha"),
        ("[cat|monet|dog], [Monet:Mucha:0.5]", "[cat|dog]", "monet mucha"),
        ("a fox, claude_monet \\(artist\\), 1girl", "a fox, 1girl", "monet"),
        ("a fox, artist:monet, @gregrutkowski", "a fox", "greg monet"),
        ("a_fox_by_greg_rutkowski", "a_fox", "greg"),
        ("<lora:greg_rutkowski:0.8> a fox <lora:detail:1>, 8k", "a fox, 8k", "greg"),
        ("A FOX BY FRIDA KA\u0301HLO\u0301", "A FOX", "frida"),
        ("a portrait of Frida Kahlo", "a portrait", "frida"),
        ("in Monet's garden", "in garden", "monet"),
        ("Monet and a fox", "a fox", "monet"),
        ("a fox by Monet with a hat", "a fox with a hat", "monet"),
        ("a fox by Monet and a bear", "a fox and a bear", "monet"),
        ("a fox, Greg Monet Rutkowski", "a fox", "greg monet"),
        ("a fox\nby Monet\n", "a fox", "monet"),
        ("a fox by Monet and Artgerm", "a fox by Artgerm", "monet"),
        ("a fox by Artgerm, Monet, 8k", "a fox by Artgerm, 8k", "monet"),
        ("monetary policy,, by nobody ()", "monetary policy,, by nobody ()", ""),
    ],
)
def test_a_prompt_without_its_artists_is_its_content(prompt: str, text: str, named: str) -> None:
    assert content_of(prompt, FINDER) == Content(text, tuple(named.split()))


@pytest.mark.parametrize(
    "prompt", ["", " , ", "by Monet", "in the style of Monet and Mucha", "art by (Monet:2)"]
)
def test_a_prompt_of_artists_alone_has_no_content(prompt: str) -> None:
    with pytest.raises(PromptError, match="no content once its artists are taken out") as raised:
        content_of(prompt, FINDER)
    assert "--prompt" in str(raised.value)


def test_a_prompt_too_long_to_be_searched_is_refused() -> None:
    with pytest.raises(PromptError, match="65537 characters"):
        content_of("x" * (LONGEST_PROMPT + 1), FINDER)


def test_names_within_names_end_somewhere() -> None:
    assert content_of("Greg " * 9 + "Monet " + "Rutkowski " * 9 + "fox", FINDER).text == "fox"
    with pytest.raises(PromptError, match="names within names"):
        content_of("Greg " * 50 + "Monet " + "Rutkowski " * 50 + "fox", FINDER)


WORD = st.text("xyz", min_size=2, max_size=6)
CONTENT = st.lists(WORD, min_size=1, max_size=8).flatmap(
    lambda words: st.lists(st.sampled_from([" ", ", "]), min_size=len(words), max_size=len(words)).map(
        lambda gaps: "".join(word + gap for word, gap in zip(words, gaps, strict=True)).strip(" ,")
    )
)
NAME = st.lists(st.text("abcdeé", min_size=3, max_size=6), min_size=1, max_size=3).map(" ".join)
TEMPLATES = [
    "{content}, in the style of {artists}",
    "{content} by {artists}",
    "{content}, art by ({artists}:1.2)",
    "{artists} style {content}",
    "{artists}, {content}",
    "{content}, inspired by [{artists}]",
    "{content} painted by the artists {artists}",
    "{content} <lora:x:1> in {artists}'s style",
]


@given(
    CONTENT,
    st.lists(NAME, min_size=1, max_size=4, unique=True),
    st.sampled_from(TEMPLATES),
    st.sampled_from([" and ", " & ", ", ", " meets "]),
)
def test_content_of_undoes_a_coalitions_prompt(
    content: str, artists: list[str], template: str, conjunction: str
) -> None:
    finder = NameFinder.of({name: [name] for name in artists})
    template = Template(both=template, conjunction=conjunction)
    prompt = coalition_prompt(template, content, artists, model=True)
    # run together, two names may read as a third
    assume(set(finder.find(prompt)) == {one for name in artists for one in finder.find(name)})
    without = content_of(prompt, finder)
    assert without.text == content
    assert without.artist_ids == finder.find(prompt)


PIECES = [
    "ab",
    "ba",
    "aa bb",
    " by ",
    "in the style of ",
    " and ",
    "<lora:",
    ":1.2",
    "'s style",
    " style",
    "x",
]
MESS = st.lists(
    st.sampled_from([*PIECES, *"ab ,.:|()[]{}_'\\<>&+;\0é\u0301½", "art by ", "artist:"]), max_size=40
).map("".join)


@given(MESS | st.text(max_size=80), st.lists(st.text("ab ", min_size=2, max_size=5), max_size=4))
def test_no_name_is_left_in_any_content_and_taking_out_again_changes_nothing(
    prompt: str, names: list[str]
) -> None:
    finder = NameFinder.of({name: [name] for name in names})
    try:
        content = content_of(prompt, finder)
    except PromptError:
        return
    assert finder.find(content.text) == ()
    assert set(finder.find(prompt)) <= set(content.artist_ids)
    assert content_of(content.text, finder) == Content(content.text, ())


LONG = [
    "by Monet, ",
    "Monet ",
    "(",
    "(Monet",
    "Monet)",
    "[Monet|",
    "in the style of ",
    "in the a",
    "_",
    ",",
    "'",
]


@pytest.mark.parametrize(
    "pattern", [*LONG, " , ,", ". ", "<lora:", "a", "by ", "art by ", "Monet and ", ":1.2", "| ", "\u0301"]
)
def test_time_is_in_proportion_to_the_prompt(pattern: str) -> None:
    prompt = "fox " + (pattern * LONGEST_PROMPT)[: LONGEST_PROMPT - 10] + " Monet"
    started = time.process_time()
    assert not re.search("monet", content_of(prompt, FINDER).text, re.IGNORECASE)
    assert time.process_time() - started < 5


def test_the_examples_in_the_docstrings_hold() -> None:
    assert doctest.testmod(fairbrush.validation.prompts).failed == 0
