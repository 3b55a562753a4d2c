"""What a model draws when nobody is named: where its images lie in raw encoder space.

Enters: a model's images, or its weights. Leaves: ``Unnamed``, their vectors and mean. The one rule: an image
is never centred by a mean that it is part of.

A generated image is of another domain than a work, so the panel's mean is not what its style departs from.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from fairbrush.chain.canonical import canonical_digest
from fairbrush.corpus.images import find_images
from fairbrush.errors import CalibrationError
from fairbrush.index.calibrated import calibrated_index
from fairbrush.validation.generators import Request, Sampling
from fairbrush.validation.order import Order, generator_of
from fairbrush.validation.recognition.contents import CONTENTS, first_contents
from fairbrush.validation.regenerate import Progress, regenerate

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from fairbrush.config import Settings
    from fairbrush.embedding.session import EmbeddingSession
    from fairbrush.index.search import StyleIndex
    from fairbrush.validation.calibration.evidence import Studied

LEAST = 20  # images, for a mean
FOLDS = 10


@dataclass(frozen=True, eq=False)
class Unnamed:
    """vectors: raw float32 (n, dim), in the order of sha256s, which are sorted."""

    sha256s: tuple[str, ...]
    vectors: NDArray[np.float32]

    @property
    def centre(self) -> NDArray[np.float32]:
        """float32 (dim,)."""
        return _mean(self.vectors)

    @property
    def digest(self) -> str:
        return canonical_digest(list(self.sha256s))

    def best(self, index: StyleIndex, *, allowed: Collection[str], centred: bool) -> NDArray[np.float64]:
        """The highest affinity of each image to any of these artists: float64 (n,).

        centred: each by the mean of the other nine tenths.
        """
        if not centred:
            return _best(index, self.vectors, allowed)
        found = np.empty(len(self.vectors))
        fold = np.arange(len(found)) % FOLDS
        for one in range(min(FOLDS, len(found))):
            inside = fold == one
            moved = calibrated_index(index, shift=0.0, centre=_mean(self.vectors[~inside]))
            found[inside] = _best(moved, self.vectors[inside], allowed)
        return found


def _mean(vectors: NDArray[np.float32]) -> NDArray[np.float32]:
    mean: NDArray[np.float64] = vectors.mean(axis=0, dtype=np.float64)
    return mean.astype(np.float32)


def _best(index: StyleIndex, vectors: NDArray[np.float32], allowed: Collection[str]) -> NDArray[np.float64]:
    near = index.search_many(vectors, k=1, allowed=allowed)
    return np.array([one.hits[0].z if one.hits else -np.inf for one in near])


def unnamed_files(paths: Sequence[Path]) -> list[Path]:
    """The images in these folders, and these images. Raises CalibrationError for a path that is neither."""
    found = find_images(dict.fromkeys(paths))
    for refusal in found.refusals:
        raise CalibrationError(
            f"--unnamed {refusal.path}: {refusal.reason}. {refusal.detail}",
            next_step="Name a folder of images.",
        )
    return list(found.images)


def read_unnamed(session: EmbeddingSession, paths: Sequence[Path], *, model_id: str) -> Unnamed:
    """The vectors of images, each once. Raises CalibrationError where they are too few."""
    digests = set()
    reasons: Counter[str] = Counter()
    for outcome in session.embed(paths):
        if outcome.sha256 is None or outcome.reason:
            reasons[outcome.reason or "unreadable"] += 1
        else:
            digests.add(outcome.sha256)
    if len(digests) < LEAST:
        refused = "".join(f"; {count} refused: {reason}" for reason, count in sorted(reasons.items()))
        raise CalibrationError(
            f"{len(digests)} images of {model_id} without a name are too few for a mean; {LEAST} are"
            f" needed{refused}.",
            next_step="Give more, or let the model draw them: --draw-unnamed 64.",
        )
    stored = session.space.get_many(sorted(digests))
    sha256s = tuple(sorted(stored))
    return Unnamed(sha256s, np.stack([stored[sha256][0] for sha256 in sha256s]))


def draw_unnamed(
    settings: Settings,
    order: Order,
    model_id: str,
    images: Sequence[Studied],
    *,
    count: int,
    folder: Path,
    report: Callable[[Progress], None],
) -> list[Path]:
    """Images of contents that name nobody, drawn as most of the model's validated images were.

    Raises as ``generator_of`` and ``regenerate``; CalibrationError where these are other weights.
    """
    generator = generator_of(settings, model_id, order)
    known = {image.generator_digest for image in images}
    if generator.model_digest not in known:
        raise CalibrationError(
            f"The images of {model_id} were regenerated by other weights than those that would draw now.",
            next_step="Name the same ones: --weights DIR, or [generators] in fairbrush.toml; or give images"
            " that they drew: --unnamed DIR.",
        )
    if not generator.reads_text:
        raise CalibrationError(
            f"{model_id} reads no text: it draws nothing of nobody.", next_step="Leave out --draw-unnamed."
        )
    [(sampled, _)] = Counter(image.sampling for image in sorted(images, key=_key)).most_common(1)
    sampling = Sampling(
        steps=sampled.steps,
        guidance=float(sampled.guidance),
        scheduler=sampled.scheduler or None,
        width=sampled.width,
        height=sampled.height,
    )
    contents = first_contents(min(count, len(CONTENTS)))
    requests = [Request(contents[at % len(contents)], at // len(contents)) for at in range(count)]
    made = regenerate(requests, sampling, generator, folder=folder, batch=order.batch, report=report)
    return [one.path for one in made]


def _key(image: Studied) -> tuple[str, str]:
    return image.image_sha256, image.model_id
