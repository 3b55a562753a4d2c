"""``fairbrush tuned`` in a workspace: was this model tuned on this artist?

Enters: settings and a ``TunedOrder``. Leaves: an ``Examination``, with a ``Verdict`` on each artist asked
about. The rules: base and fine-tune draw the same contents from the same seeds, with the artist's name and
without; only who may be credited is measured; images are kept by what decides them, so an interrupted run
goes on.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from fairbrush.chain.canonical import canonical_digest, decimal_text
from fairbrush.corpus.changes import open_registry
from fairbrush.corpus.eligibility import CREDITED
from fairbrush.corpus.membership import find_model
from fairbrush.errors import GeneratorError, ValidationError, WeightsNotFoundError
from fairbrush.lookup import NO_CALIBRATION, Lookup
from fairbrush.style.affinity import style_rows
from fairbrush.style.centroids import fit_style
from fairbrush.validation.generators import LazyGenerator, Sampling
from fairbrush.validation.order import Order, generator_of
from fairbrush.validation.recognition.four_sets import Drawn, Subject, TunedOrder, draw_sets
from fairbrush.validation.recognition.lifts import adjusted_p_values, fewest_told
from fairbrush.validation.recognition.styles import FEWEST_WORKS, Styles
from fairbrush.validation.recognition.tuning import (
    Effect,
    Estimate,
    FourSets,
    PValues,
    Shifts,
    estimate,
    shifts_of,
    tuning_p_values,
)
from fairbrush.validation.regenerate import Progress
from fairbrush.validation.views import View
from fairbrush.validation.weights import find_files
from fairbrush.workspace import REGENERATIONS

if TYPE_CHECKING:
    from fairbrush.config import Settings
    from fairbrush.domain import Artist

ALGORITHM = "1"  # raise it when the same images would give other figures
NOT_CLEARED = "No evidence is not 'not tuned': few contents, a weak tuning or another trigger may hide it."
SAME_EYES = "Nearness is measured by one encoder, and another artist of a like style would be found as well."


@dataclass(frozen=True, eq=False)
class Verdict:
    """shifts: of the artist's style first, then of other people's; beyond: float64 (n_effects, n_contents),
    each effect beyond the mean of others. ``q``: the smallest level at which the artist is found among those
    asked about; ``is_found``: at the test's level, and the strongest effect really is nearer."""

    subject: Subject
    shifts: Shifts
    beyond: NDArray[np.float64]
    p_values: PValues
    estimates: dict[Effect, Estimate]
    q: float
    is_found: bool
    identity: dict[str, object]

    @property
    def others(self) -> int:
        return len(self.shifts.spread) - 1

    @property
    def strongest(self) -> Effect:
        return self.shifts.strongest(0)


@dataclass(frozen=True, eq=False)
class Examination:
    """``pending``: names of those for whom ``to_make`` images are missing still; ``images``: those looked at;
    ``made``: new in this run; ``notes``: what a reader must know."""

    model_id: str
    model_digest: str
    base_id: str | None
    base_digest: str
    precision: str
    encoder_id: str
    space_id: str
    index_digest: str
    contents: tuple[str, ...]
    seeds: tuple[int, ...]
    sampling: Sampling
    level: float
    artists: tuple[Verdict, ...]
    pending: tuple[str, ...]
    images: int
    made: int
    to_make: int
    notes: tuple[str, ...]


@dataclass(frozen=True, eq=False)
class Figures:
    """What shifts and ``beyond`` say; the same from a stored body."""

    p_values: PValues
    estimates: dict[Effect, Estimate]


def figures_of(shifts: Shifts, beyond: NDArray[np.float64], *, test_id: str) -> Figures:
    """The artist's style is the first column. The bootstrap draws from the test's id."""
    rng = np.random.default_rng(int(test_id[:16], 16))
    return Figures(
        tuning_p_values(shifts, own=0, nulls=range(1, len(shifts.spread))),
        {effect: estimate(row, rng=rng) for effect, row in zip(Effect, beyond, strict=True)},
    )


