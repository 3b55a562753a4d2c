"""``fairbrush calibrate`` in a workspace: from kept regenerations to a calibration.

Enters: settings and a ``FitOrder``. Leaves: a ``Fitted``, and where asked a calibration that is kept. The
rules: nothing is applied; the same data give the same calibration; an erased artist's images are no evidence.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Collection, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from fairbrush import __version__
from fairbrush.chain.canonical import canonical_digest, decimal_text
from fairbrush.corpus.changes import open_registry
from fairbrush.corpus.eligibility import read_eligibility
from fairbrush.domain import Value
from fairbrush.embedding.cache import EmbeddingCache
from fairbrush.embedding.facets import FACETS, WHOLE
from fairbrush.embedding.session import EmbeddingSession
from fairbrush.errors import CacheDamagedError, CacheError, CalibrationError
from fairbrush.index.search import open_index
from fairbrush.ledger.policy import read_policy
from fairbrush.store import utc_now
from fairbrush.style.calibration import CALIBRATED_VALUES, AffinityMap, Calibration, ModelPart, Power
from fairbrush.style.kept_calibrations import keep_calibration
from fairbrush.validation.calibration.answers import Asked, Change, FastAnswers, Shares, mis_paid
from fairbrush.validation.calibration.evidence import LeftOut, Measured, Studied, read_rows, studies
from fairbrush.validation.calibration.fit import (
    LEAST_PAIRS,
    Pairs,
    PooledPart,
    admissible,
    choose,
    grid_of,
    isotonic_map,
    losses_on_grid,
    pairs_of,
    pooled_part,
)
from fairbrush.validation.calibration.leave_out import (
    Interval,
    LeftOutFits,
    apart,
    clustered_mean,
    clusters_of,
    leave_out,
)
from fairbrush.validation.calibration.report import Compared, FalseCredit, Fitted, Price, body_of, side_of
from fairbrush.validation.calibration.unnamed import Unnamed, draw_unnamed, read_unnamed, unnamed_files
from fairbrush.validation.order import Order
from fairbrush.validation.regenerate import Progress
from fairbrush.workspace import INDEXES, REGENERATIONS, require_workspace

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from fairbrush.config import Settings
    from fairbrush.corpus.eligibility import Eligibility
    from fairbrush.index.search import StyleIndex

LEAST_IMAGES, LEAST_ARTISTS = 10, 5
LEAST_TRAINED_ON = 5  # images apart from the one that is predicted
# twice what the index allows by itself; one in ten strangers' works credited to somebody is dear enough
MOST_FALSE_CREDIT = 0.1
_B_DIGITS = 6
MEASURE_STEP = (
    "Measure images of several artists first: fairbrush validate IMAGE --prompt '...' --second-encoder SPEC"
)


class Readings(StrEnum):
    """Whose measurements judge. ``AUTO``: an independent encoder's where one measured every image, else those
    of the encoder that answers, for every image: never some of each."""

    AUTO = "auto"
    ANSWERING = "answering"
    INDEPENDENT = "independent"


@dataclass(frozen=True)
class FitOrder:
    """``models``: all where none is named; ``value``: the policy's where None; ``most_false_credit``: the
    part of strangers' works that a lower threshold may let through. ``unnamed``: images without a name, of
    the one model; ``draw``: how many every model draws itself, as ``drawing`` says."""

    models: tuple[str, ...] = ()
    value: Value | None = None
    readings: Readings = Readings.AUTO
    most_false_credit: float = MOST_FALSE_CREDIT
    unnamed: tuple[Path, ...] = ()
    draw: int = 0
    drawing: Order = field(default_factory=lambda: Order(None))


@dataclass(frozen=True, eq=False)
class Evidence:
    """``asked[n]`` and ``images[n]`` are one image; ``judge``: the encoder whose readings are fitted to."""

    images: Sequence[Studied]
    asked: Sequence[Asked]
    judge: str
    left_out: Mapping[LeftOut, int]

    def readings(self, encoder_id: str) -> list[Measured]:
        return [image.readings[encoder_id] for image in self.images]

    @property
    def players(self) -> list[tuple[str, ...]]:
        return [image.players for image in self.images]

    @property
    def models(self) -> list[str]:
        return sorted({image.model_id for image in self.images})

    @property
    def others(self) -> list[str]:
        """Encoders beside the judge that measured every image."""
        measured = set.intersection(*(set(image.readings) for image in self.images))
        return sorted(measured - {self.judge})


def fit_calibration(
    settings: Settings, order: FitOrder, *, report: Callable[[Progress], None] = lambda _: None
) -> Fitted:
    """Fit, and compare before and after; nothing is kept. Raises CalibrationError where there is too little
    evidence, and what opening a workspace, drawing and looking up raise."""
    workspace = require_workspace(settings.workspace)
    value = _value(settings, order)
    if not 0.0 <= order.most_false_credit <= 1.0:  # nan, too
        raise CalibrationError(
            f"--most-false-credit must lie between 0 and 1, not {order.most_false_credit}.",
            next_step="0.1 lets one in ten strangers' works be credited to somebody.",
        )
    index, eligibility = open_index(workspace / INDEXES), read_eligibility(workspace)
    for model_id in order.models:
        eligibility.eligible(model_id)  # an unknown one is refused
    with open_registry(workspace, readonly=True, wait_s=settings.database_wait_s) as store:
        rows = read_rows(store.connection, order.models)
    if not rows:
        of = f" of {' or '.join(order.models)}" if order.models else ""
        raise CalibrationError(f"No image{of} was validated here.", next_step=MEASURE_STEP)
    found, left_out = studies(rows, index=index, eligibility=eligibility)
    evidence = _evidence(settings, found, left_out, index=index, value=value, readings=order.readings)
    unnamed = _unnamed(settings, order, workspace, evidence, index, report)
    return fit(evidence, index=index, eligibility=eligibility, value=value, unnamed=unnamed, order=order)


def keep_fit(settings: Settings, fitted: Fitted) -> bool:
    """Keep the calibration; False where the same one was there. Raises DatabaseBusyError, StoreError."""
    workspace = require_workspace(settings.workspace)
    with open_registry(workspace, wait_s=settings.database_wait_s) as store:
        return keep_calibration(store, workspace, fitted.calibration, now=utc_now())


def fit(
    evidence: Evidence,
    *,
    index: StyleIndex,
    eligibility: Eligibility,
    value: Value,
    unnamed: Mapping[str, Unnamed],
    order: FitOrder,
) -> Fitted:
    """The fit itself. Raises CalibrationError where no image is apart from enough others."""
    centres = {model_id: drawn.centre for model_id, drawn in unnamed.items()}
    answers = FastAnswers(index, eligibility, value, evidence.asked, centres)
    grid = grid_of(index, centre=bool(centres))
    readings = evidence.readings(evidence.judge)
    losses = losses_on_grid(answers, [one.shares for one in readings], grid)
    allowed = admissible(grid, most_false_credit=order.most_false_credit)
    apart_from = apart(evidence.players)
    crossed = leave_out(losses, apart_from, allowed, least=LEAST_TRAINED_ON)
    if not crossed.predicted.any():
        raise CalibrationError(
            f"No image shares its artists with so few others that {LEAST_TRAINED_ON} are left to fit on.",
            next_step="Measure images of other artists, or of fewer at a time: fairbrush validate --artists.",
        )
    best = grid[choose(losses, allowed)]
    curve = _Curve(evidence, answers, readings, apart_from, crossed, grid)
    maps, isotonic = _maps(curve, losses)
    everything = pairs_of(answers, readings, best)
    by = isotonic_map(everything) if maps else None
    judged = _judged(curve, maps)
    parts = {
        model_id: pooled_part(
            one for one, image in zip(readings, evidence.images, strict=True) if image.model_id == model_id
        )
        for model_id in evidence.models
    }
    calibration = Calibration(
        encoder_id=index.encoder_id,
        space_id=index.space_id,
        value=value,
        map=by or Power(best.gamma),
        shift=best.shift,
        models={
            model_id: _model_part(part, centres[model_id] if best.centred else None)
            for model_id, part in parts.items()
        },
        fitted_from=_sources(evidence, index, unnamed, order),
        cross_validation=body_of(
            judged, predicted=int(crossed.predicted.sum()), trained_on=_trained_on(crossed)
        ),
        version=__version__,
    )
    panel = FalseCredit(index.passing_at(index.delta), best.level, len(index.strangers))
    return Fitted(
        calibration=calibration,
        images=len(evidence.images),
        artists=len({creator for players in evidence.players for creator in players}),
        models=parts,
        other_versions=sum(image.index_manifest_digest != index.manifest_digest for image in evidence.images),
        left_out=evidence.left_out,
        predicted=int(crossed.predicted.sum()),
        trained_on=_trained_on(crossed),
        judged=judged,
        level=best.level,
        most_false_credit=order.most_false_credit,
        panel=panel,
        unnamed=_false_credit(unnamed, index, eligibility, best),
        pairs=len(everything),
        isotonic=isotonic,
        bounded=grid[choose(losses, np.ones(len(grid), bool))] != best,
        prices=_prices(curve, losses, unnamed, index, eligibility),
    )


@dataclass(frozen=True, eq=False)
class _Curve:
    """What cross-validation works on; ``crossed``: of the power."""

    evidence: Evidence
    answers: FastAnswers
    readings: Sequence[Measured]
    apart_from: NDArray[np.bool_]
    crossed: LeftOutFits
    grid: Sequence[Change]

    @property
    def predicted(self) -> list[int]:
        return np.flatnonzero(self.crossed.predicted).tolist()

    def mean(self, values: Sequence[float] | NDArray[np.float64], readings: Sequence[Measured]) -> Interval:
        """Over the predicted images; redrawn by whose they are. The seed is that of the images."""
        ids = [self.evidence.images[image].image_sha256 for image in self.predicted]
        clusters = clusters_of([readings[image].shares for image in self.predicted], ids)
        seed = int(canonical_digest(ids)[:16], 16)
        return clustered_mean(np.array(values, np.float64), clusters, rng=np.random.default_rng(seed))

    def change_of(self, image: int) -> Change:
        """Fitted on the images apart from this one."""
        return self.grid[int(self.crossed.chosen[image])]


def _maps(
    curve: _Curve, losses: NDArray[np.float64]
) -> tuple[Mapping[int, AffinityMap] | None, Interval | None]:
    """The isotonic map that each image is predicted by, where they do better than the power beyond the error;
    else None. And how much they do, None where there are too few pairs."""
    pairs: dict[tuple[float, bool], Pairs] = {}
    for change in {(one.shift, one.centred): one for one in map(curve.change_of, curve.predicted)}.values():
        pairs[change.shift, change.centred] = pairs_of(curve.answers, curve.readings, change)
    if min(len(one) for one in pairs.values()) < LEAST_PAIRS:
        return None, None
    fitted: dict[tuple[float, bool, tuple[str, ...]], AffinityMap] = {}
    maps: dict[int, AffinityMap] = {}
    difference = []
    for image in curve.predicted:
        change = curve.change_of(image)
        key = (change.shift, change.centred, tuple(sorted(curve.evidence.images[image].players)))
        if key not in fitted:
            others = pairs[change.shift, change.centred].of(curve.apart_from[image])
            fitted[key] = isotonic_map(others) or Power(change.gamma)
        maps[image] = fitted[key]
        fast = curve.answers.shares(image, change, by=maps[image])
        by_power = losses[image, curve.crossed.chosen[image]]
        difference.append(mis_paid(fast, curve.readings[image].shares) - float(by_power))
    gained = curve.mean(difference, curve.readings)
    return (maps if gained.high < 0.0 else None), gained


def _judged(curve: _Curve, maps: Mapping[int, AffinityMap] | None) -> tuple[Compared, ...]:
    """Before and after, by the encoder that was fitted to and by the others."""
    nothing = curve.grid[0]
    images = curve.predicted
    before = [curve.answers.shares(image, nothing) for image in images]
    after: list[Shares] = [
        curve.answers.shares(image, curve.change_of(image), by=maps[image] if maps else None)
        for image in images
    ]
    players = [curve.evidence.images[image].players for image in images]
    found = []
    for encoder_id in [curve.evidence.judge, *curve.evidence.others]:
        readings = curve.evidence.readings(encoder_id)
        measured = [readings[image].shares for image in images]
        old, old_losses = side_of(before, measured, players)
        new, new_losses = side_of(after, measured, players)
        change = curve.mean(np.array(new_losses) - np.array(old_losses), readings)
        found.append(Compared(encoder_id, encoder_id != curve.answers.index.encoder_id, old, new, change))
    return tuple(found)


def _prices(
    curve: _Curve,
    losses: NDArray[np.float64],
    unnamed: Mapping[str, Unnamed],
    index: StyleIndex,
    eligibility: Eligibility,
) -> tuple[Price, ...]:
    """Every threshold of the grid, highest first, the rest fitted on the images apart from each."""
    images = curve.predicted
    levels = {change.shift: change.level for change in curve.grid}
    drawn = {
        (model_id, centred): one.best(index, allowed=eligibility.eligible(model_id), centred=centred)
        for model_id, one in unnamed.items()
        for centred in (False, True)
    }
    prices = []
    for shift in sorted(levels, reverse=True):
        only = np.array([change.shift == shift for change in curve.grid])
        fits = leave_out(losses, curve.apart_from, only, least=LEAST_TRAINED_ON)
        chosen = [curve.grid[int(fits.chosen[image])] for image in images]
        centred = sum(change.centred for change in chosen) * 2 > len(chosen)
        near = [z for (_, moved), z in drawn.items() if moved == centred]
        prices.append(
            Price(
                level=levels[shift],
                shift=shift,
                mis_paid=float(np.mean([losses[image, fits.chosen[image]] for image in images])),
                credited=sum(
                    bool(curve.answers.shares(image, change))
                    for image, change in zip(images, chosen, strict=True)
                ),
                unnamed=float((np.concatenate(near) > index.delta + shift).mean()) if near else None,
            )
        )
    return tuple(prices)


def _false_credit(
    unnamed: Mapping[str, Unnamed], index: StyleIndex, eligibility: Eligibility, best: Change
) -> dict[str, FalseCredit]:
    found = {}
    for model_id, drawn in unnamed.items():
        allowed = eligibility.eligible(model_id)
        plain = drawn.best(index, allowed=allowed, centred=False)
        moved = drawn.best(index, allowed=allowed, centred=True) if best.centred else plain
        found[model_id] = FalseCredit(
            float((plain > index.delta).mean()),
            float((moved > index.delta + best.shift).mean()),
            len(plain),
        )
    return found


def _trained_on(crossed: LeftOutFits) -> float:
    return float(crossed.trained_on[crossed.predicted].mean())


def _model_part(part: PooledPart, centre: NDArray[np.float32] | None) -> ModelPart:
    b = None if part.b is None else f"{part.b:.{_B_DIGITS}f}"
    error = None if part.error is None else round(part.error, _B_DIGITS)
    return ModelPart(b, error, part.images, centre)


def _sources(
    evidence: Evidence, index: StyleIndex, unnamed: Mapping[str, Unnamed], order: FitOrder
) -> dict[str, Any]:
    """What was fitted from, without naming an image or an artist."""
    ids = sorted(one.validation_id for one in evidence.readings(evidence.judge))
    return {
        "validations_digest": canonical_digest(ids),
        "images": len(ids),
        "measured_by": evidence.judge,
        "index_manifest_digest": index.manifest_digest,
        "unnamed": {
            model_id: {"images": len(drawn.sha256s), "digest": drawn.digest}
            for model_id, drawn in sorted(unnamed.items())
        },
        "most_false_credit": decimal_text(order.most_false_credit),
    }


# ------------------------------------------------------------------ what there is


def _value(settings: Settings, order: FitOrder) -> Value:
    value = order.value or Value(read_policy(settings.policy).value)
    if value not in CALIBRATED_VALUES:
        raise CalibrationError(
            f"The value function {value} cannot be calibrated.",
            next_step=f"One of {', '.join(CALIBRATED_VALUES)}: --value {CALIBRATED_VALUES[0]}.",
        )
    return value


def judge_of(found: Sequence[Studied], readings: Readings) -> str | None:
    """The encoder whose readings are fitted to; None where no independent one measured any image."""
    counts = Counter(encoder_id for image in found for encoder_id in image.independent)
    most = min(counts, key=lambda name: (-counts[name], name), default=None)
    if readings is Readings.INDEPENDENT:
        return most
    if readings is Readings.AUTO and most is not None and counts[most] == len(found):
        return most
    return found[0].answering if found else None


def _evidence(
    settings: Settings,
    found: Sequence[Studied],
    left_out: Counter[LeftOut],
    *,
    index: StyleIndex,
    value: Value,
    readings: Readings,
) -> Evidence:
    """Raises CalibrationError where too few images or artists are left."""
    left_out = Counter(left_out)
    vectors = _cached(settings, index, value, {image.image_sha256 for image in found})
    images = [image for image in found if image.image_sha256 in vectors]
    left_out[LeftOut.NO_VECTOR] += len(found) - len(images)
    judge = judge_of(images, readings)
    if judge is None and images:
        raise CalibrationError("No independent encoder measured any image.", next_step=MEASURE_STEP)
    read = [image for image in images if judge in image.readings]
    left_out[LeftOut.NO_READING] += len(images) - len(read)
    artists = {creator for image in read for creator in image.players}
    if judge is None or len(read) < LEAST_IMAGES or len(artists) < LEAST_ARTISTS:
        why = "".join(f" {count} left out: {reason}." for reason, count in left_out.items() if count)
        raise CalibrationError(
            f"{len(read)} images in which {len(artists)} artists played are too few to fit on:"
            f" {LEAST_IMAGES} and {LEAST_ARTISTS} are needed.{why}",
            next_step=_next_step(left_out),
        )
    asked = [Asked(image.image_sha256, image.model_id, vectors[image.image_sha256]) for image in read]
    return Evidence(read, asked, judge, {reason: left_out[reason] for reason in LeftOut if left_out[reason]})


def _next_step(left_out: Mapping[LeftOut, int]) -> str:
    if left_out[LeftOut.NO_VECTOR]:
        return "Embed these images again: fairbrush embed FOLDER (for facets: attribute --value facets)."
    return MEASURE_STEP


def _cached(
    settings: Settings, index: StyleIndex, value: Value, sha256s: Collection[str]
) -> dict[str, NDArray[np.float32]]:
    views = FACETS if value is Value.FACETS else WHOLE
    try:
        with EmbeddingCache.open(settings.cache_folder, readonly=True) as cache:
            space = cache.space(index.encoder_id, views.variant(index.variants[0]))
            return space.get_many(sorted(sha256s))
    except CacheDamagedError:
        raise
    except CacheError:  # there is none
        return {}


def _unnamed(
    settings: Settings,
    order: FitOrder,
    workspace: Path,
    evidence: Evidence,
    index: StyleIndex,
    report: Callable[[Progress], None],
) -> dict[str, Unnamed]:
    """Of every model, or of none. Raises CalibrationError."""
    if not order.unnamed and not order.draw:
        return {}
    if order.unnamed and len(evidence.models) > 1:
        raise CalibrationError(
            f"Images without a name are one model's; these validations are of {', '.join(evidence.models)}.",
            next_step="Name the model: --model M; or let each draw its own: --draw-unnamed 64.",
        )
    with ExitStack() as stack:
        session = stack.enter_context(EmbeddingSession.open(settings))
        answering = (session.encoder.encoder_id, session.encoder.variant)
        if answering != (index.encoder_id, index.variants[0]):
            raise CalibrationError(
                f"Index {index.version} was built with {index.encoder_id}, not {answering[0]}.",
                next_step="Name that encoder in fairbrush.toml.",
            )
        found = {}
        for model_id in evidence.models:
            paths = unnamed_files(order.unnamed)
            if order.draw:
                of_model = [image for image in evidence.images if image.model_id == model_id]
                folder = workspace / REGENERATIONS
                paths += draw_unnamed(
                    settings,
                    order.drawing,
                    model_id,
                    of_model,
                    count=order.draw,
                    folder=folder,
                    report=report,
                )
            found[model_id] = read_unnamed(session, paths, model_id=model_id)
        return found
