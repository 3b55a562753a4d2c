"""What files say about their own generation: every tool as it writes, and files made to do harm."""

import contextlib
import doctest
import json
import struct
import time
import zlib
from importlib import import_module
from io import BytesIO
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image, PngImagePlugin

from fairbrush.corpus.generation.comfyui import parse_prompt
from fairbrush.corpus.generation.embedded import KEYWORDS, MOST_PROBLEMS, MOST_TEXT_BYTES, embedded_texts
from fairbrush.corpus.generation.facts import LONGEST_PROMPT, GenerationMetadata, Tool
from fairbrush.corpus.generation.read import read_generation
from fairbrush.errors import GenerationUnreadableError

PNG_START = b"\x89PNG\r\n\x1a\n"
USER_COMMENT, EXIF_DIRECTORY, SOFTWARE = 0x9286, 0x8769, 0x0131
PARAMETERS = """a harbour at dawn, by (Ann Example:1.2),
<lora:boats_v2:0.8>
Negative prompt: blurry, by Bo Bad
Steps: 25, Sampler: DPM++ 2M Karras, CFG scale: 7.5, Seed: 1234567890, Size: 512x768, \
Model hash: cc6cb27103, Model: v1-5-pruned, Lora hashes: "boats_v2: 1a, Seed: 9", Version: v1.6.0"""
READ = GenerationMetadata(
    tool=Tool.AUTOMATIC1111,
    prompt="a harbour at dawn, by (Ann Example:1.2),\n<lora:boats_v2:0.8>",
    negative_prompt="blurry, by Bo Bad",
    seed=1234567890,
    steps=25,
    sampler="DPM++ 2M Karras",
    guidance=7.5,
    model="v1-5-pruned",
    model_hash="cc6cb27103",
    size=(512, 768),
    loras=("boats_v2:0.8",),
)


def saved(format_: str, **options: object) -> bytes:
    stream = BytesIO()
    Image.new("RGB", (8, 8), "teal").save(stream, format_, **options)
    return stream.getvalue()


def png(**texts: str) -> bytes:
    info = PngImagePlugin.PngInfo()
    for keyword, text in texts.items():
        info.add_text(keyword.replace("sd_", "sd-"), text)
    return saved("PNG", pnginfo=info)


def chunk(name: bytes, body: bytes) -> bytes:
    return struct.pack(">I", len(body)) + name + body + struct.pack(">I", zlib.crc32(name + body))


def png_with(*chunks: bytes) -> bytes:
    plain = saved("PNG")
    return plain[:-12] + b"".join(chunks) + plain[-12:]


def exif(comment: bytes, tags: dict[int, str] | None = None) -> Image.Exif:
    found = Image.Exif()
    found[SOFTWARE] = "any"  # with its sub-directory alone Pillow takes it for empty
    for tag, text in (tags or {}).items():
        found[tag] = text
    if comment:
        found.get_ifd(EXIF_DIRECTORY)[USER_COMMENT] = comment
    return found


def with_comment(text: str, encoding: str) -> Image.Exif:
    mark = b"ASCII\0\0\0" if encoding == "ascii" else b"UNICODE\0"
    return exif(mark + text.encode(encoding))


