"""``fairbrush attribute``: which artists' styles an image draws on, and how one bill splits."""

from __future__ import annotations

import json as json_module
import os
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from glob import glob
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from fairbrush.cli.answers import COLUMNS, how_sure, rows_of
from fairbrush.cli.explanation import explained, explanation, input_lines, why_json, why_lines
from fairbrush.cli.output import (
    CsvFlag,
    Format,
    FormatOption,
    JsonFlag,
    NlFlag,
    OutputOption,
    choose_format,
    emit,
    printable,
    say,
    table,
    write_answer,
)
from fairbrush.cli.registry import say_drained, workspace_settings
from fairbrush.cli.stamping import (
    AuthorityOption,
    CertificateOption,
    ForceFlag,
    InPlaceFlag,
    KeyOption,
    StampChoice,
    Stamping,
    StampNamesFlag,
    StampOption,
    open_stamping,
)
from fairbrush.domain import CHOOSABLE_VALUES, Artist, Value
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


def attribute(
    context: typer.Context,
    images: Annotated[
        list[Path], typer.Argument(help="Images, folders, globs; or - to read paths from stdin, one a line.")
    ],
    inputs: Annotated[
        list[str] | None,
        typer.Option(
            metavar="PATH:WEIGHT[=ARTIST]",
            help="An image that these were mixed from, and how much it weighed (1 where left out): style is "
            "shared by the inputs' creators. Repeat it, or let more PATH:WEIGHT follow. Without ARTIST it is "
            "a registered work.",
        ),
    ] = None,
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
    value: Annotated[
        Value | None,
        typer.Option(
            help="How style is shared out.  [default: the policy's, blend]",
            show_default=False,
            metavar=f"<{'|'.join(CHOOSABLE_VALUES)}>",
        ),
    ] = None,
    calibration: Annotated[
        str | None,
        typer.Option(
            metavar="ID|none",
            help="Apply this calibration: its id or first 8 digits; or none.  [default: the policy's]",
            show_default=False,
        ),
    ] = None,
    no_intervals: Annotated[
        bool, typer.Option("--no-intervals", help="Leave out the intervals and the word for how sure it is.")
    ] = False,
    explain: Annotated[
        bool,
        typer.Option("--explain", help="Show similarities, thresholds, coalitions, evidence, runner-up."),
    ] = False,
    why: Annotated[
        list[str] | None,
        typer.Option(metavar="ARTIST", help="Say why this artist is, or is not, credited; may be repeated."),
    ] = None,
    no_record: Annotated[bool, typer.Option("--no-record", help="Answer, and write no record.")] = False,
    stamp: StampOption = None,
    in_place: InPlaceFlag = False,
    force: ForceFlag = False,
    stamp_names: StampNamesFlag = False,
    certificate: CertificateOption = None,
    key: KeyOption = None,
    timestamp_authority: AuthorityOption = None,
    named_format: FormatOption = None,
    json: JsonFlag = False,
    nl: NlFlag = False,
    csv: CsvFlag = False,
    output: OutputOption = None,
) -> None:
    """Say which artists an image draws on, and record the answer."""
    from fairbrush.lookup import Lookup
    from fairbrush.mixing import parted

    arguments, mixed = parted([str(image) for image in images], inputs or ())
    images = [Path(argument) for argument in arguments]
    _refuse_what_inputs_rule_out(value, prompt, has_inputs=bool(mixed))
    format_ = choose_format(named_format, json=json, nl=nl, csv=csv, output=output)
    choice = StampChoice(stamp, in_place, force, stamp_names, certificate, key, timestamp_authority)
    _refuse_combinations(images, format_, output, explain=explain or bool(why), stamp=choice.is_asked)
    settings, workspace = workspace_settings(context)
    found = None if images == [STREAM] else find(images)
    stamping = open_stamping(choice, found.images if found else [], settings)
    opened = Lookup(
        settings,
        model=model,
        record=not no_record,
        prompt=prompt,
        metadata=not no_metadata,
        value=value,
        intervals=not no_intervals,
        inputs=mixed,
        calibration=calibration,
    )
    with opened as lookup:
        named = [lookup.artist_named(name) for name in why or ()]
        detail = _Detail(lookup, explain=explain, why=named, stamping=stamping)
        if found is None:
            many, failed = False, _stream(lookup, detail, record=not no_record)
        else:
            many = len(found.images) > 1
            failed = _answer_all(lookup, found, format_, output, detail, record=not no_record)
    if not no_record:
        _drain_if_due(workspace, many=many)
    if failed:
        raise typer.Exit(ExitCode.SOME_INPUTS_FAILED)


