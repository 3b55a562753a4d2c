"""Measure the drawn images of a plan, one after the other, as ``fairbrush validate`` measures one.

Enters: settings, a plan, an ``Order`` that says how. Leaves: results, kept as they come. The rules: images
are taken in the order in which they were drawn, so a run that stops anywhere leaves a fair sample; whom the
paying record credits plays, by id, beside those the prompt names; whoever may not be credited any more is
not measured; all images of a model are measured in one way.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fairbrush.chain.canonical import canonical_digest, decimal_text
from fairbrush.corpus.changes import open_registry
from fairbrush.corpus.eligibility import Eligibility, read_eligibility
from fairbrush.corpus.hints import NameFinder
from fairbrush.corpus.images import Refusal, image_limits
from fairbrush.domain import Doing
from fairbrush.errors import (
    AuditError,
    ConfigError,
    GeneratorError,
    ImagesRefusedError,
    RegenerationError,
    ValidationError,
)
from fairbrush.index.search import open_index
from fairbrush.ledger.records import note_refusals
from fairbrush.store import utc_now
from fairbrush.validation.audit.files import ImageFiles
from fairbrush.validation.audit.plan import Plan, find_plan
from fairbrush.validation.audit.population import Unit
from fairbrush.validation.audit.results import (
    Failure,
    Outcome,
    Result,
    begun_with,
    keep_result,
    read_results,
)
from fairbrush.validation.generators import Generator, LazyGenerator
from fairbrush.validation.keeping import keeping
from fairbrush.validation.kept import keep, validation_id
from fairbrush.validation.order import Order, generator_of, metadata_of, prompt_of
from fairbrush.validation.prompts import content_of
from fairbrush.validation.regenerate import Progress
from fairbrush.validation.validate import validate
from fairbrush.workspace import INDEXES, RECORDS, require_workspace

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection

    from fairbrush.config import Settings
    from fairbrush.validation.study import Reading
    from fairbrush.validation.validate import Study

ERRORS = 2.0  # standard errors that a creator's phi must be above 0


@dataclass(frozen=True)
class Record:
    """What a paying record says. ``shares``: by creator id, parts of what it pays creators, summing to 1;
    empty where it credits nobody. ``artists``: whom it credits, (artist id, creator id). ``path``: of the
    image; ``steadiness``: see ``uncertainty``, None where it was not recorded; ``named``: artist ids that the
    prompt names, None where no prompt was known. ``policy``: a ``[policy]`` under which a look-up answers as
    this one did: calibration, value function, b and w."""

    model_id: str
    path: str | None
    shares: Mapping[str, float]
    artists: tuple[tuple[str, str], ...]
    steadiness: float | None = None
    confidence: str | None = None
    named: frozenset[str] | None = None
    policy: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Tried:
    """``detail``: in words, where it failed. ``made``: images that were drawn for it."""

    unit: Unit
    path: Path | None
    result: Result
    detail: str = ""
    next_step: str | None = None
    made: int = 0


@dataclass(frozen=True)
class RunReport:
    """``tried``: this time; ``results``: of all drawn images that have one, by place in the plan's units."""

    plan: Plan
    tried: tuple[Tried, ...]
    results: Mapping[int, Result]

    @property
    def failed(self) -> list[Tried]:
        return [one for one in self.tried if not one.result.is_done]


