"""Names in prompts: what names an artist and what does not."""

import doctest
import time
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

import fairbrush.corpus.hints
from fairbrush.corpus.generation.facts import LONGEST_PROMPT
from fairbrush.corpus.hints import NameFinder, places_of_words, words_of

NAMES = {
    "frida": ["Frida Kahlo", "Kahlo"],
    "other-frida": ["Frida"],
    "greg": ["Greg Rutkowski"],
    "monet": ["Claude Monet", "Monet"],
    "turner": ["J. M. W. Turner"],
    "keeffe": ["Georgia O'Keeffe"],
    "lempicka": ["Tamara de Łempicka"],
    "hokusai": ["葛飾北斎"],
    "x": ["X"],
    "ku": ["Q", "42"],
    "namesake": ["Greg  RUTKOWSKI"],
}
FINDER = NameFinder.of(NAMES)
BOTH_GREGS = ("greg", "namesake")


@pytest.mark.parametrize(
    ("prompt", "named"),
    [
        ("a castle by Greg Rutkowski", BOTH_GREGS),
        ("a castle, (greg rutkowski:1.2)", BOTH_GREGS),
        ("a castle, ((GREG_RUTKOWSKI)), 8k", BOTH_GREGS),
        ("<lora:greg_rutkowski:0.8> a castle", BOTH_GREGS),
        ("a castle by gregrutkowski and artgerm", BOTH_GREGS),
        ("[greg rutkowski|claude monet] castle", ("greg", "monet", "namesake")),
        ("[greg rutkowski:Monet:0.5]", ("greg", "monet", "namesake")),
        (r"harbour by monet \(1840\)", ("monet",)),
        ("in Monet's garden", ("monet",)),
        ("Ｃｌａｕｄｅ　Ｍｏｎｅｔ", ("monet",)),
        ("Claude Mon\u200bet", ("monet",)),
        ("monetary policy, demonetised", ()),
        ("a portrait by Frida Kahlo", ("frida",)),
        ("a portrait by frida káhlo", ("frida",)),
        ("a portrait by frida ka\u0301hlo", ("frida",)),
        ("a portrait by Frida", ("other-frida",)),
        ("Frida, and Frida Kahlo", ("frida", "other-frida")),
        ("by JMW Turner", ("turner",)),
        ("by j.m.w. turner", ("turner",)),
        ("by Turner", ()),
        ("georgia okeeffe", ("keeffe",)),
        ("georgia o keeffe", ("keeffe",)),
        ("Tamara de Lempicka, art deco", ("lempicka",)),
        ("波、葛飾北斎、浮世絵", ("hokusai",)),
        ("x, q, x-ray", ()),
        ("room 42", ("ku",)),
        ("", ()),
        ("(((", ()),
    ],
)
def test_a_prompt_names_whom_a_reader_would_say(prompt: str, named: tuple[str, ...]) -> None:
    assert FINDER.find(prompt) == named


def test_the_longest_name_wins_where_two_overlap() -> None:
    finder = NameFinder.of({"short": ["Ann Bo"], "long": ["Bo Cecilia"], "inner": ["Cecilia"]})
    assert finder.find("Ann Bo Cecilia") == ("long",)
    assert finder.find("Ann Bo, Ann") == ("short",)


def test_names_without_letters_never_match_and_no_names_find_nobody() -> None:
    assert NameFinder.of({"a": ["", "-", "...", "É"]}).keys == ()
    assert NameFinder.of({}).find("by Ann") == ()


def test_a_voiced_letter_is_another_letter() -> None:
    assert NameFinder.of({"a": ["かき"]}).find("がき") == ()
    assert NameFinder.of({"a": ["がき"]}).find("か\u3099き") == ("a",)


WORDS = st.text("abcdeé", min_size=2, max_size=6)
FILLER = st.lists(st.text("xyz", min_size=1, max_size=6), max_size=5).map(" ".join)
BETWEEN = st.sampled_from([" ", "_", "-", ", ", "  ", "\n", ""])


