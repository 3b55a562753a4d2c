"""Judging: what can be said of each image, given works, images and a comparison as vectors.

Enters: ``Embedded`` works and images, a ``Yard``. Leaves: findings, how recognisable the works are, and what
they were measured with. The one rule: fail closed. Where the comparison is no measure of these works, nothing
is listed; where it is none of an image, that image is not tested.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from fairbrush.errors import StyleSpaceError, VectorRefusedError
from fairbrush.reports.pages.check_me import (
    File,
    Finding,
    Measure,
    OwnWorks,
    RefusedFile,
    Standing,
    Yardstick,
)
from fairbrush.self_check.comparison import Chances, Comparison, Kind, OwnStyle
from fairbrush.self_check.discoveries import adjusted, fewest_listed, listed_among
from fairbrush.self_check.folders import WORKS, Embedded
from fairbrush.style.affinity import style_rows
from fairbrush.style.strangers import FEWEST_HANDS, Strangers, hand_codes

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from fairbrush.style.panel import FittedPanel
    from fairbrush.style.space import StyleSpace

EVIDENCE = 3  # works beside an image
OUTSIDE_WORKS = 0.02  # of hands: a panel of fewer than 49 cannot say it
OUTSIDE_IMAGE = 0.01
NEAR_MEDIAN = 0.25


@dataclass(frozen=True, eq=False)
class Yard:
    """What works and images are measured with: the panel, without hands who have works of the artist's."""

    space: StyleSpace
    comparison: Comparison
    kind: Kind
    left_out: tuple[str, ...]
    is_bundled: bool

    @classmethod
    def of(cls, panel: FittedPanel, works: Collection[str], *, is_bundled: bool) -> Yard:
        """works: SHA-256s of the artist's. Raises StyleSpaceError where too few hands are left."""
        left_out = {hand for sha256, hand in zip(panel.sha256s, panel.hands, strict=True) if sha256 in works}
        if (left := len(set(panel.hands) - left_out)) < FEWEST_HANDS:
            raise StyleSpaceError(
                f"{left} hands are left to compare with: {len(left_out)} have files of your works' folder.",
                next_step=f"At least {FEWEST_HANDS} are needed, who have none of your works.",
            )
        is_kept = np.array([hand not in left_out for hand in panel.hands])
        codes = hand_codes([hand for hand in panel.hands if hand not in left_out])
        strangers = Strangers(panel.strangers().rows[is_kept], codes)
        return cls(
            panel.space,
            Comparison.of(strangers),
            Kind.of(panel.vectors[is_kept], codes),
            tuple(sorted(left_out)),
            is_bundled,
        )


@dataclass(frozen=True, eq=False)
class SecondLook:
    """Works and some images measured once more, with something that is no style taken off all.

    name: of the view; yard: of the panel seen so; works, images: raw float32 (dim,) by SHA-256, all works and
    the images asked about so; own: SHA-256s of works to be looked for so.
    """

    name: str
    yard: Yard
    works: Mapping[str, NDArray[np.float32]]
    images: Mapping[str, NDArray[np.float32]]
    own: Collection[str]

    def doubting(self, chances: Chances, works: Sequence[File], images: Sequence[File]) -> Chances:
        """The larger p-values of the two looks, for these images and works."""
        is_asked = np.array([file.sha256 in self.images for file in images], bool)
        is_own = np.array([file.sha256 in self.own for file in works], bool)
        known = self._rows([self.works[file.sha256] for file in works])
        asked = self._rows([self.images[file.sha256] for file in images if file.sha256 in self.images])
        style = OwnStyle.fit(known, self.yard.comparison.strangers)
        return chances.doubted(Chances.of(style, self.yard.comparison, asked), is_asked, is_own)

    def _rows(self, vectors: list[NDArray[np.float32]]) -> NDArray[np.float64]:
        dim = len(self.yard.space.centre)
        return style_rows(self.yard.space, np.array(vectors, np.float32).reshape(-1, dim))


@dataclass(frozen=True, eq=False)
class Judged:
    """findings: by p, the strongest first."""

    findings: tuple[Finding, ...]
    own: OwnWorks
    measure: Measure
    refused: tuple[RefusedFile, ...]


@dataclass(frozen=True, eq=False)
class Styled:
    """files: those that have a direction in style space; rows: float64 (n, dim), unit; raw: float32."""

    files: tuple[File, ...]
    rows: NDArray[np.float64]
    raw: NDArray[np.float32]
    refused: tuple[RefusedFile, ...]

    @classmethod
    def of(cls, embedded: Embedded, space: StyleSpace, *, kind: str, without: Collection[str] = ()) -> Styled:
        files, rows, refused = [], [], []
        places = []
        for place, file in enumerate(embedded.files):
            if file.sha256 in without:
                continue
            try:
                rows.append(style_rows(space, embedded.vectors[place][None])[0])
            except VectorRefusedError as error:
                refused.append(RefusedFile(kind, file.path, "not a number", error.message))
            else:
                files.append(file)
                places.append(place)
        stacked = np.array(rows).reshape(len(rows), embedded.vectors.shape[1])
        return cls(tuple(files), stacked, embedded.vectors[places], tuple(refused))


