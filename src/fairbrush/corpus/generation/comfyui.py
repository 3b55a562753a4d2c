"""ComfyUI's graphs. Enters: the ``prompt`` text, else the ``workflow`` one. Leaves: ``GenerationMetadata``.

``prompt`` is what was run: ``{node id: {"class_type": ..., "inputs": {name: value or [node id, output]}}}``.
``workflow`` is what the editor shows; it is turned into the same shape, as far as its nodes are known.

The one rule: from the sampler whose picture was saved, follow links by what they are called and not by what
the nodes are, since anybody can write a node. A walk visits a node once, and all walks together visit at most
``MOST_VISITS``, so a cycle ends and a hostile graph costs little.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import chain
from typing import Any

from fairbrush.corpus.generation.facts import (
    LARGEST_SEED,
    LONGEST_PROMPT,
    LONGEST_WORD,
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

MOST_NODES = 20_000
MOST_VISITS = 10_000
MOST_INPUTS = 100  # of one node

POSITIVE, NEGATIVE = "positive", "negative"
_ENCODED = ("text", "text_g", "text_l", "t5xxl", "clip_g", "clip_l")
_STRING_WORDS = ("text", "string", "prompt", "value", "wildcard")
_VALUE_NAMES = ("value", "int", "float", "string", "seed")
# links that lead away from the prompt, to weights, pictures or another sampler
_ELSEWHERE = frozenset(
    {"clip", "control_net", "guider", "image", "images", "latent", "latent_image", "mask", "model", "noise"}
    | {"pixels", "sampler", "samples", "sigmas", "style_model", "vae", "clip_vision", "clip_vision_output"}
)
_SAMPLING = frozenset({"seed", "noise_seed", "steps", "sampler_name", "sigmas"})
# what a workflow's widgets are called: the editor keeps their values in order, without names
_WIDGETS: dict[str, tuple[str, ...]] = {
    "CLIPTextEncode": ("text",),
    "KSampler": ("seed", "", "steps", "cfg", "sampler_name", "scheduler"),
    "KSamplerAdvanced": ("", "noise_seed", "", "steps", "cfg", "sampler_name", "scheduler"),
    "CheckpointLoaderSimple": ("ckpt_name",),
    "EmptyLatentImage": ("width", "height"),
    "EmptySD3LatentImage": ("width", "height"),
    "PrimitiveNode": ("value",),
    "PrimitiveString": ("value",),
    "PrimitiveStringMultiline": ("value",),
    "RandomNoise": ("noise_seed",),
    "KSamplerSelect": ("sampler_name",),
    "BasicScheduler": ("scheduler", "steps"),
    "LoraLoader": ("lora_name", "strength_model"),
    "LoraLoaderModelOnly": ("lora_name", "strength_model"),
    "UNETLoader": ("unet_name",),
    "CFGGuider": ("cfg",),
}


@dataclass(frozen=True)
class Node:
    """``inputs``: values, and links as ``[node id, output]``. ``origins``: the links' node ids."""

    kind: str
    inputs: Mapping[str, Any]
    origins: Mapping[str, str]

    @classmethod
    def of(cls, kind: str, inputs: Mapping[str, Any]) -> Node:
        """Looked through once, as many walks may come by; inputs with names of any length are left out."""
        inputs = {name: value for name, value in inputs.items() if len(name) <= LONGEST_WORD}
        origins = {
            name: str(value[0])
            for name, value in inputs.items()
            if isinstance(value, list) and len(value) == 2 and isinstance(value[0], str | int)
        }
        return cls(kind, inputs, origins)

    def link(self, name: str) -> str | None:
        """The id of the node an input comes from; None for a value, or for nothing."""
        return self.origins.get(name)

    @property
    def is_sampler(self) -> bool:
        """Something is drawn here under a prompt."""
        is_conditioned = self.link(POSITIVE) or self.link("conditioning")
        return bool(self.link("guider") or (is_conditioned and _SAMPLING & self.inputs.keys()))


@dataclass
class Graph:
    """``visits_left``: shared by all walks."""

    nodes: Mapping[str, Node]
    visits_left: int = MOST_VISITS

    def walk(self, *starts: str | None) -> Iterator[tuple[Node, deque[str | None]]]:
        """Nodes, breadth first; whoever takes them appends the ids to visit next."""
        waiting, seen = deque(starts), set[str | None]()
        while waiting and self.visits_left:
            node_id = waiting.popleft()
            node = None if node_id is None or node_id in seen else self.nodes.get(node_id)
            if node is not None:
                seen.add(node_id)
                self.visits_left -= 1
                yield node, waiting


