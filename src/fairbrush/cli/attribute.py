"""``fairbrush attribute``: which artists' styles an image draws on, and how one bill splits."""

from __future__ import annotations

import json as json_module
import os
import sys
from collections.abc import Iterator, Mapping, Sequence
from glob import glob
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
    Row,
    choose_format,
    emit,
    printable,
    say,
    table,
    write_answer,
)
from fairbrush.cli.registry import say_drained, workspace_settings
from fairbrush.domain import HintSource
from fairbrush.errors import (
    ConfigError,
    DatabaseBusyError,
    ExitCode,
    FairbrushError,
    NoInputError,
    StoreError,
)

if TYPE_CHECKING:
    from fairbrush.attribution import Attribution
    from fairbrush.corpus.images import FoundImages
    from fairbrush.lookup import Answer, Lookup

SCHEMA = "fairbrush.attributions/1"
FAILURE_SCHEMA = "fairbrush.failure/1"
STREAM = Path("-")
COLUMNS = ("image", "to", "id", "share", "similarity", "z", "attribution_id")


def attribute(
    context: typer.Context,
    images: Annotated[
        list[Path], typer.Argument(help="Images, folders, globs; or - to read paths from stdin, one a line.")
    ],
    model: Annotated[
        str | None, typer.Option(help="The model that generated the images.  [default: the policy's, sd-1.5]")
    ] = None,
    prompt: Annotated[
        str | None,
        typer.Option(
            help="The prompt of all these images: the artists it names, by name or alias, are always "
            "candidates. It is not kept.  [default: what each file says]"
        ),
    ] = None,
    no_metadata: Annotated[
        bool, typer.Option("--no-metadata", help="Do not read the prompt in the images' files.")
    ] = False,
    explain: Annotated[
        bool,
        typer.Option("--explain", help="Show similarities, threshold, coalition values, runner-up."),
    ] = False,
    no_record: Annotated[bool, typer.Option("--no-record", help="Answer, and write no record.")] = False,
    named_format: FormatOption = None,
    json: JsonFlag = False,
    nl: NlFlag = False,
    csv: CsvFlag = False,
    output: OutputOption = None,
) -> None:
    """Say which artists an image draws on, and record the answer."""
    from fairbrush.lookup import Lookup

    format_ = choose_format(named_format, json=json, nl=nl, csv=csv, output=output)
    _refuse_combinations(images, format_, output, explain=explain)
    settings, workspace = workspace_settings(context)
    opened = Lookup(settings, model=model, record=not no_record, prompt=prompt, metadata=not no_metadata)
    with opened as lookup:
        if images == [STREAM]:
            many, failed = False, _stream(lookup, explain=explain, record=not no_record)
        else:
            found = _find(images)
            many = len(found.images) > 1
            failed = _answer_all(lookup, found, format_, output, explain=explain, record=not no_record)
    if not no_record:
        _drain_if_due(workspace, many=many)
    if failed:
        raise typer.Exit(ExitCode.SOME_INPUTS_FAILED)


def _refuse_combinations(
    images: Sequence[Path], format_: Format, output: Path | None, *, explain: bool
) -> None:
    """Raises ConfigError for what would otherwise be ignored in silence."""
    if STREAM in images and len(images) > 1:
        raise ConfigError(
            "- reads paths from stdin and stands alone.", next_step="Leave out the other paths."
        )
    if STREAM in images and (format_ not in (Format.TABLE, Format.NL) or output is not None):
        raise ConfigError(
            "- answers with one JSON object a line on stdout.", next_step="Leave out --format and --output."
        )
    if explain and format_ in (Format.CSV, Format.PARQUET):
        raise ConfigError(f"--explain does not fit {format_}.", next_step="Use a table, --json or --nl.")