def comfyui(**changes: dict[str, object]) -> str:
    """A graph as ComfyUI runs it by default; ``changes`` to the inputs of node ``n3`` are ``n3={...}``."""
    nodes: dict[str, tuple[str, dict[str, object]]] = {
        "3": ("KSampler", {"seed": 42, "steps": 20, "cfg": 8.0, "sampler_name": "euler",
                           "scheduler": "normal", "denoise": 1.0, "model": ["4", 0], "positive": ["6", 0],
                           "negative": ["7", 0], "latent_image": ["5", 0]}),
        "4": ("CheckpointLoaderSimple", {"ckpt_name": "v1-5.safetensors"}),
        "5": ("EmptyLatentImage", {"width": 512, "height": 768, "batch_size": 1}),
        "6": ("CLIPTextEncode", {"text": "a harbour by Ann", "clip": ["4", 1]}),
        "7": ("CLIPTextEncode", {"text": "by Bo", "clip": ["4", 1]}),
        "8": ("VAEDecode", {"samples": ["3", 0], "vae": ["4", 2]}),
        "9": ("SaveImage", {"filename_prefix": "ComfyUI", "images": ["8", 0]}),
    }  # fmt: skip
    graph = {key: {"class_type": kind, "inputs": inputs} for key, (kind, inputs) in nodes.items()}
    for name, change in changes.items():
        node = graph.setdefault(name.removeprefix("n"), {"class_type": "Unknown", "inputs": {}})
        node["inputs"] |= change
    return json.dumps(graph)


RUN = GenerationMetadata(
    tool=Tool.COMFYUI,
    prompt="a harbour by Ann",
    negative_prompt="by Bo",
    seed=42,
    steps=20,
    sampler="euler",
    scheduler="normal",
    guidance=8.0,
    model="v1-5.safetensors",
    size=(512, 768),
)


@pytest.mark.parametrize(
    "content",
    [
        png(parameters=PARAMETERS),
        png_with(chunk(b"iTXt", b"parameters\0\0\0en\0\0" + PARAMETERS.encode())),
        png_with(chunk(b"iTXt", b"parameters\0\1\0\0\0" + zlib.compress(PARAMETERS.encode()))),
        png_with(chunk(b"zTXt", b"parameters\0\0" + zlib.compress(PARAMETERS.encode()))),
        saved("PNG", exif=with_comment(PARAMETERS, "utf-16-be")),
        saved("JPEG", exif=with_comment(PARAMETERS, "utf-16-be")),
        saved("JPEG", exif=with_comment(PARAMETERS, "utf-16-le")),
        saved("JPEG", exif=with_comment(PARAMETERS, "utf-16")),
        saved("JPEG", exif=with_comment(PARAMETERS, "ascii")),
        saved("WEBP", exif=with_comment(PARAMETERS, "utf-16-be")),
        saved("WEBP", lossless=True, exif=with_comment(PARAMETERS, "utf-16-be")),
        saved("TIFF", tiffinfo={EXIF_DIRECTORY: {USER_COMMENT: b"ASCII\0\0\0" + PARAMETERS.encode()}}),
    ],
    ids=lambda content: content[:4].hex(),
)
def test_automatic1111_is_read_wherever_it_is_written(content: bytes, tmp_path: Path) -> None:
    assert read_generation(content) == READ
    file = tmp_path / "image.bin"
    file.write_bytes(content)
    assert read_generation(file) == READ


@pytest.mark.parametrize("text", ["Łódź, 北斎, café", "naïve"])
@pytest.mark.parametrize("encoding", ["utf-16-be", "utf-16-le"])
def test_text_that_is_not_ascii_survives(text: str, encoding: str) -> None:
    parameters = f"{text}\nSteps: 20, Seed: 1"
    for content in (
        png(parameters=parameters),
        saved("JPEG", exif=with_comment(parameters, encoding)),
        png_with(chunk(b"tEXt", b"parameters\0" + parameters.encode())),
    ):
        read = read_generation(content)
        assert read is not None
        assert (read.prompt, read.seed) == (text, 1)


def test_a_prompt_without_settings_is_a_prompt() -> None:
    assert read_generation(png(parameters="by Ann")) == GenerationMetadata(Tool.AUTOMATIC1111, "by Ann")
    assert read_generation(png(parameters="{red|blue} cat")) == GenerationMetadata(
        Tool.AUTOMATIC1111, "{red|blue} cat"
    )


