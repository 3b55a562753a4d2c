"""A page for paper: PDF, set by Typst, whose compiler and fonts come with its package.

Enters: a Typst template of ``templates/``, plain values, pictures. Leaves: PDF/UA, which a screen reader can
read. The one rule: values reach the template as data, never as markup, and the compiler sees our files only.
"""

from __future__ import annotations

import json
import tempfile
from collections.abc import Mapping
from datetime import datetime
from pathlib import Path
from typing import Any

from fairbrush.errors import ReportError
from fairbrush.reports.pages.page import TEMPLATES
from fairbrush.reports.pages.words import INSTALL


def render_pdf(
    template: str, values: Mapping[str, Any], *, now: datetime, pictures: Mapping[str, bytes] | None = None
) -> bytes:
    """``values`` are ``json(bytes(sys.inputs.values))`` in the template, ``pictures`` files beside it.

    ``now`` is the document's date, so that the same report gives the same bytes. Raises ReportError.
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
        try:
            document = typst.compile(  # type: ignore[type-var,unused-ignore]
                source,
                root=folder,
                sys_inputs={"values": json.dumps(values, ensure_ascii=False)},
                pdf_standards=["ua-1"],
                timestamp=now,
            )
        except typst.TypstError as error:
            raise ReportError(f"The PDF cannot be set: {error}", next_step="Ask for HTML instead.") from error
    assert isinstance(document, bytes)
    return document
