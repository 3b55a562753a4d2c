"""Drawing from input images: image variation and IP-Adapter, on random-weight miniatures."""

import doctest
import hashlib
import json
import shutil
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from validation.tiny import (
    build_variation,
    build_xl,
    change_tensors,
    load_generator,
    write_adapter,
    write_image_encoder,
)

import fairbrush.validation.weights
from fairbrush.errors import FairbrushError, GeneratorError, WeightsNotFoundError
from fairbrush.validation.adapters import adapter_at
from fairbrush.validation.generators import (
    Conditioning,
    Generator,
    Request,
    Sampling,
    describe_generator,
)
from fairbrush.validation.weights import find_files

QUICK = Sampling(steps=2, guidance=7.5, scheduler=None, width=64, height=64)
ENCODER = Path("image_encoder") / "model.safetensors"


def difference(one: Any, other: Any) -> int:
    return int(np.abs(one.astype(int) - other.astype(int)).max())


@pytest.fixture(scope="module")
def inputs(tmp_path_factory: pytest.TempPathFactory) -> tuple[Conditioning, Conditioning]:
    folder, made = tmp_path_factory.mktemp("inputs"), []
    for name, weight in (("a.png", 0.6), ("b.png", 0.4)):
        pixels = np.random.default_rng(len(made)).integers(0, 255, (4, 4, 3), dtype=np.uint8)
        Image.fromarray(pixels).resize((48, 40)).save(folder / name)
        digest = hashlib.sha256((folder / name).read_bytes()).hexdigest()
        made.append(Conditioning(digest, folder / name, weight))
    return made[0], made[1]


@pytest.fixture(scope="module")
def drawing(variation: Path, tiny: Path, adapter: Path) -> dict[str, Generator]:
    plus = write_adapter(tiny, tiny.with_name("ip-adapter-plus.safetensors"), plus=True)
    return {
        "variation": load_generator(variation),
        "adapter": load_generator(tiny, adapter=adapter_at(adapter)),
        "plus": load_generator(tiny, adapter=adapter_at(plus)),
    }


@pytest.mark.parametrize("way", ["variation", "adapter", "plus"])
def test_inputs_and_their_weights_reach_the_image(
    drawing: dict[str, Generator], inputs: tuple[Conditioning, Conditioning], way: str
) -> None:
    generator, (a, b) = drawing[way], inputs
    mixes = [(), (a,), (b,), (a, b), (replace(a, weight=0.4), replace(b, weight=0.6)), (a, b)]
    requests = [Request("" if way == "variation" else "a cat", 1, inputs=mix) for mix in mixes]
    requests[-1] = replace(requests[-1], seed=2)
    drawn = generator.generate(requests, QUICK)
    for place, one in enumerate(drawn):
        assert all(difference(one, other) > 4 for other in drawn[:place]), place
    # a batch of different inputs is what each gives alone, in whatever order its inputs are named
    backwards = [replace(each, inputs=each.inputs[::-1]) for each in requests]
    alone = np.concatenate([generator.generate([request], QUICK) for request in backwards])
    assert difference(drawn, alone) <= 1
    unguided = generator.generate(requests[:2], replace(QUICK, guidance=1.0))
    assert difference(*unguided) > 1


def test_a_coalition_of_no_input_is_unconditional(variation: Path, drawing: dict[str, Generator]) -> None:
    """Of image variation: what its denoiser draws from zeros, so that guidance changes nothing."""
    nobody = Request("", 1)
    drawn = drawing["variation"].generate([nobody], QUICK)
    assert difference(drawn, drawing["variation"].generate([nobody], replace(QUICK, guidance=1.0))) <= 1


def test_an_input_of_a_weight_near_zero_is_as_good_as_absent(
    drawing: dict[str, Generator], inputs: tuple[Conditioning, Conditioning]
) -> None:
    light = replace(inputs[0], weight=1e-7)
    for way, generator in drawing.items():
        requests = [Request("", 1), Request("", 1, inputs=(light,))]
        assert difference(*generator.generate(requests, QUICK)) <= 1, way


