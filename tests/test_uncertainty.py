"""How sure an answer is, against worlds in which other samples of works can be drawn."""

import numpy as np
import pytest

from fairbrush.domain import Value
from fairbrush.style.centroids import ArtistStyle, fit_centroids, influence, periods
from fairbrush.uncertainty import Confidence, Contender, Uncertainty, bootstrap, confidence

DIM, H, DELTA, ENTRY = 40, 0.1, 0.2, 0.05


def unit(rows: np.ndarray) -> np.ndarray:
    return rows / np.linalg.norm(rows, axis=-1, keepdims=True)


def works_of(
    direction: np.ndarray, count: int, rng: np.random.Generator, *, spread: float = 0.2
) -> np.ndarray:
    return unit(direction + spread * rng.normal(size=(count, DIM)))


def style_of(works: np.ndarray, count: int = 1) -> ArtistStyle:
    return ArtistStyle(works, fit_centroids(works, count).astype(float))


def found(
    image: np.ndarray, styles: list[ArtistStyle], value: Value = Value.BLEND, **changed: float
) -> Uncertainty:
    contenders = [
        Contender(
            f"c{n}",
            float((style.centroids @ image).max()),
            H,
            (int((style.centroids @ image).argmax()),),
            style,
        )
        for n, style in enumerate(styles)
    ]
    levels = {"delta": DELTA, "entry": ENTRY} | changed
    return bootstrap(
        image, contenders, value=value, answer={"c0": 1.0}, rng=np.random.default_rng(3), **levels
    )


@pytest.mark.parametrize("count", [1, 3])
def test_influence_is_the_derivative_of_the_cosine_by_a_works_weight(count: int) -> None:
    rng = np.random.default_rng(0)
    works = works_of(unit(rng.normal(size=(3, DIM)))[np.arange(18) % 3], 18, rng)
    style = ArtistStyle(works, fit_centroids(works, count).astype(float))
    image = unit(rng.normal(size=DIM))
    nearest = int((style.centroids @ image).argmax())
    weights = np.ones(18)
    sides = periods(works, style.centroids)

    def cosine(weights: np.ndarray) -> float:
        mean = unit(weights @ works)
        if count > 1:
            own = np.where(sides == nearest, weights, 0.0)
            mean = unit(mean + unit(own @ works))
        return float(mean @ image)

    step = 1e-6
    slopes = [
        (cosine(weights + step * np.eye(18)[n]) - cosine(weights - step * np.eye(18)[n])) / (2 * step)
        for n in range(18)
    ]
    expected = np.array(slopes) * np.sqrt(18 / 17)
    assert influence(style, nearest, image[None])[:, 0] == pytest.approx(expected, abs=1e-6)


def test_its_squares_add_up_to_the_variance_over_other_samples_of_works() -> None:
    rng = np.random.default_rng(1)
    direction, image = unit(rng.normal(size=(2, DIM)))
    cosines, told = [], []
    for _ in range(600):
        style = style_of(works_of(direction, 20, rng))
        cosines.append(style.centroids[0] @ image)
        told.append((influence(style, 0, image[None]) ** 2).sum())
    assert np.mean(told) == pytest.approx(np.var(cosines), rel=0.15)


def test_intervals_hold_the_share_under_the_true_centroids() -> None:
    rng = np.random.default_rng(2)
    held, mixed = [], 0
    for _ in range(150):
        directions = unit(rng.normal(size=(4, DIM)))
        image = unit(0.6 * directions[0] + 0.4 * directions[1] + 0.08 * rng.normal(size=DIM))
        some = [style_of(works_of(one, 20, rng)) for one in directions]
        many = [style_of(works_of(one, 4000, rng)) for one in directions]
        answer = found(image, some)
        true = found(image, many)  # of so many works that nothing moves
        for name in ("c0", "c1"):
            low, high = answer.parts[name]
            middle = sum(true.parts[name]) / 2
            held.append(low <= middle <= high)
            mixed += 0.05 < middle < 0.95
    assert mixed > 200
    assert 0.9 < np.mean(held) < 0.99, np.mean(held)


def test_more_works_make_a_narrower_interval() -> None:
    rng = np.random.default_rng(4)
    directions = unit(rng.normal(size=(2, DIM)))
    image = unit(directions.sum(axis=0))
    widths = []
    for count in (5, 20, 80):
        low, high = found(image, [style_of(works_of(one, count, rng)) for one in directions]).parts["c0"]
        widths.append(high - low)
    assert widths[0] > widths[1] > widths[2] > 0


