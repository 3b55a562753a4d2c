"""A page for paper: PDF, set by Typst, whose compiler and fonts come with its package.

Enters: a Typst template of ``templates/``, plain values, pictures. Leaves: PDF/UA, which a screen reader can
read. The one rule: values reach the template as data, never as markup, and the compiler sees our files only.

PDF/UA must not hold a character that no font has, and the fonts that come with the compiler have Latin, Greek
and Cyrillic ones. Others are taken from the system's fonts; where none has them they are written by their
codes, and the template is told.
"""

from __future__ import annotations

import json
import re
import tempfile
import unicodedata
from collections.abc import Collection, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from fairbrush.errors import ReportError
from fairbrush.reports.pages.page import TEMPLATES
from fairbrush.reports.pages.words import INSTALL
from fairbrush.store import as_utc

_MISSING = re.compile(r'the text `"(.+?)"` could not be displayed', re.DOTALL)
_ESCAPE = re.compile(r"\\u\{(10[0-9a-f]{4}|[0-9a-f]{1,5})\}")
_MOST_GROUPS = 50  # of characters that no font has, before it is given up
_FIRST_PICTOGRAM = 0x1F000
_PARTLY_KNOWN = (
    "LATIN",
    "GREEK",
    "CYRILLIC",
    "COMBINING",
    "MODIFIER",
    "DIGIT",
)  # not to be given up as a whole


def render_pdf(
    template: str, values: Mapping[str, Any], *, now: datetime, pictures: Mapping[str, bytes] | None = None
) -> bytes:
    """``values`` are ``json(bytes(sys.inputs.values))`` in the template, ``pictures`` files beside it;
    ``spelled`` among them says whether characters are written by their codes.

    ``now`` is the document's date, to the second, so that the same report gives the same bytes. Raises
    ReportError.
    """
    try:
        import typst
    except ImportError as error:
        raise ReportError(f"A PDF needs more packages ({error}).", next_step=INSTALL) from error
    with tempfile.TemporaryDirectory() as folder:
        source = Path(folder, template)
        source.write_bytes((TEMPLATES / template).read_bytes())
        for name, content in (pictures or {}).items():
            Path(folder, name).write_bytes(content)
        groups: set[str] = set()
        for _ in range(_MOST_GROUPS):
            told = {**_spelled(values, groups), "spelled": bool(groups)}
            try:
                document = typst.compile(  # type: ignore[type-var,unused-ignore]
                    source,
                    root=folder,
                    sys_inputs={"values": json.dumps(told, ensure_ascii=False)},
                    pdf_standards=["ua-1"],
                    timestamp=as_utc(now).replace(microsecond=0, tzinfo=UTC),
                )
            except typst.TypstError as error:
                new = _missing_groups(str(error)) - groups
                if not new:
                    raise _unsettable(error) from error
                groups |= new
            else:
                assert isinstance(document, bytes)
                return document
    raise _unsettable("too many of its characters are in no font")


def _unsettable(why: object) -> ReportError:
    return ReportError(f"The PDF cannot be set: {why}", next_step="Ask for HTML instead.")


def _missing_groups(message: str) -> set[str]:
    """The groups of the characters that an error says no font has; nothing where it says something else."""
    found = _MISSING.search(message)
    if found is None:
        return set()
    text = _ESCAPE.sub(lambda escape: chr(int(escape[1], 16)), found[1])  # what Rust does not print as it is
    return {_group(character) for character in text if ord(character) >= 0x80}


def _group(character: str) -> str:
    """What mostly is in a font, or is not, as a whole: characters of one script, by the first word of their
    names, and pictograms."""
    if ord(character) >= _FIRST_PICTOGRAM and unicodedata.category(character) in ("So", "Sk"):
        return "pictograms"
    script = unicodedata.name(character, character).partition(" ")[0]
    return character if script in _PARTLY_KNOWN else script


def _spelled(value: Any, groups: Collection[str]) -> Any:
    """Values with the characters of these groups written by their codes."""
    if isinstance(value, str):
        return "".join(f"[U+{ord(c):04X}]" if _group(c) in groups else c for c in value) if groups else value
    if isinstance(value, Mapping):
        return {key: _spelled(one, groups) for key, one in value.items()}
    return [_spelled(one, groups) for one in value] if isinstance(value, list | tuple) else value
