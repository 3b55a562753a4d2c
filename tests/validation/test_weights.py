"""A model's files: named by content, and refused before anything of theirs is loaded or run."""

import doctest
import json
import shutil
from pathlib import Path

import pytest
from validation.tiny import build, change_tensors, digest_of

import fairbrush.validation.weights
from fairbrush.errors import GeneratorError, WeightsNotFoundError
from fairbrush.validation.weights import (
    KNOWN_MODELS,
    Lora,
    find_files,
    latent_factor,
    native_side,
    parse_lora,
)

DENOISER = Path("unet") / "diffusion_pytorch_model.safetensors"


def flip_last_byte(file: Path) -> None:
    content = bytearray(file.read_bytes())
    content[-1] ^= 1
    file.write_bytes(content)


def edit_index(folder: Path, **changed: object) -> None:
    index = folder / "model_index.json"
    index.write_text(json.dumps(json.loads(index.read_text()) | changed))


def test_two_copies_have_one_digest_and_a_flipped_byte_another(tiny: Path, copy: Path) -> None:
    digest = digest_of(tiny)
    assert len(digest) == 64
    assert digest_of(copy) == digest
    assert digest_of(f"{copy}/") == digest
    (copy / "README.md").write_text("where it comes from")
    assert digest_of(copy) == digest
    flip_last_byte(copy / DENOISER)
    assert digest_of(copy) != digest


def test_where_a_part_was_once_loaded_from_does_not_count(tiny: Path, copy: Path) -> None:
    config = copy / "unet/config.json"
    config.write_text(json.dumps(json.loads(config.read_text()) | {"_name_or_path": "/somewhere/else"}))
    assert digest_of(copy) == digest_of(tiny)


@pytest.mark.parametrize(
    "file", ["scheduler/scheduler_config.json", "tokenizer/tokenizer.json", "vae/config.json"]
)
def test_a_setting_that_changes_images_changes_the_digest(tiny: Path, copy: Path, file: str) -> None:
    settings = json.loads((copy / file).read_text())
    (copy / file).write_text(json.dumps(settings | {"version": 2}))
    assert digest_of(copy) != digest_of(tiny)


def test_the_safety_checker_is_no_part_of_the_digest(tmp_path: Path) -> None:
    folder = build(tmp_path / "model", safety_checker=True)
    digest = digest_of(folder)
    flip_last_byte(folder / "safety_checker" / "model.safetensors")
    assert digest_of(folder) == digest


def test_loras_count_by_content_and_scale_in_any_order(tiny: Path, tmp_path: Path) -> None:
    lora, other = tmp_path / "a.safetensors", tmp_path / "b.safetensors"
    shutil.copy(tiny.with_name("lora.safetensors"), lora)
    shutil.copy(lora, other)
    flip_last_byte(other)
    digest = digest_of(tiny, [Lora(lora, 0.5, ("Ann",)), Lora(other, 1.0, ())])
    moved = Path(shutil.copy(lora, tmp_path / "moved.safetensors"))
    assert digest_of(tiny, [Lora(other, 1.0, ()), Lora(moved, 0.5, ("Bo",))]) == digest
    assert digest_of(tiny, [Lora(lora, 0.6, ("Ann",)), Lora(other, 1.0, ())]) != digest
    assert digest_of(tiny, [Lora(lora, 0.5, ("Ann",))]) != digest
    assert digest_of(tiny) != digest


def test_a_checkpoint_is_named_by_its_bytes_and_its_bases_settings(
    tiny: Path, copy: Path, tmp_path: Path
) -> None:
    one = tiny.with_name("one.safetensors")
    digest = digest_of(one, base=tiny)
    assert digest != digest_of(tiny)
    moved = Path(shutil.copy(one, tmp_path / "moved.safetensors"))
    assert digest_of(moved, base=copy) == digest
    flip_last_byte(copy / DENOISER)  # the base's denoiser is not read
    assert digest_of(moved, base=copy) == digest
    flip_last_byte(moved)
    assert digest_of(moved, base=copy) != digest


def test_native_size_is_read_from_the_configs(tiny: Path) -> None:
    files = find_files(tiny)
    assert native_side(files) == 64
    assert latent_factor(files) == 2


# ------------------------------------------------------------------ not there


def test_a_missing_model_is_told_where_to_be_put(tmp_path: Path) -> None:
    with pytest.raises(WeightsNotFoundError) as caught:
        find_files(tmp_path / "none")
    for said in (str(tmp_path / "none"), "--weights DIR", "--allow-download", "Nothing else opens a socket"):
        assert said in str(caught.value)


