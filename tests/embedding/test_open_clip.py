"""The torch backend on real checkpoints, made here with random weights. No test may open a socket."""

import json
import os
import shlex
import shutil
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
from PIL import Image

from fairbrush.embedding.encoder import Device, JoinedEncoder, load_encoder, parse_spec, unit_rows
from fairbrush.embedding.open_clip_tower import (
    OpenClipTower,
    channel_statistics,
    choose_device,
    early_stages,
    tensor_digest,
)
from fairbrush.errors import (
    DeviceUnavailableError,
    EncoderError,
    EncoderSpecError,
    FairbrushError,
    WeightsNotFoundError,
)

TEXT = {"context_length": 8, "vocab_size": 64, "width": 16, "heads": 2, "layers": 1}
VIT = {"image_size": 32, "patch_size": 8, "width": 32, "head_width": 16, "layers": 4}
TIMM = {"timm_model_name": "mobilenetv4_conv_small_050", "timm_model_pretrained": False, "timm_pool": "avg"}
ARCHITECTURES: dict[str, dict[str, Any]] = {
    "made-vit": {"embed_dim": 16, "vision_cfg": VIT, "text_cfg": TEXT},
    "made-oblong": {"embed_dim": 16, "vision_cfg": {**VIT, "image_size": [24, 40]}, "text_cfg": TEXT},
    "made-resnet": {
        "embed_dim": 16,
        "vision_cfg": {"image_size": 64, "layers": [1, 1, 1, 1], "width": 8},
        "text_cfg": TEXT,
    },
    "made-timm": {
        "embed_dim": 16,
        "vision_cfg": {"image_size": 64, **TIMM, "timm_proj": ""},
        "text_cfg": TEXT,
    },
    "made-coca": {
        "embed_dim": 16,
        "vision_cfg": {**VIT, "attentional_pool": True, "attn_pooler_heads": 2, "output_tokens": True},
        "text_cfg": {**TEXT, "embed_cls": True, "output_tokens": True},
        "multimodal_cfg": {**TEXT, "attn_pooler_heads": 2},
        "custom_text": True,
    },
}
EARLY_DIM = {
    "made-vit": 2 * (32 + 32),
    "made-oblong": 2 * (32 + 32),
    "made-resnet": 2 * (32 + 64),
    "made-timm": 2 * (16 + 32),
    "made-coca": 2 * (32 + 32),
}
ALL_PARTS = "+early+colour+edges+texture"
PREPROCESS = {"mean": [0.5, 0.4, 0.3], "std": [0.2, 0.3, 0.4], "interpolation": "bilinear"}


@pytest.fixture(autouse=True)
def attempts(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[object]]:
    """Every attempt to reach a network fails, and fails the test, unless the test takes it off the list."""
    made: list[object] = []

    def refuse(*where: object, **_: object) -> None:
        made.append(where)
        raise AssertionError(f"a socket was opened to {where}")

    monkeypatch.setattr(socket.socket, "connect", refuse)
    monkeypatch.setattr(socket, "getaddrinfo", refuse)
    yield made
    assert made == []


@pytest.fixture(scope="module", autouse=True)
def architectures(open_clip: ModuleType, tmp_path_factory: pytest.TempPathFactory) -> None:
    folder = tmp_path_factory.mktemp("architectures")
    for name, config in ARCHITECTURES.items():
        (folder / f"{name}.json").write_text(json.dumps(config))
    open_clip.add_model_config(folder)


@pytest.fixture
def hub_cache(open_clip: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    from huggingface_hub import constants

    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "hub"))
    return tmp_path / "hub"


def noise(seed: int, height: int = 60, width: int = 90) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)


def make_weights(name: str, seed: int = 0) -> dict[str, Any]:
    import open_clip
    import torch

    torch.manual_seed(seed)
    model = open_clip.create_model(name)
    return {key: tensor.clone().contiguous() for key, tensor in model.state_dict().items()}


def save_folder(folder: Path, name: str, weights: dict[str, Any], **config: Any) -> Path:
    from safetensors.torch import save_file

    folder.mkdir(parents=True, exist_ok=True)
    whole = {"model_cfg": {**ARCHITECTURES[name], **config.pop("model_cfg", {})}, **config}
    (folder / "open_clip_config.json").write_text(json.dumps(whole))
    save_file(weights, folder / "open_clip_model.safetensors")
    return folder


