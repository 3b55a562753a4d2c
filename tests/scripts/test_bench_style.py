"""The benches of the style space: what is indexed and asked, and that they agree with the engine."""

import doctest
import sys
from pathlib import Path

import numpy as np
import pytest

sys.path.insert(0, str(Path(__file__).parents[2] / "scripts"))

import bench_entry
import bench_false_credit
import bench_style
from fairbrush.accuracy.gallery import Gallery
from fairbrush.accuracy.methods import Fairbrush
from fairbrush.accuracy.synthetic import SyntheticWorld, indexed
from fairbrush.domain import Value


def gallery(prefix: str, hands: int, works: int, seed: int) -> Gallery:
    rng = np.random.default_rng(seed)
    names = tuple(f"{prefix}{hand:02d}" for hand in range(hands) for _ in range(works))
    sha256s = tuple(f"{prefix}{number}" for number in range(len(names)))
    vectors = rng.normal(size=(len(names), 5)).astype(np.float32)
    return Gallery(Path(prefix), names, (Path(),) * len(names), sha256s, vectors, None, ())


def test_no_unknown_hand_is_indexed_and_known_images_are_no_references() -> None:
    clean, seen = gallery("clean", 11, 8, 0), gallery("seen", 30, 6, 1)
    for artists in (4, 20):
        unknown: list[str] = []
        trials = bench_false_credit.left_out_trials(clean, seen, artists=artists, splits=1, seed=0)
        for trial in trials:
            indexed_hands = {one.artist_id for one in trial.references}
            assert len(indexed_hands) == artists
            rows = {row.tobytes() for one in trial.references for row in one.vectors}
            assert not rows & {row.tobytes() for row in trial.scored.vectors}
            for kind, cluster in zip(trial.scored.kinds, trial.scored.clusters, strict=True):
                assert (cluster[0] in indexed_hands) == (kind.artists == 1)
            unknown += {
                c[0] for k, c in zip(trial.scored.kinds, trial.scored.clusters, strict=True) if not k.artists
            }
        assert sorted(unknown) == list(clean.names), "each clean hand is unknown once"


def test_a_draw_parts_the_hands_and_the_works() -> None:
    hands = gallery("hand", 9, 8, 2)
    one, again = (next(bench_style.hand_draws(hands, draws=1, seed=3)) for _ in range(2))
    assert set(one.references) | set(one.unknown_hands) == set(hands.names)
    assert not set(one.references) & set(one.unknown_hands)
    assert set(one.known_hands) == set(one.references)
    assert [len(works) for works in one.references.values()] == [4] * 4
    assert np.array_equal(one.unknown, again.unknown)


def test_the_shipped_setting_is_what_the_engine_does_and_the_entry_pays_what_it_pays(tmp_path) -> None:
    world = SyntheticWorld(7)
    draw = bench_style.synthetic_draw(world, 6, unknown=10)
    bench = bench_style.Bench(bench_style.SHIPPED, bench_style.synthetic_panel(world))
    background = world.background()
    engine = Fairbrush(Value.BLEND, {"value": Value.BLEND, "intervals": False}, tmp_path)
    names, works = list(draw.references), np.stack(list(draw.references.values()))
    fitted = engine.fit(indexed(names, works), background)
    # the same works in another order: folds of works may differ, and so may a count of centroids
    scored = bench.score(
        bench_style.Draw(
            {one.artist_id: one.vectors for one in indexed(names, works)},
            draw.known,
            draw.known_hands,
            draw.unknown,
            draw.unknown_hands,
        )
    )
    answers = fitted.shares(draw.known)
    assert scored.known[:, 0].tolist() == [
        float(answer.best == hand) for answer, hand in zip(answers, draw.known_hands, strict=True)
    ]
    assert scored.false.tolist() == [float(bool(answer.paid)) for answer in fitted.shares(draw.unknown)]
    for vector, answer in zip(draw.known, answers, strict=True):
        levels = bench_entry.entries(fitted.index)
        paid = bench_entry.paid_shares(fitted.index, vector, levels=levels)[bench_entry.SHIPPED]
        assert paid == pytest.approx(dict(answer.paid), abs=1e-9)


def test_an_equal_false_credit_counts_each_hand_once_and_the_examples_run() -> None:
    rng = np.random.default_rng(0)
    hands = ["many"] * 90 + [f"few {number}" for number in range(9)]
    values = rng.normal(size=99)
    found = bench_style.level_quantile(values, hands, 0.8)
    passing = [
        np.mean([values[at] > found for at, hand in enumerate(hands) if hand == one]) for one in set(hands)
    ]
    assert 0.1 < np.mean(passing) <= 0.2
    assert doctest.testmod(bench_style).failed == 0