def test_a_variation_of_one_whole_input_is_the_pipelines_own(
    variation: Path, drawing: dict[str, Generator], inputs: tuple[Conditioning, Conditioning]
) -> None:
    import torch
    from diffusers import StableDiffusionImageVariationPipeline

    pipeline = StableDiffusionImageVariationPipeline.from_pretrained(variation, local_files_only=True)
    said = {"num_inference_steps": 2, "guidance_scale": 7.5, "width": 64, "height": 64, "output_type": "np"}
    with Image.open(inputs[0].path) as image:
        own = pipeline(image.convert("RGB"), generator=torch.Generator("cpu").manual_seed(5), **said).images
    whole = Request("", 5, inputs=(replace(inputs[0], weight=1.0),))
    assert difference(drawing["variation"].generate([whole], QUICK), np.rint(own * 255)) <= 1


def test_an_adapter_of_one_whole_input_is_the_pipelines_own(
    tiny: Path, adapter: Path, drawing: dict[str, Generator], inputs: tuple[Conditioning, Conditioning]
) -> None:
    import torch
    from diffusers import StableDiffusionPipeline

    pipeline = StableDiffusionPipeline.from_pretrained(tiny, local_files_only=True)
    pipeline.load_ip_adapter(str(adapter.parent), subfolder="", weight_name=adapter.name)
    said = {"num_inference_steps": 2, "guidance_scale": 7.5, "width": 64, "height": 64, "output_type": "np"}
    with Image.open(inputs[0].path) as image:
        noise = torch.Generator("cpu").manual_seed(5)
        own = pipeline("a cat", ip_adapter_image=image.convert("RGB"), generator=noise, **said).images
    whole = Request("a cat", 5, inputs=(replace(inputs[0], weight=1.0),))
    assert difference(drawing["adapter"].generate([whole], QUICK), np.rint(own * 255)) <= 1


def test_an_adapter_changes_with_its_scale_and_serves_another_model(
    tiny: Path, adapter: Path, drawing: dict[str, Generator], inputs: tuple[Conditioning, ...], tmp_path: Path
) -> None:
    request = Request("a cat", 1, inputs=inputs)
    weak = load_generator(tiny, adapter=adapter_at(adapter, scale=0.1))
    assert difference(weak.generate([request], QUICK), drawing["adapter"].generate([request], QUICK)) > 4
    xl = build_xl(tmp_path / "xl")
    file = write_adapter(xl, tmp_path / "xl.safetensors")
    loaded = load_generator(xl, adapter=adapter_at(file, encoder=adapter.with_name("image_encoder")))
    assert difference(*loaded.generate([request, Request("a cat", 1)], QUICK)) > 4


def test_a_generator_that_takes_inputs_is_known_without_torch(
    variation: Path, tiny: Path, adapter: Path
) -> None:
    program = (
        "import sys; from pathlib import Path\n"
        "from fairbrush.validation.generators import describe_generator\n"
        "from fairbrush.validation.adapters import adapter_at\n"
        f"one = describe_generator({str(variation)!r})\n"
        f"two = describe_generator({str(tiny)!r}, adapter=adapter_at(Path({str(adapter)!r})))\n"
        "print(one.reads_text, one.reads_images, two.reads_text, two.reads_images)\n"
        "print({'torch', 'diffusers', 'transformers'} & set(sys.modules))"
    )
    ran = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert ran.stdout.split("\n")[:2] == ["False True True True", "set()"]
    assert not describe_generator(tiny).reads_images


def flip_last_byte(file: Path) -> None:
    content = bytearray(file.read_bytes())
    content[-1] ^= 1
    file.write_bytes(content)


