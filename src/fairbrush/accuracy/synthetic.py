"""A made-up world of artists with CLIP-like geometry, as large as wanted and with the truth known.

Enters: a seed and sizes. Leaves: raw float32 vectors of artists' works, of queries, of a panel by other
hands. A work is

    sqrt(1/2) m + sqrt(1/10) school + sqrt(1/10) own + sqrt(3/10) subject, scaled to length 1:

``m`` is one direction that all images share, so that the cosine of unrelated images is about 0.5, as with
CLIP; schools are shared by many artists, on the panel too; ``own`` is the artist's; ``subject`` is new in
every work. All are normal along the same random axes; the variance of styles falls as 1, 2^-1.5, 3^-1.5, ...,
that of subjects as 1, 2^-0.75, 3^-0.75, ...: the weaker a trait of style, the more subjects hide it.

The one rule: the law was set once, by centroids alone, and never by shares, thresholds or rejection. Among
1,789 artists the nearest raw centroid is right a little more than half of the time; the style space takes
away four in ten of its errors (a quarter on the bundled gallery). docs/LOG.md says which laws were dropped.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

from fairbrush.index.build import ArtistWorks
from fairbrush.style.space import fit_style_space
from fairbrush.style.strangers import cross_fit

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from fairbrush.accuracy.methods import Background

DIM = 256
STYLE_DECAY, SUBJECT_DECAY = 1.5, 0.75
COMMON, SCHOOL, OWN, SUBJECT = 0.5, 0.1, 0.1, 0.3
SCHOOLS = 40
WORKS = 20
PANEL_HANDS, PANEL_WORKS = 130, 3
ENCODER = f"synthetic-{DIM}#1"
VARIANT = "float32"


@dataclass(frozen=True, eq=False)
class SyntheticWorld:
    """One draw of everything that is not a work: axes, schools. The same seed gives the same world.

    ``subject``: its variance, beside that of ``m``, schools and ``own``: how far subjects hide styles.
    """

    seed: int
    subject: float = SUBJECT

    def _rng(self, *what: int) -> np.random.Generator:
        import numpy as np

        return np.random.default_rng([self.seed, *what])

    @cached_property
    def _common(self) -> NDArray[np.float64]:
        import numpy as np

        direction = self._rng(0).normal(size=DIM)
        unit: NDArray[np.float64] = direction / np.linalg.norm(direction)
        return unit

    @cached_property
    def _axes(self) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """What turns white noise into styles, and into subjects: float64 (DIM, DIM) each."""
        import numpy as np

        axes: NDArray[np.float64] = np.linalg.qr(self._rng(1).normal(size=(DIM, DIM)))[0].T

        def stretched(decay: float) -> NDArray[np.float64]:
            variances = np.arange(1, DIM + 1) ** -decay
            lengths: NDArray[np.float64] = np.sqrt(variances / variances.sum())
            along: NDArray[np.float64] = lengths[:, None] * axes
            return along

        return stretched(STYLE_DECAY), stretched(SUBJECT_DECAY)

    @cached_property
    def _schools(self) -> NDArray[np.float64]:
        schools: NDArray[np.float64] = self._rng(2).normal(size=(SCHOOLS, DIM)) @ self._axes[0]
        return schools

    def styles(self, role: int, count: int) -> NDArray[np.float64]:
        """The styles of artists in a role (one number a role): float64 (count, DIM)."""
        rng = self._rng(3, role)
        school = rng.integers(SCHOOLS, size=count)
        own = rng.normal(size=(count, DIM)) @ self._axes[0]
        styles: NDArray[np.float64] = SCHOOL**0.5 * self._schools[school] + OWN**0.5 * own
        return styles

    def works(self, styles: NDArray[np.float64], *, draw: int) -> NDArray[np.float32]:
        """One work in each style, unit rows float32 (n, DIM); another ``draw``, other works."""
        import numpy as np

        subject = self._rng(4, draw).normal(size=styles.shape) @ self._axes[1]
        works = COMMON**0.5 * self._common + styles + self.subject**0.5 * subject
        unit: NDArray[np.float32] = (works / np.linalg.norm(works, axis=1, keepdims=True)).astype(np.float32)
        return unit

    def background(self) -> Background:
        """A panel by hands of the same law and schools, none of whom is in any index or query."""
        import numpy as np

        from fairbrush.accuracy.methods import Background

        hands = np.repeat(np.arange(PANEL_HANDS), PANEL_WORKS)
        panel = self.works(self.styles(PANEL, PANEL_HANDS)[hands], draw=PANEL)
        named = [f"hand-{hand:03d}" for hand in hands]
        space = fit_style_space(panel, named)
        return Background(space, panel, cross_fit(space, panel, named), ENCODER, VARIANT)


PANEL, KNOWN, UNKNOWN, QUERY, MANY = range(5)  # roles and draws


def indexed(names: Sequence[str], works: NDArray[np.float32]) -> list[ArtistWorks]:
    """Artists as an index takes them, each their own creator. works: (n_artists, n_works, DIM)."""
    artists = []
    for name, own in zip(names, works, strict=True):
        digests = [hashlib.sha256(work.tobytes()).hexdigest() for work in own]
        order = sorted(range(len(own)), key=digests.__getitem__)
        artists.append(ArtistWorks(name, name, [digests[at] for at in order], own[order]))
    return artists