@pytest.mark.parametrize(
    "content",
    [
        *(saved(format_) for format_ in ("PNG", "JPEG", "WEBP", "GIF", "BMP", "TIFF")),
        saved("JPEG", exif=with_comment("Next to Monet's garden", "utf-16-be")),
        png(parameters='{"prompt": "by Ann", "negative_prompt": "by Bo", "scheme": "fooocus"}'),
        png(parameters="  "),
        png(Title="by Ann", Comment="by Ann"),
        b"",
    ],
)
def test_what_no_generator_wrote_says_nothing(content: bytes) -> None:
    assert read_generation(content) is None


def test_a_comfyui_graph_is_followed_from_the_sampler_to_its_texts() -> None:
    assert read_generation(png(prompt=comfyui(), workflow='{"nodes": []}')) == RUN
    in_tags = {0x0110: f"prompt:{comfyui()}", 0x010F: 'workflow:{"nodes": []}'}
    for format_ in ("WEBP", "JPEG"):
        assert read_generation(saved(format_, exif=exif(b"", in_tags))) == RUN


@pytest.mark.parametrize(
    ("changes", "prompt", "negative"),
    [
        ({"n6": {"text": None, "text_g": "a harbour", "text_l": "by Ann"}}, "a harbour\nby Ann", "by Bo"),
        ({"n6": {"text_g": "a harbour by Ann", "text_l": "a harbour by Ann"}}, "a harbour by Ann", "by Bo"),
        ({"n6": {"text": ["20", 0]}, "n20": {"value": "by Cy"}}, "by Cy", "by Bo"),
        (
            {"n6": {"text": ["20", 0]}, "n20": {"text_a": ["21", 0], "text_b": "night"},
             "n21": {"string": "by Cy"}},
            "night\nby Cy",
            "by Bo",
        ),
        # a control net between, whose two inputs are told apart by their names
        (
            {"n3": {"positive": ["30", 0], "negative": ["30", 1]},
             "n30": {"positive": ["6", 0], "negative": ["7", 0], "control_net": ["31", 0]}},
            "a harbour by Ann",
            "by Bo",
        ),
        # two texts combined by a node nobody knows
        (
            {"n3": {"positive": ["30", 0]}, "n30": {"a": ["6", 0], "b": ["31", 0], "clip": ["7", 0]},
             "n31": {"text": "by Cy"}},
            "a harbour by Ann\nby Cy",
            "by Bo",
        ),
        # one loader that holds both texts
        (
            {"n3": {"positive": ["30", 1], "negative": ["30", 2]},
             "n30": {"positive": "by Cy", "negative": "by Di", "ckpt_name": "x"}},
            "by Cy",
            "by Di",
        ),
        # a cycle, and links to nowhere
        ({"n3": {"positive": ["30", 0]}, "n30": {"a": ["31", 0]}, "n31": {"b": ["30", 0]}}, None, "by Bo"),
        ({"n6": {"text": ["6", 0]}}, None, "by Bo"),
        ({"n3": {"positive": ["99", 0], "negative": [[], {}]}}, None, None),
    ],
)  # fmt: skip
def test_texts_are_found_through_other_nodes(changes, prompt, negative) -> None:  # type: ignore[no-untyped-def]
    read = read_generation(png(prompt=comfyui(**changes)))
    assert read is not None
    assert (read.prompt, read.negative_prompt) == (prompt, negative)


def test_the_sampler_whose_picture_is_saved_counts() -> None:
    other = {
        "0": {"class_type": "KSampler", "inputs": {"seed": 1, "positive": ["01", 0]}},
        "01": {"class_type": "CLIPTextEncode", "inputs": {"text": "by Nobody"}},
    }
    assert read_generation(png(prompt=json.dumps(other | json.loads(comfyui())))) == RUN