def save_file_as(file: Path, weights: Any) -> Path:
    import torch
    from safetensors.torch import save_file

    if file.suffix == ".safetensors":
        save_file(weights, file)
    else:
        torch.save(weights, file)
    return file


def load(spec: str, **options: Any) -> JoinedEncoder:
    encoder = load_encoder(spec, decoder_id="d1", **{"device": Device.CPU, **options})
    assert isinstance(encoder, JoinedEncoder)
    return encoder


def refusal(spec: str, error: type[FairbrushError], **options: Any) -> FairbrushError:
    with pytest.raises(error) as caught:
        load(spec, **options)
    assert type(caught.value) is error
    return caught.value


# Vectors


@pytest.mark.parametrize("name", ARCHITECTURES)
def test_every_kind_of_tower_gives_open_clips_own_vector(
    open_clip: ModuleType, tmp_path: Path, name: str
) -> None:
    import torch

    folder = save_folder(tmp_path / "m", name, make_weights(name), preprocess_cfg=PREPROCESS)
    model, transform = open_clip.create_model_from_pretrained(f"local-dir:{folder}")
    images = [noise(1), noise(2, 90, 31), noise(3, 5, 5)]
    with torch.inference_mode():
        output = model.eval().encode_image(torch.stack([transform(Image.fromarray(p)) for p in images]))
    theirs = unit_rows(output.numpy())
    np.testing.assert_allclose(load(f"local-dir:{folder}").embed(images), theirs, atol=1e-6)


@pytest.mark.parametrize("name", ARCHITECTURES)
def test_every_kind_of_tower_can_be_joined_with_every_part(tmp_path: Path, name: str) -> None:
    folder = save_folder(tmp_path / "m", name, make_weights(name))
    encoder, alone = load(f"local-dir:{folder}{ALL_PARTS}"), load(f"local-dir:{folder}")
    assert alone.dim == 16
    assert encoder.dim == 16 + EARLY_DIM[name] + 125 + 63 + 45
    images = [noise(seed, 40 + 9 * seed, 90 - 9 * seed) for seed in range(4)]
    vectors = encoder.embed(images)
    assert vectors.dtype == np.float32
    np.testing.assert_allclose(np.linalg.norm(vectors, axis=1), 1, atol=1e-6)
    np.testing.assert_allclose(unit_rows(vectors[:, :16]), alone.embed(images), atol=1e-5)
    np.testing.assert_allclose(vectors, np.concatenate([encoder.embed([p]) for p in images]), atol=1e-5)
    np.testing.assert_array_equal(encoder.embed(images[:1]), encoder.embed(images[:1]))
    assert (encoder.variant, encoder.device) == ("torch-float32", "cpu")


def test_mini_on_torch_is_mini_on_onnx_to_a_ten_thousandth() -> None:
    spec = parse_spec("mini")
    tower = OpenClipTower.load(spec, device=Device.CPU, threads=1)
    on_torch, on_onnx = JoinedEncoder(tower, spec.parts, decoder_id="d1"), load("mini")
    images = [noise(seed, 50 + 40 * seed, 200 - 30 * seed) for seed in range(4)]
    np.testing.assert_allclose(on_torch.embed(images), on_onnx.embed(images), atol=1e-4)
    assert on_torch.encoder_id == on_onnx.encoder_id
    assert on_torch.dim == on_onnx.dim
    assert (on_torch.variant, on_onnx.variant) == ("torch-float32", "onnx-float32")


def test_channel_statistics_are_means_and_deviations_over_positions() -> None:
    import torch

    maps = torch.tensor([[[[0.0, 6.0], [0.0, 6.0]], [[4.0, 4.0], [4.0, 4.0]]]])  # (1, 2 channels, 2, 2)
    tokens = maps.flatten(2).transpose(1, 2)  # (1, 4 tokens, 2 channels)
    for activation in (maps, tokens):
        measured = channel_statistics(activation)[0]
        np.testing.assert_allclose(measured, [0.6, 0.8, 1, 0], atol=1e-4)


