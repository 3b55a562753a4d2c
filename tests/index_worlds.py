"""Small made-up worlds to index: hands in a few dimensions, with a panel and its style space."""

import hashlib
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from fairbrush.index.build import ArtistWorks, build_index, extend_index
from fairbrush.index.versions import IndexVersion
from fairbrush.style.space import StyleSpace, fit_style_space
from fairbrush.style.strangers import Strangers, cross_fit

ENCODER = "toy#0123456789abcdef"
VARIANT = "toy-float32"


@dataclass(frozen=True, eq=False)
class World:
    """vectors_of: raw float32 (n, dim) an artist."""

    space: StyleSpace
    panel: NDArray[np.float32]
    strangers: Strangers
    artists: list[ArtistWorks]

    def artist(self, artist_id: str) -> ArtistWorks:
        [found] = [artist for artist in self.artists if artist.artist_id == artist_id]
        return found

    def build(
        self, folder: Path, artists: list[ArtistWorks] | None = None, **changed: object
    ) -> IndexVersion:
        chosen = self.artists if artists is None else artists
        return build_index(folder, chosen, **self._settings(changed), strangers=self.strangers)

    def extend(self, folder: Path, artists: list[ArtistWorks], **changed: object) -> IndexVersion:
        return extend_index(folder, artists, **self._settings(changed))

    def _settings(self, changed: dict[str, object]) -> dict[str, object]:
        named = {"encoder_id": ENCODER, "variant": VARIANT, "space": self.space}
        return {**named, **changed}


def name_work(*parts: object) -> str:
    return hashlib.sha256(repr(parts).encode()).hexdigest()


def make_world(*, artists: int = 8, works: int = 6, dim: int = 12, seed: int = 0, panel: int = 60) -> World:
    rng = np.random.default_rng(seed)
    hands = [f"hand-{i // 4}" for i in range(panel)]
    centres = np.repeat(rng.normal(size=(panel // 4, dim)), 4, axis=0)
    strangers = (centres + 0.5 * rng.normal(size=(panel, dim))).astype(np.float32)
    indexed = []
    for number in range(artists):
        count = 1 if number == 1 else works  # one artist has a single work
        vectors = (rng.normal(size=dim) + 0.4 * rng.normal(size=(count, dim))).astype(np.float32)
        shas = [name_work(seed, number, work) for work in range(count)]
        indexed.append(ArtistWorks(f"artist-{number:04d}", f"creator-{number:04d}", shas, vectors))
    space = fit_style_space(strangers, hands)
    return World(space, strangers, cross_fit(space, strangers, hands), indexed)


def queries(world: World, count: int, *, seed: int = 9) -> NDArray[np.float32]:
    """Near artists and far from everybody, mixed."""
    rng = np.random.default_rng(seed)
    dim = world.panel.shape[1]
    made = [
        world.artists[i % len(world.artists)].vectors[0] + rng.normal(scale=0.3 + i % 3, size=dim)
        for i in range(count)
    ]
    return np.array(made, np.float32)