def test_a_sampler_put_together_from_parts_is_read() -> None:
    parts = {
        "1": ("SamplerCustomAdvanced", {"noise": ["2", 0], "guider": ["3", 0], "sampler": ["4", 0],
                                        "sigmas": ["5", 0], "latent_image": ["6", 0]}),
        "2": ("RandomNoise", {"noise_seed": ["20", 0]}),
        "20": ("PrimitiveNode", {"value": 7}),
        "3": ("BasicGuider", {"model": ["7", 0], "conditioning": ["8", 0]}),
        "4": ("KSamplerSelect", {"sampler_name": "euler"}),
        "5": ("BasicScheduler", {"scheduler": "simple", "steps": 4, "model": ["7", 0]}),
        "6": ("EmptySD3LatentImage", {"width": 1024, "height": 1024}),
        "7": ("UNETLoader", {"unet_name": "flux.safetensors"}),
        "8": ("FluxGuidance", {"guidance": 3.5, "conditioning": ["9", 0]}),
        "9": ("CLIPTextEncodeFlux", {"clip_l": "by Ann", "t5xxl": "a harbour", "clip": ["10", 0]}),
    }  # fmt: skip
    graph = {key: {"class_type": kind, "inputs": inputs} for key, (kind, inputs) in parts.items()}
    assert read_generation(png(prompt=json.dumps(graph))) == GenerationMetadata(
        tool=Tool.COMFYUI,
        prompt="a harbour\nby Ann",
        seed=7,
        steps=4,
        sampler="euler",
        scheduler="simple",
        guidance=3.5,
        model="flux.safetensors",
        size=(1024, 1024),
    )


WORKFLOW = {
    "links": [[1, 6, 0, 3, 1, "CONDITIONING"], [2, 7, 0, 3, 2, "CONDITIONING"], [3, 4, 0, 3, 0, "MODEL"],
              [4, 5, 0, 3, 3, "LATENT"], "x", [[], {}, 1]],
    "nodes": [
        {"id": 3, "type": "KSampler", "widgets_values": [42, "fixed", 20, 8.0, "euler", "normal", 1.0],
         "inputs": [{"name": "model", "link": 3}, {"name": "positive", "link": 1},
                    {"name": "negative", "link": 2}, {"name": "latent_image", "link": 4}, 7]},
        {"id": 6, "type": "CLIPTextEncode", "widgets_values": ["a harbour by Ann"]},
        {"id": 7, "type": "CLIPTextEncode", "widgets_values": ["by Bo"]},
        {"id": 4, "type": "CheckpointLoaderSimple", "widgets_values": ["v1-5.safetensors"]},
        {"id": 5, "type": "EmptyLatentImage", "widgets_values": [512, 768, 1]},
        {"id": [], "type": "Broken"},
    ],
}  # fmt: skip


def test_the_editors_workflow_is_read_where_it_stands_alone() -> None:
    assert read_generation(png(workflow=json.dumps(WORKFLOW))) == RUN
    assert read_generation(png(workflow=json.dumps(WORKFLOW), prompt="{broken")) == RUN


def test_nan_as_comfyui_writes_it_stops_nothing() -> None:
    text = comfyui().replace('"denoise": 1.0', '"denoise": NaN, "is_changed": [NaN, Infinity]')
    assert read_generation(png(prompt=text)) == RUN


