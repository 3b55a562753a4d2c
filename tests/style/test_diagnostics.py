"""What a style space tells of itself, against plain loops and worlds whose answer is known."""

import doctest
from dataclasses import replace
from itertools import combinations

import numpy as np
import pytest

import fairbrush.style.diagnostics
from fairbrush.errors import StyleSpaceError
from fairbrush.style.diagnostics import SpaceDiagnostics, diagnose
from fairbrush.style.space import StyleSpace, fit_style_space
from fairbrush.style.space_file import decode_space, encode_space


def works_of(hands: int, works: int, *, own: float, dim: int = 20, seed: int = 0):
    """Hands with variance ``own`` in each direction, works with 1 - own around them; off centre."""
    rng = np.random.default_rng(seed)
    means = np.sqrt(own) * rng.normal(size=(hands, 1, dim))
    vectors = 2 + means + np.sqrt(1 - own) * rng.normal(size=(hands, works, dim))
    return vectors.reshape(-1, dim).astype(np.float32), [f"h{n // works}" for n in range(hands * works)]


def fitted(vectors: np.ndarray, hands: list[str]) -> StyleSpace:
    space = fit_style_space(vectors, hands)
    return replace(space, diagnostics=diagnose(space, vectors, hands, shrinkage=0.3))


@pytest.mark.parametrize("own", [0.0, 0.25, 0.6])
def test_the_part_between_hands_is_the_one_the_world_was_made_with(own: float) -> None:
    vectors, hands = works_of(400, 3, own=own)
    told = diagnose(fit_style_space(vectors, hands), vectors, hands, shrinkage=0.3)
    assert told.between_hands == pytest.approx(own, abs=0.02)
    assert (told.works, told.hands, told.dim) == (1200, 400, 20)
    assert told.effective_rank == pytest.approx(20, rel=0.02), "noise alike in every direction"


def test_cosines_are_means_over_works_of_different_hands() -> None:
    vectors, hands = works_of(4, 3, own=0.3)
    space = fit_style_space(vectors, hands)
    told = diagnose(space, vectors, hands, shrinkage=0.3)
    apart = [(a, b) for a, b in combinations(range(12), 2) if hands[a] != hands[b]]
    raw = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
    for rows, found in ((raw, told.cosine_before), (space.apply(vectors), told.cosine_after)):
        assert found == pytest.approx(np.mean([rows[a] @ rows[b] for a, b in apart]), abs=1e-5)
    assert told.cosine_before > 0.5 > abs(told.cosine_after)


def test_works_that_differ_along_one_line_have_rank_one() -> None:
    line = np.zeros((6, 5), np.float32)
    line[:, 2] = [1, 2, 4, 5, 7, 9]
    hands = ["a", "a", "b", "b", "c", "c"]
    told = diagnose(fit_style_space(line, hands), line, hands, shrinkage=0.3)
    assert told.effective_rank == pytest.approx(1.0)


def test_the_spaces_file_carries_them_and_its_id_does_not_depend_on_them() -> None:
    space = fitted(*works_of(8, 3, own=0.3))
    content = encode_space(space)
    read = decode_space(content, space_id=space.space_id, source="here")
    assert read.diagnostics == space.diagnostics
    assert encode_space(read) == content
    bare = replace(space, diagnostics=None)
    assert bare.space_id == space.space_id
    assert decode_space(encode_space(bare), space_id=space.space_id, source="here").diagnostics is None


def test_diagnostics_that_are_none_are_refused() -> None:
    space = fitted(*works_of(8, 3, own=0.3))

    class Broken(SpaceDiagnostics):
        def encode(self) -> str:
            return '{"works": "many"}'

    broken = replace(space, diagnostics=Broken(1, 1, 1, 0.3, 1.0, 0.0, 0.0, 0.0))
    with pytest.raises(StyleSpaceError, match="is no style space"):
        decode_space(encode_space(broken), space_id=space.space_id, source="here")


def test_the_examples_of_the_docstrings_run() -> None:
    assert doctest.testmod(fairbrush.style.diagnostics).failed == 0
