"""``fairbrush artist``: who is in the registry, with which works, and what they allow."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from fairbrush.cli.artist_works import NameArgument, add, add_more, import_, work_rows
from fairbrush.cli.clones import (
    clones,
    share_document,
    share_text,
)
from fairbrush.cli.erased import ProofOption, answer_erased, check_proof_file, erase_and_search
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
    help_when_alone,
    say,
)
from fairbrush.cli.registry import (
    drain_pending,
    parse_moment,
    registry,
    shown_name,
    workspace_settings,
)
from fairbrush.domain import Consent
from fairbrush.errors import IndexUnusableError

if TYPE_CHECKING:
    from fairbrush.corpus.registry import ArtistEntry
    from fairbrush.store import Store

app = typer.Typer(help="Add artists, import them, say what they allow, erase them.")
app.callback(invoke_without_command=True)(help_when_alone)
app.command("clones")(clones)
app.command()(add)
app.command("works")(add_more)
app.command("import")(import_)
ARTIST_COLUMNS = (
    "artist",
    "artist_id",
    "consent",
    "works",
    "aliases",
    "creator",
    "creator_id",
    "payee",
    "payee_id",
)


@app.command("list")
def list_(
    context: typer.Context,
    consent: Annotated[Consent | None, typer.Option(help="Only those with this consent.")] = None,
    named_format: FormatOption = None,
    json: JsonFlag = False,
    nl: NlFlag = False,
    csv: CsvFlag = False,
    output: OutputOption = None,
) -> None:
    """List the artists, with the consent in effect now."""
    from fairbrush.corpus.registry import list_artists

    format_ = choose_format(named_format, json=json, nl=nl, csv=csv, output=output)
    with registry(context, readonly=True) as store:
        entries = list_artists(store)
    rows = [_artist_row(entry) for entry in entries if consent in (None, entry.artist.consent)]
    emit(
        rows,
        format_,
        columns=ARTIST_COLUMNS,
        document={"schema": "fairbrush.artists/1", "artists": rows},
        output=output,
    )


@app.command()
def show(
    context: typer.Context,
    name: NameArgument,
    named_format: FormatOption = None,
    json: JsonFlag = False,
    nl: NlFlag = False,
    csv: CsvFlag = False,
    output: OutputOption = None,
) -> None:
    """Show one artist: works, consent through time, models trained on it, how distinct the style is."""
    from fairbrush.corpus.consent import consent_history
    from fairbrush.corpus.membership import rosters
    from fairbrush.corpus.registry import find_artist

    format_ = choose_format(named_format, json=json, nl=nl, csv=csv, output=output)
    with registry(context, readonly=True) as store:
        entry = find_artist(store, name)
        artist_id = entry.artist.artist_id
        events: list[Row] = [
            {
                "effective_at": f"{event.effective_at.isoformat()}Z",
                "consent": str(event.consent),
                "source": event.source,
                "reason": event.reason,
            }
            for event in consent_history(store, artist_id)
        ]
        models = {
            model_id: str(members[artist_id].trained)
            for model_id, members in rosters(store).items()
            if artist_id in members
        }
        works = work_rows(store, entry)
        style, facts_of_style = _style(store, artist_id)
    row = _artist_row(entry)
    if format_ is Format.TABLE:
        facts = {
            **row,
            "trained": ", ".join(f"{model}: {trained}" for model, trained in models.items()) or None,
            **{f"consent {event['effective_at']}": event["consent"] for event in events},
            **facts_of_style,
        }
        emit([{"": key, " ": value} for key, value in facts.items()], format_, output=output)
        return
    document = {
        "schema": "fairbrush.artist/1",
        **row,
        "consents": events,
        "models": models,
        "works": works,
        "distinctiveness": style,
    }
    emit([row], format_, document=document, output=output)


@app.command()
def alias(
    context: typer.Context,
    name: NameArgument,
    add: Annotated[list[str] | None, typer.Option(help="Give it another name (repeat the option).")] = None,
    remove: Annotated[list[str] | None, typer.Option(help="Take one away (repeat the option).")] = None,
    named_format: FormatOption = None,
    json: JsonFlag = False,
    nl: NlFlag = False,
    csv: CsvFlag = False,
    output: OutputOption = None,
) -> None:
    """List an artist's other names, or change them. A prompt names an artist by any of them."""
    from fairbrush.corpus.registry import change_aliases, find_artist

    format_ = choose_format(named_format, json=json, nl=nl, csv=csv, output=output)
    with registry(context, readonly=not (add or remove)) as store:
        entry = find_artist(store, name)
        if add or remove:
            entry = change_aliases(store, entry.artist.artist_id, add=add or (), remove=remove or ())
    known = {"artist": shown_name(entry.artist.name), "artist_id": entry.artist.artist_id}
    document = {"schema": "fairbrush.aliases/1", **known, "aliases": list(entry.aliases)}
    rows = [{**known, "alias": alias} for alias in entry.aliases]
    emit(rows, format_, columns=("artist", "artist_id", "alias"), document=document, output=output)


