"""Experiments with methods whose errors are known beforehand."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import pytest
from index_worlds import ENCODER, VARIANT, make_world

from fairbrush.accuracy.experiments import (
    BASE_RATIO,
    PAID_RATIO,
    ScoreSheet,
    Section,
    beside_best,
    clone_findings,
    interval_findings,
    score_trial,
    split_findings,
    unknown_findings,
    with_copy,
    with_entries,
    words_findings,
)
from fairbrush.accuracy.gallery import Gallery
from fairbrush.accuracy.methods import RAW_CENTROID, Background, NearestCentroid, Shares
from fairbrush.accuracy.trials import (
    GalleryTrials,
    Images,
    IntervalTrial,
    Kind,
    Plan,
    SyntheticTrials,
    Trial,
    drawn_groups,
    joined,
    known,
    unknown,
)
from fairbrush.index.build import ArtistWorks


@dataclass
class FakeMethod:
    """Answers as ``answer(number of references' works, image)`` does."""

    name: str
    answer: Callable[[int, int], Shares]

    def fit(self, references: Sequence[ArtistWorks], background: Background) -> "FakeFitted":
        return FakeFitted(sum(len(one.work_sha256s) for one in references), self.answer)


@dataclass
class FakeFitted:
    works: int
    answer: Callable[[int, int], Shares]

    def shares(self, vectors: np.ndarray) -> list[Shares]:
        return [self.answer(self.works, image) for image in range(len(vectors))]


@pytest.fixture(scope="module")
def background() -> Background:
    world = make_world()
    return Background(world.space, world.panel, world.strangers, ENCODER, VARIANT)


def images_of(artists: Sequence[str], dim: int = 12) -> Images:
    return known(np.ones((len(artists), dim), np.float32), artists)


def works(name: str, count: int, creator: str | None = None) -> ArtistWorks:
    vectors = np.random.default_rng(count).normal(size=(count, 12)).astype(np.float32)
    return ArtistWorks(name, creator or name, [f"{name}-{n:02}" for n in range(count)], vectors)


ARTISTS = [works("Ann", 20), works("Bo", 6), works("Cy", 6)]


def test_scores_are_of_the_right_method_kind_and_image(background: Background) -> None:
    half = Kind(2, "blended 50/50")
    pair = Images(
        np.ones((2, 12), np.float32), (half,) * 2, ({"Ann": 0.5, "Bo": 0.5},) * 2, (("Ann", "Bo"),) * 2
    )
    scored = joined([images_of(["Ann", "Bo"]), pair, unknown(np.ones((1, 12), np.float32), ["Zoe"])])
    trial = Trial(ARTISTS, scored, scored.chosen([]))
    winner = FakeMethod(RAW_CENTROID, lambda _, __: Shares({"Ann": 1.0}, "Ann"))
    even = FakeMethod("even", lambda _, __: Shares({"Ann": 0.5, "Bo": 0.5}, "Bo"))
    silent = FakeMethod("silent", lambda _, __: Shares({}, "Ann"))
    sheet = ScoreSheet()
    score_trial(trial, background, [winner, even, silent], sheet)
    found = split_findings(sheet, setting="here", seed=0) + unknown_findings(sheet, setting="here", seed=0)
    mean = {(f.kind, f.method, f.measure): f.estimate.mean for f in found if f.estimate}
    assert mean["1 artist", RAW_CENTROID, "ranked_right"] == 0.5
    assert mean["2 artists, all", RAW_CENTROID, "mispaid"] == 0.5
    assert mean["2 artists, all", "even", "mispaid"] == 0
    assert mean["2 artists, all", "even", BASE_RATIO] == 0
    assert mean["2 artists, all", "silent", "mispaid"] == 1
    assert mean["2 artists, all", "silent", BASE_RATIO] == 2
    assert mean["2 artists, all", "even", PAID_RATIO] == 0
    assert math.isnan(mean["2 artists, all", "silent", PAID_RATIO]), "it pays nobody"
    assert mean["unknown artist", "silent", "credits"] == 0
    assert mean["unknown artist", "even", "credits"] == 1
    assert mean["1 artist", "silent", beside_best("raw")] == 0


def test_words_are_counted_and_right_by_the_first_artist(background: Background) -> None:
    scored = joined([images_of(["Ann", "Bo", "Cy"]), unknown(np.ones((1, 12), np.float32), ["Zoe"])])
    said = iter(["clear", "clear", "weak", "unknown"])
    first = iter(["Ann", "Ann", "Cy", "Ann"])
    method = FakeMethod("sure", lambda _, __: Shares({}, next(first), word=next(said)))
    sheet = ScoreSheet()
    score_trial(Trial(ARTISTS, scored, scored.chosen([])), background, [method], sheet)
    found = words_findings(sheet, setting="here", seed=0)
    mean = {(f.kind, f.measure): f.estimate.mean for f in found if f.estimate}
    assert mean["1 artist", "clear"] == pytest.approx(2 / 3)
    assert mean["1 artist", "right when clear"] == 0.5
    assert mean["1 artist", "right when weak"] == 1
    assert math.isnan(mean["1 artist", "right when mixed"])
    assert mean["unknown artist", "unknown"] == 1


def test_the_curve_credits_more_of_everybody_at_a_higher_alpha() -> None:
    trials = SyntheticTrials(8, Plan(splits=1, pairs=2, known_images=16, unknown_artists=10))
    [world] = trials.worlds()
    sheet = ScoreSheet()
    score_trial(trials.trial(world), world.background(), [NearestCentroid(RAW_CENTROID, "raw")], sheet)
    found = unknown_findings(sheet, setting="s", seed=0)
    for kind in ("1 artist", "unknown artist"):
        curve = [
            f.estimate.mean for f in found if f.section is Section.CURVE and f.kind == kind and f.estimate
        ]
        assert len(curve) == 9
        assert curve == sorted(curve)


def test_synthetic_images_are_by_the_artists_they_are_said_to_be_by() -> None:
    trials = SyntheticTrials(6, Plan(splits=1, pairs=3, known_images=12, unknown_artists=5))
    [world] = trials.worlds()
    trial = trials.trial(world)
    ids = {one.artist_id for one in trial.references}
    assert {kind.artists for kind in trial.scored.kinds} == {0, 1, 2, 3}
    for kind, true in zip(trial.scored.kinds, trial.scored.true, strict=True):
        assert (len(true), true.keys() <= ids) == (kind.artists, True)
        assert sum(true.values()) == pytest.approx(1 if true else 0)
    indexed = {vector.tobytes() for one in trial.references for vector in one.vectors}
    assert not indexed & {vector.tobytes() for vector in trial.scored.vectors}


def test_an_unknown_artist_of_the_gallery_is_in_no_index_that_is_asked_about_them(
    background: Background,
) -> None:
    names = [f"artist {n:02}" for n in range(20)]
    rows = [(name, n) for name in names for n in range(6)]
    gallery = Gallery(
        source=None,  # type: ignore[arg-type]
        artists=tuple(name for name, _ in rows),
        paths=(),
        sha256s=tuple(f"{name} {n}" for name, n in rows),
        vectors=np.random.default_rng(0).normal(size=(120, 12)).astype(np.float32),
        is_query=None,
        left_out=(),
    )
    trials = GalleryTrials(gallery, background, Plan(splits=1), None, None)  # type: ignore[arg-type]
    made = list(trials.left_out_trials())
    assert len(made) == 10  # two at a time: at most thirteen folds
    asked = []
    for trial in made:
        indexed = {one.artist_id for one in trial.references}
        strangers = {cluster[0] for cluster in trial.scored.clusters}
        assert (len(indexed), indexed & strangers) == (18, set())
        asked += [vector.tobytes() for vector in trial.scored.vectors]
        references = {vector.tobytes() for one in trial.references for vector in one.vectors}
        assert not references & {vector.tobytes() for vector in trial.ranked.vectors}
    assert len(set(asked)) == len(asked) == 60


def test_coverage_counts_the_intervals_that_hold_what_more_works_give(background: Background) -> None:
    trial = IntervalTrial([works("Ann", 2)], [works("Ann", 9)], images_of(["Ann"] * 10))

    def answer(n_works: int, image: int) -> Shares:
        if n_works == 9:
            return Shares({"Ann": 0.5, "Bo": 0.1}, "Ann")
        low = 0.4 if image < 7 else 0.6  # three of ten miss; nobody has an interval for Bo
        return Shares({"Ann": 0.7}, "Ann", {"Ann": (low, 0.8)})

    found = interval_findings([(trial, background)], [FakeMethod("f", answer)], setting="s", seed=0)
    mean = {f.measure: f.estimate.mean for f in found if f.estimate}
    assert mean["covered"] == pytest.approx(0.7)
    assert mean["covered_due"] == pytest.approx(0.35)
    assert mean["width"] == pytest.approx(0.7 * 0.4 + 0.3 * 0.2)


def test_a_method_without_intervals_has_no_coverage(background: Background) -> None:
    trial = IntervalTrial(ARTISTS, ARTISTS, images_of(["Ann"]))
    silent = FakeMethod("f", lambda _, __: Shares({"Ann": 1.0}, "Ann"))
    found = interval_findings([(trial, background)], [silent], setting="s", seed=0)
    assert [one.estimate for one in found] == [None] * 3


def test_entries_share_out_all_of_an_artists_works_once() -> None:
    split = with_entries(ARTISTS, "Ann", 5)
    assert split is not None
    entries = [one for one in split if one.creator_id == "Ann"]
    assert [len(one.work_sha256s) for one in entries] == [4] * 5
    assert sorted(sha for one in entries for sha in one.work_sha256s) == list(ARTISTS[0].work_sha256s)
    assert with_entries(ARTISTS, "Bo", 7) is None


def test_a_copy_is_by_another_creator() -> None:
    copied = with_copy(ARTISTS, "Bo")
    assert len({one.creator_id for one in copied}) == 4
    assert copied[-1].work_sha256s == ARTISTS[1].work_sha256s


def test_what_an_entry_more_is_worth_is_counted_over_all_entries(background: Background) -> None:
    class ByEntries:
        name = "greedy"

        def fit(self, references: Sequence[ArtistWorks], background: Background) -> FakeFitted:
            mine = {one.artist_id: 0.1 for one in references if one.creator_id == "Ann"}
            return FakeFitted(0, lambda _, __: Shares(mine, "Ann"))

    images = images_of(["Ann"] * 3)
    plan = Plan(cloned_artists=1)
    found = clone_findings(Trial(ARTISTS[:1], images, images), background, [ByEntries()], plan, setting="s")
    mean = {(f.kind, f.measure): f.estimate.mean for f in found if f.estimate}
    assert mean["2 entries of one creator", "change"] == pytest.approx(0.1)
    assert mean["20 entries of one creator", "largest"] == pytest.approx(1.9)
    assert mean["copied by somebody else", "change"] == 0


def test_groups_of_artists_are_different_and_without_repetition() -> None:
    groups = drawn_groups(["a", "b", "c", "d"], 2, 10, np.random.default_rng(0))
    assert len({frozenset(group) for group in groups}) == len(groups) == 6
    assert all(len(set(group)) == 2 for group in groups)
