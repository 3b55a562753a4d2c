"""``fairbrush policy``: how revenue is split, from which day on."""

from __future__ import annotations

from datetime import date
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from fairbrush.cli.output import (
    CsvFlag,
    FormatOption,
    JsonFlag,
    NlFlag,
    OutputOption,
    Row,
    choose_format,
    emit,
    help_when_alone,
    say,
)
from fairbrush.cli.registry import parse_day, registry, workspace_settings
from fairbrush.errors import IndexMissingError

if TYPE_CHECKING:
    from fairbrush.ledger.policies import AdoptedPolicy, Pins

app = typer.Typer(help="Check and adopt the [policy] of fairbrush.toml, and show what is in effect.")
app.callback(invoke_without_command=True)(help_when_alone)
POLICY_COLUMNS = (
    "version",
    "effective_from",
    "in_effect",
    "b",
    "w",
    "platform_fee",
    "model",
    "value",
    "index",
)
ADOPT_STEP = "fairbrush policy adopt"


@app.command()
def show(
    context: typer.Context,
    named_format: FormatOption = None,
    json: JsonFlag = False,
    nl: NlFlag = False,
    csv: CsvFlag = False,
    output: OutputOption = None,
) -> None:
    """Show what fairbrush.toml says now beside what is in effect today."""
    from fairbrush.ledger.policies import adopted_policies, compare, policy_table

    format_ = choose_format(named_format, json=json, nl=nl, csv=csv, output=output)
    today = _today()
    with registry(context, readonly=True) as store:
        settings, workspace = workspace_settings(context)
        found = compare(store.connection, settings.policy, day=today, current=_current(workspace))
        adopted = adopted_policies(store.connection)
    acting = found.in_effect
    table = {} if acting is None else policy_table(acting.split, acting.terms)
    rows = [
        {
            "name": name,
            "file": _shown(said),
            "in_effect": _shown(table.get(name)),
            "differs": name in found.differing,
        }
        for name, said in found.file.items()
    ]
    document = {
        "schema": "fairbrush.policy_in_effect/1",
        "day": today.isoformat(),
        "file": found.file,
        "in_effect": None if acting is None else _described(acting) | {"policy": table},
        "differing": list(found.differing),
    }
    emit(rows, format_, document=document, output=output)
    if acting is None:
        say(f"No policy is in effect today, {today}.")
        say(f"  next: {ADOPT_STEP}")
    elif found.differing:
        say(f"fairbrush.toml differs from version {acting.version}: {', '.join(found.differing)}.")
        say(
            f"  next: {ADOPT_STEP}, or change it back: look-ups follow the file, settlements what is adopted."
        )
    _say_coming(adopted, today)


@app.command()
def check(
    context: typer.Context,
    named_format: FormatOption = None,
    json: JsonFlag = False,
    nl: NlFlag = False,
    csv: CsvFlag = False,
    output: OutputOption = None,
) -> None:
    """Check the [policy] of fairbrush.toml, and show all it says; the database is not looked at."""
    from fairbrush.ledger.policies import policy_table
    from fairbrush.ledger.policy import read_policy
    from fairbrush.ledger.terms import read_terms

    format_ = choose_format(named_format, json=json, nl=nl, csv=csv, output=output)
    settings, _ = workspace_settings(context)
    table = policy_table(read_policy(settings.policy), read_terms(settings.policy))
    rows = [
        {"name": name, "value": _shown(value), "from": "file" if name in settings.policy else "default"}
        for name, value in table.items()
    ]
    emit(rows, format_, document={"schema": "fairbrush.policy_check/1", "policy": table}, output=output)


