"""Damaged files of records, when somebody is erased.

Enters: ``records/refused``, where a drain put what was not as written, and whose traces to look for. Leaves:
the same files without the person. The one rule: a line that names them and cannot be parsed is dropped; it
counts nowhere, and nothing less is sure.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from fairbrush.chain.canonical import canonical_json, parse_canonical
from fairbrush.durable import flush_folder, write_durably
from fairbrush.errors import RecordError

if TYPE_CHECKING:
    from fairbrush.corpus.traces import Traces


@dataclass(frozen=True)
class RedactedFiles:
    """Damaged records that named somebody who is erased: ``lines_cleared`` lost that part, ``lines_dropped``
    could not be parsed and are gone, ``files_dropped`` held nothing else."""

    lines_cleared: int = 0
    lines_dropped: int = 0
    files_dropped: int = 0


def redact_refused(folder: Path, traces: Traces) -> RedactedFiles:
    """Take an erased person out of the damaged files in ``folder/refused``, line by line.

    A line that cannot be parsed and names them is dropped: nothing less is sure, and it counts nowhere.
    """
    refused = folder / "refused"
    cleared = dropped = files = 0
    for file in sorted(refused.glob("*")) if refused.is_dir() else ():
        content = file.read_bytes()
        lines = content.split(b"\n")
        kept = [_redacted(line, traces) for line in lines]
        lost = sum(line is None for line in kept)
        changed = sum(new is not None and new != old for new, old in zip(kept, lines, strict=True))
        if not lost + changed:
            continue
        cleared, dropped = cleared + changed, dropped + lost
        left = b"\n".join(line for line in kept if line is not None)
        if left.strip():
            write_durably(file, left)
        else:
            files += 1
            file.unlink()
            flush_folder(refused)
    return RedactedFiles(cleared, dropped, files)


def _redacted(line: bytes, traces: Traces) -> bytes | None:
    """A line of a refused file without an erased person; None where that cannot be told. What is hashed
    holds no name, and the digest of the image somebody asked about stays in it."""
    text = line.decode("utf-8", "replace")
    if '"doing"' in text and any(_in_json(folder) in text for folder in traces.folders):
        return None  # a refused image that lies among their works
    if not _tells(text, traces) and traces.subject not in text:
        return line
    try:
        fields = parse_canonical(line)
        about, image = dict(fields["about"]), fields["body"]["identity"]["image_sha256"]
        evidence = about.get("evidence") or {}
        if isinstance(evidence, dict) and traces.subject in evidence:
            about["evidence"] = {key: works for key, works in evidence.items() if key != traces.subject}
        if about.get("path") and (image in traces.works or _tells(str(about["path"]), traces)):
            about["path"] = None
        redacted = {**fields, "about": about}
        rest = canonical_json({**redacted, "body": None}).decode()
    except (RecordError, KeyError, TypeError, ValueError, AttributeError):
        return None if _tells(text, traces) else line
    if _tells(rest, traces):
        return None
    return line if about == fields["about"] else canonical_json(redacted)


def _tells(text: str, traces: Traces) -> bool:
    return (
        traces.names_in(text)
        or any(work in text for work in traces.works)
        or any(path in text or _in_json(path) in text for path in traces.paths)
    )


def _in_json(path: str) -> str:
    """As a line has it: quotes and backslashes stand behind another backslash."""
    return canonical_json(path).decode()[1:-1]
