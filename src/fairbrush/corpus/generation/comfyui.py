"""ComfyUI's graphs. Enters: the ``prompt`` text, else the ``workflow`` one. Leaves: ``GenerationMetadata``.

``prompt`` is what was run: ``{node id: {"class_type": ..., "inputs": {name: value or [node id, output]}}}``.
``workflow`` is what the editor shows; it is turned into the same shape, as far as its nodes are known.

The one rule: from the sampler whose picture was saved, follow links by what they are called and not by what
the nodes are, since anybody can write a node. Each walk visits a node once and at most ``MOST_VISITS`` nodes,
so a cycle ends and a large graph costs little.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from fairbrush.corpus.generation.facts import (
    LARGEST_SEED,
    LONGEST_PROMPT,
    MOST_STEPS,
    GenerationMetadata,
    Tool,
    as_number,
    as_prompt,
    as_size,
    as_whole,
    as_word,
    parse_json,
)
from fairbrush.errors import GenerationUnreadableError

MOST_NODES = 20_000
MOST_VISITS = 2_000
MOST_INPUTS = 200  # of one node

POSITIVE, NEGATIVE = "positive", "negative"
_ENCODED = ("text", "text_g", "text_l", "t5xxl", "clip_g", "clip_l")
_STRING_WORDS = ("text", "string", "prompt", "value", "wildcard")
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
    "UNETLoader": ("unet_name",),
    "CFGGuider": ("cfg",),
}


@dataclass(frozen=True)
class Node:
    """``inputs``: values, and links as ``[node id, output]``."""

    kind: str
    inputs: Mapping[str, Any]

    def link(self, name: str) -> str | None:
        """The id of the node an input comes from; None for a value, or for nothing."""
        value = self.inputs.get(name)
        if isinstance(value, list) and len(value) == 2 and isinstance(value[0], str | int):
            return str(value[0])
        return None

    @property
    def is_sampler(self) -> bool:
        """Something is drawn here under a prompt."""
        is_conditioned = self.link(POSITIVE) or self.link("conditioning")
        return bool(self.link("guider") or (is_conditioned and _SAMPLING & self.inputs.keys()))


Graph = Mapping[str, Node]


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
            node_id: Node(node["class_type"], node["inputs"])
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
    return Node(node["type"], inputs)


def _is_id(value: object) -> bool:
    return isinstance(value, int | str)


def _metadata(graph: Graph) -> GenerationMetadata:
    sampler_id = _saved_sampler(graph)
    if sampler_id is None:
        return GenerationMetadata(Tool.COMFYUI)
    width = height = None
    latent = graph.get(graph[sampler_id].link("latent_image") or "")
    if latent is not None:
        width, height = (_value(graph, latent, name) for name in ("width", "height"))
    near = ("guider", "noise", "sampler", "sigmas", POSITIVE, "conditioning")

    def setting(*names: str, through: tuple[str, ...] = near) -> Any:
        return _upstream(graph, sampler_id, names, through)

    return GenerationMetadata(
        tool=Tool.COMFYUI,
        prompt=as_prompt(_prompt(graph, sampler_id, POSITIVE)),
        negative_prompt=as_prompt(_prompt(graph, sampler_id, NEGATIVE)),
        seed=as_whole(setting("seed", "noise_seed"), most=LARGEST_SEED),
        steps=as_whole(setting("steps"), most=MOST_STEPS),
        sampler=as_word(setting("sampler_name")),
        scheduler=as_word(setting("scheduler")),
        guidance=as_number(setting("cfg", "guidance")),
        model=as_word(setting("ckpt_name", "unet_name", through=("model", "guider"))),
        size=as_size(width, height),
    )


def _walk(graph: Graph, starts: list[str]) -> Iterator[tuple[str, Node, deque[str]]]:
    """Nodes in breadth first order; whoever takes them appends the next to visit."""
    waiting, seen = deque(starts), set[str]()
    while waiting and len(seen) < MOST_VISITS:
        node_id = waiting.popleft()
        node = graph.get(node_id)
        if node is not None and node_id not in seen:
            seen.add(node_id)
            yield node_id, node, waiting


def _links(node: Node) -> list[str]:
    return [found for name in node.inputs if (found := node.link(name))]


def _saved_sampler(graph: Graph) -> str | None:
    """The sampler nearest to a node that saves pictures; else the first there is."""
    starts = [node_id for node_id, node in graph.items() if "Save" in node.kind or "Preview" in node.kind]
    for node_id, node, waiting in _walk(graph, starts):
        if node.is_sampler:
            return node_id
        waiting.extend(_links(node))
    return next((node_id for node_id, node in graph.items() if node.is_sampler), None)


def _upstream(graph: Graph, start: str, names: tuple[str, ...], through: tuple[str, ...]) -> Any:
    """The first value of one of these names, at a node or where its links of certain names lead."""
    for _, node, waiting in _walk(graph, [start]):
        for name in names:
            if name in node.inputs and (value := _value(graph, node, name)) is not None:
                return value
        waiting.extend(found for name in through if (found := node.link(name)))
    return None


def _value(graph: Graph, node: Node, name: str) -> Any:
    """An input's value, also where it comes from a node that only holds one."""
    linked = node.link(name)
    if linked is None:
        return node.inputs.get(name)
    for _, source, waiting in _walk(graph, [linked]):
        for key in (name, "value", "int", "float", "string", "seed"):
            if key in source.inputs:
                onward = source.link(key)
                if onward is None:
                    return source.inputs[key]
                waiting.append(onward)
                break
    return None


def _prompt(graph: Graph, sampler_id: str, role: str) -> str:
    """All the texts that condition a sampler in one role, each once, in the order they are reached."""
    sampler = graph[sampler_id]
    holder = graph.get(sampler.link("guider") or "", sampler)
    first = holder.link(role) or (holder.link("conditioning") if role == POSITIVE else None)
    texts = [] if first else _strings(graph, holder, (role,))
    for _, node, waiting in _walk(graph, [first] if first else []):
        if node.is_sampler:
            continue  # another picture's
        if role in node.inputs:  # a control net, or a loader that holds both texts
            linked = node.link(role)
            waiting.extend([linked] if linked else ())
            texts += [] if linked else _strings(graph, node, (role,))
        elif encoded := tuple(name for name in _ENCODED if name in node.inputs):
            texts += _strings(graph, node, encoded)
        else:
            waiting.extend(found for name in node.inputs if name not in _ELSEWHERE
                           if (found := node.link(name)))  # fmt: skip
    return _joined(texts)


def _strings(graph: Graph, node: Node, names: tuple[str, ...]) -> list[str]:
    """The texts of these inputs; a linked one is put together from all the texts behind it."""
    found: list[str] = []
    for name in names:
        value, linked = node.inputs.get(name), node.link(name)
        if isinstance(value, str):
            found.append(value)
        elif linked is not None:
            parts: list[str] = []
            for _, source, waiting in _walk(graph, [linked]):
                for key, part in source.inputs.items():
                    if NEGATIVE in key.casefold() or not any(w in key.casefold() for w in _STRING_WORDS):
                        continue
                    onward = source.link(key)
                    waiting.extend([onward] if onward else ())
                    parts += [part] if isinstance(part, str) else []
            found.append(_joined(parts))
    return found


def _joined(texts: list[str]) -> str:
    kept: dict[str, None] = {}
    n_characters = 0
    for text in texts:
        if text and text not in kept and n_characters <= LONGEST_PROMPT:
            kept[text] = None
            n_characters += len(text)
    return "\n".join(kept)