def examine(
    settings: Settings, order: TunedOrder, *, report: Callable[[Progress], None] = lambda _: None
) -> Examination:
    """Draw four sets of images for each artist and compare them. Raises what a look-up, loading a generator
    and regenerating raise, PromptError, and ValidationError for what cannot be asked."""
    with ExitStack() as stack:
        # neither a calibration of answers nor b has a part in it
        opened = Lookup(
            settings,
            model=order.drawing.model,
            record=False,
            metadata=False,
            intervals=False,
            calibration=NO_CALIBRATION,
            needs_b=False,
        )
        lookup = stack.enter_context(opened)
        base_id = None if order.drawing.loras else order.base_model or _registered_base(settings, lookup)
        tuned, base = _generators(settings, lookup.model, base_id, order)
        # before hours of drawing: an encoder that cannot be used is refused
        view = View(lookup.embedder(), lookup.index.space, is_independent=False)
        styles, subjects, notes = _asked_about(lookup, view, order)
        folder = lookup.workspace / REGENERATIONS
        drawn = draw_sets(folder, order, subjects, tuned, base, report)
        base_name = lookup.model if order.drawing.loras else base_id
        drawn = replace(drawn, notes=(*notes, *drawn.notes))
        return _judge(lookup, order, view, styles, drawn, base_name)


def _registered_base(settings: Settings, lookup: Lookup) -> str | None:
    with open_registry(lookup.workspace, readonly=True, wait_s=settings.database_wait_s) as store:
        return find_model(store, lookup.model).base_model_id


def _generators(
    settings: Settings, model_id: str, base_id: str | None, order: TunedOrder
) -> tuple[LazyGenerator, LazyGenerator]:
    """(fine-tune, base). Raises as ``generator_of``, and ValidationError where they are the same or the base
    is not known."""
    drawing = order.drawing
    if drawing.loras:
        base_name = model_id
        base = generator_of(settings, base_name, replace(drawing, loras=()))
    else:
        if base_id is None and order.base_weights is None:
            raise ValidationError(
                f"Nothing says which model {model_id} was tuned from.",
                next_step="Name it: --base-model MODEL, or --base-weights DIR; or register a fine-tune with"
                " its base: fairbrush model add MODEL --base BASE.",
            )
        base_name = base_id or "the base"
        base = _base_of(settings, base_name, replace(drawing, weights=order.base_weights, base=None))
        source = drawing.weights or settings.generators.get(model_id)
        if source is not None and Path(source).suffix.casefold() == ".safetensors":
            base_source = order.base_weights or settings.generators.get(base_name) or base_name
            drawing = replace(
                drawing, base=find_files(base_source, allow_download=drawing.allow_download).folder
            )
    tuned = generator_of(settings, model_id, drawing)
    if tuned.model_digest == base.model_digest:
        raise ValidationError(
            f"The weights of {model_id} are those of {base_name}: nothing was tuned.",
            next_step="Name the fine-tune's with --weights, its base's with --base-weights.",
        )
    return tuned, base


def _base_of(settings: Settings, base_name: str, order: Order) -> LazyGenerator:
    try:
        return generator_of(settings, base_name, order)
    except (GeneratorError, WeightsNotFoundError) as error:  # --weights and --base are the fine-tune's
        raise type(error)(
            f"The base cannot be used. {error.message}",
            next_step="Name the base's diffusers folder: --base-weights DIR.",
        ) from error


def _asked_about(
    lookup: Lookup, view: View, order: TunedOrder
) -> tuple[Styles, list[Subject], tuple[str, ...]]:
    """All styles, who is asked about, and what a reader must know of that. Raises ValidationError,
    RegistryError, IndexMissingError."""
    styles = Styles.of_index(lookup.index)
    if order.works is not None:
        return *_with_folder(styles, view, order.works, lookup, order), ()
    registry, notes = lookup.eligibility.artists, tuple[str, ...]()
    asked = [lookup.artist_named(name) for name in order.artists]
    if order.everybody:
        all_of_them = [registry.get(one) for one in lookup.index.artist_ids]
        allowed = [artist for artist in all_of_them if artist is not None and artist.consent in CREDITED]
        asked = [artist for artist in allowed if _is_known(artist, styles, lookup)]
        if left_out := len(allowed) - len(asked):
            notes = (f"Left out, with under {FEWEST_WORKS} works in the index: {left_out} artists.",)
    if not asked:
        asked = [lookup.artist_named(name) for lora in order.drawing.loras for name in lora.artists]
    subjects = [_subject(artist, styles, lookup, order) for artist in dict.fromkeys(asked)]
    if not subjects:
        raise ValidationError("Nobody is asked about.", next_step="Name artists, or give --all.")
    if order.trigger is not None and len(subjects) > 1:
        raise ValidationError(
            f"One trigger cannot stand for {len(subjects)} artists.", next_step="Ask about one at a time."
        )
    return styles, subjects, notes


