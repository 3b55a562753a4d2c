"""``fairbrush recognize`` in a workspace: from artists to what a model makes of their names.

Enters: settings, an ``Order`` and whom to measure. Leaves: a ``Survey``. The rules: only whom eligibility
lets be credited is measured; images that name no artist come first, since all share them; what a budget
leaves out is pending, and the same command goes on from the images that are there.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from fairbrush.chain.canonical import canonical_digest
from fairbrush.corpus.hints import NameFinder
from fairbrush.errors import PromptError, RegenerationError, RegistryError, ValidationError
from fairbrush.lookup import NO_CALIBRATION, Lookup
from fairbrush.style.centroids import FEWEST_WORKS
from fairbrush.validation.order import Order, generator_of, sampling_of, seeds_of
from fairbrush.validation.recognition.controls import Control, control_names
from fairbrush.validation.recognition.lifts import FEWEST_CONTENTS, false_discovery_control
from fairbrush.validation.recognition.protocol import ALGORITHM, Easel, Protocol, loaded_once
from fairbrush.validation.recognition.recognition import Cosines, Recognition
from fairbrush.validation.recognition.styles import Styles, own_cosines
from fairbrush.validation.regenerate import Progress
from fairbrush.validation.views import View
from fairbrush.workspace import REGENERATIONS

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from fairbrush.config import Settings
    from fairbrush.domain import Artist
    from fairbrush.validation.generators import Request

LONGEST_SHOWN = 60  # characters of a name in a message


@dataclass(frozen=True)
class Wanted:
    """Whom to measure, on what, and beside what. ``artists``: names or ids; none: everybody who may be
    credited and has works enough. ``budget``: how many images are made at most, None: all."""

    artists: tuple[str, ...]
    contents: tuple[str, ...]
    control: Control = Control.INVENTED
    budget: int | None = None


@dataclass(frozen=True)
class Refused:
    """``name``: as it was asked for; ``reason``: without a full stop."""

    name: str
    reason: str


@dataclass(frozen=True, eq=False)
class Survey:
    """``measured``: whose images are all there; ``pending``: names of those for whom ``to_make`` images are
    still missing; ``made``: images made in this run. ``passed_over``: artists with too few works, where
    everybody was asked for."""

    model_id: str
    model_digest: str
    encoder_id: str
    space_id: str
    protocol_id: str
    protocol: Protocol
    measured: tuple[Recognition, ...]
    pending: tuple[str, ...]
    refused: tuple[Refused, ...]
    to_make: int
    made: int
    passed_over: int
    notes: tuple[str, ...]


def recognize(
    settings: Settings, order: Order, wanted: Wanted, *, report: Callable[[Progress], None] = lambda _: None
) -> Survey:
    """Raises what a look-up, loading a generator and regenerating raise, and ValidationError."""
    false_discovery_control()
    _check(wanted)
    notes: list[str] = []
    # neither a calibration of answers nor b has a part in it
    lookup = Lookup(
        settings,
        model=order.model,
        record=False,
        intervals=False,
        calibration=NO_CALIBRATION,
        needs_b=False,
    )
    with lookup:
        artists, refused, passed_over = _whom(lookup, wanted)
        generator = loaded_once(generator_of(settings, lookup.model, order))
        protocol = Protocol(
            wanted.contents,
            len(seeds_of(order, None)),
            seeds_of(order, None)[0],
            order.template,
            order.negative_prompt or "",
            sampling_of(order, None, generator, notes),
        )
        if wanted.control is Control.INVENTED:
            registered = NameFinder.of(lookup.eligibility.names)
            protocol = replace(protocol, controls=control_names(protocol.images, registered))
        easel = Easel(generator, protocol.sampling, lookup.workspace / REGENERATIONS, order.batch)
        # before hours of drawing: an encoder that cannot be used is refused
        view = View(lookup.embedder(), lookup.index.space, is_independent=False)
        drawn = _draw(easel, protocol, artists, wanted.budget, report)
        identity = {
            "algorithm": ALGORITHM,
            "generator_digest": generator.model_digest,
            "protocol": protocol.digest(generator.precision),
            "encoder_id": view.encoder_id,
            "space_id": view.space.space_id,
            "index_manifest_digest": lookup.index.manifest_digest,
        }
        measured = tuple(_measured(lookup, view, easel, protocol, drawn.ready, identity))
    return Survey(
        lookup.model,
        generator.model_digest,
        view.encoder_id,
        view.space.space_id,
        protocol.digest(generator.precision),
        protocol,
        measured,
        tuple(artist.name for artist in drawn.pending),
        (*refused, *drawn.refused),
        drawn.to_make,
        drawn.made,
        passed_over,
        tuple(notes),
    )


def _check(wanted: Wanted) -> None:
    if len(wanted.contents) < FEWEST_CONTENTS:
        raise ValidationError(
            f"{len(wanted.contents)} contents say too little; at least {FEWEST_CONTENTS} are needed.",
            next_step="Give more: --prompts 20, or more lines in --contents.",
        )


def _whom(lookup: Lookup, wanted: Wanted) -> tuple[list[Artist], list[Refused], int]:
    """Whom to measure, by name; who is refused; how many have too few works where everybody is asked for."""
    if not wanted.artists:
        everybody = [lookup.eligibility.artists[one] for one in lookup.eligibility.eligible(lookup.model)]
        enough = [artist for artist in everybody if _why_not(lookup, artist) is None]
        return sorted(enough, key=_by_name), [], len(everybody) - len(enough)
    found: dict[str, Artist] = {}
    refused = []
    for name in wanted.artists:
        try:
            artist = lookup.artist_named(name)
        except RegistryError as error:
            refused.append(Refused(name, error.message.removesuffix(".")))
            continue
        if reason := _why_not(lookup, artist):
            refused.append(Refused(name, reason))
        else:
            found[artist.artist_id] = artist
    return sorted(found.values(), key=_by_name), refused, 0


def _by_name(artist: Artist) -> tuple[str, str]:
    return artist.name, artist.artist_id


def _why_not(lookup: Lookup, artist: Artist) -> str | None:
    if not lookup.eligibility.may_be_credited(artist.artist_id, lookup.model):
        return f"may not be credited for images of {lookup.model}"
    index = lookup.index
    if artist.artist_id not in index.places:
        return f"is not in the index {index.version}"
    works = len(index.pooled_works(index.creator_of(artist.artist_id)))
    if works < FEWEST_WORKS:
        return f"has too few works in the index, {works}, to know the style by; {FEWEST_WORKS} are needed"
    return None


@dataclass(frozen=True)
class _Drawn:
    ready: list[Artist]
    pending: list[Artist]
    refused: list[Refused]
    made: int
    to_make: int


def _draw(
    easel: Easel,
    protocol: Protocol,
    artists: Sequence[Artist],
    budget: int | None,
    report: Callable[[Progress], None],
) -> _Drawn:
    """Make what is missing, as far as the budget goes. Raises PromptError or RegenerationError where twins
    cannot be made: nobody can be measured without them."""
    twins = easel.missing(protocol.twins()) if artists else []
    missing = {artist: easel.missing(protocol.requests(artist.name)) for artist in artists}
    beyond: dict[Artist, Refused] = {}
    if budget != 0:
        _check_reading(easel, twins)
        beyond = _beyond_reading(easel, missing)
    missing = {artist: requests for artist, requests in missing.items() if artist not in beyond}
    in_order = [*twins, *(request for requests in missing.values() for request in requests)]
    wanted = list(dict.fromkeys(in_order))[:budget]
    failure = None
    try:
        easel.draw(wanted, report)
    except RegenerationError as error:  # the others were made
        failure = error
    still = set(easel.missing(wanted))
    if failure is not None and (not still or any(request in still for request in twins)):
        raise failure
    failed = [artist for artist, requests in missing.items() if not still.isdisjoint(requests)]
    made = set(wanted) - still
    has_twins = made.issuperset(twins)
    ready = [artist for artist, requests in missing.items() if has_twins and made.issuperset(requests)]
    return _Drawn(
        ready,
        [artist for artist in missing if artist not in ready and artist not in failed],
        [*beyond.values(), *(Refused(artist.name, _reason(failure)) for artist in failed)],
        len(made),
        len({request for request in in_order if request not in made and request not in still}),
    )


def _reason(failure: RegenerationError | None) -> str:
    return (
        "some images could not be made"
        if failure is None
        else f"images could not be made: {failure.message.removesuffix('.')}"
    )


def _check_reading(easel: Easel, twins: Sequence[Request]) -> None:
    """Raises PromptError where the text encoder does not read them to their end."""
    if twins and (beyond := easel.unread(request.prompt for request in twins)):
        raise PromptError(
            f"The model does not read all prompts to their end: it stops before {beyond[:LONGEST_SHOWN]!r}.",
            next_step="Give shorter contents or a shorter template.",
        )


def _beyond_reading(easel: Easel, missing: dict[Artist, list[Request]]) -> dict[Artist, Refused]:
    """Artists whose prompts the text encoder does not read to their end."""
    refused = {}
    for artist, requests in missing.items():
        if requests and (beyond := easel.unread(request.prompt for request in requests)):
            reason = (
                f"the model does not read the prompt to its end: it stops before {beyond[:LONGEST_SHOWN]!r}"
            )
            refused[artist] = Refused(artist.name, reason)
    return refused


def _measured(
    lookup: Lookup,
    view: View,
    easel: Easel,
    protocol: Protocol,
    artists: Sequence[Artist],
    identity: dict[str, Any],
) -> Iterator[Recognition]:
    if not artists:
        return
    index = lookup.index
    styles = Styles.of_index(index)

    def cosines(requests: Sequence[Request]) -> NDArray[np.float64]:
        """float64 (n_contents, n_styles), means over seeds."""
        found = styles.cosines(view.styled(easel.draw(requests)))
        by_content: NDArray[np.float64] = found.reshape(len(protocol.contents), protocol.seeds, -1).mean(
            axis=1
        )
        return by_content

    before = cosines(protocol.twins())
    for artist in artists:
        creator_id = index.creator_of(artist.artist_id)
        requests = protocol.requests(artist.name)
        measured = Cosines.of(
            before, cosines(requests), own_cosines(index, creator_id), own=styles.column_of(creator_id)
        )
        asked = {
            **identity,
            "artist_id": artist.artist_id,
            "prompts_digest": canonical_digest([request.prompt for request in requests]),
        }
        yield Recognition.of(artist.artist_id, artist.name, asked, measured, images=len(requests))
