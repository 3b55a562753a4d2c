"""The comparison: how near strangers come to artists they never knew, and so what chance does.

Enters: a background panel as strangers. Leaves: a ``Comparison`` that turns how near an image comes to an
artist into a p-value. The one rule: every hand of the panel plays the artist once, and the works of every
other hand play the image; nobody's opinion is asked, and the artist's works count only as themselves.

Null hypothesis: whoever made the image did not know the artist. Then the artist with the image is one more
pair like those of the panel (two-way exchangeability). Nearness is an image's similarity to an artist less
the mean of strangers' similarities to that artist, over their standard deviation: a centroid of 20 works
draws everybody nearer than one of two, and ranks of plain similarities are wrong by that
(docs/check-me.md). In speaker verification this is Z-norm (Auckenthaler, Carey & Lloyd-Thomas 2000,
doi:10.1006/dspr.1999.0360).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from fairbrush.index.build import ALPHA
from fairbrush.style.affinity import OffsetRule, PanelScale
from fairbrush.style.centroids import ArtistStyle, fit_style, influence, own_affinities
from fairbrush.style.strangers import Strangers

if TYPE_CHECKING:
    from numpy.typing import NDArray

RULE = OffsetRule.QUANTILE
FLATTEST = 1e-9
NEAREST = 5  # works of the panel that say whether an image is of a kind with it
Z_95 = 1.959964


@dataclass(frozen=True, eq=False)
class Comparison:
    """strangers: the panel's works. pairs: float64 (n,), the nearness of every work to every other hand,
    ascending; above: float64 (n,), how many pairs of hands are at or above it. A hand's works share its
    weight, so a pair of hands counts once however many works they have."""

    strangers: Strangers
    pairs: NDArray[np.float64]
    above: NDArray[np.float64]

    @classmethod
    def of(cls, strangers: Strangers) -> Comparison:
        """strangers: two hands or more."""
        works = strangers.wide
        is_own = strangers.hands[None] == np.arange(strangers.n_hands)[:, None]  # (n_hands, n_works)
        centroids = is_own.astype(np.float64) @ works
        centroids /= np.linalg.norm(centroids, axis=1, keepdims=True)
        similarities = np.ma.masked_array(centroids @ works.T, is_own)
        spread = np.ma.maximum(similarities.std(axis=1), FLATTEST)
        nearness = (similarities - similarities.mean(axis=1)[:, None]) / spread[:, None]
        weights = np.broadcast_to(_weights(strangers.hands), is_own.shape)
        found = nearness[~is_own].data
        order = np.argsort(found, kind="stable")
        above = np.cumsum(weights[~is_own][order][::-1])[::-1]
        return cls(strangers, found[order], above)

    @property
    def n_pairs(self) -> int:
        """Of hands: who plays the artist, and who the image's maker."""
        return self.strangers.n_hands * (self.strangers.n_hands - 1)

    @property
    def least(self) -> float:
        """The smallest p-value there is."""
        return 1 / (self.n_pairs + 1)

    def p_values(self, nearness: NDArray[np.float64]) -> NDArray[np.float64]:
        """``(1 + pairs of hands at least as near) / (1 + pairs of hands)``: float64 (n,), of float64 (n,)."""
        first = np.searchsorted(self.pairs, nearness, side="left")
        above = np.append(self.above, 0.0)[first]
        found: NDArray[np.float64] = (1 + above) / (1 + self.n_pairs)
        return found


def _weights(hands: NDArray[np.int32]) -> NDArray[np.float64]:
    """float64 (n_works,): of each work, so that every hand has 1."""
    weights: NDArray[np.float64] = 1.0 / np.bincount(hands)[hands]
    return weights


@dataclass(frozen=True, eq=False)
class OwnStyle:
    """An artist's style as an index would fit it, with this one artist in it.

    centre, spread: of strangers' similarities to it; delta: the affinity above which a look-up credits.
    """

    style: ArtistStyle
    h: float
    centre: float
    spread: float
    delta: float
    strangers: Strangers

    @classmethod
    def fit(cls, works: NDArray[np.float64], strangers: Strangers) -> OwnStyle:
        """works: float64 (n, dim), unit rows, sorted by hash. Raises VectorRefusedError."""
        fitted = fit_style(works, strangers, rule=RULE)
        centroids = fitted.centroids.astype(np.float64)
        theirs = (strangers.wide @ centroids.T).max(axis=1)
        rows = np.hstack([fitted.centroids, np.full((len(centroids), 1), -fitted.h, np.float32)])
        scale = PanelScale.of_artists([rows], strangers, rule=RULE)
        return cls(
            ArtistStyle(works, centroids),
            fitted.h,
            float(theirs.mean()),
            max(float(theirs.std()), FLATTEST),
            scale.delta(ALPHA),
            strangers,
        )

    def affinities(self, images: NDArray[np.float64]) -> NDArray[np.float64]:
        """z: float64 (n,). images: float64 (n, dim), unit rows."""
        z: NDArray[np.float64] = (images @ self.style.centroids.T).max(axis=1) - self.h
        return z

    def errors(self, images: NDArray[np.float64]) -> NDArray[np.float64]:
        """float64 (n,): by how much z would differ with another sample of works, as a standard deviation;
        zeros for a single work, which says nothing of it."""
        nearest = (images @ self.style.centroids.T).argmax(axis=1)
        found = np.zeros(len(images))
        for centroid in np.unique(nearest):
            inside = nearest == centroid
            found[inside] = np.linalg.norm(influence(self.style, int(centroid), images[inside]), axis=0)
        return found

    def reach(self, images: NDArray[np.float64]) -> NDArray[np.float64]:
        """float64 (n,): half of the 95 % interval of z over other samples of works."""
        reach: NDArray[np.float64] = Z_95 * self.errors(images)
        return reach

    def nearness(self, z: NDArray[np.float64]) -> NDArray[np.float64]:
        """As a comparison takes it: float64 (n,)."""
        t: NDArray[np.float64] = (z + self.h - self.centre) / self.spread
        return t

    def of_own_works(self) -> NDArray[np.float64]:
        """float64 (n_works,): z of each work to the artist without it; nothing for a single work."""
        if len(self.style.works) < 2:
            return np.empty(0)
        return own_affinities(
            self.style.works, self.strangers, count=len(self.style.centroids), h=self.h, rule=RULE
        )


