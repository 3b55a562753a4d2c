"""InvokeAI's three generations of metadata. Enters: one of its texts. Leaves: ``GenerationMetadata``.

``invokeai_metadata`` (version 3 on) and ``sd-metadata`` (2) are JSON, ``dream`` (1) is a command line. In
versions 1 and 2 what stands in [brackets] inside the prompt is the negative prompt.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any

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
    parse_json,
)
from fairbrush.errors import GenerationUnreadableError

_IN_BRACKETS = re.compile(r"\[([^\[\]]*)\]")
_OPTION = re.compile(r"\s-(s|S|W|H|C|A)\s?([^\s-]\S*)")
_MOST_PARTS = 100  # of one weighted prompt


def parse_metadata(text: str) -> GenerationMetadata:
    """``invokeai_metadata``. Raises GenerationUnreadableError.

    >>> read = parse_metadata('{"positive_prompt": "a cat", "seed": 5, "model": {"name": "v", "hash": "a"}}')
    >>> read.prompt, read.seed, read.model, read.model_hash
    ('a cat', 5, 'v', 'a')
    """
    said = _object(parse_json(text, what="invokeai_metadata"), what="invokeai_metadata")
    model = said.get("model")
    named: Mapping[str, Any] = model if isinstance(model, dict) else {"name": model}
    return GenerationMetadata(
        tool=Tool.INVOKEAI,
        prompt=as_prompt(said.get("positive_prompt")),
        negative_prompt=as_prompt(said.get("negative_prompt")),
        seed=as_whole(said.get("seed"), most=LARGEST_SEED),
        steps=as_whole(said.get("steps"), most=MOST_STEPS),
        sampler=as_word(said.get("scheduler")),
        guidance=as_number(said.get("cfg_scale")),
        model=as_word(named.get("name")) or as_word(named.get("model_name")),
        model_hash=as_word(named.get("hash")),
        size=as_size(said.get("width"), said.get("height")),
        loras=as_loras(_loras(said.get("loras"))),
    )


def parse_sd_metadata(text: str) -> GenerationMetadata:
    """``sd-metadata``. Raises GenerationUnreadableError.

    >>> read = parse_sd_metadata('{"image": {"prompt": [{"prompt": "a cat [a dog]"}], "sampler": "k_lms"}}')
    >>> read.prompt, read.negative_prompt, read.sampler
    ('a cat', 'a dog', 'k_lms')
    """
    said = _object(parse_json(text, what="sd-metadata"), what="sd-metadata")
    image = _object(said.get("image"), what="The image in sd-metadata")
    prompt = image.get("prompt")
    if isinstance(prompt, list):
        parts = [part.get("prompt") for part in prompt[:_MOST_PARTS] if isinstance(part, dict)]
        prompt = "\n".join(part for part in parts if isinstance(part, str))
    positive, negative = _split_brackets(prompt if isinstance(prompt, str) else "")
    return GenerationMetadata(
        tool=Tool.INVOKEAI,
        prompt=positive,
        negative_prompt=negative,
        seed=as_whole(image.get("seed"), most=LARGEST_SEED),
        steps=as_whole(image.get("steps"), most=MOST_STEPS),
        sampler=as_word(image.get("sampler")),
        guidance=as_number(image.get("cfg_scale")),
        model=as_word(said.get("model_weights")),
        model_hash=as_word(said.get("model_hash")),
        size=as_size(image.get("width"), image.get("height")),
    )


def parse_dream(text: str) -> GenerationMetadata:
    """``dream``. Never raises.

    >>> read = parse_dream('"a cat [a dog]" -s 50 -S 12 -W 512 -H 768 -C 7.5 -A k_lms')
    >>> read.prompt, read.negative_prompt, read.steps, read.seed, read.size, read.guidance, read.sampler
    ('a cat', 'a dog', 50, 12, (512, 768), 7.5, 'k_lms')
    """
    text = text[:LONGEST_PROMPT].strip().removeprefix("dream>").strip()
    if text.startswith('"'):
        prompt, _, options = text[1:].rpartition('"')
    else:
        first = _OPTION.search(text)
        start = first.start() if first else len(text)
        prompt, options = text[:start], text[start:]
    said = {match[1]: match[2] for match in _OPTION.finditer(options)}
    positive, negative = _split_brackets(prompt)
    return GenerationMetadata(
        tool=Tool.INVOKEAI,
        prompt=positive,
        negative_prompt=negative,
        seed=as_whole(said.get("S"), most=LARGEST_SEED),
        steps=as_whole(said.get("s"), most=MOST_STEPS),
        sampler=as_word(said.get("A")),
        guidance=as_number(said.get("C")),
        size=as_size(said.get("W"), said.get("H")),
    )


def _loras(listed: object) -> Iterator[tuple[object, object]]:
    for one in listed[:_MOST_PARTS] if isinstance(listed, list) else ():
        if isinstance(one, dict):
            model = one.get("model") or one.get("lora")
            named = model if isinstance(model, dict) else {}
            yield named.get("name") or named.get("model_name"), one.get("weight")


def _split_brackets(prompt: str) -> tuple[str | None, str | None]:
    """What is wanted, and what is not."""
    prompt = prompt[:LONGEST_PROMPT]
    return as_prompt(_IN_BRACKETS.sub("", prompt)), as_prompt(", ".join(_IN_BRACKETS.findall(prompt)))


def _object(value: object, *, what: str) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise GenerationUnreadableError(f"{what} is no JSON object.")
    return value