class Texts:
    """Texts, each once, until there are more characters than a prompt may have."""

    def __init__(self) -> None:
        self._kept: dict[str, None] = {}
        self._n_characters = 0

    @property
    def is_full(self) -> bool:
        return self._n_characters > LONGEST_PROMPT

    def add(self, text: object) -> None:
        if isinstance(text, str) and text and text not in self._kept and not self.is_full:
            self._kept[text[:LONGEST_PROMPT]] = None
            self._n_characters += len(text)

    def __str__(self) -> str:
        return "\n".join(self._kept)


def parse_prompt(text: str) -> GenerationMetadata:
    """The ``prompt`` text. Raises GenerationUnreadableError.

    >>> parse_prompt('''{"3": {"class_type": "KSampler", "inputs": {
    ...     "seed": 5, "steps": 20, "cfg": 7.0, "positive": ["6", 0], "negative": ["7", 0]}},
    ...   "6": {"class_type": "CLIPTextEncode", "inputs": {"text": "a cat"}},
    ...   "7": {"class_type": "CLIPTextEncode", "inputs": {"text": "a dog"}}}''').prompt
    'a cat'
    """
    found = parse_json(text, what="ComfyUI's prompt")
    if not isinstance(found, dict) or len(found) > MOST_NODES:
        raise GenerationUnreadableError(f"ComfyUI's prompt is no object of up to {MOST_NODES:,} nodes.")
    return _metadata(
        {
            node_id: Node.of(node["class_type"], node["inputs"])
            for node_id, node in found.items()
            if isinstance(node, dict)
            and isinstance(node.get("class_type"), str)
            and isinstance(node.get("inputs"), dict)
            and len(node["inputs"]) <= MOST_INPUTS
        }
    )


def parse_workflow(text: str) -> GenerationMetadata:
    """The ``workflow`` text, where there is no ``prompt``. Raises GenerationUnreadableError.

    >>> parse_workflow('''{"links": [[1, 6, 0, 3, 1, "CONDITIONING"]], "nodes": [
    ...   {"id": 3, "type": "KSampler", "widgets_values": [5, "fixed", 20, 7.0, "euler", "normal", 1.0],
    ...    "inputs": [{"name": "positive", "link": 1}]},
    ...   {"id": 6, "type": "CLIPTextEncode", "widgets_values": ["a cat"]}]}''').prompt
    'a cat'
    """
    found = parse_json(text, what="ComfyUI's workflow")
    nodes = found.get("nodes") if isinstance(found, dict) else None
    if not isinstance(nodes, list) or len(nodes) > MOST_NODES:
        raise GenerationUnreadableError(f"ComfyUI's workflow is no object of up to {MOST_NODES:,} nodes.")
    links = found.get("links")
    origins = {
        link[0]: [str(link[1]), link[2]]
        for link in (links if isinstance(links, list) else ())
        if isinstance(link, list) and len(link) >= 3 and isinstance(link[0], int) and _is_id(link[1])
    }
    return _metadata(
        {
            str(node["id"]): _shown_node(node, origins)
            for node in nodes
            if isinstance(node, dict) and _is_id(node.get("id")) and isinstance(node.get("type"), str)
        }
    )


def _shown_node(node: Mapping[str, Any], origins: Mapping[int, list[Any]]) -> Node:
    """A node of the editor in the shape of one that was run."""
    values = node.get("widgets_values")
    names = _WIDGETS.get(node["type"], ())
    inputs: dict[str, Any] = {
        name: value
        for name, value in zip(names, values if isinstance(values, list) else (), strict=False)
        if name
    }
    shown = node.get("inputs")
    for one in shown[:MOST_INPUTS] if isinstance(shown, list) else ():
        if isinstance(one, dict) and isinstance(one.get("name"), str) and isinstance(one.get("link"), int):
            inputs |= {one["name"]: origins[one["link"]]} if one["link"] in origins else {}
    return Node.of(node["type"], inputs)


def _is_id(value: object) -> bool:
    return isinstance(value, int | str)