@app.command()
def consent(
    context: typer.Context,
    name: NameArgument,
    state: Annotated[Consent, typer.Argument(help="opted_in, unclaimed or opted_out.")],
    at: Annotated[
        str | None, typer.Option(help="From when, past or future, ISO 8601; UTC unless said.  [default: now]")
    ] = None,
    reason: Annotated[str | None, typer.Option(help="Why; kept with the event.")] = None,
    named_format: FormatOption = None,
    json: JsonFlag = False,
    nl: NlFlag = False,
    csv: CsvFlag = False,
    output: OutputOption = None,
) -> None:
    """Record what an artist allows. The latest dated statement counts, from the next look-up on."""
    from fairbrush.corpus.consent import set_consent
    from fairbrush.corpus.registry import find_artist

    format_ = choose_format(named_format, json=json, nl=nl, csv=csv, output=output)
    moment = parse_moment(at, option="--at")
    with registry(context) as store:
        artist = find_artist(store, name).artist
        in_effect = set_consent(
            store, artist.artist_id, state, at=moment, reason=reason, source="artist consent"
        )
    row = {"artist": artist.name, "artist_id": artist.artist_id, "consent": str(in_effect)}
    emit([row], format_, document={"schema": "fairbrush.consent/1", **row}, output=output)
    if in_effect is not state:
        when = "from its date on" if moment else "never"
        say(f"In effect now: {in_effect}. {state} counts {when}, unless a later one does.")


@app.command()
def claim(
    context: typer.Context,
    name: NameArgument,
    evidence: Annotated[str, typer.Option(help="How it was verified who they are; kept with the claim.")],
    creator: Annotated[
        str | None,
        typer.Option(help="The registered creator who made the works.  [default: the artist's own]"),
    ] = None,
    payee: Annotated[
        str | None, typer.Option(help="The registered payee of the artist's own creator.")
    ] = None,
    named_format: FormatOption = None,
    json: JsonFlag = False,
    nl: NlFlag = False,
    csv: CsvFlag = False,
    output: OutputOption = None,
) -> None:
    """Record that the creator behind a style was verified: opted in, and paid what was kept for it."""
    from fairbrush.ledger.claims import claim as claim_artist
    from fairbrush.ledger.currency import format_amount
    from fairbrush.store import utc_now

    format_ = choose_format(named_format, json=json, nl=nl, csv=csv, output=output)
    with registry(context) as store:
        claimed = claim_artist(store, name, evidence=evidence, creator=creator, payee=payee, now=utc_now())
    released = [
        {"currency": currency, "amount": format_amount(amount, currency), "amount_minor": amount}
        for currency, amount in claimed.released
    ]
    row = {
        "artist": claimed.artist_name,
        "artist_id": claimed.artist_id,
        "creator": claimed.creator_name,
        "creator_id": claimed.creator_id,
        "payee": claimed.payee_name,
        "payee_id": claimed.payee_id,
    }
    document = {"schema": "fairbrush.claim/1", **row, "released": released}
    text = ", ".join(f"{one['amount']} {one['currency']}" for one in released)
    emit([{**row, "released": text}], format_, document=document, output=output)


