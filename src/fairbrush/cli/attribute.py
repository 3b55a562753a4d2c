"""``fairbrush attribute``: which artists' styles an image draws on, and how one bill splits."""

from __future__ import annotations

import json as json_module
import sys
from collections.abc import Iterator, Sequence
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
    say,
    write_answer,
)
from fairbrush.cli.registry import workspace_settings
from fairbrush.errors import ConfigError, DatabaseBusyError, ExitCode, FairbrushError, NoInputError

if TYPE_CHECKING:
    from fairbrush.attribution import Attribution
    from fairbrush.corpus.images import FoundImages
    from fairbrush.lookup import Answer, Lookup

SCHEMA = "fairbrush.attributions/1"
STREAM = Path("-")
MOST_PENDING = 64  # files left behind by single look-ups before one of them drains them all
COLUMNS = ("image", "to", "id", "share", "similarity", "z", "attribution_id")


def attribute(
    context: typer.Context,
    images: Annotated[
        list[Path], typer.Argument(help="Images, folders, globs; or - to read paths from stdin, one a line.")
    ],
    model: Annotated[
        str | None, typer.Option(help="The model that generated the images.  [default: the policy's, sd-1.5]")
    ] = None,
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
    settings, workspace = workspace_settings(context)
    with Lookup(settings, model=model, record=not no_record) as lookup:
        if images == [STREAM]:
            _stream(lookup, explain=explain)
            failed = 0
        else:
            failed = _answer_all(lookup, images, format_, output, explain=explain)
    if not no_record:
        _drain_if_due(workspace, many=len(images) > 1 or images[0].is_dir())
    if failed:
        raise typer.Exit(ExitCode.SOME_INPUTS_FAILED)


def _answer_all(
    lookup: Lookup, images: Sequence[Path], format_: Format, output: Path | None, *, explain: bool
) -> int:
    """Answer every image; gives how many failed."""
    found = _find(images)
    answers: list[Answer] = []
    try:
        for answer in lookup.attribute(found.images):
            answers.append(answer)
    except (KeyboardInterrupt, FairbrushError):
        if answers:
            say(f"{len(answers)} of {len(found.images)} images are answered and recorded.")
        raise
    failures = [{"path": str(r.path), "reason": str(r.reason), "detail": r.detail} for r in found.refusals]
    failures += [
        {"path": str(a.path), "reason": a.reason, "detail": a.detail}
        for a in answers
        if a.attribution is None
    ]
    attributions = [a.attribution for a in answers if a.attribution is not None]
    documents = [_document(attribution, explain=explain) for attribution in attributions]
    if format_ is Format.NL:
        write_answer("".join(json_module.dumps(d, ensure_ascii=False) + "\n" for d in documents), output)
    elif attributions or format_ is not Format.TABLE:
        document = {"schema": SCHEMA, "attributions": documents, "failures": failures}
        rows = [row for attribution in attributions for row in _rows(attribution)]
        if format_ is Format.TABLE:
            rows = [{name: row[name] for name in COLUMNS[:-1] if name != "id"} for row in rows]
        emit(rows, format_, columns=COLUMNS, document=document, output=output)
    if format_ is Format.TABLE:
        for attribution in attributions:
            if attribution.reason:
                say(f"{attribution.image.path}: {attribution.reason}")
            if explain:
                _explain(attribution)
    for failure in failures:
        say(f"failed: {failure['path']}: {failure['reason']}. {failure['detail']}")
    return len(failures)


def _find(images: Sequence[Path]) -> FoundImages:
    from fairbrush.corpus.images import find_images

    if STREAM in images:
        raise ConfigError(
            "- reads paths from stdin and stands alone.", next_step="Leave out the other paths."
        )
    expanded: list[Path] = []
    for image in images:
        matches = [] if image.exists() else sorted(glob(str(image), recursive=True))  # noqa: PTH207 - absolute patterns too
        expanded += [Path(match) for match in matches] or [image]
    found = find_images(dict.fromkeys(expanded))
    if not found.images and not found.refusals:
        raise NoInputError(
            f"No images in {', '.join(map(str, images))}.",
            next_step="Looked for PNG, JPEG, WebP, GIF, BMP and TIFF files, in sub-folders too.",
        )
    return found


def _stream(lookup: Lookup, *, explain: bool) -> None:
    """One JSON answer a line for each path on stdin, failures too, from this one warm process."""
    for line in sys.stdin:
        name = line.rstrip("\r\n")
        if not name:
            continue
        for answer in lookup.attribute([Path(name)]):
            if answer.attribution is None:
                document = {"path": name, "reason": answer.reason, "detail": answer.detail}
            else:
                document = _document(answer.attribution, explain=explain)
            write_answer(json_module.dumps(document, ensure_ascii=False) + "\n", None)
            sys.stdout.flush()


def _drain_if_due(workspace: Path, *, many: bool) -> None:
    """Bring the records into the database now and then; where it is busy they wait, and nobody else does."""
    from fairbrush.ledger.records import pending_count
    from fairbrush.workspace import RECORDS

    if not many and pending_count(workspace / RECORDS) <= MOST_PENDING:
        return
    from fairbrush.reports.recorded import drain_records

    try:
        drained = drain_records(workspace, wait_s=0)
    except DatabaseBusyError as busy:
        say(f"{busy.message} The answers are recorded and wait in {workspace / RECORDS / 'pending'}.")
        return
    for refused in drained.refused:
        say(f"refused record: {refused.file}: {refused.reason}")
    for conflict in drained.conflicts:
        say(f"conflict: {conflict.attribution_id} was recorded with other numbers before, which stay.")


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
    }


def _explain(attribution: Attribution) -> None:
    """The explanation in words, on stdout below the table."""
    from fairbrush.attribution import explain

    names = {one.artist.artist_id: one.artist.name for one in attribution.artists}
    found = explain(attribution)
    lines = [f"\n{attribution.image.path}: only an affinity z above {found.delta:.4f} is credited"]
    lines += [
        f"  {names[hit.artist_id]}: similarity {hit.similarity:.4f} - h {offset:.4f} = z {hit.z:.4f}"
        for hit, offset in zip(found.players, found.offsets, strict=True)
    ]
    if found.runner_up:
        lines.append(f"  runner-up, not credited: {found.runner_up.artist_id}, z {found.runner_up.z:.4f}")
    lines += [
        f"  {' + '.join(names[key] for key in one.artist_ids)} explain {one.explained:.3f} of the style"
        for one in found.coalitions
    ]
    lines.append(f"  if the model could veto, it would take {found.model_veto_share:.3f}; never paid so")
    write_answer("\n".join(lines) + "\n", None)
