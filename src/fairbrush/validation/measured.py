"""The measured game of one image: what regenerating it for coalitions says of the model and the creators.

Enters: how similar the image is to its regenerations, in one space. Leaves: the content's part b, the Owen
split, and how far a fast answer is from it. The one rule: worths are taken as measured, negative or falling;
only shares are clipped, after the game is solved.

Player 0 is the model, players 1..n are the creators. A coalition's *code* has the bits of its players. Every
coalition is regenerated with the same seeds, so each seed is a game of its own, ``v_s(T) = similarity of T -
similarity of the empty prompt``, and ``v`` is their mean.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from fairbrush.errors import ValidationError
from fairbrush.game.shapley import shapley_of_worths

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray

MODEL = 1  # the code of the model alone
_SUM = 1e-6  # how far from 1 normalised shares may add up


def everyone(creators: int) -> int:
    """The code of the coalition of the model and all creators."""
    return (1 << (creators + 1)) - 1


@dataclass(frozen=True, eq=False)
class Measurement:
    """What was measured of one image in one space.

    coalitions: intp (n_coalitions,), ascending codes, the first 0; similarities: float64 (n_coalitions,
    n_seeds), in [-1, 1]. Raises ValidationError.
    """

    creators: int
    coalitions: NDArray[np.intp]
    similarities: NDArray[np.float64]

    def __post_init__(self) -> None:
        codes, similarities = self.coalitions, self.similarities
        assert codes.ndim == 1
        assert codes[0] == 0
        assert (np.diff(codes) > 0).all()
        assert codes[-1] <= everyone(self.creators)
        if similarities.ndim != 2 or len(similarities) != len(codes) or not similarities.shape[1]:
            raise ValidationError(
                f"{len(codes)} coalitions need a row each, of one seed or more; got {similarities.shape}.",
                next_step="Give at least one seed.",
            )
        if not np.isfinite(similarities).all():
            row, seed = np.argwhere(~np.isfinite(similarities))[0]
            raise ValidationError(
                f"Coalition {codes[row]:b}, seed number {seed}: its similarity is {similarities[row, seed]}.",
                next_step="Regenerate that image.",
            )

    @property
    def seeds(self) -> int:
        return int(self.similarities.shape[1])

    def worth(self, codes: ArrayLike) -> NDArray[np.float64]:
        """``v_s`` of coalitions: float64 (n_seeds, *shape of codes). Raises ValidationError.

        >>> image = Measurement(1, np.array([0, 1, 3]), np.array([[0.1, 0.2], [0.4, 0.4], [0.8, 0.9]]))
        >>> image.worth([1, 3]).round(12).tolist()
        [[0.3, 0.7], [0.2, 0.7]]
        """
        wanted = np.asarray(codes, np.intp)
        missing = np.setdiff1d(wanted, self.coalitions)
        if len(missing):
            raise ValidationError(
                f"{len(missing)} coalitions were not measured, the first of code {missing[0]:b}.",
                next_step="Regenerate every coalition of the plan.",
            )
        by_seed = self.similarities.T
        rows = np.searchsorted(self.coalitions, wanted)
        return by_seed[:, rows] - by_seed[:, :1].reshape(-1, *[1] * wanted.ndim)


@dataclass(frozen=True)
class ContentPart:
    """How much of the image the model delivers with the content alone.

    ``ratio``: ``v({model}) / v(all)``; ``b``: the same within [0, 1]. Both are None without content, and
    where ``v(all)`` is not above 0 by two of its standard errors, or, of one seed, at all.
    ``standard_error`` is the ratio's over seeds; ``whole``: ``v(all)``. Standard errors are None with one
    seed.
    """

    b: float | None
    ratio: float | None
    standard_error: float | None
    whole: float
    whole_error: float | None
    seeds: int

    @property
    def clipped(self) -> bool:
        """The model alone came nearer than the whole prompt, or less near than no prompt."""
        return self.b != self.ratio


def content_part(measurement: Measurement, *, has_content: bool = True) -> ContentPart:
    """``b = max(0, v({model})) / v(all)``, at most 1, in raw encoder space.

    Without content the model alone is nobody: its part is not a measured 0, but undefined.
    Its standard error is that of a ratio of paired means x and y, by the delta method: the standard deviation
    of ``x_s - ratio y_s`` over seeds, over ``sqrt(n_seeds) mean y``. Cochran 1977, Sampling Techniques, 2.11.

    >>> image = Measurement(1, np.array([0, 1, 3]), np.array([[0.1, 0.2], [0.4, 0.4], [0.8, 0.9]]))
    >>> part = content_part(image)
    >>> round(part.b, 6), round(part.standard_error, 6)
    (0.357143, 0.071429)
    """
    alone, whole = measurement.worth([MODEL, everyone(measurement.creators)]).T
    mean, error = float(whole.mean()), _error_of_number(whole)
    if not has_content or mean <= 2.0 * (error or 0.0):
        return ContentPart(None, None, None, mean, error, measurement.seeds)
    ratio = float(alone.mean()) / mean
    of_residual = _error_of_number(alone - ratio * whole)
    return ContentPart(
        b=min(max(ratio, 0.0), 1.0),
        ratio=ratio,
        standard_error=None if of_residual is None else of_residual / mean,
        whole=mean,
        whole_error=error,
        seeds=measurement.seeds,
    )


def owen_with_model(worths: NDArray[np.float64]) -> NDArray[np.float64]:
    """Owen values of games given by all coalitions, with unions {model} | {creators}.

    worths: float64 (n_games, 2^(n+1)), entry c that of code c, entry 0 is 0; leaves float64 (n_games, n+1).
    The creators arrive before the model or after it, with equal chance: they get the Shapley value of ``u(S)
    = (v(S) + v(model + S) - v(model)) / 2``, the model ``(v(model) + v(all) - v(creators)) / 2``.
    Owen 1977, doi:10.1007/978-3-642-45494-3_7.

    >>> owen_with_model(np.array([[0.0, 0.5, 0.25, 1.0]])).tolist()
    [[0.625, 0.375]]
    """
    without, beside = worths[:, 0::2], worths[:, 1::2]
    alone, creators = beside[:, :1], without.shape[1].bit_length() - 1
    of_creators = shapley_of_worths((without + (beside - alone)) / 2, players=creators)
    of_model = (alone + (beside[:, -1:] - without[:, -1:])) / 2
    return np.concatenate([of_model, of_creators], axis=1)


@dataclass(frozen=True, eq=False)
class Split:
    """What each player gets of ``v(all)``, which is the sum of ``phi``.

    phi: float64 (n+1,), the model first; shares: float64 (n,), the creators' ``max(0, phi)`` over their sum,
    None where no creator's phi is positive. Standard errors have the same shapes; they cover the seeds, and
    the orders of arrival where not all were averaged. None where one of these was a single one, or where the
    shares hang on a single one. ``orders``: how many were averaged; None: all, so that phi is exact.
    """

    phi: NDArray[np.float64]
    phi_error: NDArray[np.float64] | None
    shares: NDArray[np.float64] | None
    share_error: NDArray[np.float64] | None
    seeds: int
    orders: int | None


def exact_split(measurement: Measurement) -> Split:
    """The Owen split in style space, of a measurement of all 2^(n+1) coalitions. Raises ValidationError.

    >>> image = Measurement(1, np.arange(4), np.array([[0.0, 0.0], [0.5, 0.25], [0.25, 0.25], [1.0, 0.5]]))
    >>> split = exact_split(image)
    >>> split.phi.tolist(), split.phi_error.round(12).tolist(), split.shares.tolist()
    ([0.4375, 0.3125], [0.1875, 0.0625], [1.0])
    """
    by_seed = owen_with_model(measurement.worth(np.arange(everyone(measurement.creators) + 1)))
    return split_of(by_seed, [by_seed], orders=None)


def split_of(phi: NDArray[np.float64], sources: list[NDArray[np.float64]], *, orders: int | None) -> Split:
    """The mean of ``phi``, float64 (n_seeds, n+1), and its errors.

    sources: float64 (n_draws, n+1) each, whose mean is that of phi: how it varies with one source of chance.
    Their variances are added. Where sources act together, that is too much rather than too little.
    """
    mean = phi.mean(axis=0)
    return Split(
        phi=mean,
        phi_error=_together([_standard_error(source) for source in sources]),
        shares=normalised_shares(mean),
        share_error=_together([_jackknifed(source) for source in sources]),
        seeds=len(phi),
        orders=orders,
    )


def normalised_shares(phi: NDArray[np.float64]) -> NDArray[np.float64] | None:
    """The creators' ``max(0, phi)`` over their sum: float64 (n,) of (n+1,); None where none is positive.

    >>> normalised_shares(np.array([0.4, 0.375, -0.1, 0.125])).tolist()
    [0.75, 0.0, 0.25]
    """
    positive = np.maximum(phi[1:], 0.0)
    whole = positive.sum()
    return positive / whole if whole > 0.0 else None


def _jackknifed(phi: NDArray[np.float64]) -> NDArray[np.float64] | None:
    """Standard error of the shares of the mean row. Efron & Stein 1981, doi:10.1214/aos/1176345462."""
    draws = len(phi)
    if draws < 2:
        return None
    rest = (phi.sum(axis=0) - phi) / (draws - 1)
    shares = [share for row in rest if (share := normalised_shares(row)) is not None]
    if len(shares) < draws:
        return None
    error: NDArray[np.float64] = np.sqrt((draws - 1) * np.var(shares, axis=0))
    return error


def _standard_error(draws: NDArray[np.float64]) -> NDArray[np.float64] | None:
    """Of the mean over the first axis; None of a single draw."""
    if len(draws) < 2:
        return None
    error: NDArray[np.float64] = np.std(draws, axis=0, ddof=1) / len(draws) ** 0.5
    return error


def _error_of_number(draws: NDArray[np.float64]) -> float | None:
    error = _standard_error(draws)
    return None if error is None else float(error)


def _together(errors: list[NDArray[np.float64] | None]) -> NDArray[np.float64] | None:
    known = [error for error in errors if error is not None]
    if len(known) < len(errors):
        return None
    error: NDArray[np.float64] = np.sqrt(np.sum(np.square(known), axis=0))
    return error


@dataclass(frozen=True)
class Agreement:
    """How a fast answer's normalised shares and the measured ones agree.

    ``mis_paid``: the part of the creators' money that goes to the wrong hands. ``rank_correlation``:
    Kendall's tau-b, None for fewer than two creators or where one side ranks nobody above another.
    ``top_agrees``: who gets most on one side gets most on the other; None where one side credits nobody.
    """

    mis_paid: float
    rank_correlation: float | None
    top_agrees: bool | None


def compare(fast: ArrayLike | None, measured: ArrayLike | None) -> Agreement:
    """How two sides' normalised shares agree: float (n,) of the same creators; None credits nobody.

    ``mis_paid`` is half of the sum of differences (the total variation): 0 where both credit nobody, 1 where
    one side alone credits somebody. Raises ValidationError.

    >>> compare([0.75, 0.25, 0.0], [0.5, 0.125, 0.375])
    Agreement(mis_paid=0.375, rank_correlation=0.3333333333333333, top_agrees=True)
    >>> compare(None, [0.5, 0.5]).mis_paid
    1.0
    """
    if fast is None or measured is None:
        return Agreement(float((fast is None) != (measured is None)), None, None)
    a, b = np.asarray(fast, np.float64), np.asarray(measured, np.float64)
    if a.shape != b.shape or a.ndim != 1 or not all(_is_normalised(side) for side in (a, b)):
        raise ValidationError(
            f"Both sides must give the same creators shares that sum to 1; got {a.tolist()}, {b.tolist()}.",
            next_step="Give None where nobody is credited.",
        )
    return Agreement(
        mis_paid=min(float(np.abs(a - b).sum()) / 2, 1.0),  # shares sum to 1 but for rounding
        rank_correlation=_kendall(a, b),
        top_agrees=bool(((a == a.max()) & (b == b.max())).any()),
    )


def _is_normalised(shares: NDArray[np.float64]) -> bool:
    return bool((shares >= 0.0).all() and abs(shares.sum() - 1.0) <= _SUM)


def _kendall(a: NDArray[np.float64], b: NDArray[np.float64]) -> float | None:
    """tau-b: pairs in the same order less pairs in opposite order, over the geometric mean of the pairs that
    are no tie on either side. Kendall 1945, doi:10.1093/biomet/33.3.239.
    """
    first, second = np.triu_indices(len(a), 1)
    of_a, of_b = np.sign(a[first] - a[second]), np.sign(b[first] - b[second])
    untied = np.abs(of_a).sum() * np.abs(of_b).sum()
    return float((of_a * of_b).sum() / np.sqrt(untied)) if untied else None