def test_invokeai_is_read_in_its_three_forms() -> None:
    facts = {"prompt": "by Ann", "negative_prompt": "by Bo", "seed": 5, "steps": 30, "sampler": "k_lms",
             "guidance": 7.5, "size": (512, 768)}  # fmt: skip
    third = {"positive_prompt": "by Ann", "negative_prompt": "by Bo", "seed": 5, "steps": 30,
             "scheduler": "k_lms", "cfg_scale": 7.5, "width": 512, "height": 768,
             "model": {"model_name": "v1-5", "hash": "ab"}}  # fmt: skip
    assert read_generation(png(invokeai_metadata=json.dumps(third))) == GenerationMetadata(
        Tool.INVOKEAI, model="v1-5", model_hash="ab", **facts
    )
    second = {"model_weights": "v1-5", "model_hash": "ab", "image": {
        "prompt": [{"prompt": "by Ann [by Bo]", "weight": 1.0}], "seed": 5, "steps": 30, "sampler": "k_lms",
        "cfg_scale": 7.5, "width": 512, "height": 768}}  # fmt: skip
    assert read_generation(png(sd_metadata=json.dumps(second))) == GenerationMetadata(
        Tool.INVOKEAI, model="v1-5", model_hash="ab", **facts
    )
    for dream in ('"by Ann [by Bo]" -s 30 -S5 -W512 -H768 -C7.5 -A k_lms',
                  "by Ann [by Bo] -s 30 -S 5 -W 512 -H 768 -C 7.5 -A k_lms"):  # fmt: skip
        assert read_generation(png(Dream=dream)) == GenerationMetadata(Tool.INVOKEAI, **facts)


def test_numbers_that_cannot_be_are_none() -> None:
    text = "by Ann\nSteps: 1e9, Seed: -1, CFG scale: nan, Size: 0x512, Sampler: " + "x" * 1000
    assert read_generation(png(parameters=text)) == GenerationMetadata(Tool.AUTOMATIC1111, "by Ann")
    changed = {"seed": "9" * 5000, "steps": [1, 2, 3], "cfg": {}, "sampler_name": 7, "latent_image": [7]}
    read = read_generation(png(prompt=comfyui(n3=changed)))
    assert read is not None
    assert (read.seed, read.steps, read.guidance, read.sampler, read.size) == (None,) * 5
    assert read.prompt == "a harbour by Ann"


def test_control_characters_and_half_surrogates_are_not_handed_on() -> None:
    graph = comfyui().replace("a harbour by Ann", "a\\u0000 \\u001b[31m \\ud800 Ann")
    read = read_generation(png(prompt=graph))
    assert read is not None
    assert read.prompt == "a [31m ? Ann"


ZEROS = zlib.compress(b"a" * (MOST_TEXT_BYTES + 1))
DEEP = "[" * 500_000


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (png_with(chunk(b"zTXt", b"parameters\0\0" + ZEROS)), "more than 2,097,152 bytes"),
        (png_with(chunk(b"iTXt", b"prompt\0\1\0\0\0" + ZEROS)), "more than 2,097,152 bytes"),
        (png_with(chunk(b"zTXt", b"parameters\0\0not packed")), "damaged"),
        (png_with(chunk(b"iTXt", b"parameters\0\0\0no end")), "damaged"),
        (png_with(chunk(b"tEXt", b"prompt\0" + DEEP.encode())), "nested too deeply"),
        (png_with(chunk(b"tEXt", b"prompt\0{" + b'"a":{' * 300_000)), "nested too deeply"),
        (png_with(chunk(b"tEXt", b"prompt\0[1]")), "no object"),
        (png_with(chunk(b"tEXt", b"prompt\0" + b"9" * 10_000)), "no JSON"),
        (png_with(chunk(b"tEXt", b"workflow\0" + b'{"nodes": 7}')), "no object"),
        (png_with(chunk(b"tEXt", b"invokeai_metadata\0[]")), "no JSON object"),
        (png_with(chunk(b"tEXt", b"sd-metadata\0{}")), "no JSON object"),
        (png_with(chunk(b"tEXt", b"prompt\0[" + b"1," * 1_000_000 + b"1]")), "no object"),
        (saved("PNG")[:-12] + chunk(b"tEXt", b"x\0y") * 70_000, "more than 65,536 chunks"),
    ],
)
def test_metadata_made_to_do_harm_is_refused_quickly(content: bytes, said: str) -> None:
    started = time.process_time()
    with pytest.raises(GenerationUnreadableError, match=said):
        read_generation(content)
    assert time.process_time() - started < 5