def read_records(connection: DuckDBPyConnection, attribution_ids: Sequence[str]) -> dict[str, Record]:
    """What these records say, by id."""
    wanted = sorted(set(attribution_ids))
    paid: dict[str, list[tuple[str, str, int]]] = {}
    for record, artist, creator, share in connection.execute(
        "SELECT attribution_id, artist_id, creator_id, share_e12 FROM attribution_share"
        " WHERE attribution_id IN (SELECT unnest(?::TEXT[])) ORDER BY attribution_id, rank",
        [wanted],
    ).fetchall():
        paid.setdefault(record, []).append((artist, creator, share))
    found = {}
    for record, model, path, steadiness, confidence, hint, value, b, w, calibration in connection.execute(
        "SELECT attribution_id, model_id, image_path, about->>'steadiness', about->>'confidence',"
        " (body->'identity'->'hint'->'artist_ids')::TEXT[], value_function, b, w, calibration_id"
        " FROM attribution"
        " WHERE attribution_id IN (SELECT unnest(?::TEXT[]))",
        [wanted],
    ).fetchall():
        own = paid.get(record, [])
        whole = sum(share for *_, share in own)
        shares: dict[str, float] = {}
        for _, creator, share in own if whole else ():
            shares[creator] = shares.get(creator, 0.0) + share / whole
        found[record] = Record(
            model,
            path,
            shares,
            tuple((artist, creator) for artist, creator, share in own if share),
            None if steadiness is None else float(steadiness),
            confidence,
            None if hint is None else frozenset(hint),
            {"model": model, "value": value, "b": b, "w": w}
            | ({} if calibration is None else {"calibration": calibration}),
        )
    return found


def run_audit(
    settings: Settings,
    order: Order,
    *,
    plan_id: str | None = None,
    images: Path | None = None,
    prompts: Mapping[str, str] | None = None,
    budget: int | None = None,
    report: Callable[[Progress], None] = lambda _: None,
    told: Callable[[Tried, int, int], None] = lambda *_: None,
) -> RunReport:
    """Measure what is not measured yet, images never tried first. Each is kept before the next is begun.

    order: everything but image, prompt, artists and model; ``budget`` there: coalitions of each image.
    budget: images this time. prompts: by SHA-256, before what a file says. told: of each image, which it is
    of how many. Raises AuditError, and whatever keeps every image from being measured: GeneratorError,
    WeightsNotFoundError, IndexUnusableError, DatabaseBusyError, ...
    """
    workspace = require_workspace(settings.workspace)
    with open_registry(workspace, readonly=True, wait_s=settings.database_wait_s) as store:
        plan = find_plan(store.connection, plan_id)
        kept = read_results(store.connection, plan.plan_id)
        records = read_records(store.connection, [plan.units[at].attribution_id for at in plan.drawn])
    results = {at: kept[key] for at in plan.drawn if (key := _key(plan.units[at])) in kept}
    waiting = [at for at in plan.drawn if at not in results]
    waiting += [at for at in results if not results[at].is_done]
    if budget is not None:
        waiting = waiting[:budget]
    measuring = _Measuring(
        settings, order, records, ImageFiles(images, image_limits(settings)), prompts or {}
    )
    measuring.prepare({records[plan.units[at].attribution_id].model_id for at in waiting}, results)
    tried = []
    for number, at in enumerate(waiting, start=1):
        one, study = measuring.measure(plan.units[at], report)
        _keep(settings, plan, one, study)
        results[at] = one.result
        tried.append(one)
        told(one, number, len(waiting))
    return RunReport(plan, tuple(tried), results)


def _keep(settings: Settings, plan: Plan, tried: Tried, study: Study | None) -> None:
    """The study and what it says, together."""
    now = utc_now()
    with (
        keeping(settings, else_="What was just measured is not kept.") as store,
        store.transaction() as connection,
    ):
        if study is not None:
            keep(store, study, now=now)
        keep_result(connection, plan.plan_id, tried.unit, tried.result, now=now)