@dataclass(frozen=True, eq=False)
class Chances:
    """P-values. p: float64 (n,), of images; low, high: at the ends of the interval of z; own: float64
    (n_works,), of each work to the others, nothing for a single work."""

    p: NDArray[np.float64]
    low: NDArray[np.float64]
    high: NDArray[np.float64]
    own: NDArray[np.float64]

    @classmethod
    def of(cls, style: OwnStyle, comparison: Comparison, images: NDArray[np.float64]) -> Chances:
        """images: float64 (n, dim), unit rows."""
        z, reach = style.affinities(images), style.reach(images)
        p, low, high, own = (
            comparison.p_values(style.nearness(one))
            for one in (z, z + reach, z - reach, style.of_own_works())
        )
        return cls(p, low, high, own)

    def doubted(self, other: Chances, images: NDArray[np.bool_], works: NDArray[np.bool_]) -> Chances:
        """The larger p-values of the two, for some images and works: right where either comparison is.

        other: of those images, and of all works.
        """
        p, low, high, own = self.p.copy(), self.low.copy(), self.high.copy(), self.own.copy()
        for mine, theirs in ((p, other.p), (low, other.low), (high, other.high)):
            mine[images] = np.maximum(mine[images], theirs)
        chosen = works[: len(own)]
        own[chosen] = np.maximum(own[chosen], other.own[chosen])
        return Chances(p, low, high, own)


@dataclass(frozen=True, eq=False)
class Kind:
    """Whether images are of a kind with the panel, by raw vectors: where nothing of the panel is near, works
    and images lie together for what they both are, and every image would be near to every artist.

    panel: float64 (n, dim), unit rows; hands: int (n,); own: float64 (n,), how near each work of the panel
    comes to the five nearest by other hands.
    """

    panel: NDArray[np.float64]
    hands: NDArray[np.int32]
    own: NDArray[np.float64]

    @classmethod
    def of(cls, vectors: NDArray[np.float32], hands: NDArray[np.int32]) -> Kind:
        """vectors: raw float32 (n, dim), of the panel."""
        panel = _unit(vectors)
        cosines = np.where(hands[:, None] == hands[None], -1.0, panel @ panel.T)
        return cls(panel, hands, _nearest_mean(cosines))

    def likeness(self, vectors: NDArray[np.float32]) -> NDArray[np.float64]:
        """float64 (n,): the mean cosine to the five nearest works of the panel. vectors: raw."""
        return _nearest_mean(_unit(vectors) @ self.panel.T)

    def ranks(self, likeness: NDArray[np.float64]) -> NDArray[np.float64]:
        """float64 (n,): the part of hands whose works are no nearer to the others' than this, plus one."""
        weights = _weights(self.hands)
        below = (self.own[None] <= likeness[:, None]) @ weights
        ranks: NDArray[np.float64] = (1 + below) / (2 + self.hands.max())
        return ranks

    def rank_of_hand(self, likeness: NDArray[np.float64]) -> float:
        """The same for the mean over an artist's works, among the means of hands."""
        means = np.bincount(self.hands, weights=self.own) / np.bincount(self.hands)
        return float((1 + (means <= likeness.mean()).sum()) / (1 + len(means)))


def _unit(vectors: NDArray[np.float32]) -> NDArray[np.float64]:
    rows = vectors.astype(np.float64)
    unit: NDArray[np.float64] = rows / np.maximum(np.linalg.norm(rows, axis=1, keepdims=True), 1e-12)
    return unit


def _nearest_mean(cosines: NDArray[np.float64]) -> NDArray[np.float64]:
    count = min(NEAREST, cosines.shape[1])
    mean: NDArray[np.float64] = np.partition(cosines, -count, axis=1)[:, -count:].mean(axis=1)
    return mean