def judge(
    works: Embedded,
    images: Embedded,
    yard: Yard,
    *,
    copies: Collection[str],
    repeated: Collection[str] = (),
    looks: Sequence[SecondLook] = (),
    error_level: float,
) -> Judged:
    """copies: SHA-256s of images that are no question of style; repeated: of works that show another work's
    picture, which counts once; looks: at what is to be seen again. Raises VectorRefusedError."""
    known = Styled.of(works, yard.space, kind=WORKS, without=repeated)
    asked = Styled.of(images, yard.space, kind="images", without=copies)
    if not known.files:
        raise VectorRefusedError(
            f"None of the {len(works.files)} works has a style that can be measured.",
            next_step="Give other works: these may be blank.",
        )
    style = OwnStyle.fit(known.rows, yard.comparison.strangers)
    chances = Chances.of(style, yard.comparison, asked.rows)
    for look in looks:
        chances = look.doubting(chances, known.files, asked.files)
    p = chances.p
    is_outside = yard.kind.ranks(yard.kind.likeness(asked.raw)) <= OUTSIDE_IMAGE
    measure = _measure(style, yard, known, p[~is_outside], error_level)
    levels = np.full(len(p), np.nan)
    if measure.yardstick is not Yardstick.WORKS_OUTSIDE:
        levels[~is_outside] = adjusted(p[~is_outside])
    standings = [
        Standing.OUTSIDE if outside else Standing.LISTED if level <= error_level else Standing.NOT_LISTED
        for outside, level in zip(is_outside, levels, strict=True)
    ]
    again = {sha256: look.name for look in looks for sha256 in look.images}
    findings = _findings(style, known, asked, chances, levels, standings, again)
    own = _own_works(style, chances.own, p[~is_outside], error_level)
    return Judged(findings, own, measure, (*known.refused, *asked.refused))


def _findings(
    style: OwnStyle,
    known: Styled,
    asked: Styled,
    chances: Chances,
    levels: NDArray[np.float64],
    standings: list[Standing],
    again: Mapping[str, str],
) -> tuple[Finding, ...]:
    z, reach = style.affinities(asked.rows), style.reach(asked.rows)
    nearest = np.argsort(-(asked.rows @ known.rows.T), axis=1, kind="stable")[:, :EVIDENCE]
    findings = [
        Finding(
            file=file,
            standing=standings[at],
            affinity=float(z[at]),
            affinity_low=float(z[at] - reach[at]),
            affinity_high=float(z[at] + reach[at]),
            p=float(chances.p[at]),
            p_low=float(chances.low[at]),
            p_high=float(chances.high[at]),
            second_view=again.get(file.sha256),
            adjusted=None if np.isnan(levels[at]) else float(levels[at]),
            credited=bool(z[at] > style.delta),
            nearest=tuple(known.files[work].sha256 for work in nearest[at]),
        )
        for at, file in enumerate(asked.files)
    ]
    return tuple(sorted(findings, key=lambda one: (one.p, -one.affinity, one.file.path)))


def _own_works(
    style: OwnStyle, own: NDArray[np.float64], tested: NDArray[np.float64], error_level: float
) -> OwnWorks:
    """own, tested: the p-values of the works, and of the images."""
    count, centroids = style.style.works.shape[0], len(style.style.centroids)
    if not len(own):
        return OwnWorks(count, centroids, None, None)
    alone = int((own <= error_level).sum())
    return OwnWorks(count, centroids, alone, int(listed_among(own, tested, error_level).sum()))


def _measure(
    style: OwnStyle, yard: Yard, known: Styled, tested: NDArray[np.float64], error_level: float
) -> Measure:
    rank = yard.kind.rank_of_hand(yard.kind.likeness(known.raw))
    median = float(np.median(tested)) if len(tested) else None
    if rank <= OUTSIDE_WORKS:
        yardstick = Yardstick.WORKS_OUTSIDE
    elif median is not None and median < NEAR_MEDIAN:
        yardstick = Yardstick.NEAR_AS_A_WHOLE
    else:
        yardstick = Yardstick.FITS
    comparison = yard.comparison
    return Measure(
        yardstick=yardstick,
        hands=comparison.strangers.n_hands,
        works=len(comparison.strangers),
        pairs=comparison.n_pairs,
        least_p=comparison.least,
        fewest=fewest_listed(comparison.least, max(1, len(tested)), error_level),
        works_rank=rank,
        median_p=median,
        left_out_hands=yard.left_out,
        is_bundled=yard.is_bundled,
        threshold=style.delta,
    )
