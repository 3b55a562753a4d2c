"""Parts of a recognition: contents, requests, an index's styles, a body that gives its figures back."""

import doctest
import json
from pathlib import Path

import numpy as np
import pytest
from workspaces import Gallery

import fairbrush.validation.recognition.contents
import fairbrush.validation.recognition.controls
import fairbrush.validation.recognition.protocol
import fairbrush.validation.recognition.styles
from fairbrush.corpus.hints import NameFinder, words_of
from fairbrush.errors import PromptError, ValidationError
from fairbrush.index.distinctiveness import homecomings
from fairbrush.index.search import open_index
from fairbrush.validation.generators import Sampling
from fairbrush.validation.prompts import Template
from fairbrush.validation.recognition.contents import CONTENTS, first_contents
from fairbrush.validation.recognition.controls import FEWEST_NAMES, INVENTED, control_names
from fairbrush.validation.recognition.protocol import Protocol
from fairbrush.validation.recognition.recognition import Cosines, Recognition, recompute
from fairbrush.validation.recognition.styles import Styles, own_cosines

SAMPLING = Sampling(steps=1, guidance=5, scheduler=None, width=8, height=8)
OF_STYLE = set(words_of("style art artist painting drawing sketch photo realistic by colorful detailed"))


def protocol(*contents: str, seeds: int = 2, controls: tuple[str, ...] = ("Xu", "Yves", "Zoe")) -> Protocol:
    return Protocol(contents, seeds, 7, Template(), "blur", SAMPLING, controls)


def test_contents_are_different_and_say_nothing_of_style() -> None:
    assert len(set(CONTENTS)) == len(CONTENTS) == 40
    assert not any(OF_STYLE & set(words_of(content)) for content in CONTENTS)
    assert first_contents(40) == CONTENTS
    with pytest.raises(PromptError, match="41 cannot be taken"):
        first_contents(41)


def test_an_image_has_a_twin_of_the_same_content_and_noise_that_names_somebody_invented() -> None:
    asked = protocol("a fox", "a cat", "a tree")
    named, twins = asked.requests("Ann"), asked.twins()
    assert [one.seed for one in named] == [one.seed for one in twins] == [7, 8, 9, 10, 11, 12]
    contents = [content for content in asked.contents for _ in range(2)]
    assert [one.prompt for one in named] == [f"{content}, in the style of Ann" for content in contents]
    names = ["Xu", "Yves", "Zoe", "Xu", "Yves", "Zoe"]
    assert [one.prompt for one in twins] == [
        f"{content}, in the style of {name}" for content, name in zip(contents, names, strict=True)
    ]
    assert {one.negative_prompt for one in (*named, *twins)} == {"blur"}
    assert asked.images == 6


def test_without_invented_names_twins_name_nobody() -> None:
    asked = protocol("a fox", "a cat", controls=())
    assert [one.prompt for one in asked.twins()] == ["a fox", "a fox", "a cat", "a cat"]
    assert [one.seed for one in asked.twins()] == [7, 8, 9, 10]


def test_figures_beside_different_names_are_not_compared() -> None:
    digests = {protocol("a fox", controls=names).digest("float32") for names in [(), ("Xu",), ("Xu", "Yves")]}
    assert len(digests) == 3


def test_invented_names_are_different_and_none_names_anybody_registered() -> None:
    assert len({"".join(words_of(name)) for name in INVENTED}) == len(INVENTED) == 48
    assert control_names(40, NameFinder.of({})) == INVENTED[:40]
    assert control_names(99, NameFinder.of({})) == INVENTED
    registered = NameFinder.of({"a1": ["Elodie", "a pen name"], "a2": ["marla TENNQUIST"]})
    assert control_names(3, registered) == (INVENTED[1], *INVENTED[3:5])
    taken = NameFinder.of({name: [name] for name in INVENTED[FEWEST_NAMES - 1 :]})
    with pytest.raises(PromptError, match="Only 7 of our 48 invented names"):
        control_names(4, taken)


def test_more_contents_keep_the_images_of_the_earlier_ones() -> None:
    few, more = protocol("a fox", "a cat"), protocol("a fox", "a cat", "a tree")
    assert more.requests("Ann")[:4] == few.requests("Ann")
    assert more.twins()[:4] == few.twins()
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
        fairbrush.validation.recognition.controls,
        fairbrush.validation.recognition.protocol,
        fairbrush.validation.recognition.styles,
    ):
        assert doctest.testmod(module, extraglobs={"np": np, "Path": Path}).failed == 0