def _answer_all(
    lookup: Lookup, found: FoundImages, format_: Format, output: Path | None, *, explain: bool, record: bool
) -> int:
    """Answer every image; gives how many failed."""
    as_they_come = format_ is Format.NL and output is None
    answers: list[Answer] = []
    try:
        for answer in lookup.attribute(found.images):
            answers.append(answer)
            if as_they_come and answer.attribution is not None:
                write_answer(_line(_document(answer.attribution, explain=explain)), None)
    except (KeyboardInterrupt, FairbrushError):
        if answers and record:
            n_recorded = sum(answer.attribution is not None for answer in answers)
            say(f"{n_recorded} of {len(found.images)} images are answered and recorded.")
        raise
    failures = [{"path": str(r.path), "reason": str(r.reason), "detail": r.detail} for r in found.refusals]
    failures += [_failure(answer) for answer in answers if answer.attribution is None]
    attributions = [answer.attribution for answer in answers if answer.attribution is not None]
    if format_ is Format.TABLE:
        _answer_table(lookup, attributions, output, explain=explain)
    elif format_ is Format.NL and not as_they_come:
        lines = [_line(_document(attribution, explain=explain)) for attribution in attributions]
        write_answer("".join(lines), output)
    elif format_ is not Format.NL:
        documents = [_document(attribution, explain=explain) for attribution in attributions]
        document = {"schema": SCHEMA, "attributions": documents, "failures": failures}
        rows = [row for attribution in attributions for row in _rows(attribution)]
        emit(rows, format_, columns=COLUMNS, document=document, output=output)
    for failure in failures:
        say(f"failed: {failure['path']}: {failure['reason']}. {failure['detail']}")
    return len(failures)


def _answer_table(
    lookup: Lookup, attributions: Sequence[Attribution], output: Path | None, *, explain: bool
) -> None:
    rows = [row for attribution in attributions for row in _rows(attribution)]
    if not rows:
        return
    text = table([{name: row[name] for name in COLUMNS[:-1] if name != "id"} for row in rows])
    if explain:
        names = {artist.artist_id: artist.name for artist in lookup.eligibility.artists.values()}
        text += "".join(_explained(attribution, names) for attribution in attributions)
    write_answer(text, output)
    for attribution in attributions:
        if attribution.reason:
            say(f"{attribution.image.path}: {attribution.reason}")


def _find(images: Sequence[Path]) -> FoundImages:
    from fairbrush.corpus.images import find_images

    expanded: list[Path] = []
    for image in images:
        # a file whose name looks like a pattern is that file
        matches = [] if os.path.lexists(image) else sorted(glob(str(image), recursive=True))  # noqa: PTH207 - absolute patterns too
        expanded += [Path(match) for match in matches] or [image]
    found = find_images(dict.fromkeys(expanded))
    if not found.images and not found.refusals:
        raise NoInputError(
            f"No images in {', '.join(map(str, images))}.",
            next_step="Looked for PNG, JPEG, WebP, GIF, BMP and TIFF files, in sub-folders too.",
        )
    return found


def _stream(lookup: Lookup, *, explain: bool, record: bool) -> int:
    """One JSON answer a line for each path on stdin, failures too, from this one warm process.

    Gives how many failed. Ends with stdin, or when nobody reads the answers any more.
    """
    from fairbrush.ledger.records import MOST_PENDING

    failed, since_drain = 0, 0
    for line in sys.stdin.buffer if sys.stdin else ():
        name = os.fsdecode(line.rstrip(b"\r\n"))  # a file name need not be UTF-8
        if not name:
            continue
        for answer in lookup.attribute([Path(name)]):
            if answer.attribution is None:
                failed += 1
                document = {"schema": FAILURE_SCHEMA, **_failure(answer)}
            else:
                document = _document(answer.attribution, explain=explain)
            if not write_answer(_line(document), None):
                return failed
        since_drain += 1
        if record and since_drain > MOST_PENDING:
            _drain_if_due(lookup.workspace, many=False)
            since_drain = 0
    return failed


def _line(document: dict[str, Any]) -> str:
    return json_module.dumps(document, ensure_ascii=False) + "\n"


def _failure(answer: Answer) -> dict[str, Any]:
    return {"path": str(answer.path), "reason": answer.reason, "detail": answer.detail}