@given(st.lists(WORDS, min_size=1, max_size=3), FILLER, FILLER, BETWEEN, st.sampled_from(["{}", "({}:1.3)"]))
def test_a_name_is_found_however_it_is_set(
    parts: list[str], before: str, after: str, between: str, syntax: str
) -> None:
    finder = NameFinder.of({"a": [" ".join(parts)]})
    prompt = f"{before} {syntax.format(between.join(parts).upper())} {after}"
    assert finder.find(prompt) == ("a",)


@given(WORDS, st.text("abcde", min_size=1, max_size=3))
def test_a_part_of_a_word_is_no_name(name: str, more: str) -> None:
    finder = NameFinder.of({"a": [name]})
    assert finder.find(f"by {name}{more}") == finder.find(f"by {more}{name}") == ()


@given(st.lists(WORDS, max_size=8).map(" ".join), st.dictionaries(WORDS, st.lists(WORDS, max_size=2)))
def test_only_artists_whose_name_is_there_are_found(prompt: str, names: dict[str, list[str]]) -> None:
    joined = "".join(words_of(prompt))
    for artist_id in NameFinder.of(names).find(prompt):
        assert any("".join(words_of(name)) in joined for name in names[artist_id])


@given(st.text(max_size=300), st.dictionaries(st.text(max_size=3), st.lists(st.text(max_size=8), max_size=3)))
def test_any_text_and_any_names_are_searched(prompt: str, names: dict[str, list[str]]) -> None:
    assert set(NameFinder.of(names).find(prompt)) <= set(names)


@given(st.text(max_size=60) | st.text("aé\u0301\u200b½ﬁ が_,", max_size=20))
def test_every_word_has_a_place_and_reads_the_same_there(prompt: str) -> None:
    places = places_of_words(prompt)
    words = words_of(prompt)
    assert len(places) == len(words)
    for word, (start, end) in zip(words, places, strict=True):
        assert word in words_of(prompt[start:end])


@pytest.mark.parametrize(
    ("prompt", "cut"),
    [
        ("a castle by Greg Rutkowski", "a castle by #"),
        ("((GREG_RUTKOWSKI:1.2)), Monet's", "((#:1.2)), #'s"),
        ("by frida ka\u0301hlo\u0301, 8k", "by #, 8k"),
        ("Frida, and Frida Kahlo", "#, and #"),
        ("georgia o'keeffe|j.m.w. turner", "#|#"),
    ],
)
def test_a_mention_covers_the_name_and_no_more(prompt: str, cut: str) -> None:
    for mention in reversed(FINDER.mentions(prompt)):
        prompt = f"{prompt[: mention.start]}#{prompt[mention.end :]}"
    assert prompt == cut


@given(st.lists(WORDS, max_size=8).map(" ".join), st.dictionaries(WORDS, st.lists(WORDS, max_size=2)))
def test_who_is_mentioned_is_who_is_found(prompt: str, names: dict[str, list[str]]) -> None:
    finder = NameFinder.of(names)
    mentions = finder.mentions(prompt)
    assert sorted({one for mention in mentions for one in mention.artist_ids}) == list(finder.find(prompt))
    assert all(a.end <= b.start for a, b in pairwise(mentions))


def test_long_prompts_and_piles_of_accents_take_little_time() -> None:
    finder = NameFinder.of({str(n): [f"Artist Number{n}", "a" * 150] for n in range(1789)})
    started = time.process_time()
    finder.find("a" + "\u0301\u0327" * LONGEST_PROMPT)
    finder.find("artist number5 " * LONGEST_PROMPT)
    finder.find("a " * 5000)
    assert time.process_time() - started < 5


def test_the_examples_in_the_docstrings_hold() -> None:
    assert doctest.testmod(fairbrush.corpus.hints).failed == 0