def test_the_early_layers_are_the_first_two_of_the_first_third() -> None:
    import torch

    class Tower(torch.nn.Module):
        def __init__(self, **parts: torch.nn.Module) -> None:
            super().__init__()
            for name, part in parts.items():
                self.add_module(name, part)

    def row(count: int) -> torch.nn.Sequential:
        return torch.nn.Sequential(*(torch.nn.Identity() for _ in range(count)))

    blocks = row(12)
    vit = Tower(transformer=Tower(resblocks=blocks))
    assert early_stages(vit) == [blocks[1], blocks[3]]
    stages = row(4)
    assert early_stages(Tower(trunk=Tower(stages=stages))) == [stages[0], stages[1]]
    first, second = row(1), row(2)
    assert early_stages(Tower(layer1=first, layer2=second)) == [first, second]
    assert early_stages(Tower(trunk=Tower(other=row(4)))) == []
    assert early_stages(Tower()) == []


# Ids


def test_the_same_weights_in_any_file_are_one_encoder(tmp_path: Path) -> None:
    weights = make_weights("made-vit")
    as_trained = {"epoch": 3, "state_dict": {f"module.{key}": tensor for key, tensor in weights.items()}}
    files = [
        save_file_as(tmp_path / "a.safetensors", weights),
        save_file_as(tmp_path / "b.pt", weights),
        save_file_as(tmp_path / "c+d.bin", as_trained),
    ]
    encoders = [load(f"open_clip:made-vit/{file}") for file in files]
    assert len({encoder.encoder_id for encoder in encoders}) == 1
    assert encoders[0].encoder_id.startswith("made-vit#")
    assert "/" not in encoders[0].encoder_id
    for encoder in encoders:
        np.testing.assert_array_equal(encoder.embed([noise(1)]), encoders[0].embed([noise(1)]))


def test_a_file_named_like_nothing_special_is_found_from_the_current_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    save_file_as(tmp_path / "weights", make_weights("made-vit"))
    monkeypatch.chdir(tmp_path)
    assert load("open_clip:made-vit/weights").dim == 16


def test_whatever_changes_a_vector_changes_the_id(tmp_path: Path) -> None:
    weights = make_weights("made-vit")
    nudged = {**weights, "visual.proj": weights["visual.proj"].clone()}
    nudged["visual.proj"][0, 0] += 1e-4
    folders = {
        "plain": save_folder(tmp_path / "plain", "made-vit", weights),
        "other mean": save_folder(tmp_path / "mean", "made-vit", weights, preprocess_cfg=PREPROCESS),
        "one weight": save_folder(tmp_path / "nudged", "made-vit", nudged),
        "other activation": save_folder(
            tmp_path / "gelu", "made-vit", weights, model_cfg={"quick_gelu": True}
        ),
        "other heads": save_folder(
            tmp_path / "heads", "made-vit", weights, model_cfg={"vision_cfg": {**VIT, "head_width": 8}}
        ),
    }
    encoders = {name: load(f"local-dir:{folder}") for name, folder in folders.items()}
    assert len({encoder.encoder_id for encoder in encoders.values()}) == len(folders)
    vectors = [encoder.embed([noise(1)]) for encoder in encoders.values()]
    assert len({vector.tobytes() for vector in vectors}) == len(folders)


def test_what_does_not_touch_an_images_vector_does_not_change_the_id(tmp_path: Path) -> None:
    weights = make_weights("made-vit")
    other_text = {**weights, "token_embedding.weight": weights["token_embedding.weight"] + 1}
    plain = load(f"local-dir:{save_folder(tmp_path / 'a', 'made-vit', weights)}")
    spelled_out = {"size": 32, "interpolation": "bicubic", "resize_mode": "shortest", "fill_color": 0}
    retold = save_folder(tmp_path / "b", "made-vit", other_text, preprocess_cfg=spelled_out)
    assert load(f"local-dir:{retold}").encoder_id == plain.encoder_id
    assert plain.encoder_id.startswith("local#")