def test_the_digest_covers_the_adapter_and_its_encoder(tiny: Path, adapter: Path, tmp_path: Path) -> None:
    def digest(file: Path, **said: Any) -> str:
        return describe_generator(tiny, adapter=adapter_at(file, **said)).model_digest

    moved = Path(shutil.copy(adapter, tmp_path / "moved.safetensors"))
    encoder = Path(shutil.copytree(adapter.with_name("image_encoder"), tmp_path / "elsewhere"))
    plain = digest(adapter)
    assert plain == digest(moved, encoder=encoder)
    assert plain != describe_generator(tiny).model_digest
    assert plain != digest(adapter, scale=0.5)
    settings = encoder / "preprocessor_config.json"
    settings.write_text('{"image_processor_type": "CLIPImageProcessor", "do_center_crop": false}')
    assert plain != digest(moved, encoder=encoder)
    settings.unlink()
    flip_last_byte(encoder / "model.safetensors")
    assert plain != digest(moved, encoder=encoder)
    flip_last_byte(moved)
    assert plain != digest(moved, encoder=adapter.with_name("image_encoder"))


def test_the_digest_of_image_variation_covers_what_it_sees_with(tmp_path: Path) -> None:
    folder = build_variation(tmp_path / "model", safety_checker=True)
    digest = describe_generator(folder).model_digest
    assert describe_generator(folder, safety_checker=False).model_digest == digest
    assert "feature_extractor" in find_files(folder, safety_checker=False).components
    flip_last_byte(folder / "safety_checker" / "model.safetensors")
    assert describe_generator(folder).model_digest == digest
    load_generator(folder, safety_checker=False).generate([Request("", 1)], QUICK)
    [reader] = (folder / "feature_extractor").iterdir()
    reader.write_text(reader.read_text() + "\n")
    assert describe_generator(folder).model_digest != digest
    flip_last_byte(folder / ENCODER)
    assert describe_generator(folder).model_digest != digest
    assert doctest.testmod(fairbrush.validation.weights).failed == 0


# ------------------------------------------------------------------ refused


def test_what_takes_no_text_or_no_inputs_says_so(
    generator: Generator,
    drawing: dict[str, Generator],
    variation: Path,
    adapter: Path,
    inputs: tuple[Conditioning, ...],
) -> None:
    with pytest.raises(GeneratorError, match="takes no input images") as caught:
        generator.generate([Request("a cat", 1, inputs=inputs)], QUICK)
    for way in ("StableDiffusionImageVariationPipeline: --weights DIR", "--ip-adapter FILE.safetensors"):
        assert way in str(caught.value)
    with pytest.raises(GeneratorError, match="reads no prompt"):
        drawing["variation"].generate([Request("a cat", 1)], QUICK)
    with pytest.raises(GeneratorError, match="takes no negative prompt"):
        drawing["variation"].generate([Request("", 1, "blurry")], QUICK)
    with pytest.raises(GeneratorError, match="takes no IP-Adapter"):
        describe_generator(variation, adapter=adapter_at(adapter))


def test_an_input_that_changed_or_is_gone_is_refused(
    drawing: dict[str, Generator], tmp_path: Path, inputs: tuple[Conditioning, ...]
) -> None:
    path = tmp_path / "c.png"
    path.write_bytes(inputs[0].path.read_bytes())
    with pytest.raises(GeneratorError, match=r"c.png changed while"):
        drawing["adapter"].generate([Request("", 1, inputs=(Conditioning("0" * 64, path, 1.0),))], QUICK)
    path.unlink()
    with pytest.raises(GeneratorError, match=r"c.png is not usable"):
        drawing["adapter"].generate([Request("", 1, inputs=(Conditioning("0" * 64, path, 1.0),))], QUICK)


def _write_as_pickle(file: Path) -> Path:
    return file.rename(file.with_suffix(".bin"))


def _drop_projection(file: Path) -> Path:
    change_tensors(file, lambda name, tensor: None if name.startswith("image_proj.") else tensor)
    return file


def _for_faces(file: Path) -> Path:
    change_tensors(file, lambda name, tensor: None if name == "image_proj.proj.weight" else tensor)
    return file


def _cut_off(file: Path) -> Path:
    file.write_bytes(file.read_bytes()[:-100])
    return file


