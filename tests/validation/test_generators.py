"""The door to generators, on a random-weight miniature in SD-1.5's layout."""

import doctest
import json
import shutil
import socket
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from validation.tiny import build, build_xl, change_tensors, digest_of, flag_everything, load_generator

import fairbrush.validation.loading
from fairbrush.embedding.encoder import Device
from fairbrush.errors import DeviceUnavailableError, GeneratorError, ImagesRefusedError, RegenerationError
from fairbrush.validation.generators import (
    Conditioning,
    DiffusersGenerator,
    Generator,
    Precision,
    Request,
    Sampling,
    describe_generator,
)
from fairbrush.validation.weights import Lora

DENOISER = Path("unet") / "diffusion_pytorch_model.safetensors"
QUICK = Sampling(steps=2, guidance=7.5, scheduler=None, width=64, height=64)
ANN, BO = Request("a cat by ann", 1), Request("a harbour by bo", 2)


def difference(one: Any, other: Any) -> int:
    return int(np.abs(one.astype(int) - other.astype(int)).max())


def test_a_directory_is_loaded_and_draws(generator: Generator, tiny: Path) -> None:
    assert (generator.side, generator.device, generator.precision) == (64, "cpu", "float32")
    assert generator.model_digest == digest_of(tiny)
    images = generator.generate([ANN, BO], QUICK)
    assert (images.shape, images.dtype) == ((2, 64, 64, 3), np.uint8)
    assert images.std(axis=(1, 2, 3)).min() > 5
    assert difference(images, generator.generate([ANN, BO], QUICK)) == 0
    assert generator.generate([], QUICK).shape == (0, 64, 64, 3)


def test_a_generator_is_known_without_torch(tiny: Path) -> None:
    program = (
        "import sys; from fairbrush.validation.generators import describe_generator\n"
        f"print(describe_generator({str(tiny)!r}).side)\n"
        "print({'torch', 'diffusers', 'transformers', 'numpy', 'PIL'} & set(sys.modules) - {'numpy'})"
    )
    ran = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert ran.stdout.split("\n")[:2] == ["64", "set()"]


@pytest.mark.parametrize("sampler", [None, "Euler a", "DPM++ 2M SDE Karras"])
def test_an_image_does_not_depend_on_its_batch(generator: Generator, sampler: str | None) -> None:
    sampling = Sampling(3, 7.5, sampler, 64, 64)
    requests = [ANN, BO, Request("", 2**64 - 1), Request("a cat by ann", 2), ANN]
    together = generator.generate(requests, sampling)
    alone = np.concatenate([generator.generate([request], sampling) for request in requests])
    assert difference(together, alone) <= 1  # last bits, rounded to a grey level
    assert difference(together[0], together[4]) <= 1
    backwards = generator.generate(requests[::-1], sampling)[::-1]
    assert difference(together, backwards) <= 1


def test_everything_asked_for_reaches_the_image(generator: Generator) -> None:
    drawn = generator.generate([ANN], QUICK)
    changed = [
        generator.generate([Request("a dog by zoe", 1)], QUICK),
        generator.generate([Request("a cat by ann", 2)], QUICK),
        generator.generate([Request("a cat by ann", 1, "zzz")], QUICK),
        generator.generate([ANN], Sampling(3, 7.5, None, 64, 64)),
        generator.generate([ANN], Sampling(2, 1.0, None, 64, 64)),
        generator.generate([ANN], Sampling(2, 7.5, "DDIM", 64, 64)),
    ]
    assert all(difference(drawn, other) > 0 for other in changed)
    assert generator.generate([ANN], Sampling(2, 7.5, None, 72, 40)).shape == (1, 40, 72, 3)