def _refuse_combinations(
    images: Sequence[Path], format_: Format, output: Path | None, *, explain: bool, stamp: bool
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
    if STREAM in images and stamp:
        raise ConfigError("Paths from stdin are not stamped.", next_step="Name the images, or their folder.")
    if explain and format_ in (Format.CSV, Format.PARQUET):
        raise ConfigError(
            f"--explain and --why do not fit {format_}.", next_step="Use a table, --json or --nl."
        )


def refuse_mix(value: Value | None) -> None:
    """Raises ConfigError."""
    if value is Value.MIX:
        raise ConfigError(
            "--value mix is what --inputs plays; it cannot be chosen.",
            next_step=f"Name the inputs, or one of {', '.join(CHOOSABLE_VALUES)}.",
        )


def _refuse_what_inputs_rule_out(value: Value | None, prompt: str | None, *, has_inputs: bool) -> None:
    """Raises ConfigError."""
    refuse_mix(value)
    if has_inputs and (value is not None or prompt is not None):
        raise ConfigError(
            f"{'--prompt' if value is None else '--value'} does not go with --inputs: the players are the"
            " inputs' creators.",
            next_step="Leave out one of them.",
        )


@dataclass(frozen=True)
class _Detail:
    """What is told beside each answer."""

    lookup: Lookup
    explain: bool
    why: Sequence[Artist]
    stamping: Stamping | None = None

    def document(self, attribution: Attribution) -> dict[str, Any]:
        from fairbrush.documents import to_json

        document = to_json(attribution)
        if self.explain:
            document["explain"] = explanation(attribution)
        if self.why:
            document["why"] = [why_json(self.lookup.why(attribution, artist)) for artist in self.why]
        if self.stamping is not None and attribution.image.path is not None:
            document["stamp"] = self.stamping.document(attribution.image.path)
        return document

    def words(self, attribution: Attribution) -> str:
        names = {artist.artist_id: artist.name for artist in self.lookup.eligibility.artists.values()}
        text = input_lines(attribution)
        if self.explain:
            text += explained(attribution, names)
        if self.why:
            text += why_lines(attribution, [self.lookup.why(attribution, artist) for artist in self.why])
        return text


def _answer_all(
    lookup: Lookup,
    found: FoundImages,
    format_: Format,
    output: Path | None,
    detail: _Detail,
    *,
    record: bool,
) -> int:
    """Answer every image; gives how many failed."""
    as_they_come = format_ is Format.NL and output is None
    answers: list[Answer] = []
    lookup.note_refused(found.refusals)
    try:
        for answer in lookup.attribute(found.images):
            answers.append(answer)
            if answer.is_stamped_copy and answer.attribution is not None:
                sha256 = answer.attribution.image.sha256
                say(f"{answer.path} is a stamped copy: the answer is that of its original, {sha256}.")
            if detail.stamping is not None and answer.attribution is not None:
                detail.stamping.write(answer.path, answer.attribution)
            if as_they_come and answer.attribution is not None:
                write_answer(_line(detail.document(answer.attribution)), None)
    except (KeyboardInterrupt, FairbrushError):
        if answers and record:
            n_recorded = sum(answer.attribution is not None for answer in answers)
            say(f"{n_recorded} of {len(found.images)} images are answered and recorded.")
        if detail.stamping is not None:
            detail.stamping.tell()
        raise
    failures = [{"path": str(r.path), "reason": str(r.reason), "detail": r.detail} for r in found.refusals]
    failures += [_failure(answer) for answer in answers if answer.attribution is None]
    failures += detail.stamping.failures if detail.stamping is not None else []
    attributions = [answer.attribution for answer in answers if answer.attribution is not None]
    if format_ is Format.TABLE:
        _answer_table(attributions, output, detail)
    elif format_ is Format.NL and not as_they_come:
        lines = [_line(detail.document(attribution)) for attribution in attributions]
        write_answer("".join(lines), output)
    elif format_ is not Format.NL:
        documents = [detail.document(attribution) for attribution in attributions]
        document = {"schema": SCHEMA, "attributions": documents, "failures": failures}
        rows = [row for attribution in attributions for row in rows_of(attribution)]
        emit(rows, format_, columns=COLUMNS, document=document, output=output)
    for failure in failures:
        say(f"failed: {failure['path']}: {failure['reason']}. {failure['detail']}")
    if detail.stamping is not None:
        detail.stamping.tell()
    return len(failures)


def _answer_table(attributions: Sequence[Attribution], output: Path | None, detail: _Detail) -> None:
    rows = [row for attribution in attributions for row in rows_of(attribution)]
    if not rows:
        return
    shown = [name for name in COLUMNS if name not in ("id", "attribution_id")]
    text = table([{name: row[name] for name in shown} for row in rows])
    sure = [how_sure(attribution) for attribution in attributions if attribution.confidence]
    if sure:
        text += "\n" + "".join(printable(line) + "\n" for line in sure)
    text += "".join(detail.words(attribution) for attribution in attributions)
    write_answer(text, output)
    for attribution in attributions:
        if attribution.reason:
            say(f"{attribution.image.path}: {attribution.reason}")


def find(images: Sequence[Path]) -> FoundImages:
    """The images under these paths, folders and patterns. Raises NoInputError."""
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


def _stream(lookup: Lookup, detail: _Detail, *, record: bool) -> int:
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
                document = detail.document(answer.attribution)
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
