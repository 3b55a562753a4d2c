"""A page: a template filled in, with everything it shows inside the one file.

Enters: a template of ``templates/`` and plain values. Leaves: HTML. The one rule: whatever comes from users
(names, titles, paths) is escaped by the template engine, and the page itself forbids scripts and requests.
"""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fairbrush import __version__
from fairbrush.errors import ReportError
from fairbrush.reports.pages.words import INSTALL, Language, Words, visible

if TYPE_CHECKING:
    from jinja2 import Environment

TEMPLATES = Path(__file__).parent / "templates"


def render(template: str, *, words: Words, **values: Any) -> str:
    """``template``: its file's name, an extension of ``page.html``. Raises ReportError.

    Templates find ``_()``, ``{% trans %}`` and the filters money, percent, number, day, moment, listing and
    visible; a value that is missing is an error, not a blank.
    """
    environment = _environment(words.language)
    page: str = environment.get_template(template).render(words=words, version=__version__, **values)
    return page.encode("utf-8", "backslashreplace").decode()


@cache
def _environment(language: Language) -> Environment:
    try:
        from jinja2 import Environment, FileSystemLoader, StrictUndefined
        from jinja2.ext import InternationalizationExtension
    except ImportError as error:
        raise ReportError(f"Pages need more packages ({error}).", next_step=INSTALL) from error
    words = Words.of(language)
    environment = Environment(
        loader=FileSystemLoader(TEMPLATES),
        extensions=[InternationalizationExtension],
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.policies["ext.i18n.trimmed"] = True
    environment.install_gettext_translations(words.translations, newstyle=True)
    environment.filters.update(
        money=words.money,
        percent=words.percent,
        number=words.number,
        day=words.day,
        moment=words.moment,
        listing=words.listing,
        visible=visible,
    )
    return environment
