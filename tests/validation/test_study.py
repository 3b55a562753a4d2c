"""What each coalition is asked to draw, and what a view's similarities say of the players."""

from collections.abc import Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from workspaces import Gallery

from fairbrush.attribution import Attribution
from fairbrush.config import load_settings
from fairbrush.domain import Artist, Consent
from fairbrush.lookup import Lookup
from fairbrush.validation.budget import Plan, plan_permutations
from fairbrush.validation.generators import Conditioning, LazyGenerator, Request, Sampling
from fairbrush.validation.prompts import Template
from fairbrush.validation.study import (
    Player,
    Question,
    draw,
    fast_shares,
    players_of,
    read,
    worths_of_fast,
)
from fairbrush.validation.views import Similarities

SAMPLING = Sampling(steps=1, guidance=5, scheduler=None, width=8, height=8)


def artist(name: str, creator: str) -> Artist:
    return Artist(f"id of {name}", name, creator, f"payee of {creator}", Consent.UNCLAIMED)


ANN, BO, CY = artist("Ann", "c1"), artist("Bo", "c2"), artist("Cy", "c1")


def question(*players: Player, content: str = "a fox") -> Question:
    return Question(Path("fox.png"), players, content, Template(), "blur", (7, 8), SAMPLING)


def prompts(asked: Question) -> list[str]:
    codes = range(2 ** (len(asked.players) + 1))
    requests = asked.requests(codes)
    assert [request.seed for request in requests] == [7, 8] * len(codes)
    assert {request.negative_prompt for request in requests} == {"blur"}
    assert [one.prompt for one in requests[::2]] == [one.prompt for one in requests[1::2]]
    return [request.prompt for request in requests[::2]]


def test_each_coalition_is_asked_for_with_the_same_seeds_and_its_own_names() -> None:
    assert prompts(question(*players_of([ANN, BO, CY]))) == [
        "",
        "a fox",
        "in the style of Ann and Cy",
        "a fox, in the style of Ann and Cy",
        "in the style of Bo",
        "a fox, in the style of Bo",
        "in the style of Ann, Cy and Bo",
        "a fox, in the style of Ann, Cy and Bo",
    ]


def test_input_images_stand_in_for_names() -> None:
    image = Conditioning("0" * 64, Path("a.png"), 0.6)
    asked = question(Player("c1", (ANN,), (image,)), Player("c2", (BO,)))
    assert prompts(asked)[2:] == [
        *("", "a fox", "in the style of Bo", "a fox, in the style of Bo"),
        *("in the style of Bo", "a fox, in the style of Bo"),
    ]
    assert [request.inputs for request in asked.requests([0, 1, 2, 4, 6])][::2] == [
        *((), (), (image,), (), (image,))
    ]
    assert prompts(question(Player("c1", (ANN,), (image,)), content="")) == [""] * 4


def test_the_entries_of_a_creator_are_one_player_in_the_order_named() -> None:
    assert players_of([BO, ANN, CY]) == (Player("c2", (BO,)), Player("c1", (ANN, CY)))


def test_fast_shares_are_normalised_over_the_players_and_none_where_they_get_nothing() -> None:
    paid = [(ANN, 0.125), (BO, 0.125), (CY, 0.25)]
    shares = [SimpleNamespace(artist=artist, share=share) for artist, share in paid]
    attribution: Any = SimpleNamespace(artists=shares)
    both = fast_shares(attribution, players_of([BO, ANN]))
    assert both is not None
    assert both.tolist() == [0.25, 0.75]
    only = fast_shares(attribution, players_of([ANN, artist("Di", "c4")]))
    assert only is not None
    assert only.tolist() == [1.0, 0.0]
    assert fast_shares(attribution, players_of([artist("Di", "c4")])) is None


@pytest.fixture(scope="session")
def attribution(gallery: Gallery) -> Attribution:
    settings = load_settings(workspace=gallery.workspace, environ={})
    with Lookup(settings, record=False, intervals=False) as lookup:
        [found] = lookup.attribute([gallery.credited])
    assert found.attribution is not None
    return found.attribution


def test_the_fast_games_worths_are_those_of_its_players(attribution: Attribution) -> None:
    credited = [share.artist for share in attribution.artists]
    worths = worths_of_fast(attribution, players_of([*credited, BO]))
    n = len(credited)
    assert worths.shape == (2 ** (n + 1),)
    assert worths[0] == 0.0
    assert worths[2**n - 1] > 0.0
    assert worths[2**n :].tolist() == worths[: 2**n].tolist()  # a stranger adds nothing


