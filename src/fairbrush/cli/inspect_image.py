"""``fairbrush inspect``: what images say about themselves."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import suppress
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
    listing,
    printable,
    say,
    write_answer,
)
from fairbrush.cli.registry import registry, say_drained, workspace_settings
from fairbrush.config import load_settings
from fairbrush.errors import ExitCode, ImageRefusedError, StoreError

if TYPE_CHECKING:
    from fairbrush.corpus.generation.facts import GenerationMetadata
    from fairbrush.provenance.inspecting import Inspection, Standing
    from fairbrush.provenance.manifest import Manifest
    from fairbrush.provenance.stamp import Stamp

SCHEMA = "fairbrush.inspection/1"
_BOUND = "bound: without it this is, byte for byte, the file that was looked up"
_STATED = "bound by its own word: without it this is what it says to be left of the file that was looked up"
_CHANGED = "not bound: the file was changed since, or the stamp is another file's"
_SIGNED = {
    "trusted": "as it was signed, by",
    "intact": "as it was signed; the signer is unknown to this machine and says to be",
    "invalid": "INVALID",
    "elsewhere": "not read",
    "unread": "not read",
}
_FACTS = (
    *("tool", "model", "model_hash", "prompt", "negative_prompt", "seed", "steps", "sampler", "scheduler"),
    *("guidance", "size", "loras"),
)
COLUMNS = (
    *("image", "format", "sha256", "original_sha256", *_FACTS),
    *(
        "is_bound",
        "is_as_stated",
        "attribution_id",
        "record_digest",
        "stamped_model",
        "model_share",
        "unattributed_share",
    ),
    *("artists", "signature", "signer", "ledger", "problems"),
)


def inspect(
    context: typer.Context,
    images: Annotated[list[Path], typer.Argument(help="Images, folders or globs.")],
    trust: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE.pem", help="Certificates of signers, or of who vouches for them, to trust."
        ),
    ] = None,
    named_format: FormatOption = None,
    json: JsonFlag = False,
    nl: NlFlag = False,
    csv: CsvFlag = False,
    output: OutputOption = None,
) -> None:
    """Say what made an image, whose styles its stamp names, who signed that, and what the ledger says of it.

    Needs no workspace; the ledger is that of the workspace here, where there is one. No network is asked.
    """
    from fairbrush.cli.attribute import find
    from fairbrush.corpus.images import image_limits
    from fairbrush.provenance.inspecting import inspect_file
    from fairbrush.provenance.signing import read_anchors

    format_ = choose_format(named_format, json=json, nl=nl, csv=csv, output=output)
    anchors = None if trust is None else read_anchors(trust)
    limits = image_limits(load_settings(workspace=context.obj))
    found = find(images)
    failures = [{"path": str(r.path), "reason": str(r.reason), "detail": r.detail} for r in found.refusals]
    inspections = []
    for image in found.images:
        try:
            inspections.append(inspect_file(image, limits, anchors=anchors))
        except ImageRefusedError as error:
            failures.append({"path": str(image), "reason": str(error.reason), "detail": error.detail})
    stands = _standings(context, inspections)
    answers = list(zip(inspections, (stands.get(one.path) for one in inspections), strict=True))
    if format_ is Format.TABLE:
        write_answer("\n".join(_page(*answer) for answer in answers), output)
    elif format_ in (Format.JSON, Format.NL):
        documents = [_document(*answer) for answer in answers]
        emit(
            documents,
            format_,
            document={"schema": SCHEMA, "images": documents, "failures": failures},
            output=output,
        )
    else:
        emit([_row(*answer) for answer in answers], format_, columns=COLUMNS, output=output)
    for failure in failures:
        say(f"failed: {failure['path']}: {failure['reason']}. {failure['detail']}")
    if failures:
        raise typer.Exit(ExitCode.SOME_INPUTS_FAILED)


def _standings(context: typer.Context, inspections: Sequence[Inspection]) -> Mapping[Path, Standing]:
    """By image, where there is a workspace and something to ask it."""
    from fairbrush.provenance.inspecting import standings

    stamped = {one.path: one.attribution for one in inspections if one.attribution is not None}
    settings = load_settings(workspace=context.obj)
    if context.obj is None and settings.workspace is None:
        return {}
    _, workspace = workspace_settings(context)
    if not stamped:
        return {}
    from fairbrush.reports.recorded import drain_records

    with suppress(StoreError):  # busy or read-only: what it holds can perhaps still be read
        say_drained(drain_records(workspace, wait_s=0))
    try:
        with registry(context, readonly=True) as store:
            return dict(zip(stamped, standings(store.connection, [*stamped.values()]), strict=True))
    except StoreError as error:
        say(f"{error.message} The ledger was not asked.")
        return {}


def _page(found: Inspection, stands: Standing | None) -> str:
    """All of it, for people."""
    lines: dict[str, str | None] = {"file": f"{found.format}, SHA-256 {found.sha256}"}
    if found.generation is not None:
        facts = _facts(found.generation)
        lines["made by"] = str(facts.pop("tool"))
        lines |= {name.replace("_", " "): value for name, value in facts.items() if value is not None}
    else:
        lines["made by"] = found.generation_problem or "it does not say"
    if found.attribution is not None:
        lines |= _stamp_lines(found, found.attribution)
    else:
        lines["stamp"] = found.stamp_problem or "none"
    if found.manifest is not None:
        lines["signature"] = _signature(found.manifest)
        if found.is_contradicted:
            lines["but"] = "what was signed is not what the stamp says"
    if stands is not None:
        lines["ledger"] = _ledger(stands)
    shown = {name: value for name, value in lines.items() if value is not None}
    return printable(str(found.path)) + "\n" + "".join(f"  {line}\n" for line in listing(shown).splitlines())


def _stamp_lines(found: Inspection, stamp: Stamp) -> dict[str, str | None]:
    from fairbrush.provenance.stamp import share_text

    where = _BOUND if found.is_bound else _STATED if found.is_as_stated else _CHANGED
    if found.stamp is None:
        where = f"only in the signed manifest. {found.stamp_problem or ''}".strip()
    lines: dict[str, str | None] = {
        "stamp": where,
        "looked up": stamp.image_sha256,
        "model's share": f"{share_text(stamp.model_share_e12)}  {stamp.model}",
    }
    for number, one in enumerate(stamp.artists, start=1):
        who = one.artist_id if one.name is None else f"{one.artist_id} ({one.name})"
        lines[f"artist {number}"] = f"{share_text(one.share_e12)}  {who}"
    return lines | {
        "unattributed": share_text(stamp.unattributed_e12),
        "attribution": stamp.attribution_id,
        "record": stamp.record_digest,
        "by": f"fairbrush {stamp.fairbrush}, {stamp.value_function}, {stamp.encoder_id}",
    }


def _signature(manifest: Manifest) -> str:
    who = ", ".join(filter(None, (manifest.signer, manifest.organisation)))
    said = _SIGNED[manifest.state]
    if manifest.reasons:
        return f"{said}: {'; '.join(manifest.reasons)}"
    when = f", {manifest.signed_at}" if manifest.signed_at else ""
    return f"{said} {who or 'nobody'}{when}"


def _ledger(stands: Standing) -> str:
    if stands.differing:
        return f"{stands.word}: {', '.join(stands.differing)}"
    return str(stands.word) if stands.recorded_at is None else f"{stands.word}, recorded {stands.recorded_at}"


def _facts(generation: GenerationMetadata) -> dict[str, str | None]:
    told: dict[str, Any] = {name: getattr(generation, name) for name in _FACTS}
    told["size"] = None if generation.size is None else "x".join(map(str, generation.size))
    told["loras"] = ", ".join(generation.loras) or None
    return {name: None if value is None else str(value) for name, value in told.items()}


def _document(found: Inspection, stands: Standing | None) -> dict[str, Any]:
    manifest, generation = found.manifest, found.generation
    return {
        "path": str(found.path),
        "format": found.format,
        "sha256": found.sha256,
        "original_sha256": found.original_sha256,
        "generation": None
        if generation is None
        else {name: getattr(generation, name) for name in _FACTS} | {"tool": str(generation.tool)},
        "generation_problem": found.generation_problem,
        "stamp": None if found.stamp is None else found.stamp.document,
        "stamp_problem": found.stamp_problem,
        "is_bound": found.is_bound,
        "is_as_stated": found.is_as_stated,
        "manifest": None
        if manifest is None
        else {
            "state": str(manifest.state),
            "signer": manifest.signer,
            "organisation": manifest.organisation,
            "signed_at": manifest.signed_at,
            "generator": manifest.generator,
            "reasons": list(manifest.reasons),
            "attribution": None if found.signed is None else found.signed.document,
            "agrees_with_stamp": None
            if found.signed is None or found.stamp is None
            else not found.is_contradicted,
        },
        "ledger": None
        if stands is None
        else {
            "word": str(stands.word),
            "differing": list(stands.differing),
            "recorded_at": None if stands.recorded_at is None else stands.recorded_at.isoformat(),
        },
    }


def _row(found: Inspection, stands: Standing | None) -> Row:
    """One line an image."""
    from fairbrush.provenance.stamp import share_text

    stamp, manifest = found.attribution, found.manifest
    facts = dict.fromkeys(_FACTS) if found.generation is None else _facts(found.generation)
    problems = filter(None, (found.generation_problem, found.stamp_problem))
    values = (
        *(str(found.path), found.format, found.sha256, found.original_sha256, *facts.values()),
        found.is_bound,
        found.is_as_stated,
        *((None,) * 6 if stamp is None else _stamp_cells(stamp, share_text)),
        None if manifest is None else str(manifest.state),
        None if manifest is None else manifest.signer,
        None if stands is None else str(stands.word),
        "; ".join(problems) or None,
    )
    return dict(zip(COLUMNS, values, strict=True))


def _stamp_cells(stamp: Stamp, share_text: Any) -> tuple[str, ...]:
    return (
        stamp.attribution_id,
        stamp.record_digest,
        stamp.model,
        share_text(stamp.model_share_e12),
        share_text(stamp.unattributed_e12),
        "; ".join(f"{one.artist_id} {share_text(one.share_e12)}" for one in stamp.artists),
    )
