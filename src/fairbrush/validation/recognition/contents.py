"""What is drawn to see a style: prompt contents that name nobody's.

Enters: a number, or a file with one content a line. Leaves: texts. The one rule: a content says what is
drawn and never how, so that what a name adds is the name's own.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from fairbrush.corpus.generation.facts import LONGEST_PROMPT
from fairbrush.errors import PromptError

# things, animals, people, places in turn, so that the first ones are as mixed as all
CONTENTS = (
    "a house",
    "a dog",
    "a woman reading",
    "a bridge over a river",
    "a clock",
    "a bird",
    "a man with a hat",
    "a mountain village",
    "a bicycle",
    "a cat on a chair",
    "two children playing",
    "a street at night",
    "a teapot",
    "a fish",
    "a crowd at a market",
    "a forest in autumn",
    "a car",
    "a horse in a field",
    "an old sailor",
    "a castle on a hill",
    "a bowl of fruit",
    "an owl",
    "a dancer",
    "a beach with boats",
    "a guitar",
    "a fox in the snow",
    "a farmer at work",
    "a city seen from above",
    "a vase of flowers",
    "a butterfly",
    "a king on a throne",
    "a garden with a pond",
    "a sailing ship",
    "a bear",
    "a portrait of a girl",
    "a desert at noon",
    "a key and a letter",
    "an elephant",
    "a couple at a table",
    "a lighthouse in a storm",
)


def first_contents(count: int) -> tuple[str, ...]:
    """The first ``count`` of our own list. Raises PromptError.

    >>> first_contents(3)
    ('a house', 'a dog', 'a woman reading')
    """
    if not 1 <= count <= len(CONTENTS):
        raise PromptError(
            f"There are {len(CONTENTS)} contents, so {count} cannot be taken.",
            next_step="Give your own, one a line: --contents FILE.",
        )
    return CONTENTS[:count]


def read_contents(file: Path) -> tuple[str, ...]:
    """One content a line; blank lines and those that start with ``#`` are left out.

    Raises PromptError for a file that cannot be read or has none, or a content that is there twice or too
    long.
    """
    try:
        text = file.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise PromptError(
            f"{file} cannot be read: {error}.", next_step="Give a text file in UTF-8."
        ) from error
    return _checked((line.strip() for line in text.splitlines()), file)


def _checked(lines: Iterable[str], file: Path) -> tuple[str, ...]:
    contents: dict[str, None] = {}
    for line in lines:
        if not line or line.startswith("#"):
            continue
        if line in contents:
            raise PromptError(f"{file} says {line!r} twice.", next_step="More seeds draw it more often.")
        if len(line) > LONGEST_PROMPT:
            raise PromptError(
                f"{file} has a content of {len(line)} characters; at most {LONGEST_PROMPT} are read.",
                next_step="Shorten it.",
            )
        contents[line] = None
    if not contents:
        raise PromptError(f"{file} has no contents.", next_step="Write one a line, such as: a red fox.")
    return tuple(contents)
