"""Prompts of coalitions. Enters: a template, or a user's prompt and the artists' names. Leaves: texts.

The one rule: the content is the model's part. It names no artist, so that a coalition's prompt names its
own artists and nobody else.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from fairbrush.corpus.generation.facts import LONGEST_PROMPT
from fairbrush.corpus.hints import Mention, NameFinder, words_of
from fairbrush.errors import PromptError

_PLACEHOLDER = re.compile(r"\{(content|artists)\}")
_SEPARATORS = " ,;:|/-–—\t\n"
_MOST_ROUNDS = 20  # a name taken out of a name may leave a name
_DEEPEST = 8  # brackets around a name


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


@dataclass(frozen=True)
class Content:
    """A prompt without its artists, and the ids of those it named, sorted."""

    text: str
    artist_ids: tuple[str, ...]


def content_of(prompt: str, finder: NameFinder) -> Content:
    """The prompt without the names the finder knows, the words that led to them, and ``<lora:...>`` tags.

    A name it does not know stays: nobody in the game is called so. Takes time in proportion to the prompt.
    Raises PromptError where no content is left, or the prompt is longer than is read.

    >>> finder = NameFinder.of({"a1": ["Greg Rutkowski"], "a2": ["Mucha"]})
    >>> content_of("a fox, art by (greg rutkowski:1.2) and Mucha, highly detailed", finder)
    Content(text='a fox, highly detailed', artist_ids=('a1', 'a2'))
    """
    if len(prompt) > LONGEST_PROMPT:
        raise PromptError(
            f"The prompt has {len(prompt)} characters; at most {LONGEST_PROMPT} are read.",
            next_step="Shorten it.",
        )
    found = set(finder.find(prompt))
    text = " ".join(prompt.replace(_NAME, " ").split())
    for _ in range(_MOST_ROUNDS):
        untagged = _TAG.sub(" ", text)
        mentions = finder.mentions(untagged)
        if untagged == text and not mentions:
            break
        found.update(*(mention.artist_ids for mention in mentions))
        text = _tidied(_without_names(untagged, mentions))
    else:
        raise PromptError(
            f"The prompt has names within names, {_MOST_ROUNDS} deep.",
            next_step="Give a plain one with --prompt.",
        )
    if set(words_of(text)) <= _CONNECTING:
        raise _no_content()
    return Content(text, tuple(sorted(found)))


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


_NAME = "\0"  # stands where a name stood
_TAG = re.compile(r"<(?:lora|lyco|hypernet):[^<>]*>", re.IGNORECASE)
_CONNECTING = frozenset(words_of("a an and artist artists by in of or s style styles the with"))


def _pattern(text: str) -> re.Pattern[str]:
    """``text`` as it is read here: a space is an underscore too, ``@`` a name; a word starts at ``~``
    and ends at ``%``.

    No part of unbounded length is followed by something that may be missing, so a search is linear.
    """
    text = text.replace("~", r"(?<![^\W_])").replace("%", r"(?![^\W_])")
    return re.compile(text.replace(" ", "[ _]").replace("@", _NAME), re.IGNORECASE)


_AND = r"(?:and|or|&|\+|x|meets|(?:mixed )?with)"
_STYLES = "(?:styles?|manner|spirit|aesthetics?|techniques?)"
_PAINTED = "(?:painted|drawn|illustrated|created|made|designed|inspired|influenced|rendered|photographed)"
_CLAUSE = r"(?:^|(?<=[,;.(\[|])|(?<=[,;.(\[|] ))"  # where a clause starts
_STYLE_OF = f"(?:(?:in|with|using) (?:(?:the|an?) (?:\\w{{1,20}} )?)?|the )?{_STYLES} (?:of|by|from)"
_BY = (
    f"(?:{_CLAUSE}(?:(?:an?|the) )?(?:art|artworks?|works?|masterpiece) |~(?:as )?(?:if )?{_PAINTED} |~)by"
    "(?: the)?(?: famous)?(?: artists?)?"
)
_LED = f"(?:~{_STYLE_OF}|{_BY}|~(?:reminiscent of|homage to|à la|a la|after|like))(?: both)? ?:? ?"
# one after the other, until nothing changes: what is part of a name's own syntax becomes the name
_AROUND = (
    (_pattern(r"@ ?:-? ?[\d.]{1,8}"), _NAME),  # name:1.2
    (_pattern(r"~artists? ?:? ?@|[\x40#]@|@ ?\\?\(artist\\?\)"), _NAME),
    (_pattern(f"@(?: ?[,&+/|;:、，]? ?(?:~{_AND} )?(?:{_LED})?@)+"), _NAME),
    (_pattern(r"""\\?[(\[{"'“‘] ?@ ?\\?[)\]}"'”’]"""), _NAME),
    (_pattern(f"(?:~(?:in|with|using) )?(?:~(?:the|an?) )?@(?:['’]s?)?[-_]? ?(?:art )?{_STYLES}%"), _NAME),
    (_pattern("@[-_]? ?(?:styled?|inspired|esque|like)%|@(?:['’]s?)"), _NAME),
)
# then, once: the words that led to it
_LEADING = (
    (_pattern(r"~(by|of) @,? (?:and|&|\+) (?=\w)(?!(?:an?|the|in|very|highly)%)"), r"\1 "),  # and a stranger
    (_pattern(f"{_CLAUSE}@,? {_AND} "), " "),
    (_pattern(f"(?:~{_AND} )?{_LED}@"), " "),
    (_pattern(f"(?:~(?:{_AND}|of) )?@"), " "),
)
_PUNCTUATION = (
    (re.compile(r"(?:[(\[{][ ,|:;.]{0,8}[)\]}])"), " "),
    (re.compile(r" +"), " "),
    (re.compile(r"([(\[{]) ?[,;|:] ?"), r"\1"),
    (re.compile(r"(?:\| ?)+\|"), "|"),
    (re.compile(r" ?[,;|] ?([)\]}])"), r"\1"),
    (re.compile(r"(?: ?[,;])+ ?([,;.])"), r"\1"),
    (re.compile(r"([.!?])(?: [.,;])+"), r"\1"),
    (re.compile(r" ([,;.])(?![^ ])"), r"\1"),
)


def _without_names(text: str, mentions: Sequence[Mention]) -> str:
    parts, end = [], 0
    for mention in mentions:
        parts += [text[end : mention.start], _NAME]
        end = mention.end
    bare = "".join([*parts, text[end:]])
    for _ in range(_DEEPEST):
        before = bare
        for pattern, kept in _AROUND:
            bare = pattern.sub(kept, bare)
        if bare == before:
            break
    for pattern, kept in _LEADING:
        bare = pattern.sub(kept, bare)
    return bare


def _tidied(text: str) -> str:
    """Without empty brackets, doubled commas and loose ends."""
    for pattern, kept in _PUNCTUATION:
        text = pattern.sub(kept, text)
    return " ".join(text.split()).strip(" ,;:|_&+/-")