def test_a_clear_image_is_steady_and_one_at_the_threshold_is_not() -> None:
    rng = np.random.default_rng(5)
    one, other = (style_of(works_of(direction, 12, rng)) for direction in unit(rng.normal(size=(2, DIM))))
    image = one.centroids[0]
    sure = found(image, [one, other])
    assert (sure.parts["c0"], sure.steadiness, sure.unattributed) == ((1.0, 1.0), 1.0, (0.0, 0.0))
    half_way = unit(image + 1.5 * unit(rng.normal(size=DIM)))
    at_threshold = found(half_way, [one, other], delta=float(image @ half_way) - H)
    assert 0.0 < at_threshold.steadiness < 1.0
    assert at_threshold.unattributed == (0.0, 1.0)
    assert at_threshold.parts["c0"][0] == 0.0


@pytest.mark.parametrize("value", [Value.BLEND, Value.NEAREST, Value.RECONSTRUCTION, Value.FACETS])
def test_clones_share_alike_under_every_value_function(value: Value) -> None:
    rng = np.random.default_rng(6)
    works = works_of(unit(rng.normal(size=DIM)), 12, rng)
    answer = found(style_of(works).centroids[0], [style_of(works), style_of(works[::-1].copy())], value)
    for low, high in answer.parts.values():
        assert 0.0 <= low <= 0.55
        assert 0.45 <= high <= 1.0


def test_the_same_seed_gives_the_same_interval() -> None:
    rng = np.random.default_rng(7)
    styles = [style_of(works_of(direction, 9, rng)) for direction in unit(rng.normal(size=(3, DIM)))]
    image = unit(sum(style.centroids[0] for style in styles))
    assert found(image, styles) == found(image, styles)


def test_a_single_work_says_nothing_of_its_spread() -> None:
    [work] = unit(np.random.default_rng(8).normal(size=(1, DIM)))
    answer = found(work, [style_of(work[None])])
    assert answer.parts == {"c0": (1.0, 1.0)}


@pytest.mark.parametrize(
    ("steadiness", "part", "word"),
    [(1.0, 1.0, "clear"), (0.9, 0.8, "clear"), (0.9, 0.79, "mixed"), (0.89, 1.0, "weak"), (0.2, 0.3, "weak")],
)
def test_words_follow_steadiness_first(steadiness: float, part: float, word: str) -> None:
    assert confidence(steadiness, part) is Confidence(word)


def test_a_period_that_no_work_went_into_has_an_influence_all_the_same() -> None:
    rng = np.random.default_rng(5)
    pictures = works_of(unit(rng.normal(size=DIM)), 5, rng, spread=0.5)
    works = pictures[np.arange(18) % 5]  # each picture in several files
    style = style_of(works, 6)
    empty = sorted(set(range(6)) - set(periods(works, style.centroids).tolist()))
    assert empty
    assert np.isfinite([influence(style, period, pictures) for period in empty]).all()


def test_each_facet_meets_the_period_nearest_to_it() -> None:
    rng = np.random.default_rng(6)
    directions = unit(rng.normal(size=(3, DIM)))
    works = works_of(directions[np.arange(18) % 3], 18, rng, spread=0.02)
    style = style_of(works, 3)
    facets = unit(directions + 0.01 * rng.normal(size=directions.shape))
    nearest = tuple(int(period) for period in (facets @ style.centroids.T).argmax(axis=1))
    assert len(set(nearest)) == 3
    second = style_of(works_of(directions[1], 18, rng, spread=0.02))
    other = Contender("c1", float(second.centroids[0] @ facets[0]), H + 0.1, (0, 0, 0), second)

    def low(*periods_met: int) -> float:
        first = Contender("c0", float(style.centroids[nearest[0]] @ facets[0]), H, periods_met, style)
        told = bootstrap(
            facets,
            [first, other],
            value=Value.FACETS,
            delta=DELTA,
            entry=0.6,
            answer={"c0": 1.0},
            rng=np.random.default_rng(3),
        )
        return told.parts["c0"][0]

    assert low(*nearest) > 0.8
    assert low(nearest[0], nearest[0], nearest[0]) < 0.7