def _is_known(artist: Artist, styles: Styles, lookup: Lookup) -> bool:
    """By their style: of too few works there is none."""
    return lookup.index.creator_of(artist.artist_id) in styles.creator_ids


def _subject(artist: Artist, styles: Styles, lookup: Lookup, order: TunedOrder) -> Subject:
    if artist.consent not in CREDITED:
        raise ValidationError(
            f"{artist.name} may not be measured: {artist.consent}.",
            next_step="Who asks for themselves gives their own works: --works DIR.",
        )
    if not _is_known(artist, styles, lookup):
        raise ValidationError(
            f"{artist.name} has too few works in the index to be known by their style.",
            next_step=f"Add works until there are {FEWEST_WORKS} or more, then fairbrush index extend.",
        )
    column = styles.column_of(lookup.index.creator_of(artist.artist_id))
    return Subject(artist.name, artist.artist_id, order.trigger or artist.name, column)


def _with_folder(
    styles: Styles, view: View, folder: Path, lookup: Lookup, order: TunedOrder
) -> tuple[Styles, list[Subject]]:
    """The styles and, last, that of somebody's works. Raises ValidationError."""
    index, sha256s = lookup.index, _embedded(view, folder)
    stored = view.session.space.get_many(sha256s)
    rows = style_rows(view.space, np.stack([stored[sha256][0] for sha256 in sha256s]))
    centroids = fit_style(rows, index.strangers).centroids.astype(np.float64)
    # whom the index knows by one of these works is the same person
    same = {index.creator_of(artist) for one in sha256s for artist in index.artists_by_work.get(one, ())}
    name = order.name or folder.resolve().name
    subject = Subject(
        label=name,
        artist_id=None,
        word=order.trigger or name,
        column=len(styles),
        not_others=tuple(styles.column_of(one) for one in styles.creator_ids if one in same),
    )
    joined = replace(
        styles,
        rows=np.concatenate([styles.rows, centroids]),
        firsts=np.append(styles.firsts, len(styles.rows)),
    )
    return joined, [subject]


def _embedded(view: View, folder: Path) -> list[str]:
    """The digests of a folder's works, sorted. Raises ValidationError."""
    if not folder.is_dir():
        raise ValidationError(f"{folder} is no folder.", next_step="Name a folder with works.")
    found = view.session.find([folder])
    reasons = [refusal.detail for refusal in found.refusals]
    outcomes = [] if reasons else list(view.session.embed(found.images))
    reasons += [f"{one.path} cannot be used: {one.detail}" for one in outcomes if one.reason]
    if reasons:
        raise ValidationError(reasons[0], next_step="Remove the file or correct it.")
    sha256s = sorted({one.sha256 for one in outcomes if one.sha256 is not None})
    if len(sha256s) < FEWEST_WORKS:
        raise ValidationError(
            f"{folder} has {len(sha256s)} different works; at least {FEWEST_WORKS} are needed.",
            next_step="Add works by the same hand.",
        )
    return sha256s


@dataclass(frozen=True, eq=False)
class _Measured:
    """What is known of a subject before others are: see ``Verdict``."""

    subject: Subject
    identity: dict[str, object]
    shifts: Shifts
    beyond: NDArray[np.float64]
    figures: Figures


