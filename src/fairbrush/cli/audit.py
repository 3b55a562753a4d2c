"""``fairbrush audit``: how far the answers that split a period's money are from regenerating its images."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from fairbrush.cli.audit_rows import (
    described,
    draw_rows,
    how_far,
    judged_row,
    plan_document,
    reach_row,
    report_document,
    tried_row,
)
from fairbrush.cli.audit_words import figures, loud, money_text, words
from fairbrush.cli.drawing import (
    AllowDownloadFlag,
    BaseOption,
    BatchOption,
    DeviceOption,
    NoSafetyCheckerFlag,
    PrecisionOption,
    TemplateOption,
    TunedLoraOption,
    drawing_progress,
    one_of,
    parse_loras,
    parse_precision,
    parse_size,
    parse_template,
)
from fairbrush.cli.output import (
    CsvFlag,
    Format,
    FormatOption,
    JsonFlag,
    NlFlag,
    OutputOption,
    Row,
    choose_format,
    emit,
    listing,
    say,
    table,
    write_answer,
)
from fairbrush.cli.registry import drain_pending, registry, workspace_settings
from fairbrush.embedding.encoder import Device
from fairbrush.errors import ExitCode

if TYPE_CHECKING:
    from fairbrush.validation.audit.plan import Plan
    from fairbrush.validation.audit.population import Population
    from fairbrush.validation.audit.run import RunReport, Tried

DRAW_COLUMNS = ("position", "image", "attribution_id", "amount", "probability")
PLAN_COLUMNS = ("plan_id", "period", "currency", "images", "money", "draws", "measured", "failed", "made_at")
RUN_COLUMNS = ("image", "file", "outcome", "reason", "nobody", "images_made")
LINE_COLUMNS = ("name", "id", "creators", "fast", "estimate", "low", "high", "verdict")
ID_SHOWN = 12  # characters

app = typer.Typer(
    name="audit",
    help="Draw some of a period's images, regenerate them, and say what that says of all its money.",
    no_args_is_help=True,
    rich_markup_mode=None,
)

PlanArgument = Annotated[
    str | None,
    typer.Argument(
        metavar="[PLAN]", help="Its id, or the beginning of it.  [default: the last plan]", show_default=False
    ),
]


@app.command("plan")
def plan(
    context: typer.Context,
    period: Annotated[
        str,
        typer.Option(
            help="2026, 2026-Q1, 2026-01, 2026-01-03 or 2026-01-03..2026-02-01: the last day of a line."
        ),
    ],
    budget: Annotated[int, typer.Option(min=1, help="How many draws; an image may be drawn twice.")],
    currency: Annotated[
        str | None, typer.Option(help="Needed where the period has several.", show_default=False)
    ] = None,
    seed: Annotated[
        int | None,
        typer.Option(
            min=0, max=2**63 - 1, help="Of the draws; recorded.  [default: a random one]", show_default=False
        ),
    ] = None,
    named_format: FormatOption = None,
    json: JsonFlag = False,
    nl: NlFlag = False,
    csv: CsvFlag = False,
    output: OutputOption = None,
) -> None:
    """Draw the images to regenerate, nine of ten draws by revenue, before anything is regenerated.

    The same money and seed give the same plan. Plans are chained and counted, so nobody can choose images, or
    plans unseen.
    """
    import secrets

    from fairbrush.ledger.period import parse_period
    from fairbrush.store import utc_now
    from fairbrush.validation.audit.plan import SEEDS, make_plan
    from fairbrush.validation.audit.population import read_population
    from fairbrush.validation.audit.report import expected_precision
    from fairbrush.validation.audit.run import read_records

    format_ = choose_format(named_format, json=json, nl=nl, csv=csv, output=output)
    wanted = parse_period(period)
    chosen = secrets.randbelow(SEEDS) if seed is None else seed
    with registry(context) as store:
        drain_pending(store)
        population = read_population(store.connection, wanted, currency=currency)
        made, is_new = make_plan(store, population, draws=budget, seed=chosen, now=utc_now())
        records = read_records(store.connection, [unit.attribution_id for unit in made.units])
    bought = expected_precision(made, records)
    document = plan_document(made, population, bought, is_new=is_new)
    if format_ is Format.TABLE:
        facts = {name: value for name, value in described(made).items() if name != "policies"}
        shown = [dict(reach_row(made, one)) for one in bought]
        write_answer(f"{listing(facts)}\n{table(shown)}", output)
    else:
        emit(draw_rows(made), format_, columns=DRAW_COLUMNS, document=document, output=output)
    _say_planned(made, population, is_new=is_new)
    missing = sum(
        record.path is None or not Path(record.path).is_file()
        for record in (records[made.units[at].attribution_id] for at in made.drawn)
    )
    if missing:
        say(
            f"{missing} of {len(made.drawn)} drawn images are not where they were:"
            " name their folder, audit run --images DIR."
        )
    say(f"  next: fairbrush audit run {made.plan_id[:ID_SHOWN]}")


@app.command("list")
def list_(
    context: typer.Context,
    named_format: FormatOption = None,
    json: JsonFlag = False,
    nl: NlFlag = False,
    csv: CsvFlag = False,
    output: OutputOption = None,
) -> None:
    """List the audits that were planned, and how far each is."""
    from fairbrush.validation.audit.plan import list_plans
    from fairbrush.validation.audit.results import read_results

    format_ = choose_format(named_format, json=json, nl=nl, csv=csv, output=output)
    rows: list[Row] = []
    with registry(context, readonly=True) as store:
        for one in list_plans(store.connection):
            results = read_results(store.connection, one.plan_id).values()
            done = sum(result.is_done for result in results)
            facts = described(one) | {"measured": done, "failed": len(results) - done}
            rows.append({name: facts[name] for name in PLAN_COLUMNS})
    emit(
        rows,
        format_,
        columns=PLAN_COLUMNS,
        document={"schema": "fairbrush.audit_plans/1", "plans": rows},
        output=output,
    )


@app.command("run")
def run(
    context: typer.Context,
    plan: PlanArgument = None,
    budget: Annotated[
        int | None,
        typer.Option(min=1, help="At most so many images this time.  [default: all]", show_default=False),
    ] = None,
    images: Annotated[
        Path | None,
        typer.Option(help="Where the images lie now; found by their bytes, whatever they are called."),
    ] = None,
    prompts: Annotated[
        Path | None,
        typer.Option(help="A CSV of prompts (image, prompt), for images whose files do not tell; not kept."),
    ] = None,
    weights: Annotated[
        Path | None,
        typer.Option(
            help="The model's weights, as for validate.  [default: what [generators] says]",
            show_default=False,
        ),
    ] = None,
    base: BaseOption = None,
    lora: TunedLoraOption = None,
    seeds: Annotated[int, typer.Option(min=1, max=1000, help="Images of each coalition.")] = 4,
    seed: Annotated[
        int | None,
        typer.Option(
            min=0, max=2**64 - 1, help="The first seed.  [default: what the file says, 0]", show_default=False
        ),
    ] = None,
    coalitions: Annotated[
        int | None,
        typer.Option(
            min=1,
            help="At most so many coalitions an image; the rest is estimated.  [default: all]",
            show_default=False,
        ),
    ] = None,
    template: TemplateOption = None,
    negative_prompt: Annotated[str | None, typer.Option(help="[default: what the file says]")] = None,
    steps: Annotated[int | None, typer.Option(min=1, help="[default: what the file says, 25]")] = None,
    guidance: Annotated[float | None, typer.Option(min=0, help="[default: what the file says, 7.5]")] = None,
    sampler: Annotated[str | None, typer.Option(help="[default: what the file says, the model's]")] = None,
    size: Annotated[
        str | None,
        typer.Option(metavar="WIDTHxHEIGHT", help="[default: what the file says, the model's own]"),
    ] = None,
    second_encoder: Annotated[
        str | None,
        typer.Option(help="Measure with this one too; the report uses the answering one's figures."),
    ] = None,
    batch: BatchOption = 4,
    device: DeviceOption = Device.AUTO,
    precision: PrecisionOption = None,
    no_safety_checker: NoSafetyCheckerFlag = False,
    allow_download: AllowDownloadFlag = False,
    named_format: FormatOption = None,
    json: JsonFlag = False,
    nl: NlFlag = False,
    csv: CsvFlag = False,
    output: OutputOption = None,
) -> None:
    """Regenerate the drawn images that are not measured yet, in the order they were drawn.

    Each is kept before the next is begun: the same command goes on where it stopped, and tries failures
    again, last. Needs: pip install "fairbrush[validate]".
    """
    from fairbrush.corpus.images import image_limits
    from fairbrush.validation.audit.files import read_prompts
    from fairbrush.validation.audit.run import run_audit
    from fairbrush.validation.order import Order

    format_ = choose_format(named_format, json=json, nl=nl, csv=csv, output=output)
    settings, _ = workspace_settings(context)
    order = Order(
        image=None,
        negative_prompt=negative_prompt,
        weights=weights,
        base=base,
        loras=parse_loras(lora),
        template=parse_template(template),
        seeds=seeds,
        first_seed=seed,
        steps=steps,
        guidance=guidance,
        sampler=sampler,
        size=parse_size(size),
        budget=coalitions,
        batch=batch,
        second_encoder=second_encoder,
        device=device,
        precision=parse_precision(precision),
        safety_checker=not no_safety_checker,
        allow_download=allow_download,
    )
    known = read_prompts(prompts, image_limits(settings)) if prompts is not None else {}
    with registry(context) as store:
        drain_pending(store)
    with _each_told() as told, drawing_progress() as report:
        ran = run_audit(
            settings,
            order,
            plan_id=plan,
            images=images,
            prompts=known,
            budget=budget,
            report=report,
            told=told,
        )
    rows = [tried_row(one) for one in ran.tried]
    document = {"schema": "fairbrush.audit_run/1", **how_far(ran), "images": rows}
    if format_ is Format.TABLE:
        shown = [{**row, "image": row["image"][:ID_SHOWN]} for row in rows]
        write_answer(table(shown), output)
    else:
        emit(rows, format_, columns=RUN_COLUMNS, document=document, output=output)
    _say_ran(ran)
    if ran.failed:
        raise typer.Exit(ExitCode.SOME_INPUTS_FAILED)


@app.command("report")
def report(
    context: typer.Context,
    plan: PlanArgument = None,
    target: Annotated[
        float, typer.Option(help="Trust images on which at most this part of all the money is mis-paid.")
    ] = 0.1,
    level: Annotated[float, typer.Option(help="Of intervals and the bound.")] = 0.95,
    group: Annotated[str, typer.Option(metavar="<creator|payee|size>", help="Whose totals.")] = "creator",
    trust: Annotated[
        bool,
        typer.Option("--trust", help="List the images instead: trust or regenerate, for csv, nl, parquet."),
    ] = False,
    named_format: FormatOption = None,
    json: JsonFlag = False,
    nl: NlFlag = False,
    csv: CsvFlag = False,
    output: OutputOption = None,
) -> None:
    """Say what the measured draws say of all the money: totals, what was mis-paid at most, whom to trust.

    Of an audit that is not finished the draws measured so far, in order, are a fair sample.
    """
    from fairbrush.corpus.eligibility import read_eligibility
    from fairbrush.validation.audit.plan import find_plan
    from fairbrush.validation.audit.report import Group, make_report
    from fairbrush.workspace import require_workspace

    format_ = choose_format(named_format, json=json, nl=nl, csv=csv, output=output)
    by = one_of(Group, group, "--group")
    settings, _ = workspace_settings(context)
    eligibility = read_eligibility(require_workspace(settings.workspace))
    with registry(context, readonly=True) as store:
        found = make_report(
            store.connection,
            find_plan(store.connection, plan),
            group=by,
            target=target,
            level=level,
            eligibility=eligibility,
        )
    if format_ is Format.TABLE and not trust:
        write_answer(words(found), output)
    elif trust:
        rows = [judged_row(found, one) for one in found.judged]
        emit(rows, format_, document=report_document(found), output=output)
    else:
        emit(
            [figures(found, line) for line in found.lines],
            format_,
            columns=LINE_COLUMNS,
            document=report_document(found),
            output=output,
        )
    for line in loud(found):
        say(line)


def _say_planned(made: Plan, population: Population, *, is_new: bool) -> None:
    if not is_new:
        say("Nothing was changed: this very plan was made before.")
    if made.of_period > 1:
        plans = f"{made.of_period} plans for {made.currency} in days of {made.period}"
        say(f"It is one of {plans}; a report says so.")
    left = population.left_out
    if left.lines:
        amount = money_text(left.amount_minor, made.currency)
        say(
            f"Left out: {left.lines} lines of {amount} {made.currency} that cannot be settled, with"
            f" {left.images} images without a record. See fairbrush settle --dry-run."
        )
    if population.erased:
        say(
            f"{population.erased} images credit somebody who was erased since: that part is not measured, and"
            " counts as mis-paid where it is drawn."
        )


@contextmanager
def _each_told() -> Iterator[Callable[[Tried, int, int], None]]:
    """Says of each image what became of it; on Ctrl-C, that what was measured is kept."""
    done = 0

    def told(one: Tried, number: int, of: int) -> None:
        nonlocal done
        done = number
        where = one.path or one.unit.image_sha256[:ID_SHOWN]
        words = f"{number} of {of}: {where}: {one.result.outcome}"
        say(words if one.result.is_done else f"{words}: {one.result.reason}. {one.detail}")
        if one.next_step:
            say(f"  next: {one.next_step}")

    try:
        yield told
    except KeyboardInterrupt:
        say(f"{done} drawn images were measured and are kept: the same command goes on.")
        raise


def _say_ran(ran: RunReport) -> None:
    far = how_far(ran)
    said = f"{far['measured']} of {far['drawn_images']} drawn images are measured"
    if far["failed"]:
        said += f", {far['failed']} failed"
    say(f"{said}, {far['waiting']} wait.")
    if far["failed"]:
        say(
            "  next: a report counts failed ones as mis-paid whole; mend what is said above and run it again."
        )
    elif far["waiting"]:
        say(f"  next: fairbrush audit run {ran.plan.plan_id[:ID_SHOWN]}")
    else:
        say(f"  next: fairbrush audit report {ran.plan.plan_id[:ID_SHOWN]}")
