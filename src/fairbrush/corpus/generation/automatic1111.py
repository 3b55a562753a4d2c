"""AUTOMATIC1111's ``parameters``, which many other programs write too. Enters: the text. Leaves: its fields.

a harbour, (oil painting:1.2)
Negative prompt: blurry
Steps: 20, Sampler: Euler a, CFG scale: 7, Seed: 1, Size: 512x512, Model hash: cc6cb27103, Model: v1-5
"""

from __future__ import annotations

import re

from fairbrush.corpus.generation.facts import (
    LARGEST_SEED,
    LONGEST_PROMPT,
    MOST_STEPS,
    GenerationMetadata,
    Tool,
    as_loras,
    as_number,
    as_prompt,
    as_size,
    as_whole,
    as_word,
)

NEGATIVE = "Negative prompt:"
SETTINGS = "Steps:"
# each part is bounded or ends at one character, so a search takes time in proportion to the text
_SETTING = re.compile(r'\s*(\w[\w /-]{0,60}):\s*("(?:\\.|[^"\\])*"|[^,]*)(?:,|$)')

_LORA = re.compile(r"<(?:lora|lyco):([^:<>]{1,300})(?::([0-9.]{1,20}))?[^<>]{0,100}>")


def is_parameters(text: str) -> bool:
    """Whether a text of unknown origin, such as a photograph's comment, is what this module reads.

    >>> is_parameters("a cat\\nSteps: 20, Seed: 1"), is_parameters("Next to Monet's garden")
    (True, False)
    """
    return any(line.startswith((NEGATIVE, SETTINGS)) for line in text[:LONGEST_PROMPT].splitlines())


def parse_parameters(text: str) -> GenerationMetadata:
    """Never raises: what is not understood is the prompt, as the program itself reads it.

    >>> read = parse_parameters("a cat\\nNegative prompt: dog\\nSteps: 20, Seed: 5, Size: 512x768, Model: v1")
    >>> read.prompt, read.negative_prompt, read.steps, read.seed, read.size, read.model
    ('a cat', 'dog', 20, 5, (512, 768), 'v1')
    """
    lines = text[: 2 * LONGEST_PROMPT].splitlines()
    settings_at = max((n for n, line in enumerate(lines) if line.startswith(SETTINGS)), default=len(lines))
    negative_at = next((n for n, line in enumerate(lines) if line.startswith(NEGATIVE)), settings_at)
    negative_at = min(negative_at, settings_at)
    said = _settings(" ".join(lines[settings_at:]))
    width, _, height = said.get("size", "").partition("x")
    return GenerationMetadata(
        tool=Tool.AUTOMATIC1111,
        prompt=as_prompt("\n".join(lines[:negative_at])),
        negative_prompt=as_prompt("\n".join(lines[negative_at:settings_at]).removeprefix(NEGATIVE)),
        seed=as_whole(said.get("seed"), most=LARGEST_SEED),
        steps=as_whole(said.get("steps"), most=MOST_STEPS),
        sampler=as_word(said.get("sampler")),
        scheduler=as_word(said.get("schedule type")),
        guidance=as_number(said.get("cfg scale")),
        model=as_word(said.get("model")),
        model_hash=as_word(said.get("model hash")),
        size=as_size(width, height),
        loras=as_loras(_LORA.findall("\n".join(lines[:settings_at]))),
    )


def _settings(text: str) -> dict[str, str]:
    """``Name: value`` pairs by name in lower case; the first of a name counts. Values may be quoted."""
    found: dict[str, str] = {}
    position = 0
    while position < len(text):
        match = _SETTING.match(text, position)
        if match is None:
            comma = text.find(",", position)
            position = len(text) if comma < 0 else comma + 1
            continue
        name, value = match[1].casefold(), match[2].strip()
        if len(value) > 1 and value[0] == value[-1] == '"':
            value = re.sub(r"\\(.)", r"\1", value[1:-1])
        found.setdefault(name, value)
        position = match.end()
    return found
