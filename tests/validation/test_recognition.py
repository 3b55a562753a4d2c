"""Parts of a recognition: contents, requests, an index's styles, a body that gives its figures back."""

import doctest
import json
from pathlib import Path

import numpy as np
import pytest
from workspaces import Gallery

import fairbrush.validation.recognition.contents
import fairbrush.validation.recognition.protocol
import fairbrush.validation.recognition.styles
from fairbrush.corpus.hints import words_of
from fairbrush.errors import PromptError, ValidationError
from fairbrush.index.distinctiveness import homecomings
from fairbrush.index.search import open_index
from fairbrush.validation.generators import Sampling
from fairbrush.validation.prompts import Template
from fairbrush.validation.recognition.contents import CONTENTS, first_contents
from fairbrush.validation.recognition.protocol import Protocol
from fairbrush.validation.recognition.recognition import Cosines, Recognition, recompute
from fairbrush.validation.recognition.styles import Styles, own_cosines

SAMPLING = Sampling(steps=1, guidance=5, scheduler=None, width=8, height=8)
OF_STYLE = set(words_of("style art artist painting drawing sketch photo realistic by colorful detailed"))


def protocol(*contents: str, seeds: int = 2) -> Protocol:
    return Protocol(contents, seeds, 7, Template(), "blur", SAMPLING)


def test_contents_are_different_and_say_nothing_of_style() -> None:
    assert len(set(CONTENTS)) == len(CONTENTS) == 40
    assert not any(OF_STYLE & set(words_of(content)) for content in CONTENTS)
    assert first_contents(40) == CONTENTS
    with pytest.raises(PromptError, match="41 cannot be taken"):
        first_contents(41)


def test_an_image_with_a_name_has_a_twin_without_of_the_same_noise_and_contents_have_noise_of_their_own() -> (
    None
):
    asked = protocol("a fox", "a cat", "a tree")
    named, unnamed = asked.requests("Ann"), asked.requests(None)
    assert [one.seed for one in named] == [one.seed for one in unnamed] == [7, 8, 9, 10, 11, 12]
    assert [one.prompt for one in unnamed[::2]] == ["a fox", "a cat", "a tree"]
    assert [one.prompt for one in named[::2]] == [f"{c}, in the style of Ann" for c in asked.contents]
    assert {one.negative_prompt for one in (*named, *unnamed)} == {"blur"}


def test_more_contents_keep_the_images_of_the_earlier_ones() -> None:
    few, more = protocol("a fox", "a cat"), protocol("a fox", "a cat", "a tree")
    assert more.requests("Ann")[:4] == few.requests("Ann")
    assert few.digest("float32") != more.digest("float32")
    assert few.digest("float32") != few.digest("float16")


def test_styles_are_the_creators_of_an_index_and_the_hands_of_its_panel(gallery: Gallery) -> None:
    index = open_index(gallery.workspace / "indexes")
    styles = Styles.of_index(index)
    assert len(styles.creator_ids) == 5
    hands = np.bincount(index.strangers.hands)
    assert len(styles) == 5 + (hands >= 2).sum()
    assert np.linalg.norm(styles.rows, axis=1) == pytest.approx(1.0, abs=1e-6)
    artist_id = index.artist_ids[0]
    creator_id = index.creator_of(artist_id)
    works = index.pooled_works(creator_id).astype(np.float64)
    found = styles.cosines(works)[:, styles.column_of(creator_id)]
    expected = [max(float(work @ centre) for centre in index.centroids_of(artist_id)) for work in works]
    np.testing.assert_allclose(found, expected, atol=1e-12)


def test_own_cosines_are_those_the_index_judges_a_creator_by(gallery: Gallery) -> None:
    index = open_index(gallery.workspace / "indexes")
    for home in homecomings(index):
        h = -float(index.rows[index.owners == index.artist_ids.index(home.artist_ids[0])][0, -1])
        np.testing.assert_allclose(own_cosines(index, home.creator_id) - h, home.own_z, atol=1e-12)


def test_a_body_gives_the_same_figures_back_to_the_bit_and_holds_no_name() -> None:
    rng = np.random.default_rng(0)
    before = rng.normal(0.1, 0.05, (6, 30))
    after = before + rng.normal(0.02, 0.05, (6, 30))
    cosines = Cosines.of(before, after, rng.normal(0.6, 0.1, 8), own=3)
    one = Recognition.of("a1", "Ann Example", {"artist_id": "a1"}, cosines, images=12)
    text = json.dumps(one.body)
    again = recompute(json.loads(text))
    assert (again.lift, again.p_value, again.fidelity) == (
        *(one.figures.lift, one.figures.p_value, one.figures.fidelity),
    )
    assert "Ann" not in text
    assert cosines.nulls.tolist() == sorted(cosines.nulls.tolist(), reverse=True)
    assert len(cosines.nulls) == 29
    for damage in ({"schema": "other/1"}, {"before": ["x"]}, {"works": None}):
        with pytest.raises(ValidationError):
            recompute({**one.body, **damage})


def test_the_examples_of_recognition_are_true() -> None:
    for module in (
        fairbrush.validation.recognition.contents,
        fairbrush.validation.recognition.protocol,
        fairbrush.validation.recognition.styles,
    ):
        assert doctest.testmod(module, extraglobs={"np": np, "Path": Path}).failed == 0
