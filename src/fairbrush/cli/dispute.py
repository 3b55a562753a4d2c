"""``fairbrush dispute``: contest the shares of a look-up or who an artist is, and decide it."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from fairbrush.cli.output import (
    CsvFlag,
    Format,
    FormatOption,
    JsonFlag,
    NlFlag,
    OutputOption,
    choose_format,
    emit,
    help_when_alone,
    say,
)
from fairbrush.cli.registry import registry, say_drained, shown_name, workspace_settings
from fairbrush.errors import ConfigError

if TYPE_CHECKING:
    from fairbrush.ledger.disputes import Dispute, Ruling
    from fairbrush.store import Store

app = typer.Typer(help="Contest shares, or who an artist is; decide, with a reason, where the money goes.")
app.callback(invoke_without_command=True)(help_when_alone)
DISPUTE_COLUMNS = (
    "dispute_id",
    "state",
    "over",
    "subject_id",
    "by",
    "by_id",
    "contested",
    "set_aside",
    "opened_at",
    "reason",
    "resolved_at",
    "ruling",
    "ruling_reason",
)
_SHOWN_DIGITS = 16  # of an id in a table; enough to name it by
_PART = re.compile(r"\d{1,18}(\.\d{1,18})?|\d{1,18}/[1-9]\d{0,17}")

DisputeArgument = Annotated[
    str, typer.Argument(metavar="DISPUTE", help="Its id, or the first 8 or more digits of it.")
]


@app.command("open")
def open_(
    context: typer.Context,
    by: Annotated[str, typer.Option(help="The creator who contests, by name or id.")],
    reason: Annotated[str, typer.Option(help="Why; kept with the dispute.")],
    attribution: Annotated[
        str | None, typer.Option(help="Contest the shares of this look-up: its id, or 8 digits of it.")
    ] = None,
    artist: Annotated[
        str | None, typer.Option(help="Contest who this artist is, by name or id: all that it earns.")
    ] = None,
    contest: Annotated[
        list[str] | None,
        typer.Option(
            metavar="ARTIST",
            help="With --attribution: whose share (repeat the option).  [default: all it credits]",
        ),
    ] = None,
    unattributed: Annotated[
        bool,
        typer.Option(
            "--unattributed",
            help="With --attribution: the part credited to nobody; only that, unless --contest is given too.",
        ),
    ] = False,
    named_format: FormatOption = None,
    json: JsonFlag = False,
    nl: NlFlag = False,
    csv: CsvFlag = False,
    output: OutputOption = None,
) -> None:
    """Open a dispute. What it contests is set aside until it is resolved, settled or not."""
    from fairbrush.corpus.people import find_creator
    from fairbrush.corpus.registry import find_artist
    from fairbrush.ledger.disputing import contest_attribution, contest_standing
    from fairbrush.store import utc_now

    format_ = choose_format(named_format, json=json, nl=nl, csv=csv, output=output)
    if (attribution is None) == (artist is None):
        raise ConfigError(
            "A dispute is over a look-up or over an artist.", next_step="Give --attribution or --artist."
        )
    if artist is not None and (contest or unattributed):
        raise ConfigError(
            "--contest and --unattributed belong to --attribution.", next_step="With --artist leave them out."
        )
    if attribution is not None:
        _drain(context)
    with registry(context) as store:
        creator_id = find_creator(store, by).creator_id
        if artist is not None:
            artist_id = find_artist(store, artist).artist.artist_id
            dispute = contest_standing(store, artist_id, creator_id=creator_id, reason=reason, now=utc_now())
        else:
            named = [find_artist(store, name).artist.artist_id for name in contest or ()]
            dispute = contest_attribution(
                store,
                attribution or "",
                creator_id=creator_id,
                artist_ids=named if named or unattributed else None,
                claims_unattributed=unattributed,
                reason=reason,
                now=utc_now(),
            )
        (document,) = _documents(store, [dispute])
    _answer_one(document, format_, output)


@app.command("resolve")
def resolve(
    context: typer.Context,
    dispute: DisputeArgument,
    reason: Annotated[str, typer.Option(help="Why; kept with the ruling.")],
    rejected: Annotated[bool, typer.Option("--rejected", help="It stays as it was.")] = False,
    give: Annotated[
        list[str] | None,
        typer.Option(
            metavar="ARTIST:PART",
            help="Give an artist this part of what is contested, as 0.5 or 1/3 (repeat the option); "
            "the rest is credited to nobody.",
        ),
    ] = None,
    to: Annotated[
        str | None, typer.Option(metavar="CREATOR", help="The artist is this creator's, by name or id.")
    ] = None,
    nobody: Annotated[bool, typer.Option("--nobody", help="What is contested is nobody's.")] = False,
    named_format: FormatOption = None,
    json: JsonFlag = False,
    nl: NlFlag = False,
    csv: CsvFlag = False,
    output: OutputOption = None,
) -> None:
    """Decide a dispute for good. What was set aside goes where the ruling says."""
    from fairbrush.ledger.disputes import Assigned, find_dispute
    from fairbrush.ledger.disputing import resolve_dispute
    from fairbrush.store import utc_now

    format_ = choose_format(named_format, json=json, nl=nl, csv=csv, output=output)
    if sum([rejected, bool(give), to is not None, nobody]) != 1:
        raise ConfigError(
            "A dispute has one ruling.", next_step="Give one of --rejected, --give, --to and --nobody."
        )
    parts = [_part(text) for text in give or ()]
    with registry(context) as store:
        found = find_dispute(store.connection, dispute)
        ruling = _ruling(store, found, parts, to, rejected=rejected)
        resolved = resolve_dispute(store, found.dispute_id, ruling, reason=reason, now=utc_now())
        (document,) = _documents(store, [resolved])
    _answer_one(document, format_, output)
    if ruling == Assigned(None):
        say("The artist's creator in the registry is paid from now on as before.")
        say(f"  next: fairbrush artist consent {resolved.subject_id} opted_out, or artist erase")


@app.command("list")
def list_(
    context: typer.Context,
    is_open: Annotated[bool, typer.Option("--open", help="Only those that wait for a ruling.")] = False,
    named_format: FormatOption = None,
    json: JsonFlag = False,
    nl: NlFlag = False,
    csv: CsvFlag = False,
    output: OutputOption = None,
) -> None:
    """List the disputes, with what is set aside for each."""
    from fairbrush.ledger.disputes import State, read_disputes

    format_ = choose_format(named_format, json=json, nl=nl, csv=csv, output=output)
    with registry(context, readonly=True) as store:
        disputes = read_disputes(store.connection)
        documents = _documents(store, [one for one in disputes if not is_open or one.state is State.OPEN])
    rows = [_row(document) for document in documents]
    if format_ is Format.TABLE:
        rows = [{name: value for name, value in _shortened(row).items() if name in _LISTED} for row in rows]
    emit(
        rows,
        format_,
        columns=DISPUTE_COLUMNS,
        document={"schema": "fairbrush.disputes/1", "disputes": documents},
        output=output,
    )


_LISTED = ("dispute_id", "state", "over", "subject_id", "by", "contested", "set_aside", "ruling")


@app.command()
def show(
    context: typer.Context,
    dispute: DisputeArgument,
    named_format: FormatOption = None,
    json: JsonFlag = False,
    nl: NlFlag = False,
    csv: CsvFlag = False,
    output: OutputOption = None,
) -> None:
    """Show one dispute: who contests what, why, what is set aside, and how it was decided."""
    from fairbrush.ledger.disputes import find_dispute

    format_ = choose_format(named_format, json=json, nl=nl, csv=csv, output=output)
    with registry(context, readonly=True) as store:
        (document,) = _documents(store, [find_dispute(store.connection, dispute)])
    _answer_one(document, format_, output)


def _drain(context: typer.Context) -> None:
    """Look-ups that wait in files can be contested too."""
    from fairbrush.reports.recorded import drain_records

    settings, workspace = workspace_settings(context)
    say_drained(drain_records(workspace, wait_s=settings.database_wait_s))


def _part(text: str) -> tuple[str, Fraction]:
    name, _, part = text.rpartition(":")
    if not name or not _PART.fullmatch(part):
        raise ConfigError(
            f"--give {text!r} is not ARTIST:PART.", next_step="Write --give Ann:0.5 or --give Ann:1/3."
        )
    return name, Fraction(part)


def _ruling(
    store: Store, dispute: Dispute, parts: Sequence[tuple[str, Fraction]], to: str | None, *, rejected: bool
) -> Ruling:
    from fairbrush.corpus.people import find_creator
    from fairbrush.corpus.registry import find_artist
    from fairbrush.ledger.disputes import Assigned, Divided, Rejected, Subject

    if rejected:
        return Rejected()
    if to is not None:
        return Assigned(find_creator(store, to).creator_id)
    if not parts and dispute.subject is Subject.STANDING:
        return Assigned(None)
    named = [(find_artist(store, name).artist.artist_id, part) for name, part in parts]
    if len(dict(named)) != len(named):
        raise ConfigError("--give names one artist twice.", next_step="Give each artist one part.")
    return Divided(dict(named))


def _answer_one(document: Mapping[str, Any], format_: Format, output: Path | None) -> None:
    row = _row(document)
    if format_ is Format.TABLE:
        facts = {name.replace("_", " "): value for name, value in row.items() if value}
        emit([{"": name, " ": value} for name, value in facts.items()], format_, output=output)
        return
    emit([row], format_, document={"schema": "fairbrush.dispute/1", **document}, output=output)


def _documents(store: Store, disputes: Sequence[Dispute]) -> list[dict[str, Any]]:
    """As JSON has them, with the names there are."""
    from fairbrush.corpus.people import list_creators
    from fairbrush.corpus.registry import list_artists
    from fairbrush.ledger.currency import format_amount
    from fairbrush.ledger.disputes import set_aside

    names = {entry.artist.artist_id: shown_name(entry.artist.name) for entry in list_artists(store)}
    creators = {entry.creator.creator_id: shown_name(entry.creator.name) for entry in list_creators(store)}
    held = set_aside(store.connection)
    return [
        {
            "dispute_id": one.dispute_id,
            "state": str(one.state),
            "over": str(one.subject),
            "subject_id": one.subject_id,
            "by": creators.get(one.creator_id, one.creator_id),
            "by_id": one.creator_id,
            "contested": [
                {"artist": names.get(artist_id, artist_id), "artist_id": artist_id}
                for artist_id in one.contested
            ],
            "claims_unattributed": one.claims_unattributed,
            "set_aside": {
                currency: format_amount(amount, currency)
                for currency, amount in sorted(held.get(one.dispute_id, {}).items())
            },
            "opened_at": f"{one.opened_at.isoformat()}Z",
            "reason": one.reason,
            "resolved_at": f"{one.resolution.resolved_at.isoformat()}Z" if one.resolution else None,
            "ruling": _ruling_document(one.resolution.ruling, names, creators) if one.resolution else None,
            "ruling_reason": one.resolution.reason if one.resolution else None,
        }
        for one in disputes
    ]


def _ruling_document(ruling: Ruling, names: Mapping[str, str], creators: Mapping[str, str]) -> dict[str, Any]:
    from fairbrush.ledger.disputes import Assigned, Divided, Rejected

    match ruling:
        case Rejected():
            return {"kind": "rejected"}
        case Assigned(creator_id):
            if creator_id is None:
                return {"kind": "nobody"}
            return {"kind": "to", "creator": creators.get(creator_id, creator_id), "creator_id": creator_id}
        case Divided(give):
            given = [
                {"artist": names.get(artist_id, artist_id), "artist_id": artist_id, "part": str(part)}
                for artist_id, part in sorted(give.items())
            ]
            return {"kind": "give", "artists": given}


def _row(document: Mapping[str, Any]) -> dict[str, Any]:
    """As one line of text a fact."""
    contested = [one["artist"] for one in document["contested"]]
    if document["claims_unattributed"]:
        contested.append("(unattributed)")
    row = {name: document[name] for name in DISPUTE_COLUMNS}
    row["contested"] = ", ".join(contested)
    row["set_aside"] = ", ".join(f"{amount} {of}" for of, amount in document["set_aside"].items())
    row["ruling"] = _ruling_text(document["ruling"])
    return row


def _ruling_text(ruling: Mapping[str, Any] | None) -> str | None:
    if ruling is None:
        return None
    match ruling["kind"]:
        case "to":
            return f"to {ruling['creator']}"
        case "give":
            given = ", ".join(f"{one['artist']}: {one['part']}" for one in ruling["artists"])
            return f"give {given}" if given else "nobody"
        case kind:
            return str(kind)


def _shortened(row: Mapping[str, Any]) -> dict[str, Any]:
    ids = {name: row[name][:_SHOWN_DIGITS] for name in ("dispute_id", "subject_id")}
    return {**row, **ids}