@pytest.mark.parametrize(
    ("damage", "said"),
    [
        (_write_as_pickle, "pickles can run programs"),
        (_drop_projection, "is no IP-Adapter"),
        (_for_faces, "face adapters do not"),
        (_cut_off, "damaged or cut off"),
        (lambda file: file.with_name("none.safetensors"), "does not exist"),
    ],
)
def test_a_file_that_is_no_adapter_is_refused_before_torch(
    tiny: Path, adapter: Path, tmp_path: Path, damage: Callable[[Path], Path], said: str
) -> None:
    file = damage(Path(shutil.copy(adapter, tmp_path / "ip.safetensors")))
    with pytest.raises(FairbrushError, match=said):
        describe_generator(tiny, adapter=adapter_at(file, encoder=adapter.with_name("image_encoder")))
    for scale in (0.0, -1.0, float("nan"), 11.0):
        with pytest.raises(GeneratorError, match="scale of"):
            adapter_at(adapter, scale=scale)


def test_a_missing_or_unusable_image_encoder_is_refused(tiny: Path, adapter: Path, tmp_path: Path) -> None:
    file = Path(shutil.copy(adapter, tmp_path / "ip.safetensors"))
    with pytest.raises(WeightsNotFoundError, match="--image-encoder DIR"):
        describe_generator(tiny, adapter=adapter_at(file))
    encoder = Path(shutil.copytree(adapter.with_name("image_encoder"), tmp_path / "image_encoder"))
    describe_generator(tiny, adapter=adapter_at(file))  # beside it
    config = json.loads((encoder / "config.json").read_text())
    (encoder / "config.json").write_text(json.dumps(config | {"model_type": "clip"}))
    with pytest.raises(GeneratorError, match="model of type 'clip', no CLIPVisionModelWithProjection"):
        describe_generator(tiny, adapter=adapter_at(file))
    (encoder / "model.safetensors").rename(encoder / "pytorch_model.bin")
    with pytest.raises(GeneratorError, match=r"pytorch_model.bin and no safetensors: a pickle"):
        describe_generator(tiny, adapter=adapter_at(file))


def test_image_variation_without_its_image_encoder_is_refused(variation: Path, tmp_path: Path) -> None:
    folder = Path(shutil.copytree(variation, tmp_path / "model"))
    shutil.rmtree(folder / "image_encoder")
    with pytest.raises(GeneratorError, match="has no image_encoder"):
        describe_generator(folder)
    index = folder / "model_index.json"
    index.write_text(json.dumps(json.loads(index.read_text()) | {"image_encoder": [None, None]}))
    with pytest.raises(GeneratorError, match="names no image_encoder"):
        describe_generator(folder)


def test_an_adapter_that_does_not_fit_is_refused(tiny: Path, adapter: Path, tmp_path: Path) -> None:
    encoder = adapter.with_name("image_encoder")
    narrow = write_image_encoder(tmp_path / "narrow", projection=8)
    with pytest.raises(GeneratorError, match=r"reads embeddings of 24 numbers, the image encoder .* gives 8"):
        load_generator(tiny, adapter=adapter_at(adapter, encoder=narrow))
    of_xl = write_adapter(build_xl(tmp_path / "xl"), tmp_path / "xl.safetensors")
    with pytest.raises(GeneratorError, match="attention layers are not this model's"):
        load_generator(tiny, adapter=adapter_at(of_xl, encoder=encoder))
    lacking = Path(shutil.copy(adapter, tmp_path / "lacking.safetensors"))
    change_tensors(lacking, lambda name, tensor: None if name == "ip_adapter.1.to_v_ip.weight" else tensor)
    with pytest.raises(GeneratorError, match="does not fit this model"):
        load_generator(tiny, adapter=adapter_at(lacking, encoder=encoder))
    biasless = Path(shutil.copy(adapter, tmp_path / "biasless.safetensors"))
    change_tensors(biasless, lambda name, tensor: None if name == "image_proj.norm.bias" else tensor)
    with pytest.raises(GeneratorError, match="does not fit this model"):
        load_generator(tiny, adapter=adapter_at(biasless, encoder=encoder))