class Eye:
    """A view that sees the worth of each file's name."""

    encoder_id = "eye"
    is_independent = True
    space = SimpleNamespace(space_id="s1")

    def __init__(self, content: NDArray[np.float64], style: NDArray[np.float64]) -> None:
        self.content, self.style = content, style

    def similarities(self, image: Path, made: Sequence[Sequence[Path]]) -> Similarities:
        codes = np.array([[int(path.stem) for path in row] for row in made])
        return Similarities(self.content[codes], self.style[codes])


def measured(plan: Plan, adds: list[float], *, fast: list[float] | None, fast_worths: list[float]) -> Any:
    codes = np.arange(2 ** len(adds))
    worths = 0.1 + (codes[:, None] >> np.arange(len(adds)) & 1) @ np.array(adds)
    eye: Any = Eye(worths, worths)
    made = [[Path(f"{code}.png")] * 2 for code in plan.coalitions]
    return read(
        eye,
        Path("fox.png"),
        plan,
        made,
        fast=None if fast is None else np.array(fast),
        fast_worths=np.array(fast_worths),
    )


def test_a_reading_of_every_coalition_is_exact() -> None:
    plan = plan_permutations(2, budget=None, rng=np.random.default_rng(0))
    found = measured(plan, [0.25, 0.375, 0.125], fast=[0.25, 0.75], fast_worths=[0, 0.3, 0.4, 0.7])
    assert found.surrogate is None
    assert (found.encoder_id, found.space_id, found.is_independent) == ("eye", "s1", True)
    np.testing.assert_allclose(found.split.phi, [0.25, 0.375, 0.125], atol=1e-15)
    assert found.b.b == pytest.approx(1 / 3)
    assert found.agreement.mis_paid == pytest.approx(0.5)
    assert (found.agreement.rank_correlation, found.agreement.top_agrees) == (-1.0, False)


@pytest.mark.parametrize("surrogate", ["right", "wrong", "nothing"])
def test_a_sampled_reading_is_right_whatever_the_fast_answer_says(surrogate: str) -> None:
    adds = [0.25, 0.375, 0.125, 0.0, 0.0625]
    plan = plan_permutations(4, budget=14, rng=np.random.default_rng(1))
    assert plan.orders is not None
    codes = np.arange(16)[:, None] >> np.arange(4) & 1
    worths = {"right": codes @ adds[1:], "wrong": codes @ adds[:0:-1], "nothing": np.zeros(16)}[surrogate]
    found = measured(plan, adds, fast=None, fast_worths=list(worths))
    assert found.surrogate.shape == (32,)
    assert found.split.orders == plan.orders.shape[0] * plan.orders.shape[1]
    assert found.split.phi.sum() == pytest.approx(sum(adds), abs=1e-12)
    # the model and the creators together get what is theirs in every pair; who adds up is exact besides
    np.testing.assert_allclose(found.split.phi[0], adds[0], atol=1e-12)
    if surrogate == "nothing":
        np.testing.assert_allclose(found.split.phi, adds, atol=1e-12)
    assert found.agreement.mis_paid == 1.0
    assert found.agreement.top_agrees is None


def test_drawn_images_come_a_row_a_coalition_and_are_made_once(tmp_path: Path) -> None:
    asked: list[Request] = []

    class Painter:
        model_digest, precision, side, device = "d" * 64, "float32", 8, "cpu"

        def generate(self, requests: Sequence[Request], sampling: Sampling) -> NDArray[np.uint8]:
            asked.extend(requests)
            return np.stack([np.full((8, 8, 3), len(one.prompt), np.uint8) for one in requests])

        def unread(self, prompt: str) -> str:
            return ""

    wanted = question(*players_of([ANN, BO]))
    plan = plan_permutations(2, budget=5, rng=np.random.default_rng(0))
    lazy = LazyGenerator(Painter.model_digest, Painter.precision, Painter.side, Painter)
    made = draw(wanted, plan, lazy, folder=tmp_path, batch=3)
    assert [[one.request for one in row] for row in made] == [
        wanted.requests([code]) for code in plan.coalitions
    ]
    assert len(asked) == 10
    again = draw(wanted, plan, lazy, folder=tmp_path, batch=3)
    assert len(asked) == 10
    assert all(one.was_cached for row in again for one in row)
