"""The eyes that measure: an encoder with its style space, and how similar two images are to it.

Enters: image files. Leaves: cosines, content's in raw encoder space, style's in style space. The one rule: a
second view is *independent* only with weights of its own; the encoder that gave the fast answer cannot bear
witness for itself.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from fairbrush.embedding.session import EmbeddingSession
from fairbrush.errors import EncoderSpecError, RegenerationError, VectorRefusedError
from fairbrush.style.affinity import style_rows
from fairbrush.style.panel import bundled_panel, fit_panel

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from fairbrush.config import Settings
    from fairbrush.embedding.encoder import Encoder
    from fairbrush.style.space import StyleSpace


@dataclass(frozen=True, eq=False)
class Similarities:
    """Cosines to the given image of each coalition's images: float64 (n_coalitions, n_seeds)."""

    content: NDArray[np.float64]
    style: NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class View:
    """``session`` is open. ``is_independent``: its weights are not those of the answering encoder."""

    session: EmbeddingSession
    space: StyleSpace
    is_independent: bool

    @property
    def encoder_id(self) -> str:
        return self.session.encoder.encoder_id

    def similarities(self, image: Path, made: Sequence[Sequence[Path]]) -> Similarities:
        """made: a row of files a coalition, one a seed. Raises RegenerationError, VectorRefusedError."""
        raw, styled = self._seen([image, *(path for row in made for path in row)])
        shape = (len(made), len(made[0]))
        return Similarities((raw[1:] @ raw[0]).reshape(shape), (styled[1:] @ styled[0]).reshape(shape))

    def centred_on(self, files: Sequence[Path]) -> View:
        """The same eyes on a domain of its own, such as generated images: centred at the mean of these, and
        not of the panel's works, from which all of them differ alike. Raises RegenerationError,
        VectorRefusedError."""
        centre = self._seen(files)[0].mean(axis=0)
        return replace(self, space=replace(self.space, centre=centre))

    def styled(self, files: Sequence[Path]) -> NDArray[np.float64]:
        """Unit rows in style space: float64 (n_files, dim). Raises RegenerationError, VectorRefusedError."""
        return self._seen(files)[1]

    def _seen(self, files: Sequence[Path]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """(unit rows in raw encoder space, unit rows in style space), float64 (n_files, dim) each."""
        import numpy as np

        vectors = self._vectors(files)
        raw = np.stack([vectors[path] for path in files]).astype(np.float64)
        raw /= np.linalg.norm(raw, axis=1, keepdims=True)
        try:
            return raw, style_rows(self.space, raw.astype(np.float32))
        except VectorRefusedError as refused:
            raise RegenerationError(
                f"A regenerated image has no style: {refused.message}", next_step="Use other seeds."
            ) from refused

    def _vectors(self, paths: Sequence[Path]) -> dict[Path, NDArray[np.float32]]:
        """Raw float32 (dim,) by path."""
        digests: dict[Path, str] = {}
        for outcome in self.session.embed(list(dict.fromkeys(paths))):
            if outcome.sha256 is None or outcome.reason:
                raise RegenerationError(
                    f"{outcome.path} cannot be embedded: {outcome.detail}",
                    next_step="Delete it where it was regenerated, and run the command again.",
                )
            digests[outcome.path] = outcome.sha256
        stored = self.session.space.get_many(sorted(set(digests.values())))
        return {path: stored[sha256][0] for path, sha256 in digests.items()}


@contextmanager
def second_view(settings: Settings, spec: str, *, answering: Encoder) -> Iterator[View]:
    """Another encoder's view, its style space fitted on the bundled panel.

    answering: gave the fast answer. Raises EncoderSpecError where its weights are meant again, PanelError,
    and what loading an encoder raises.
    """
    with EmbeddingSession.open(replace(settings, encoder=spec)) as session:
        if session.encoder.weights_digest == answering.weights_digest:
            raise EncoderSpecError(
                f"{spec} has the weights of the encoder that answered, {answering.encoder_id}.",
                next_step="Name one that was trained independently.",
            )
        yield View(session, fit_panel(session, bundled_panel()).space, is_independent=True)