def test_texts_that_unpack_to_much_are_not_all_tried() -> None:
    bombs = chunk(b"zTXt", b"prompt\0\0" + ZEROS) * 2000
    texts = embedded_texts(png_with(bombs, chunk(b"eXIf", with_comment(PARAMETERS, "ascii").tobytes()[6:])))
    assert len(texts.problems) == MOST_PROBLEMS
    assert texts.comment == PARAMETERS


def test_a_good_text_is_found_beside_a_bad_one() -> None:
    content = png_with(chunk(b"tEXt", b"prompt\0{"), chunk(b"tEXt", b"parameters\0" + PARAMETERS.encode()))
    assert read_generation(content) == READ


LONG = ["x" * 300_000, "y" * 300_000]
HOSTILE_GRAPHS = {
    # each node links to the next hundred: paths without number
    "dense": {f"x{n}": {f"a{k}": [f"x{n + k}", 0] for k in range(1, 100)} for n in range(1000)},
    # a chain in which every value is looked for along a chain
    "chains": {
        f"x{n}": {
            name: [f"x{n + 1}", 0] for name in ("a", "seed", "noise_seed", "steps", "value", "positive")
        }
        for n in range(9000)
    },
    # a long name, or a long number, looked at from many encoders
    "names": {
        "x0": {f"a{n}": [f"x{n}", 0] for n in range(1, 60)},
        **{f"x{n}": {f"a{k}": [f"t{n}_{k}", 0] for k in range(60)} for n in range(1, 60)},
        **{f"t{n}_{k}": {"text": ["long", 0]} for n in range(1, 60) for k in range(60)},
        "long": {"text" + "Ä" * 300_000: "by Ann"} | {f"a{n}": [10**4000, 0] for n in range(90)},
    },
    # the same long texts behind each of many encoders
    "texts": {
        "x0": {f"a{n}": [f"t{n}", 0] for n in range(90)},
        **{f"t{n}": {"text": ["long", 0], "text_g": str(n)} for n in range(90)},
        "long": {"text_a": LONG[0], "text_b": LONG[1]},
    },
}


@pytest.mark.parametrize("links", [("positive", "seed"), ("positive", "seed", "guider")])
@pytest.mark.parametrize("name", HOSTILE_GRAPHS)
def test_a_graph_made_to_be_walked_for_ever_costs_little(name: str, links: tuple[str, ...]) -> None:
    graph = json.loads(comfyui(n3={link: ["x0", 0] for link in links}))
    graph |= {key: {"class_type": "X", "inputs": inputs} for key, inputs in HOSTILE_GRAPHS[name].items()}
    text = json.dumps(graph)
    started = time.process_time()
    read = parse_prompt(text)
    assert time.process_time() - started < 5
    assert len(read.prompt or "") <= LONGEST_PROMPT


def test_a_prompt_is_cut_at_its_limit() -> None:
    read = read_generation(png(parameters="a" * (LONGEST_PROMPT + 10)))
    assert read is not None
    assert read.prompt == "a" * LONGEST_PROMPT


@given(st.binary(max_size=400), st.sampled_from(["", "png", "jpeg", "webp", "tiff", "exif"]))
@settings(max_examples=300, deadline=None)
def test_any_bytes_are_read_or_refused(body: bytes, container: str) -> None:
    starts = {
        "": b"",
        "png": PNG_START,
        "jpeg": b"\xff\xd8\xff\xe1",
        "webp": b"RIFF\0\0\0\0WEBP",
        "tiff": b"II*\0",
        "exif": b"\xff\xd8\xff\xe1\xff\xf0Exif\0\0MM\0*",
    }
    embedded_texts(starts[container] + body)
    with contextlib.suppress(GenerationUnreadableError):
        read_generation(starts[container] + body)


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.tuples(st.sampled_from("0123456789"), st.integers(0, 3)).map(list)
        | st.dictionaries(st.sampled_from(["text", "positive", "seed", "guider", "model", "x"]), inner)
    ),
    max_leaves=8,
)


