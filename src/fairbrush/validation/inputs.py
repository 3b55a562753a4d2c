"""The players of an image mix: the creators of the images it was mixed from.

Enters: inputs whose owners are known. Leaves: players, each with all of its inputs; and, where there is no
image yet, one of all inputs. The one rule is that of the fast game: an input whose artist may not be credited
is in nobody's coalition.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from fairbrush.errors import ValidationError
from fairbrush.validation.generators import Conditioning, LazyGenerator, Request
from fairbrush.validation.regenerate import Progress, regenerate
from fairbrush.validation.study import Player, Question

if TYPE_CHECKING:
    from fairbrush.corpus.eligibility import Eligibility
    from fairbrush.domain import Artist
    from fairbrush.mixing import InputImage


def players_of_inputs(
    mixed: Sequence[InputImage], eligibility: Eligibility, *, model_id: str
) -> tuple[Player, ...]:
    """One player a creator, in the order of their first inputs. Raises ValidationError where nobody plays."""
    artists: dict[str, list[Artist]] = {}
    brought: dict[str, list[Conditioning]] = {}
    for one in mixed:
        if eligibility.may_be_credited(one.artist_id, model_id):
            artist = eligibility.artists[one.artist_id]
            artists.setdefault(artist.creator_id, []).append(artist)
            brought.setdefault(artist.creator_id, []).append(_conditioning(one))
    if not artists:
        raise ValidationError(
            f"Nobody can play: no artist of the inputs may be credited for images of {model_id}.",
            next_step="See fairbrush artist show, and fairbrush model roster.",
        )
    return tuple(
        Player(creator_id, tuple(dict.fromkeys(mine)), tuple(brought[creator_id]))
        for creator_id, mine in artists.items()
    )


def left_out(mixed: Sequence[InputImage], players: Sequence[Player]) -> str | None:
    """What a reader must know of inputs that nobody brings; None where there are none."""
    missing = len(mixed) - sum(len(player.inputs) for player in players)
    if not missing:
        return None
    return (
        f"{missing} of {len(mixed)} inputs are of artists who may not be credited: they are in no coalition,"
        " so no coalition has all that the image was mixed from."
    )


def made_first(
    question: Question,
    mixed: Sequence[InputImage],
    seed: int,
    generator: LazyGenerator,
    *,
    folder: Path,
    report: Callable[[Progress], None],
) -> Path:
    """The image of all inputs, whoever may be credited, from a seed that no coalition is drawn from.

    Raises as ``regenerate``.
    """
    inputs = tuple(_conditioning(one) for one in mixed)
    whole = Request(question.content, seed, question.negative_prompt, inputs)
    [made] = regenerate([whole], question.sampling, generator, folder=folder, report=report)
    return made.path


def _conditioning(one: InputImage) -> Conditioning:
    return Conditioning(one.sha256, one.path, float(one.weight))