@dataclass
class _Measuring:
    """What the images of one run share: generators loaded once, and how each model is measured."""

    settings: Settings
    order: Order
    records: Mapping[str, Record]
    files: ImageFiles
    prompts: Mapping[str, str]
    generators: dict[str, _Loaded] = field(default_factory=dict)
    protocols: dict[str, dict[str, Any]] = field(default_factory=dict)

    def prepare(self, models: set[str], results: Mapping[int, Result]) -> None:
        """Before any image: every model's weights are there, and are used as in the runs before."""
        asked = [
            name
            for name, said in {
                "--weights": self.order.weights,
                "--base": self.order.base,
                "--lora": self.order.loras,
            }.items()
            if said
        ]
        if asked and len(models) > 1:
            raise ConfigError(
                f"{asked[0]} is of one model, and the plan's images are of {', '.join(sorted(models))}.",
                next_step="Say where each model's weights lie under [generators] in fairbrush.toml.",
            )
        if not models:
            return
        index = open_index(require_workspace(self.settings.workspace) / INDEXES)
        for model_id in sorted(models):
            generator = generator_of(self.settings, model_id, self.order)
            self.generators[model_id] = _Loaded(generator)
            measured_by = {"encoder": index.encoder_id, "space": index.space_id}
            self.protocols[model_id] = now = _protocol(self.order, model_id, generator) | measured_by
            before = begun_with(results.values(), model_id)
            if before is not None and before != now:
                changed = sorted(name for name in now if before.get(name) != now[name])
                raise AuditError(
                    f"This audit was begun in another way: {', '.join(_said(n, before) for n in changed)}.",
                    next_step="Go on with the options it was begun with, or plan another audit.",
                )

    def measure(self, unit: Unit, report: Callable[[Progress], None]) -> tuple[Tried, Study | None]:
        """Raises what concerns every image; what concerns this one is a result."""
        record = self.records[unit.attribution_id]
        protocol = self.protocols[record.model_id]
        loaded = self.generators[record.model_id]
        path = self.files.find(unit.image_sha256, record.path)
        if path is None:
            self._note(self.files.refusals(record.path))
            where = record.path or "a place that was not recorded"
            return _failed(
                unit,
                None,
                Failure.NO_FILE,
                protocol,
                f"It is not in {where}.",
                "Name where it lies: --images DIR",
            )
        order = replace(
            self.order,
            image=path,
            model=record.model_id,
            prompt=self.prompts.get(unit.image_sha256),
        )
        try:
            named = self._named(order)
            if named is None:
                step = "Give it: --prompts FILE.csv, with the columns image and prompt"
                return _failed(unit, path, Failure.NO_PROMPT, protocol, "Its file tells no prompt.", step)
            eligibility = read_eligibility(require_workspace(self.settings.workspace))
            players, gone = _players(record, named, eligibility)
            if not players:
                return _without_players(unit, path, record, gone, protocol), None
            study = validate(
                replace(self.settings, policy=record.policy),  # beside the answer that pays, not today's
                replace(order, artists=players),
                generator=loaded.generator,
                refused_by=Doing.AUDIT_RUN,
                report=report,
            )
        except ValidationError as error:
            if loaded.failed is not None:
                raise loaded.failed from error
            if isinstance(error, RegenerationError) and not isinstance(error, ImagesRefusedError):
                raise  # a full disk or memory concerns every image
            what_next = error.next_step and error.next_step.replace("--budget", "--coalitions")
            return _failed(unit, path, Failure.NOT_USABLE, protocol, error.message, what_next)
        result = _result(study, record, gone, eligibility, protocol)
        return Tried(unit, path, result, made=study.made), study

    def _note(self, refusals: Sequence[Refusal]) -> None:
        records = require_workspace(self.settings.workspace) / RECORDS
        note_refusals(records, refusals, doing=Doing.AUDIT_RUN, now=datetime.now(UTC))

    def _named(self, order: Order) -> tuple[str, ...] | None:
        """The artists the prompt names; None where there is no prompt. Raises PromptError."""
        said = metadata_of(order, [])
        if order.prompt is None and (said is None or said.prompt is None):
            return None
        names = read_eligibility(require_workspace(self.settings.workspace)).names
        return content_of(prompt_of(order, said), NameFinder.of(names)).artist_ids


class _Loaded:
    """A generator that is loaded once, and remembers why it could not be."""

    def __init__(self, generator: LazyGenerator) -> None:
        self.failed: GeneratorError | None = None
        self._load = cache(generator.load)
        self.generator = replace(generator, load=self._remembering)

    def _remembering(self) -> Generator:
        try:
            return self._load()
        except GeneratorError as error:
            self.failed = error
            raise


def _players(
    record: Record, named: Sequence[str], eligibility: Eligibility
) -> tuple[tuple[str, ...], frozenset[str]]:
    """Artist ids that play, and the creators of the record of whom nobody may be credited any more."""
    may = eligibility.may_be_credited
    credited = [(artist, creator) for artist, creator in record.artists if may(artist, record.model_id)]
    gone = record.shares.keys() - {creator for _, creator in credited}
    also = [artist for artist in named if may(artist, record.model_id)]
    return tuple(dict.fromkeys([*(artist for artist, _ in credited), *also])), frozenset(gone)