def _drain_if_due(workspace: Path, *, many: bool) -> None:
    """Bring the records into the database now and then; where it is busy they wait, and nobody else does."""
    from fairbrush.ledger.records import MOST_PENDING, pending_count
    from fairbrush.workspace import RECORDS

    if not many and pending_count(workspace / RECORDS) <= MOST_PENDING:
        return
    from fairbrush.reports.recorded import drain_records

    try:
        drained = drain_records(workspace, wait_s=0)
    except StoreError as error:  # busy, read-only, damaged: the answers are given and recorded all the same
        say(f"{error.message} The answers are recorded and wait in {workspace / RECORDS / 'pending'}.")
        if not isinstance(error, DatabaseBusyError) and error.next_step:
            say(f"  next: {error.next_step}")
        return
    say_drained(drained)


def _document(attribution: Attribution, *, explain: bool) -> dict[str, Any]:
    from fairbrush.attribution import to_json

    document = to_json(attribution)
    if explain:
        document["explain"] = _explanation(attribution)
    return document


def _rows(attribution: Attribution) -> Iterator[Row]:
    """One row for each who is paid a part, the model first, what is unattributed last."""
    image, key = str(attribution.image.path), attribution.attribution_id
    empty = {"similarity": None, "z": None, "attribution_id": key}
    model = str(attribution.identity["model_id"])
    yield {"image": image, "to": f"model {model}", "id": model, "share": attribution.model_share, **empty}
    for one in attribution.artists:
        yield {
            "image": image,
            "to": one.artist.name,
            "id": one.artist.artist_id,
            "share": one.share,
            "similarity": one.similarity,
            "z": one.z,
            "attribution_id": key,
        }
    yield {"image": image, "to": "(unattributed)", "id": None, "share": attribution.unattributed, **empty}


def _explanation(attribution: Attribution) -> dict[str, Any]:
    from fairbrush.attribution import explain

    found = explain(attribution)
    return {
        "delta": found.delta,
        "players": [
            {"artist_id": hit.artist_id, "similarity": hit.similarity, "h": offset, "z": hit.z}
            for hit, offset in zip(found.players, found.offsets, strict=True)
        ],
        "runner_up": found.runner_up and {"artist_id": found.runner_up.artist_id, "z": found.runner_up.z},
        "coalitions": [
            {"artist_ids": list(one.artist_ids), "explained": one.explained} for one in found.coalitions
        ],
        "model_veto_share": found.model_veto_share,
        "hint": attribution.hint
        and {
            "source": str(attribution.hint.source),
            "artist_ids": list(attribution.hint.artist_ids),
            "problem": attribution.hint.problem,
        },
    }


def _explained(attribution: Attribution, names: Mapping[str, str]) -> str:
    """The explanation in words, below the table. ``names`` by artist id, of who may be credited now."""
    from fairbrush.attribution import explain

    known = {**names, **{one.artist.artist_id: one.artist.name for one in attribution.artists}}
    found = explain(attribution)
    lines = [f"{attribution.image.path}: only an affinity z above {found.delta:.4f} is credited"]
    lines += [
        f"  {known[hit.artist_id]}: similarity {hit.similarity:.4f} - h {offset:.4f} = z {hit.z:.4f}"
        for hit, offset in zip(found.players, found.offsets, strict=True)
    ]
    if found.runner_up:
        name = known.get(found.runner_up.artist_id, found.runner_up.artist_id)
        lines.append(f"  runner-up, not credited: {name}, z {found.runner_up.z:.4f}")
    lines += [
        f"  {' + '.join(known[key] for key in one.artist_ids)} explain {one.explained:.3f} of the style"
        for one in found.coalitions
    ]
    lines.append(f"  if the model could veto, it would take {found.model_veto_share:.3f}; never paid so")
    lines += _hinted_lines(attribution, found.delta)
    return "\n" + "".join(printable(line) + "\n" for line in lines)


def _hinted_lines(attribution: Attribution, delta: float) -> list[str]:
    """Whom the prompt names, and how near each is."""
    hint = attribution.hint
    if hint is None:
        return []
    where = "the prompt" if hint.source is HintSource.PROMPT else "the file's prompt"
    if hint.problem:
        return [f"  the file's prompt was not read: {hint.problem}"]
    if not attribution.hinted:
        return [f"  {where} names no artist who may be credited"]
    return [
        f"  named in {where}{'' if one.is_near else ', not near enough'}: {one.artist.name}, z {one.z:.4f}"
        + ("" if one.is_near else f", threshold {delta:.4f}")
        for one in attribution.hinted
    ]