@st.composite
def damaged_graphs(draw: st.DrawFn) -> dict[str, object]:
    """ComfyUI's own graph with other things in a few places."""
    graph = json.loads(comfyui())
    names = sorted({name for node in graph.values() for name in node["inputs"]})
    for _ in range(draw(st.integers(1, 3))):
        key, place = (
            draw(st.sampled_from("3456789")),
            draw(st.sampled_from(["", "class_type", "inputs", *names])),
        )
        value = draw(VALUES)
        node = graph[key]
        if not place:
            graph[key] = value
        elif isinstance(node, dict) and place in ("class_type", "inputs"):
            node[place] = value
        elif isinstance(node, dict) and isinstance(node.get("inputs"), dict):
            node["inputs"][place] = value
    return graph


@given(damaged_graphs() | VALUES, st.sampled_from(sorted(KEYWORDS)))
@settings(max_examples=250, deadline=None)
def test_any_json_is_read_or_refused(document: object, keyword: str) -> None:
    shown = {"nodes": list(document.values()) if isinstance(document, dict) else document, "links": document}
    for text in (json.dumps(document), json.dumps(shown)):
        content = PNG_START + chunk(b"tEXt", keyword.encode() + b"\0" + text.encode())
        try:
            read = read_generation(content)
        except GenerationUnreadableError:
            continue
        assert read is None or isinstance(read.tool, Tool)


@given(st.text(max_size=300) | st.lists(st.sampled_from(
    ["Steps: 20", ", ", "\n", "Negative prompt:", '"', "\\", "Seed: 5", "Size: ", "x", ":"]), max_size=40
).map("".join))  # fmt: skip
@settings(max_examples=300, deadline=None)
def test_any_parameters_are_read(text: str) -> None:
    content = PNG_START + chunk(b"tEXt", b"parameters\0" + text.encode("utf-8", "replace"))
    read = read_generation(content)
    assert read is None or read.tool is Tool.AUTOMATIC1111


@pytest.mark.parametrize(
    "text",
    [
        "Steps: " + '"' * 200_000,
        "Steps: " + "a " * 100_000,
        "Steps: " + ", :" * 60_000,
        'Steps: "' + "\\" * 200_000,
        "[" * 200_000,
        "\n" * 200_000,
        " -s" * 60_000,
    ],
)
@pytest.mark.parametrize("keyword", ["parameters", "dream"])
def test_long_odd_texts_take_little_time(text: str, keyword: str) -> None:
    content = png_with(chunk(b"tEXt", keyword.encode() + b"\0" + text.encode()))
    started = time.process_time()
    read_generation(content)
    assert time.process_time() - started < 5


@pytest.mark.parametrize("name", ["automatic1111", "comfyui", "embedded", "facts", "invokeai", "read"])
def test_the_examples_in_the_docstrings_hold(name: str) -> None:
    assert doctest.testmod(import_module(f"fairbrush.corpus.generation.{name}")).failed == 0


def test_loras_are_found_in_what_each_tool_writes() -> None:
    chain = comfyui(
        n3={"model": ["11", 0]},
        n11={"lora_name": "boats.safetensors", "strength_model": 0.8, "model": ["12", 0]},
        n12={"lora_name": "fog.safetensors", "model": ["4", 0]},
    )
    read = read_generation(png(prompt=chain))
    assert read is not None
    assert read.loras == ("boats.safetensors:0.8", "fog.safetensors")
    third = {"positive_prompt": "a", "loras": [{"model": {"name": "boats"}, "weight": 0.75}, 7, {"lora": 1}]}
    read = read_generation(png(invokeai_metadata=json.dumps(third)))
    assert read is not None
    assert read.loras == ("boats:0.75",)
    read = read_generation(png(parameters="a <lora:x:1> <lyco:y> <lora:> <lora:x:1>\nSteps: 5"))
    assert read is not None
    assert read.loras == ("x:1", "y")