def _judge(
    lookup: Lookup,
    order: TunedOrder,
    view: View,
    styles: Styles,
    drawn: Drawn,
    base_id: str | None,
) -> Examination:
    # images differ from the panel's works in what all of them have in common: that is no artist's style
    if drawn.subjects:
        view = view.centred_on(drawn.base[0])

    def cosines(files: Sequence[Path]) -> NDArray[np.float64]:
        rows = styles.cosines(view.styled(files))
        found: NDArray[np.float64] = rows.reshape(len(drawn.contents), -1, len(styles)).mean(axis=1)
        return found

    unnamed = tuple(cosines(of_model[0]) for of_model in (drawn.base, drawn.tuned) if drawn.subjects)
    protocol = _protocol(lookup, view, styles, drawn)
    measured = []
    for place, subject in enumerate(drawn.subjects):
        sets = FourSets(
            base_named=cosines(drawn.base[1 + place]),
            base_unnamed=unnamed[0],
            tuned_named=cosines(drawn.tuned[1 + place]),
            tuned_unnamed=unnamed[1],
        )
        identity = {
            **protocol,
            "artist_id": subject.artist_id,
            "requests_digest": drawn.requests_digests[place],
        }
        measured.append(_measure(subject, identity, sets))
    verdicts = _verdicts(measured, level=order.level)
    return Examination(
        model_id=lookup.model,
        model_digest=drawn.digests[1],
        base_id=base_id,
        base_digest=drawn.digests[0],
        precision=drawn.precision,
        encoder_id=view.encoder_id,
        space_id=lookup.index.space_id,
        index_digest=lookup.index.manifest_digest,
        contents=drawn.contents,
        seeds=drawn.seeds,
        sampling=drawn.sampling,
        level=order.level,
        artists=verdicts,
        pending=tuple(subject.label for subject in drawn.pending),
        images=drawn.images,
        made=drawn.made,
        to_make=drawn.to_make,
        notes=(*drawn.notes, *_about(verdicts, order.level)),
    )


def _protocol(lookup: Lookup, view: View, styles: Styles, drawn: Drawn) -> dict[str, object]:
    """What an examination's figures hang on, but for the artist: no path, time, prompt or name."""
    sampling = drawn.sampling
    return {
        "algorithm": ALGORITHM,
        "generator_digest": drawn.digests[1],
        "base_digest": drawn.digests[0],
        "precision": drawn.precision,
        "index_manifest_digest": lookup.index.manifest_digest,
        "styles_digest": hashlib.sha256(styles.rows.tobytes() + styles.firsts.tobytes()).hexdigest(),
        "encoder_id": view.encoder_id,
        "space_id": lookup.index.space_id,
        "contents": len(drawn.contents),
        "seeds": list(drawn.seeds),
        "steps": sampling.steps,
        "guidance": decimal_text(float(sampling.guidance)),
        "scheduler": sampling.scheduler,
        "size": [sampling.width, sampling.height],
    }


def _measure(subject: Subject, identity: dict[str, object], sets: FourSets) -> _Measured:
    styles = sets.base_named.shape[1]
    others = [one for one in range(styles) if one != subject.column and one not in subject.not_others]
    own_first = sets.of_styles([subject.column, *others])
    shifts = shifts_of(own_first)
    changes = own_first.changes()
    beyond = np.stack([changes[effect][:, 0] - changes[effect][:, 1:].mean(axis=1) for effect in Effect])
    figures = figures_of(shifts, beyond, test_id=canonical_digest(identity))
    return _Measured(subject, identity, shifts, beyond, figures)


def _verdicts(measured: Sequence[_Measured], *, level: float) -> tuple[Verdict, ...]:
    q_values = adjusted_p_values([one.figures.p_values.p for one in measured])
    return tuple(
        Verdict(
            subject=one.subject,
            shifts=one.shifts,
            beyond=one.beyond,
            p_values=one.figures.p_values,
            estimates=one.figures.estimates,
            q=float(q),
            is_found=bool(q <= level) and one.shifts.comes_nearer(0),
            identity=one.identity,
        )
        for one, q in zip(measured, q_values, strict=True)
    )


def _about(verdicts: Sequence[Verdict], level: float) -> list[str]:
    """What a reader must know of them."""
    if not verdicts:
        return []
    fewest = fewest_told(min(one.others for one in verdicts), len(verdicts), level)
    notes = [SAME_EYES]
    if fewest > 1:
        notes.append(
            f"With {verdicts[0].others} other styles and {len(verdicts)} artists asked about, nobody can be"
            f" found unless {fewest} rank first: ask about fewer artists, or index more."
        )
    if not all(one.is_found for one in verdicts):
        notes.append(NOT_CLEARED)
    return notes