@app.command()
def erase(
    context: typer.Context,
    name: NameArgument,
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False,
    reason: Annotated[str | None, typer.Option(help="Why; kept with the redaction.")] = None,
    proof: ProofOption = None,
    named_format: FormatOption = None,
    json: JsonFlag = False,
    nl: NlFlag = False,
    csv: CsvFlag = False,
    output: OutputOption = None,
) -> None:
    """Erase an artist for good: names, works, vectors, thumbnails; then search for what is left.

    The files themselves stay, and so do backups. Money that is owed stays owed, under a pseudonym.
    """
    from fairbrush.corpus.erasure import pending_erasures
    from fairbrush.corpus.registry import find_artist
    from fairbrush.erasing import erase_artist

    format_ = choose_format(named_format, json=json, nl=nl, csv=csv, output=output)
    check_proof_file(proof)
    settings, workspace = workspace_settings(context)
    with registry(context, readonly=True) as store:
        entry = find_artist(store, name)
        interrupted = {one.artist_id for one in pending_erasures(store)}
    artist_id = entry.artist.artist_id
    if not yes and artist_id not in interrupted:
        typer.confirm(
            f"Erase {shown_name(entry.artist.name)} ({entry.n_works} works) for good?", abort=True, err=True
        )
    erased, absence = erase_and_search(
        settings, workspace, lambda store, cache: erase_artist(store, artist_id, cache, reason=reason)
    )
    answer_erased(
        {"artist_id": artist_id},
        erased,
        absence,
        format_,
        schema="fairbrush.erased/1",
        proof=proof,
        output=output,
    )


@app.command()
def export(
    context: typer.Context,
    name: NameArgument,
    target: Annotated[
        Path, typer.Argument(metavar="FOLDER|FILE.zip", help="A new folder, or a new zip file.")
    ],
    named_format: FormatOption = None,
    json: JsonFlag = False,
    nl: NlFlag = False,
    csv: CsvFlag = False,
    output: OutputOption = None,
) -> None:
    """Give an artist all that is held about them: JSON, CSV, thumbnails, vectors."""
    from fairbrush.exporting import export_artist

    format_ = choose_format(named_format, json=json, nl=nl, csv=csv, output=output)
    settings, _ = workspace_settings(context)
    with registry(context) as store:
        drain_pending(store)
        written = export_artist(store, name, target, settings.cache_folder)
    row = {"export": str(written.target), "files": written.files, **written.records}
    emit([row], format_, document={"schema": "fairbrush.exported/1", **row}, output=output)


def _artist_row(entry: ArtistEntry) -> dict[str, Any]:
    return {
        "artist": shown_name(entry.artist.name),
        "artist_id": entry.artist.artist_id,
        "consent": str(entry.artist.consent),
        "works": entry.n_works,
        "aliases": " | ".join(entry.aliases),
        "creator": shown_name(entry.creator_name),
        "creator_id": entry.artist.creator_id,
        "payee": shown_name(entry.payee_name),
        "payee_id": entry.artist.payee_id,
    }


def _style(store: Store, artist_id: str) -> tuple[dict[str, Any] | None, dict[str, Any]]:
    """How distinct an artist is in the current index version: for JSON, and as a person reads it."""
    from fairbrush.corpus.registry import list_artists
    from fairbrush.index.distinctiveness import Verdict
    from fairbrush.index.history import read_distinctiveness
    from fairbrush.index.versions import current_version
    from fairbrush.workspace import INDEXES

    try:
        version = current_version(store.workspace / INDEXES)
    except IndexUnusableError as error:
        return None, {"style": f"unknown: {error.message} {error.next_step or ''}".strip()}
    found = read_distinctiveness(store, version.manifest_digest, artist_id)
    if found is None:
        return None, {"style": f"unknown: not measured in {version.label}. fairbrush index extend does it."}
    names = {entry.artist.artist_id: shown_name(entry.artist.name) for entry in list_artists(store)}
    nearest = names.get(found.nearest_artist_id or "")
    document = {
        "index_version": version.label,
        "verdict": str(found.verdict),
        "nearest": nearest,
        "nearest_artist_id": found.nearest_artist_id,
        "works": found.works,
        "recognisability": found.recognisability,
        "delta": version.delta,
        "margin": found.margin,
        "look_alikes": found.look_alikes,
        "come_home": share_document(found.home),
        "credited": share_document(found.credited),
    }
    what = f"{found.verdict}: {nearest}" if found.verdict is Verdict.HARD and nearest else str(found.verdict)
    return document, {
        f"style in {version.label}": what,
        "recognisability": found.recognisability,
        "threshold": version.delta,
        "nearest other": nearest,
        "margin": found.margin,
        "look-alikes": found.look_alikes,
        "works that come home": share_text(found.home),
        "works credited": share_text(found.credited),
    }