def test_a_digest_of_tensors_sees_names_shapes_and_values_and_not_their_order_or_storage() -> None:
    import torch

    ones = torch.ones(2, 3)
    digest = tensor_digest({"a": ones, "b": ones * 2})
    assert tensor_digest({"b": (ones * 2).half(), "a": ones.t().contiguous().t()}) == digest
    others = [{"a": ones}, {"a": ones * 2, "b": ones}, {"a": ones.reshape(3, 2), "b": ones * 2}]
    assert digest not in {tensor_digest(other) for other in others}


# Checkpoints that cannot be used


@pytest.mark.parametrize("suffix", [".pt", ".safetensors", ".bin"])
@pytest.mark.parametrize("damage", ["empty", "text", "cut", "flipped header"])
def test_a_damaged_checkpoint_is_an_error_with_a_way_out(tmp_path: Path, suffix: str, damage: str) -> None:
    file = save_file_as(tmp_path / f"weights{suffix}", make_weights("made-vit"))
    whole = file.read_bytes()
    content = {
        "empty": b"",
        "text": b"<html>Not found</html>" * 9,
        "cut": whole[: len(whole) // 2],
        "flipped header": bytes(255 - byte for byte in whole[:64]) + whole[64:],
    }[damage]
    file.write_bytes(content)
    error = refusal(f"open_clip:made-vit/{file}", EncoderError)
    assert str(file) in error.message
    assert "mini" in (error.next_step or "")


@pytest.mark.parametrize("content", [{}, [1], {"visual.proj": "text"}, {"state_dict": {}}], ids=str)
def test_a_file_that_holds_no_state_dict_is_refused(tmp_path: Path, content: object) -> None:
    file = save_file_as(tmp_path / "weights.pt", content)
    assert str(file) in refusal(f"open_clip:made-vit/{file}", EncoderError).message


def test_weights_of_another_architecture_are_refused(tmp_path: Path) -> None:
    file = save_file_as(tmp_path / "weights.pt", make_weights("made-resnet"))
    error = refusal(f"open_clip:made-vit/{file}", EncoderError)
    assert "architecture" in (error.next_step or "")


def test_a_checkpoint_that_would_run_code_is_refused(tmp_path: Path) -> None:
    """A pickle may call anything; open_clip is asked for tensors only."""
    script = f"import pathlib; pathlib.Path({str(tmp_path / 'ran')!r}).touch()"

    class Trap:
        def __reduce__(self) -> tuple[Any, ...]:
            return exec, (script,)

    file = save_file_as(tmp_path / "weights.pt", {"visual.proj": Trap()})
    refusal(f"open_clip:made-vit/{file}", EncoderError)
    assert not (tmp_path / "ran").exists()


def test_a_missing_file_is_named_before_open_clip_is_asked(tmp_path: Path) -> None:
    error = refusal(f"open_clip:made-vit/{tmp_path}/none.pt", WeightsNotFoundError)
    assert f"{tmp_path}/none.pt" in error.message


def test_a_folder_must_hold_a_configuration_and_weights(tmp_path: Path) -> None:
    folder = save_folder(tmp_path / "m", "made-vit", make_weights("made-vit"))
    for absent in ("open_clip_config.json", "open_clip_model.safetensors"):
        incomplete = tmp_path / absent
        shutil.copytree(folder, incomplete)
        (incomplete / absent).unlink()
        assert absent in str(refusal(f"local-dir:{incomplete}", WeightsNotFoundError))
    assert "none" in str(refusal(f"local-dir:{tmp_path}/none", WeightsNotFoundError))


@pytest.mark.parametrize(
    "content",
    ["", "{}", "[]", '{"model_cfg": {}}', '{"model_cfg": {"vision_cfg": 3, "text_cfg": {}, "embed_dim": 4}}'],
)
def test_a_folder_with_an_unusable_configuration_is_an_error(tmp_path: Path, content: str) -> None:
    folder = save_folder(tmp_path / "m", "made-vit", make_weights("made-vit"))
    (folder / "open_clip_config.json").write_text(content)
    assert str(folder) in refusal(f"local-dir:{folder}", EncoderError).message


def test_a_torchscript_archive_is_refused_with_a_command_that_converts_it(tmp_path: Path) -> None:
    import torch

    weights = make_weights("made-vit")
    archive = tmp_path / "archive.pt"
    tree = torch.nn.Module()
    for key, tensor in {**weights, "input_resolution": torch.tensor(32)}.items():
        *path, leaf = key.split(".")
        node = tree
        for name in path:
            if name not in dict(node.named_children()):
                node.add_module(name, torch.nn.Module())
            node = node.get_submodule(name)
        node.register_buffer(leaf, tensor)
    with pytest.warns(DeprecationWarning, match=r"torch\.jit\.script"):
        torch.jit.script(tree).save(str(archive))
    error = refusal(f"open_clip:made-vit/{archive}", EncoderSpecError)
    assert "QuickGELU" not in error.message
    assert "-quickgelu" in (error.next_step or "")
    command = shlex.split((error.next_step or "").partition(": ")[2].partition(" ; OpenAI")[0])
    assert command[:2] == ["python", "-c"]
    subprocess.run([sys.executable, *command[1:]], check=True, capture_output=True, timeout=120)
    plain = save_file_as(tmp_path / "plain.pt", weights)
    converted = load(f"open_clip:made-vit/{tmp_path}/archive-tensors.pt")
    assert converted.encoder_id == load(f"open_clip:made-vit/{plain}").encoder_id


# Names and tags


def test_an_unknown_model_suggests_the_close_one() -> None:
    assert "ViT-B-32" in (refusal("open_clip:ViT-B32/openai", EncoderSpecError).next_step or "")
    assert "list_models" in (refusal("open_clip:zzzz/openai", EncoderSpecError).next_step or "")


def test_an_unknown_tag_lists_the_tags_there_are() -> None:
    next_step = refusal("open_clip:ViT-B-32/laion3b", EncoderSpecError).next_step or ""
    assert "laion2b_s34b_b79k" in next_step
    assert "file" in next_step
    assert refusal("open_clip:made-vit/openai", EncoderSpecError).next_step == "Give a checkpoint file."


@pytest.mark.parametrize("model", ["ViT-B-32-quickgelu", "RN50"])
def test_absent_weights_name_the_three_ways_to_go_on(hub_cache: Path, model: str) -> None:
    """RN50 too: a ResNet tower has no GELU for a plain name to get wrong."""
    error = refusal(f"open_clip:{model}/openai", WeightsNotFoundError)
    assert "Hugging Face cache" in error.message
    assert "downloads are off" in error.message
    next_step = error.next_step or ""
    assert "--allow-download" in next_step
    assert f"--encoder open_clip:{model}/PATH_TO_FILE" in next_step
    assert "--encoder mini" in next_step


@pytest.mark.parametrize("tag", ["openai", "metaclip_400m", "laion400m_e32"])
def test_weights_trained_with_quickgelu_are_refused_under_a_plain_name(hub_cache: Path, tag: str) -> None:
    error = refusal(f"open_clip:ViT-B-32/{tag}", EncoderSpecError)
    assert error.next_step == f"Use open_clip:ViT-B-32-quickgelu/{tag}."
    refusal(f"open_clip:ViT-B-32-quickgelu/{tag}", WeightsNotFoundError)


def publish(open_clip: ModuleType, patch: pytest.MonkeyPatch, *, model: str, **tags: dict[str, Any]) -> None:
    """Give a model made here tags, as open_clip's own table of published weights has them."""
    made = {
        tag: {"url": "", "hf_hub": f"fairbrush/{tag}/", "mean": (0.5,) * 3, "std": (0.5,) * 3, **config}
        for tag, config in tags.items()
    }
    patch.setitem(sys.modules["open_clip.pretrained"]._PRETRAINED, model, made)


def test_a_cached_tag_is_loaded_without_a_socket_and_is_the_file_it_was(
    open_clip: ModuleType, hub_cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    publish(open_clip, monkeypatch, model="made-vit", made_here={"resize_mode": "squash"})
    repository = hub_cache / "models--fairbrush--made_here"
    snapshot = repository / "snapshots" / ("0" * 40)
    snapshot.mkdir(parents=True)
    (repository / "refs").mkdir()
    (repository / "refs" / "main").write_text("0" * 40)
    file = save_file_as(snapshot / "open_clip_model.safetensors", make_weights("made-vit"))
    tagged = load("open_clip:made-vit/made_here")
    from_file = load(f"open_clip:made-vit/{file}")
    assert load("open_clip:made-vit/MADE-here").encoder_id == tagged.encoder_id == from_file.encoder_id
    np.testing.assert_array_equal(tagged.embed([noise(1)]), from_file.embed([noise(1)]))
    squashed = noise(1).mean(axis=(0, 1)) / 255 * 2 - 1
    assert tagged._tower.preprocess(noise(1)).mean(axis=(1, 2)) == pytest.approx(squashed, abs=0.02)


def test_a_file_has_the_preprocessing_all_tags_share_and_else_open_clips_default(
    open_clip: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = save_file_as(tmp_path / "w.pt", make_weights("made-vit"))
    plain = load(f"open_clip:made-vit/{file}").encoder_id
    publish(
        open_clip, monkeypatch, model="made-vit", a={"resize_mode": "squash"}, b={"resize_mode": "squash"}
    )
    agreed = load(f"open_clip:made-vit/{file}")
    assert agreed._tower.preprocess.resize_mode == "squash"
    assert agreed._tower.preprocess.mean == (0.5, 0.5, 0.5)
    publish(
        open_clip, monkeypatch, model="made-vit", a={"resize_mode": "squash"}, b={"resize_mode": "longest"}
    )
    assert load(f"open_clip:made-vit/{file}").encoder_id == plain != agreed.encoder_id


def test_a_download_is_tried_only_when_it_is_allowed(
    open_clip: ModuleType, hub_cache: Path, monkeypatch: pytest.MonkeyPatch, attempts: list[object]
) -> None:
    """Also after the command line's entry, or an earlier encoder, has set the hub offline."""
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    publish(open_clip, monkeypatch, model="made-vit", made_here={})
    assert "are off" in refusal("open_clip:made-vit/made_here", WeightsNotFoundError).message
    assert attempts == []
    error = refusal("open_clip:made-vit/made_here", WeightsNotFoundError, allow_download=True)
    assert "are allowed" in error.message
    assert attempts
    attempts.clear()
    refusal("open_clip:made-vit/made_here", WeightsNotFoundError)
    assert os.environ["HF_HUB_OFFLINE"] == "1"


# Devices


def test_auto_takes_what_is_there_and_cpu_is_always_there() -> None:
    import torch

    there = "cuda" if torch.cuda.is_available() else "mps" if torch.backends.mps.is_available() else "cpu"
    assert choose_device(Device.AUTO) == there
    assert choose_device(Device.CPU) == "cpu"


@pytest.mark.parametrize("device", [Device.CUDA, Device.MPS])
def test_an_absent_device_is_refused_rather_than_replaced(tmp_path: Path, device: Device) -> None:
    import torch

    if {Device.CUDA: torch.cuda.is_available(), Device.MPS: torch.backends.mps.is_available()}[device]:
        pytest.skip(f"this machine has {device}")
    folder = save_folder(tmp_path / "m", "made-vit", make_weights("made-vit"))
    for spec in ("mini", f"local-dir:{folder}"):
        error = refusal(spec, DeviceUnavailableError, device=device)
        assert str(device) in error.message
        assert "--device cpu" in (error.next_step or "")


@pytest.mark.gpu
def test_cuda_gives_the_vectors_of_the_processor() -> None:
    import torch

    if not torch.cuda.is_available():
        pytest.skip("this machine has no cuda")
    encoder = load("mini", device=Device.CUDA)
    on_cpu = load("mini")
    assert (encoder.device, encoder.variant) == ("cuda", "torch-float32")
    assert encoder.encoder_id == on_cpu.encoder_id
    np.testing.assert_allclose(encoder.embed([noise(1)]), on_cpu.embed([noise(1)]), atol=1e-4)


def test_a_model_with_a_hugging_face_text_tower_says_what_it_needs(open_clip, tmp_path: Path) -> None:
    checkpoint = tmp_path / "weights.pt"
    import torch

    torch.save({"visual.proj": torch.zeros(2, 2)}, checkpoint)
    with pytest.raises(EncoderError, match="cannot be loaded") as raised:
        load_encoder(f"open_clip:roberta-ViT-B-32/{checkpoint}", decoder_id="test")
    assert "roberta-base of the Hugging Face hub" in str(raised.value)
    assert "--allow-download" in str(raised.value)