def test_nothing_opens_a_socket(tiny: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def no_socket(*_: object) -> None:
        raise AssertionError("a socket was opened")

    monkeypatch.setattr(socket.socket, "connect", no_socket)
    lora = Lora(tiny.with_name("lora.safetensors"), 1.0, ("Ann",))
    load_generator(tiny, loras=[lora]).generate([ANN], QUICK)
    load_generator(tiny.with_name("one.safetensors"), base=tiny)


def test_a_single_file_checkpoint_draws_what_its_directory_draws(generator: Generator, tiny: Path) -> None:
    one = load_generator(tiny.with_name("one.safetensors"), base=tiny)
    assert difference(one.generate([ANN, BO], QUICK), generator.generate([ANN, BO], QUICK)) == 0
    assert one.model_digest == digest_of(tiny.with_name("one.safetensors"), base=tiny)


def test_another_text_to_image_pipeline_draws_too(tmp_path: Path) -> None:
    loaded = load_generator(build_xl(tmp_path / "model"))
    assert loaded.side == 64
    drawn = loaded.generate([ANN, BO], QUICK)
    assert drawn.std(axis=(1, 2, 3)).min() > 5
    assert difference(drawn[:1], loaded.generate([ANN], QUICK)) <= 1


def test_half_precision_files_are_loaded(copy: Path, generator: Generator) -> None:
    (copy / DENOISER).rename(copy / "unet" / "diffusion_pytorch_model.fp16.safetensors")
    images = load_generator(copy).generate([ANN], QUICK)
    assert difference(images, generator.generate([ANN], QUICK)) == 0


def test_a_vocabulary_in_two_files_as_sd15_has_it_is_the_same(copy: Path, generator: Generator) -> None:
    whole = copy / "tokenizer" / "tokenizer.json"
    words = json.loads(whole.read_text())["model"]["vocab"]
    whole.with_name("vocab.json").write_text(json.dumps(words))
    whole.with_name("merges.txt").write_text("#version: 0.2\n")
    whole.unlink()
    assert difference(load_generator(copy).generate([ANN], QUICK), generator.generate([ANN], QUICK)) == 0


def test_precision_and_device(tiny: Path) -> None:
    half = load_generator(tiny, precision=Precision.BFLOAT16, device=Device.CPU)
    assert half.precision == "bfloat16"
    assert half.generate([ANN], QUICK).shape == (1, 64, 64, 3)
    assert describe_generator(tiny, device=Device.CUDA).precision == "float16"
    assert describe_generator(tiny, device=Device.MPS).precision == "float32"
    import torch

    if not torch.cuda.is_available():
        with pytest.raises(DeviceUnavailableError):
            load_generator(tiny, device=Device.CUDA)


# ------------------------------------------------------------------ LoRA


def test_a_lora_changes_the_image_by_its_scale(tiny: Path, generator: Generator) -> None:
    file = tiny.with_name("lora.safetensors")
    plain = generator.generate([ANN], QUICK)
    full = load_generator(tiny, loras=[Lora(file, 1.0, ("Ann",))])
    half = load_generator(tiny, loras=[Lora(file, 0.5, ("Ann",))])
    none = load_generator(tiny, loras=[Lora(file, 0.0, ("Ann",))])
    drawn = [loaded.generate([ANN], QUICK) for loaded in (none, half, full)]
    changes = [np.abs(image.astype(float) - plain).mean() for image in drawn]
    assert changes[0] == 0
    assert 0.1 < changes[1] < changes[2]
    assert len({loaded.model_digest for loaded in (none, half, full, generator)}) == 4


def test_two_halves_of_a_lora_are_the_whole(tiny: Path) -> None:
    file = tiny.with_name("lora.safetensors")
    whole = load_generator(tiny, loras=[Lora(file, 1.0, ())]).generate([ANN], QUICK)
    halves = load_generator(tiny, loras=[Lora(file, 0.5, ()), Lora(file, 0.5, ())])
    assert difference(halves.generate([ANN], QUICK), whole) <= 1


def test_a_lora_of_another_model_is_refused(tiny: Path, tmp_path: Path) -> None:
    file = Path(shutil.copy(tiny.with_name("lora.safetensors"), tmp_path / "other.safetensors"))
    change_tensors(file, lambda _, tensor: tensor.repeat(2, 2))
    with pytest.raises(GeneratorError, match=r"other.safetensors does not fit this model"):
        load_generator(tiny, loras=[Lora(file, 1.0, ())])


@pytest.mark.parametrize(
    ("ours", "theirs", "said"),
    [
        ("unet.down_blocks.1", "unet.down_blocks.7", "6 of its 28 layers have no place in it"),
        ("text_encoder.", "text_encoder_2.", "4 of its 28 layers have no place in it"),
        ("layers.0", "layers.9", "does not fit this model"),
    ],
)
def test_a_lora_some_of_whose_layers_have_no_place_is_refused(
    tiny: Path, tmp_path: Path, ours: str, theirs: str, said: str
) -> None:
    from safetensors.torch import load_file, save_file

    tensors = load_file(tiny.with_name("lora.safetensors"))
    save_file({name.replace(ours, theirs): t for name, t in tensors.items()}, tmp_path / "x.safetensors")
    with pytest.raises(GeneratorError, match=said):
        load_generator(tiny, loras=[Lora(tmp_path / "x.safetensors", 1.0, ())])


# ------------------------------------------------------------------ refused


@pytest.mark.parametrize(
    "name",
    [
        "StableDiffusionInpaintPipeline",
        "StableDiffusionImg2ImgPipeline",
        "StableDiffusionControlNetPipeline",
        "DDPMPipeline",
        "TextToVideoSDPipeline",
        "NoSuchPipeline",
    ],
)
def test_another_kind_of_pipeline_is_refused_by_name(copy: Path, name: str) -> None:
    set_index(copy, "_class_name", name)
    with pytest.raises(GeneratorError, match=f"is a {name}: no pipeline that makes images from text alone"):
        load_generator(copy)


def set_index(folder: Path, key: str, value: object) -> None:
    index = folder / "model_index.json"
    index.write_text(json.dumps(json.loads(index.read_text()) | {key: value}))


def test_a_part_of_another_library_is_refused_before_it_is_imported(copy: Path) -> None:
    set_index(copy, "unet", ["antigravity", "UNet2DConditionModel"])
    with pytest.raises(GeneratorError, match="unet is of antigravity, code outside"):
        load_generator(copy)


def test_a_class_that_is_not_there_is_refused(copy: Path) -> None:
    set_index(copy, "unet", ["diffusers", "NoSuchModel"])
    with pytest.raises(GeneratorError, match="cannot be loaded"):
        load_generator(copy)


@pytest.mark.parametrize("file", ["scheduler/scheduler_config.json", "tokenizer/tokenizer.json"])
def test_a_damaged_setting_is_refused(copy: Path, file: str) -> None:
    (copy / file).write_text("{")
    with pytest.raises(GeneratorError, match="model cannot be loaded"):
        load_generator(copy)


@pytest.mark.parametrize("part", ["unet/diffusion_pytorch_model", "text_encoder/model"])
def test_a_missing_tensor_is_not_made_up(copy: Path, part: str) -> None:
    file = copy / f"{part}.safetensors"
    dropped: list[str] = []

    def drop_one(name: str, tensor: Any) -> Any:
        if dropped or not name.endswith("weight"):
            return tensor
        dropped.append(name)
        return None

    change_tensors(file, drop_one)
    with pytest.raises(GeneratorError, match=r"lacks 1 tensors|cannot be loaded"):
        load_generator(copy)


def test_a_checkpoint_that_lacks_a_tensor_is_refused(tiny: Path, tmp_path: Path) -> None:
    one = Path(shutil.copy(tiny.with_name("one.safetensors"), tmp_path / "one.safetensors"))
    lost = "model.diffusion_model.input_blocks.0.0.weight"
    change_tensors(one, lambda name, tensor: None if name == lost else tensor)
    with pytest.raises(GeneratorError, match=r"lacks tensors|cannot be loaded"):
        load_generator(one, base=tiny)


def test_a_checkpoint_of_another_base_is_refused(tiny: Path, copy: Path) -> None:
    config = copy / "unet" / "config.json"
    config.write_text(json.dumps(json.loads(config.read_text()) | {"block_out_channels": [8, 32]}))
    with pytest.raises(GeneratorError, match=r"one.safetensors (cannot be loaded|lacks)"):
        load_generator(tiny.with_name("one.safetensors"), base=copy)


@pytest.mark.parametrize(("width", "height"), [(60, 64), (64, 65), (4, 64)])
def test_another_size_than_the_model_can_is_refused(generator: Generator, width: int, height: int) -> None:
    with pytest.raises(GeneratorError, match=r"multiples of 8. Use --size 64x64"):
        generator.generate([ANN], Sampling(2, 7.5, None, width, height))


def test_numbers_no_model_can_use_are_refused() -> None:
    for steps, guidance, width in [(0, 7.5, 64), (2, float("nan"), 64), (2, -1.0, 64), (2, 7.5, 0)]:
        with pytest.raises(GeneratorError):
            Sampling(steps, guidance, None, width, 64)


def test_what_this_model_cannot_take_is_refused(generator: Generator, tmp_path: Path) -> None:
    mixed = Request("a cat", 1, inputs=(Conditioning("0" * 64, tmp_path / "a.png", 0.6),))
    with pytest.raises(GeneratorError, match="takes no input images"):
        generator.generate([mixed], QUICK)
    with pytest.raises(GeneratorError, match="'my sampler' is not known"):
        generator.generate([ANN], Sampling(2, 7.5, "my sampler", 64, 64))


def test_a_pipelines_own_error_becomes_ours(
    generator: DiffusersGenerator, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_: object, **__: object) -> None:
        raise ValueError("shapes differ\nin detail")

    monkeypatch.setattr(generator._pipeline.vae, "decode", broken)
    with pytest.raises(RegenerationError, match=r"cannot make these images \(shapes differ\)"):
        generator.generate([ANN], QUICK)


def test_out_of_memory_is_passed_on_to_who_can_halve(
    generator: DiffusersGenerator, monkeypatch: pytest.MonkeyPatch
) -> None:
    def exhausted(*_: object, **__: object) -> None:
        raise RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried to allocate 9 bytes")

    monkeypatch.setattr(generator._pipeline.vae, "decode", exhausted)
    with pytest.raises(RuntimeError, match="can't allocate memory"):
        generator.generate([ANN], QUICK)
    assert doctest.testmod(fairbrush.validation.loading).failed == 0


# ------------------------------------------------------------------ images that are none


def test_a_prompts_end_that_the_model_does_not_read_is_told(generator: DiffusersGenerator) -> None:
    assert generator.unread("a cat by ann") == ""
    assert generator.unread("a" * 75) == ""
    assert generator.unread("a" * 75 + " by ann").replace(" ", "") == "byann"


def test_an_image_that_is_not_finite_is_an_error_that_names_the_request(
    generator: DiffusersGenerator, monkeypatch: pytest.MonkeyPatch
) -> None:
    decode = generator._pipeline.vae.decode

    def spoil_second(latents: Any, **options: Any) -> Any:
        (images,) = decode(latents, **options)
        images[1, 0, 3, 3] = float("nan")
        return (images,)

    monkeypatch.setattr(generator._pipeline.vae, "decode", spoil_second)
    with pytest.raises(ImagesRefusedError) as caught:
        generator.generate([ANN, BO], QUICK)
    assert "seed 2" in str(caught.value)
    assert "--precision float32" in str(caught.value)
    assert BO.prompt not in str(caught.value)
    assert caught.value.made[1] is None
    monkeypatch.undo()
    assert caught.value.made[0] is not None
    assert difference(caught.value.made[0], generator.generate([ANN], QUICK)[0]) <= 1


def test_what_the_safety_checker_replaced_is_an_error_not_a_black_image(tmp_path: Path) -> None:
    folder = build(tmp_path / "model", safety_checker=True)
    passing = load_generator(folder).generate([ANN, BO], QUICK)
    assert passing.std(axis=(1, 2, 3)).min() > 5
    flag_everything(folder)
    with pytest.raises(ImagesRefusedError) as caught:
        load_generator(folder).generate([ANN, BO], QUICK)
    assert "The safety checker replaced the image of seed 1" in str(caught.value)
    assert ANN.prompt not in str(caught.value)
    assert caught.value.made == [None, None]
    without = load_generator(folder, safety_checker=False)
    assert difference(without.generate([ANN, BO], QUICK), passing) == 0
    assert without.model_digest == load_generator(folder).model_digest


def test_a_checkpoint_runs_its_bases_safety_checker(tiny: Path, tmp_path: Path) -> None:
    base = build(tmp_path / "model", safety_checker=True)
    flag_everything(base)
    one = tiny.with_name("one.safetensors")
    with pytest.raises(ImagesRefusedError, match="safety checker replaced"):
        load_generator(one, base=base).generate([ANN], QUICK)
    load_generator(one, base=base, safety_checker=False).generate([ANN], QUICK)


def test_a_lora_in_kohyas_layout_is_the_same_lora(tiny: Path, tmp_path: Path) -> None:
    """Most LoRA files have it: flat names, the text encoder's with ``text_model``, and a strength each."""
    from safetensors.torch import load_file, save_file

    file = tiny.with_name("lora.safetensors")
    kohya = {}
    for name, tensor in load_file(file).items():
        part, _, layer = name.partition(".")
        stem, which = layer.rsplit(".lora", 1)
        flat = stem.removeprefix("text_model.").replace(".", "_")
        flat = f"lora_unet_{flat}" if part == "unet" else f"lora_te_text_model_{flat}"
        is_up = which.startswith(("_B", ".up", "_linear_layer.up"))
        kohya[f"{flat}.lora_{'up' if is_up else 'down'}.weight"] = tensor
        kohya[f"{flat}.alpha"] = tensor.new_tensor(2.0)  # the rank: full strength
    save_file(kohya, tmp_path / "kohya.safetensors")
    drawn = [
        load_generator(tiny, loras=[Lora(path, 1.0, ())]).generate([ANN], QUICK)
        for path in (file, tmp_path / "kohya.safetensors")
    ]
    assert difference(*drawn) <= 1


def test_a_model_that_was_replaced_before_it_is_loaded_says_so_by_its_digest(
    tiny: Path, tmp_path: Path
) -> None:
    folder = Path(shutil.copytree(tiny, tmp_path / "model"))
    described = describe_generator(folder, device=Device.CPU)
    change_tensors(folder / "unet/diffusion_pytorch_model.safetensors", lambda _, tensor: tensor * 0.5)
    assert described.load().model_digest != described.model_digest
