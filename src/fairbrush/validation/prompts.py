"""Prompts of coalitions. Enters: a template, a content, artists. Leaves: texts.

The one rule: the content is the model's part. It names no artist, so that a coalition's prompt names its
own artists and nobody else.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from fairbrush.errors import PromptError

_PLACEHOLDER = re.compile(r"\{(content|artists)\}")
_SEPARATORS = " ,;:|/-–—\t\n"


@dataclass(frozen=True)
class Template:
    """How a prompt names artists: beside a content, and alone. Each placeholder stands once, no other brace.

    >>> Template().both
    '{content}, in the style of {artists}'
    """

    both: str = "{content}, in the style of {artists}"
    artists_alone: str = "in the style of {artists}"
    conjunction: str = " and "

    def __post_init__(self) -> None:
        _check_placeholders(self.both, ["artists", "content"])
        _check_placeholders(self.artists_alone, ["artists"])

    @classmethod
    def parse(cls, both: str) -> Template:
        """A template of one text. Artists alone get what stands on their side of ``{content}``.

        Raises PromptError.

        >>> Template.parse("{content}, by {artists}").artists_alone
        'by {artists}'
        >>> Template.parse("{artists} style: {content}").artists_alone
        '{artists} style'
        """
        _check_placeholders(both, ["artists", "content"])
        before, after = both.split("{content}")
        return cls(both=both, artists_alone=(before if "{artists}" in before else after).strip(_SEPARATORS))


def coalition_prompt(template: Template, content: str, artists: Sequence[str], *, model: bool) -> str:
    """What a coalition draws: the model brings the content, each artist a name, nobody the empty prompt.

    Raises PromptError where the content, with the model, or a name is blank.

    >>> coalition_prompt(Template(), "a fox", ["Ann", "Bo", "Cy"], model=True)
    'a fox, in the style of Ann, Bo and Cy'
    >>> coalition_prompt(Template(), "a fox", ["Ann"], model=False)
    'in the style of Ann'
    """
    if not all(name.strip() for name in artists):
        raise PromptError("An artist of a coalition has a blank name.", next_step="Name the artist.")
    if model and not content.strip():
        raise _no_content()
    if not artists:
        return content if model else ""
    names = template.conjunction.join([*filter(None, [", ".join(artists[:-1])]), artists[-1]])
    text = template.both if model else template.artists_alone
    # in one go: a content that says {artists} is left as it is
    return _PLACEHOLDER.sub(lambda match: content if match[1] == "content" else names, text)


def _no_content() -> PromptError:
    return PromptError(
        "The prompt has no content once its artists are taken out.",
        next_step='Give one that says what is drawn: --prompt "a red fox in the snow".',
    )


def _check_placeholders(text: str, wanted: list[str]) -> None:
    rest = _PLACEHOLDER.sub("", text)
    if sorted(_PLACEHOLDER.findall(text)) == wanted and not set("{}") & set(rest):
        return
    placeholders = " and ".join(f"{{{name}}}" for name in reversed(wanted))
    raise PromptError(
        f"The template {text!r} must say {placeholders} once, with no other braces.",
        next_step='Give one such as "{content}, in the style of {artists}".',
    )