@app.command()
def adopt(
    context: typer.Context,
    effective_from: Annotated[
        str | None, typer.Option("--from", help="The first day it is in effect.  [default: today]")
    ] = None,
    named_format: FormatOption = None,
    json: JsonFlag = False,
    nl: NlFlag = False,
    csv: CsvFlag = False,
    output: OutputOption = None,
) -> None:
    """Adopt what fairbrush.toml says, with the index version it pins; revenue earned from then on follows it.

    The same again for the same day changes nothing. What was adopted is never changed: a later version for
    the same day takes its place.
    """
    from fairbrush.ledger.policies import adopt as adopt_policy
    from fairbrush.ledger.policies import adopted_policies
    from fairbrush.store import utc_now

    format_ = choose_format(named_format, json=json, nl=nl, csv=csv, output=output)
    today = _today()
    day = today if effective_from is None else parse_day(effective_from, option="--from")
    with registry(context) as store:
        settings, workspace = workspace_settings(context)
        known = adopted_policies(store.connection)
        current = _current(workspace)
        adopted = adopt_policy(store, settings.policy, effective_from=day, now=utc_now(), current=current)
    is_new = adopted.version not in [one.version for one in known]
    row = _described(adopted) | {"new": is_new}
    document = {"schema": "fairbrush.policy_adoption/1", **row, "policy": _table(adopted)}
    emit([row], format_, document=document, output=output)
    if not is_new:
        say(f"Nothing was changed: version {adopted.version} says the same from {day} on.")
    elif day < today:
        say(f"It begins on {day}, in the past: what is settled already stays as it was.")
    _say_coming([*known, adopted], min(day, today))


@app.command("list")
def list_(
    context: typer.Context,
    named_format: FormatOption = None,
    json: JsonFlag = False,
    nl: NlFlag = False,
    csv: CsvFlag = False,
    output: OutputOption = None,
) -> None:
    """List the policies that were adopted; the one in effect today is marked."""
    from fairbrush.ledger.policies import acting_digest, adopted_policies

    format_ = choose_format(named_format, json=json, nl=nl, csv=csv, output=output)
    with registry(context, readonly=True) as store:
        acting = acting_digest(store.connection, _today())
        adopted = adopted_policies(store.connection)
    described = [_described(one) | {"in_effect": one.digest == acting} for one in adopted]
    rows: list[Row] = [
        {name: (row | _table(one))[name] for name in POLICY_COLUMNS}
        for row, one in zip(described, adopted, strict=True)
    ]
    policies = [row | {"policy": _table(one)} for row, one in zip(described, adopted, strict=True)]
    document = {"schema": "fairbrush.policies/1", "policies": policies}
    emit(rows, format_, columns=POLICY_COLUMNS, document=document, output=output)


def _today() -> date:
    from fairbrush.store import utc_now

    return utc_now().date()


def _current(workspace: Path) -> Pins | None:
    """The current index version; None where there is no index."""
    from fairbrush.index.versions import current_version
    from fairbrush.ledger.policies import Pins
    from fairbrush.workspace import INDEXES

    try:
        version = current_version(workspace / INDEXES)
    except IndexMissingError:
        return None
    return Pins(version.space_id, version.label)


def _described(adopted: AdoptedPolicy) -> dict[str, Any]:
    return {
        "version": adopted.version,
        "effective_from": adopted.effective_from.isoformat(),
        "index": str(adopted.index_versions),
        "digest": adopted.digest,
    }


def _table(adopted: AdoptedPolicy) -> dict[str, Any]:
    from fairbrush.ledger.policies import policy_table

    return policy_table(adopted.split, adopted.terms)


def _say_coming(adopted: list[AdoptedPolicy], day: date) -> None:
    """Which versions begin after a day, so that nobody takes what is in effect for all there is."""
    coming = {one.effective_from: one.version for one in adopted if one.effective_from > day}
    for begins, version in sorted(coming.items()):
        say(f"Version {version} is in effect from {begins} on.")


def _shown(value: Any) -> Any:
    """A table of amounts or weights in one cell."""
    if isinstance(value, dict):
        return ", ".join(f"{name} {inner}" for name, inner in value.items())
    return value