def fake_cache(home: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where the Hugging Face cache keeps SD-1.5's snapshot."""
    from huggingface_hub import constants

    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(home))
    repo = home / f"models--{KNOWN_MODELS['sd-1.5'].replace('/', '--')}"
    (repo / "refs").mkdir(parents=True)
    (repo / "refs" / "main").write_text("c0ffee" * 6 + "c0ff")
    return repo / "snapshots" / ("c0ffee" * 6 + "c0ff")


def test_sd15_is_found_in_the_hubs_cache_without_a_socket(
    tiny: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("socket.socket.connect", no_socket)
    snapshot = fake_cache(tmp_path, monkeypatch)
    with pytest.raises(WeightsNotFoundError, match=r"sd-1.5 .*not in the Hugging Face cache"):
        find_files("sd-1.5")
    shutil.copytree(tiny, snapshot)
    assert find_files("sd-1.5").folder == snapshot
    assert digest_of("sd-1.5") == digest_of(tiny)
    (snapshot / DENOISER).unlink()
    with pytest.raises(WeightsNotFoundError, match="--allow-download"):
        find_files("sd-1.5")


def test_a_failed_download_says_why(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import huggingface_hub

    def download(repo: str, *, local_files_only: bool = False, **_: object) -> str:
        raise OSError("no cache" if local_files_only else "the network is down")

    monkeypatch.setattr(huggingface_hub, "snapshot_download", download)
    with pytest.raises(WeightsNotFoundError, match="cannot be downloaded: the network is down"):
        find_files("sd-1.5", allow_download=True)
    assert huggingface_hub.constants.HF_HUB_OFFLINE is True


def no_socket(*_: object) -> None:
    raise AssertionError("a socket was opened")


# ------------------------------------------------------------------ damaged


def test_half_precision_files_are_taken_where_there_are_no_others(copy: Path, tiny: Path) -> None:
    both = copy / "unet" / "diffusion_pytorch_model.fp16.safetensors"
    shutil.copy(copy / DENOISER, both)
    assert digest_of(copy) == digest_of(tiny)
    (copy / DENOISER).unlink()
    found = find_files(copy).components["unet"]
    assert (found.weights, found.variant) == ((both,), "fp16")
    assert digest_of(copy) != digest_of(tiny)


@pytest.mark.parametrize("text", ["", "{", "[]", "[" * 100_000])
def test_a_damaged_index_is_refused(copy: Path, text: str) -> None:
    (copy / "model_index.json").write_text(text)
    with pytest.raises(GeneratorError, match=r"model_index\.json"):
        find_files(copy)


def test_a_folder_that_is_no_diffusers_directory_is_refused(tmp_path: Path) -> None:
    (tmp_path / "dream.safetensors").touch()
    with pytest.raises(GeneratorError, match=r"no model_index.json.*Is dream.safetensors a single-file"):
        find_files(tmp_path)


def test_a_missing_component_is_named(copy: Path) -> None:
    shutil.rmtree(copy / "text_encoder")
    with pytest.raises(GeneratorError, match="has no text_encoder"):
        find_files(copy)


def test_a_tokenizer_without_its_words_is_refused(tiny: Path, copy: Path) -> None:
    (copy / "tokenizer" / "tokenizer.json").unlink()
    (copy / "tokenizer" / "vocab.json").write_text("{}")
    for source, base in ((copy, None), (tiny.with_name("one.safetensors"), copy)):
        with pytest.raises(GeneratorError, match="tokenizer holds no vocabulary"):
            find_files(source, base=base)


def test_cut_off_weights_are_refused(copy: Path) -> None:
    whole = (copy / DENOISER).read_bytes()
    for length in (0, 7, 100, len(whole) - 1):
        (copy / DENOISER).write_bytes(whole[:length])
        with pytest.raises(
            GeneratorError, match=r"diffusion_pytorch_model.safetensors is damaged or cut off"
        ):
            find_files(copy)


def test_pickled_weights_are_refused_unread(copy: Path) -> None:
    pickled = copy / "unet" / "diffusion_pytorch_model.bin"
    pickled.write_bytes(b"cos\nsystem\n(S'touch /tmp/owned'\ntR.")
    (copy / DENOISER).unlink()
    with pytest.raises(GeneratorError) as caught:
        find_files(copy)
    assert "a pickle can run programs" in str(caught.value)
    assert "save_pretrained" in str(caught.value)
    pickled.unlink()
    with pytest.raises(GeneratorError, match="holds no weights"):
        find_files(copy)


@pytest.mark.parametrize(
    "changed",
    [
        {"_class_name": ["my_pipeline", "MyPipeline"]},
        {"unet": ["os.path", "join"]},
        {"../unet": ["diffusers", "UNet2DConditionModel"]},
    ],
)
def test_code_of_the_models_own_is_refused(copy: Path, changed: dict[str, object]) -> None:
    edit_index(copy, **changed)
    with pytest.raises(GeneratorError, match="code outside diffusers and transformers"):
        find_files(copy)


def test_a_program_beside_the_weights_is_refused(copy: Path) -> None:
    (copy / "unet" / "my_unet.py").write_text("raise SystemExit")
    with pytest.raises(GeneratorError, match=r"asks for unet/my_unet.py"):
        find_files(copy)


def test_an_index_with_odd_entries_is_refused(copy: Path) -> None:
    edit_index(copy, unet=["diffusers", 7])
    with pytest.raises(GeneratorError, match="unet is not"):
        find_files(copy)
    edit_index(copy, unet=[None, None], _class_name=7)
    with pytest.raises(GeneratorError, match="names no pipeline class"):
        find_files(copy)


# ------------------------------------------------------------------ single files and LoRAs


def test_a_checkpoint_needs_a_base(tiny: Path, tmp_path: Path) -> None:
    one = tiny.with_name("one.safetensors")
    with pytest.raises(GeneratorError, match="--base DIR"):
        find_files(one)
    with pytest.raises(GeneratorError, match="is no directory"):
        find_files(one, base=tmp_path / "none")
    with pytest.raises(GeneratorError, match="no model_index"):
        find_files(one, base=tmp_path)


def test_a_pickled_checkpoint_is_refused(tmp_path: Path, tiny: Path) -> None:
    (tmp_path / "dream.ckpt").write_bytes(b"cos\nsystem\n(S'touch /tmp/owned'\ntR.")
    with pytest.raises(GeneratorError, match="can run programs"):
        find_files(tmp_path / "dream.ckpt", base=tiny)


def test_a_checkpoint_that_lacks_a_part_is_refused(tiny: Path, tmp_path: Path) -> None:
    one = Path(shutil.copy(tiny.with_name("one.safetensors"), tmp_path / "one.safetensors"))
    change_tensors(one, lambda name, tensor: None if name.startswith("first_stage_model") else tensor)
    with pytest.raises(GeneratorError, match="holds no autoencoder"):
        find_files(one, base=tiny)
    with pytest.raises(GeneratorError, match="It is a LoRA: --lora"):
        find_files(tiny.with_name("lora.safetensors"), base=tiny)


def test_loras_are_read_from_the_command_line() -> None:
    assert parse_lora("ink.safetensors=Ann") == Lora(Path("ink.safetensors"), 1.0, ("Ann",))
    assert parse_lora("a/ink.safetensors:-0.5= Ann,Bo ,Ann") == Lora(
        Path("a/ink.safetensors"), -0.5, ("Ann", "Bo")
    )
    assert parse_lora("C:\\ink.safetensors:0.5=Ann").path == Path("C:\\ink.safetensors")
    assert parse_lora("ink.safetensors=Ann=Bo").artists == ("Ann=Bo",)
    assert doctest.testmod(fairbrush.validation.weights).failed == 0


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("ink.bin=Ann", "must be a safetensors file"),
        ("ink.pt:0.5=Ann", "must be a safetensors file"),
        ("ink=Ann", "names no LoRA file"),
        ("ink.safetensors", "names no LoRA file with its artists"),
        ("ink.safetensors:loud=Ann", "'loud' is not a LoRA's scale"),
        ("ink.safetensors:nan=Ann", "'nan' is not a LoRA's scale"),
        ("ink.safetensors:=Ann", "'' is not a LoRA's scale"),
        ("ink.safetensors= ,", "names no artist"),
    ],
)
def test_a_lora_that_cannot_be_read_is_refused(text: str, said: str) -> None:
    with pytest.raises(GeneratorError, match=said):
        parse_lora(text)


def test_lora_files_are_checked(tiny: Path, tmp_path: Path) -> None:
    with pytest.raises(WeightsNotFoundError, match="does not exist"):
        digest_of(tiny, [Lora(tmp_path / "none.safetensors", 1.0, ())])
    with pytest.raises(GeneratorError, match="holds no LoRA layers"):
        digest_of(tiny, [Lora(tiny / DENOISER, 1.0, ())])
    (tmp_path / "ink.bin").touch()
    with pytest.raises(GeneratorError, match="must be a safetensors file"):
        digest_of(tiny, [Lora(tmp_path / "ink.bin", 1.0, ())])