def _without_players(
    unit: Unit, path: Path, record: Record, gone: frozenset[str], protocol: Mapping[str, Any]
) -> Tried:
    if not gone:
        return Tried(unit, path, Result(Outcome.NOBODY, nobody=1.0, protocol=protocol))
    one, _ = _failed(
        unit,
        path,
        Failure.NOT_CREDITABLE,
        protocol,
        "Nobody whom its record credits may be measured any more.",
    )
    return one


def _result(
    study: Study,
    record: Record,
    gone: frozenset[str],
    eligibility: Eligibility,
    protocol: Mapping[str, Any],
) -> Result:
    """What was measured, by the creators of the record. What a creator has who is gone stays as it is."""
    reading = study.readings[0]
    kept = {creator: record.shares[creator] for creator in sorted(gone)}
    unaudited = min(sum(kept.values()), 1.0)
    shares = dict(kept)
    is_clear = _is_clear(reading)
    if is_clear and reading.split.shares is not None:
        for player, share in zip(study.question.players, reading.split.shares.tolist(), strict=True):
            entries = {artist.artist_id for artist in player.artists}
            for creator, part in _as_recorded(player.creator_id, entries, record).items():
                if share > 0.0:
                    shares[creator] = shares.get(creator, 0.0) + (1.0 - unaudited) * share * part
    return Result(
        outcome=Outcome.MEASURED,
        shares=shares,
        nobody=0.0 if is_clear else 1.0 - unaudited,
        unaudited=unaudited,
        protocol=protocol,
        validations=tuple(validation_id(study, one) for one in study.readings),
    )


def _is_clear(reading: Reading) -> bool:
    """Whether any creator's phi is above 0 by two standard errors; of one seed, at all."""
    phi, error = reading.split.phi[1:], reading.split.phi_error
    return bool((phi > (0.0 if error is None else ERRORS * error[1:])).any())


def _as_recorded(creator_id: str, artist_ids: set[str], record: Record) -> Mapping[str, float]:
    """A player's parts by the creator ids of the record, which an entry may have left since."""
    before = {creator for artist, creator in record.artists if artist in artist_ids}
    whole = sum(record.shares[creator] for creator in before)
    if not before or whole <= 0.0:
        return {creator_id: 1.0}
    return {creator: record.shares[creator] / whole for creator in sorted(before)}


def _failed(
    unit: Unit,
    path: Path | None,
    reason: Failure,
    protocol: Mapping[str, Any],
    detail: str,
    next_step: str | None = None,
) -> tuple[Tried, None]:
    return Tried(
        unit, path, Result(Outcome.FAILED, reason=reason, protocol=protocol), detail, next_step
    ), None


def _protocol(order: Order, model_id: str, generator: LazyGenerator) -> dict[str, Any]:
    """Whatever makes results of one model comparable; no prompt and no path."""
    negative = order.negative_prompt
    return {
        "model": model_id,
        "generator": generator.model_digest,
        "precision": generator.precision,
        "seeds": order.seeds,
        "first_seed": order.first_seed,
        "template": [order.template.both, order.template.artists_alone, order.template.conjunction],
        "coalitions": order.budget,
        "steps": order.steps,
        "guidance": None if order.guidance is None else decimal_text(order.guidance),
        "sampler": order.sampler,
        "size": None if order.size is None else list(order.size),
        "negative_prompt": None if negative is None else canonical_digest(negative),
        "metadata": order.metadata,
        "second_encoder": order.second_encoder and canonical_digest(order.second_encoder),
    }


def _said(name: str, protocol: Mapping[str, Any]) -> str:
    told = protocol.get(name)
    shown = told[0] if name == "template" and told else told
    return f"{name} {shown if shown is not None else 'left out'}"


def _key(unit: Unit) -> tuple[str, str]:
    return unit.image_sha256, unit.attribution_id
