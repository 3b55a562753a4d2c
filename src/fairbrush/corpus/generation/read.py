"""The one door: what an image's file says about how it was generated.

Enters: a file or its bytes, from anybody. Leaves: ``GenerationMetadata``, or None where nothing is said.
The one rule: it is a claim. Nothing is decoded, nothing is trusted, and time and memory are bounded.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from pathlib import Path

from fairbrush.corpus.generation.automatic1111 import is_parameters, parse_parameters
from fairbrush.corpus.generation.comfyui import parse_prompt, parse_workflow
from fairbrush.corpus.generation.embedded import EmbeddedTexts, embedded_texts
from fairbrush.corpus.generation.facts import GenerationMetadata, parse_json
from fairbrush.corpus.generation.invokeai import parse_dream, parse_metadata, parse_sd_metadata
from fairbrush.corpus.images import ImageLimits, read_file
from fairbrush.errors import GenerationUnreadableError

_Parser = Callable[[str], GenerationMetadata]

# in this order: programs that write several kinds write AUTOMATIC1111's to be understood
_PARSERS: dict[str, _Parser] = {
    "parameters": parse_parameters,
    "prompt": parse_prompt,
    "workflow": parse_workflow,
    "invokeai_metadata": parse_metadata,
    "sd-metadata": parse_sd_metadata,
    "dream": parse_dream,
}


def read_generation(image: Path | bytes) -> GenerationMetadata | None:
    """The first metadata that can be read, those with a prompt before those without; None: there are none.

    Raises GenerationUnreadableError where there are some and none can be read; for a path, ImageRefusedError.

    >>> read_generation(b"no image at all") is None
    True
    """
    texts = embedded_texts(image if isinstance(image, bytes) else read_file(image, ImageLimits()))
    problems = list(texts.problems)  # not the errors, whose tracebacks would hold the file's bytes
    found: list[GenerationMetadata] = []
    for parse, text in _readable(texts):
        try:
            read = parse(text)
        except GenerationUnreadableError as problem:
            problems.append(problem.message)
            continue
        if read.prompt is not None:
            return read
        found.append(read)
    if not found and problems:
        raise GenerationUnreadableError(problems[0])
    return found[0] if found else None


def _readable(texts: EmbeddedTexts) -> Iterator[tuple[_Parser, str]]:
    for keyword, parse in _PARSERS.items():
        text = texts.by_keyword.get(keyword, "")
        if text.strip() and not (parse is parse_parameters and _is_json_object(text)):
            yield parse, text
    if texts.comment is not None and is_parameters(texts.comment):
        yield parse_parameters, texts.comment


def _is_json_object(text: str) -> bool:
    """Fooocus and SwarmUI write JSON of their own; read as a prompt it would hold the negative one too."""
    if text.lstrip().startswith("{"):
        with contextlib.suppress(GenerationUnreadableError):
            return isinstance(parse_json(text, what="parameters"), dict)
    return False