def _metadata(nodes: Mapping[str, Node]) -> GenerationMetadata:
    graph = Graph(nodes)
    sampler = _saved_sampler(graph)
    if sampler is None:
        return GenerationMetadata(Tool.COMFYUI)
    latent = nodes.get(sampler.link("latent_image") or "")
    width, height = (_value(graph, latent, name) if latent else None for name in ("width", "height"))
    near = ("guider", "noise", "sampler", "sigmas", POSITIVE, "conditioning")

    def setting(*names: str, through: tuple[str, ...] = near) -> Any:
        return _upstream(graph, sampler, names, through)

    return GenerationMetadata(
        tool=Tool.COMFYUI,
        prompt=as_prompt(_prompt(graph, sampler, POSITIVE)),
        negative_prompt=as_prompt(_prompt(graph, sampler, NEGATIVE)),
        seed=as_whole(setting("seed", "noise_seed"), most=LARGEST_SEED),
        steps=as_whole(setting("steps"), most=MOST_STEPS),
        sampler=as_word(setting("sampler_name")),
        scheduler=as_word(setting("scheduler")),
        guidance=as_number(setting("cfg", "guidance")),
        model=as_word(setting("ckpt_name", "unet_name", through=("model", "guider"))),
        size=as_size(width, height),
        loras=as_loras(
            (node.inputs.get("lora_name"), node.inputs.get("strength_model"))
            for node in _follow(graph, sampler, ("model", "guider"))
        ),
    )


def _saved_sampler(graph: Graph) -> Node | None:
    """The sampler nearest to a node that saves pictures; else the first there is."""
    saving = [key for key, node in graph.nodes.items() if "Save" in node.kind or "Preview" in node.kind]
    for node, waiting in graph.walk(*saving):
        if node.is_sampler:
            return node
        waiting.extend(map(node.link, node.inputs))
    return next((node for node in graph.nodes.values() if node.is_sampler), None)


def _upstream(graph: Graph, start: Node, names: tuple[str, ...], through: tuple[str, ...]) -> Any:
    """The first value of one of these names, at a node or where its links of certain names lead."""
    for node in chain([start], _follow(graph, start, through)):
        for name in names:
            if name in node.inputs and (value := _value(graph, node, name)) is not None:
                return value
    return None


def _follow(graph: Graph, start: Node, through: tuple[str, ...]) -> Iterator[Node]:
    for node, waiting in graph.walk(*map(start.link, through)):
        yield node
        waiting.extend(map(node.link, through))


def _value(graph: Graph, node: Node, name: str) -> Any:
    """An input's value, also where it comes from a node that only holds one."""
    linked = node.link(name)
    if linked is None:
        return node.inputs.get(name)
    for source, waiting in graph.walk(linked):
        key = next((key for key in (name, *_VALUE_NAMES) if key in source.inputs), name)
        if source.link(key) is None:
            return source.inputs.get(key)
        waiting.append(source.link(key))
    return None


def _prompt(graph: Graph, sampler: Node, role: str) -> str:
    """All the texts that condition a sampler in one role, in the order they are reached."""
    holder = graph.nodes.get(sampler.link("guider") or "", sampler)
    first = holder.link(role) or (holder.link("conditioning") if role == POSITIVE else None)
    texts = Texts()
    texts.add(holder.inputs.get(role))
    for node, waiting in graph.walk(first):
        if texts.is_full:
            break
        if node.is_sampler:
            continue  # another picture's
        if role in node.inputs:  # a control net, or a loader that holds both texts
            texts.add(node.inputs[role])
            waiting.append(node.link(role))
        elif encoded := [name for name in _ENCODED if name in node.inputs]:
            for name in encoded:
                texts.add(_text(graph, node, name))
        else:
            waiting.extend(node.link(name) for name in node.inputs if name not in _ELSEWHERE)
    return str(texts)


def _text(graph: Graph, node: Node, name: str) -> object:
    """An input's text; a linked one is put together from all the texts behind it."""
    linked = node.link(name)
    if linked is None:
        return node.inputs.get(name)
    texts = Texts()
    for source, waiting in graph.walk(linked):
        for key, value in source.inputs.items():
            said = key.casefold()
            if NEGATIVE not in said and any(word in said for word in _STRING_WORDS):
                texts.add(value)
                waiting.append(source.link(key))
    return str(texts)
