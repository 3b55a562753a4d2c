"""A random-weight Stable Diffusion in miniature, built on the spot; a LoRA and a checkpoint file of it, an
IP-Adapter for it, and an image variation of it."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

from fairbrush.embedding.torchvision_ops import make_torchvision_importable
from fairbrush.validation.generators import Generator, describe_generator
from fairbrush.validation.weights import find_files, model_digest

SIDE = 64
WIDTH = 16  # of the text encoder
CONTEXT = 77
PATCH_WIDTH = 8  # of the image encoder


def build(folder: Path, *, seed: int = 0, safety_checker: bool = False) -> Path:
    """A diffusers directory in SD-1.5's layout."""
    make_torchvision_importable()
    import torch
    from diffusers import StableDiffusionPipeline

    with torch.random.fork_rng():
        torch.manual_seed(seed)
        tokenizer = _tokenizer()
        checker, reader = _safety_checker() if safety_checker else (None, None)
        pipeline = StableDiffusionPipeline(
            vae=_autoencoder(),
            text_encoder=_text_encoder(tokenizer),
            tokenizer=tokenizer,
            unet=_denoiser(),
            scheduler=_scheduler(),
            safety_checker=checker,
            feature_extractor=reader,
            requires_safety_checker=safety_checker,
        )
    pipeline.save_pretrained(folder, safe_serialization=True)
    return folder


def build_xl(folder: Path) -> Path:
    """A StableDiffusionXLPipeline: two text encoders, and sizes among its conditions."""
    make_torchvision_importable()
    import torch
    from diffusers import EulerDiscreteScheduler, StableDiffusionXLPipeline
    from transformers import CLIPTextModelWithProjection

    with torch.random.fork_rng():
        torch.manual_seed(0)
        tokenizer = _tokenizer()
        second = CLIPTextModelWithProjection(_text_encoder(tokenizer).config)
        projected = second.config.projection_dim
        sizes = {"addition_embed_type": "text_time", "addition_time_embed_dim": 8}
        denoiser = _denoiser(
            cross_attention_dim=2 * WIDTH, projection_class_embeddings_input_dim=projected + 6 * 8, **sizes
        )
        StableDiffusionXLPipeline(
            vae=_autoencoder(),
            text_encoder=_text_encoder(tokenizer),
            text_encoder_2=second,
            tokenizer=tokenizer,
            tokenizer_2=tokenizer,
            unet=denoiser,
            scheduler=EulerDiscreteScheduler.from_config(_scheduler().config),
            add_watermarker=False,
        ).save_pretrained(folder)
    return folder


def build_variation(folder: Path, *, safety_checker: bool = False) -> Path:
    """A StableDiffusionImageVariationPipeline: it draws from the embedding of an image alone."""
    make_torchvision_importable()
    import torch
    from diffusers import StableDiffusionImageVariationPipeline

    with torch.random.fork_rng():
        torch.manual_seed(0)
        checker, _ = _safety_checker() if safety_checker else (None, None)
        StableDiffusionImageVariationPipeline(
            vae=_autoencoder(),
            image_encoder=_image_encoder(WIDTH),
            unet=_denoiser(),
            scheduler=_scheduler(),
            safety_checker=checker,
            feature_extractor=_image_processor(),
            requires_safety_checker=safety_checker,
        ).save_pretrained(folder)
    return folder


def write_image_encoder(folder: Path, *, projection: int = 24) -> Path:
    """A folder as ``image_encoder`` beside a published IP-Adapter."""
    make_torchvision_importable()
    import torch

    with torch.random.fork_rng():
        torch.manual_seed(3)
        _image_encoder(projection).save_pretrained(folder)
    return folder


def write_adapter(
    folder: Path, file: Path, *, projection: int = 24, seed: int = 2, plus: bool = False
) -> Path:
    """An IP-Adapter for a model's denoiser, with the tensors' names of ip-adapter_sd15.safetensors, or, plus,
    of ip-adapter-plus_sd15.safetensors."""
    make_torchvision_importable()
    import torch
    from diffusers import UNet2DConditionModel
    from safetensors.torch import save_file

    denoiser = UNet2DConditionModel.from_pretrained(folder / "unet", local_files_only=True)
    reads = denoiser.config.cross_attention_dim
    random = torch.Generator().manual_seed(seed)
    shapes = (
        _resampler_shapes(reads)
        if plus
        else {
            "proj.weight": (4 * reads, projection),
            "proj.bias": (4 * reads,),
            "norm.weight": (reads,),
            "norm.bias": (reads,),
        }
    )
    tensors = {f"image_proj.{name}": torch.randn(shape, generator=random) for name, shape in shapes.items()}
    layers = [name for name in denoiser.attn_processors if not name.endswith("attn1.processor")]
    for number, name in enumerate(layers):
        attention = denoiser.get_submodule(name.removesuffix(".processor"))
        for which in ("to_k_ip", "to_v_ip"):
            shape = (attention.to_k.out_features, reads)
            tensors[f"ip_adapter.{2 * number + 1}.{which}.weight"] = torch.randn(shape, generator=random)
    save_file(tensors, file)
    return file


def _resampler_shapes(reads: int) -> dict[str, tuple[int, ...]]:
    """Four blocks of attention over patches, heads of 64 numbers."""
    wide, patch = 8, PATCH_WIDTH
    shapes: dict[str, tuple[int, ...]] = {
        "latents": (1, 4, wide),
        "proj_in.weight": (wide, patch),
        "proj_in.bias": (wide,),
        "proj_out.weight": (reads, wide),
        "proj_out.bias": (reads,),
        "norm_out.weight": (reads,),
        "norm_out.bias": (reads,),
    }
    for block in range(4):
        for norm in ("0.norm1", "0.norm2", "1.0"):
            shapes |= {f"layers.{block}.{norm}.{which}": (wide,) for which in ("weight", "bias")}
        shapes |= {
            f"layers.{block}.0.to_q.weight": (64, wide),
            f"layers.{block}.0.to_kv.weight": (128, wide),
            f"layers.{block}.0.to_out.weight": (wide, 64),
            f"layers.{block}.1.1.weight": (4 * wide, wide),
            f"layers.{block}.1.3.weight": (wide, 4 * wide),
        }
    return shapes


def _image_encoder(projection: int) -> Any:
    from transformers import CLIPVisionConfig, CLIPVisionModelWithProjection

    return CLIPVisionModelWithProjection(
        CLIPVisionConfig(
            hidden_size=PATCH_WIDTH,
            intermediate_size=16,
            num_hidden_layers=2,
            num_attention_heads=2,
            image_size=32,
            patch_size=16,
            projection_dim=projection,
            initializer_factor=20.0,  # so that two images are told apart
        )
    )


def _image_processor() -> Any:
    from transformers import CLIPImageProcessor

    size = {"height": 32, "width": 32}
    return CLIPImageProcessor(size={"shortest_edge": 32}, crop_size=size)


def _tokenizer() -> Any:
    from transformers import CLIPTokenizer

    letters = [*"abcdefghijklmnopqrstuvwxyz,"]
    words = [*letters, *(f"{letter}</w>" for letter in letters), "<|startoftext|>", "<|endoftext|>"]
    vocabulary = {word: place for place, word in enumerate(words)}
    return CLIPTokenizer(vocab=vocabulary, merges=[], model_max_length=CONTEXT)


def _text_encoder(tokenizer: Any) -> Any:
    from transformers import CLIPTextConfig, CLIPTextModel

    return CLIPTextModel(
        CLIPTextConfig(
            vocab_size=len(tokenizer),
            hidden_size=WIDTH,
            intermediate_size=2 * WIDTH,
            num_hidden_layers=1,
            num_attention_heads=2,
            max_position_embeddings=CONTEXT,
            bos_token_id=tokenizer.bos_token_id,
            eos_token_id=tokenizer.eos_token_id,
            pad_token_id=tokenizer.pad_token_id,
        )
    )


def _denoiser(**options: Any) -> Any:
    from diffusers import UNet2DConditionModel

    return UNet2DConditionModel(
        sample_size=SIDE // 2,
        in_channels=4,
        out_channels=4,
        block_out_channels=(8, 16),
        layers_per_block=1,
        down_block_types=("DownBlock2D", "CrossAttnDownBlock2D"),
        up_block_types=("CrossAttnUpBlock2D", "UpBlock2D"),
        attention_head_dim=2,
        norm_num_groups=4,
        **{"cross_attention_dim": WIDTH, **options},
    )


def _autoencoder() -> Any:
    from diffusers import AutoencoderKL

    return AutoencoderKL(
        down_block_types=("DownEncoderBlock2D",) * 2,
        up_block_types=("UpDecoderBlock2D",) * 2,
        block_out_channels=(8, 16),
        layers_per_block=1,
        latent_channels=4,
        norm_num_groups=4,
        sample_size=SIDE,
    )


def _scheduler() -> Any:
    """SD-1.5's own."""
    from diffusers import PNDMScheduler

    return PNDMScheduler(
        beta_start=0.00085,
        beta_end=0.012,
        beta_schedule="scaled_linear",
        skip_prk_steps=True,
        set_alpha_to_one=False,
        steps_offset=1,
    )


def _safety_checker() -> tuple[Any, Any]:
    """It flags nothing: ``flag_everything`` changes that."""
    import torch
    from diffusers.pipelines.stable_diffusion import StableDiffusionSafetyChecker
    from transformers import CLIPConfig

    small = {"hidden_size": 8, "intermediate_size": 8, "num_hidden_layers": 1, "num_attention_heads": 2}
    config = CLIPConfig(
        vision_config={**small, "image_size": 32, "patch_size": 16, "projection_dim": 8}, projection_dim=8
    )
    checker = StableDiffusionSafetyChecker(config)
    with torch.no_grad():
        checker.concept_embeds_weights.fill_(2.0)  # no cosine reaches it
        checker.special_care_embeds_weights.fill_(2.0)
    return checker, _image_processor()


def flag_everything(folder: Path) -> None:
    """Let the safety checker of a directory replace every image."""
    change_tensors(
        folder / "safety_checker" / "model.safetensors",
        lambda name, tensor: tensor.fill_(-2.0) if name == "concept_embeds_weights" else tensor,
    )


def build_encoder(folder: Path) -> Path:
    """A random-weight CLIP as open_clip's ``local-dir:`` reads it."""
    make_torchvision_importable()
    import open_clip
    import torch
    from safetensors.torch import save_file

    sizes = {
        "embed_dim": 16,
        "vision_cfg": {"image_size": 32, "patch_size": 8, "width": 32, "head_width": 16, "layers": 2},
        "text_cfg": {"context_length": 8, "vocab_size": 64, "width": 16, "heads": 2, "layers": 1},
    }
    with torch.random.fork_rng():
        torch.manual_seed(0)
        weights = open_clip.CLIP(**sizes).state_dict()
    folder.mkdir()
    (folder / "open_clip_config.json").write_text(json.dumps({"model_cfg": sizes}))
    save_file(
        {name: tensor.contiguous() for name, tensor in weights.items()},
        folder / "open_clip_model.safetensors",
    )
    return folder


def change_tensors(file: Path, change: Any) -> None:
    """Rewrite a safetensors file: ``change(name, tensor)`` gives the new tensor, or None to drop it."""
    from safetensors.torch import load_file, save_file

    tensors = {name: change(name, tensor) for name, tensor in load_file(file).items()}
    save_file({n: t.contiguous() for n, t in tensors.items() if t is not None}, file, {"format": "pt"})


def write_lora(folder: Path, file: Path, *, seed: int = 1) -> Path:
    """A LoRA on the denoiser's and the text encoder's attention, strong enough to be seen."""
    import torch
    from diffusers import StableDiffusionPipeline
    from peft import LoraConfig
    from peft.utils import get_peft_model_state_dict

    pipeline = StableDiffusionPipeline.from_pretrained(folder, local_files_only=True)
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        options = {"r": 2, "lora_alpha": 2, "init_lora_weights": False}
        pipeline.unet.add_adapter(LoraConfig(target_modules=["to_q", "to_k", "to_v"], **options))
        pipeline.text_encoder.add_adapter(
            LoraConfig(target_modules=["q_proj", "k_proj", "v_proj", "out_proj"], **options)
        )
    StableDiffusionPipeline.save_lora_weights(
        file.parent,
        unet_lora_layers=get_peft_model_state_dict(pipeline.unet),
        text_encoder_lora_layers=get_peft_model_state_dict(pipeline.text_encoder),
        weight_name=file.name,
        safe_serialization=True,
    )
    return file


def write_checkpoint(folder: Path, file: Path) -> Path:
    """The directory's weights in one file, under the names of the original Stable Diffusion code."""
    from safetensors.torch import load_file, save_file

    denoiser = load_file(folder / "unet" / "diffusion_pytorch_model.safetensors")
    autoencoder = load_file(folder / "vae" / "diffusion_pytorch_model.safetensors")
    text = load_file(folder / "text_encoder" / "model.safetensors")
    tensors = {f"model.diffusion_model.{_denoiser_name(name)}": tensor for name, tensor in denoiser.items()}
    for name, tensor in autoencoder.items():
        original = _autoencoder_name(name)
        is_convolution_there = ".mid.attn_1." in original and original.endswith("weight") and tensor.ndim == 2
        shaped = tensor[:, :, None, None] if is_convolution_there else tensor
        tensors[f"first_stage_model.{original}"] = shaped
    for name, tensor in text.items():
        plain = name.removeprefix("text_model.")
        tensors[f"cond_stage_model.transformer.text_model.{plain}"] = tensor
    save_file({name: tensor.contiguous() for name, tensor in tensors.items()}, file)
    return file


def _renamed(name: str, pairs: tuple[tuple[str, str], ...]) -> str:
    for ours, original in pairs:
        name = re.sub(ours, original, name)
    return name


_RESNET = (
    *((r"\.norm1\.", ".in_layers.0."), (r"\.conv1\.", ".in_layers.2."), (r"\.norm2\.", ".out_layers.0.")),
    *((r"\.conv2\.", ".out_layers.3."), (r"time_emb_proj", "emb_layers.1")),
    (r"conv_shortcut", "skip_connection"),
)
_DENOISER = (
    *((r"^time_embedding\.linear_1", "time_embed.0"), (r"^time_embedding\.linear_2", "time_embed.2")),
    *((r"^conv_in", "input_blocks.0.0"), (r"^conv_norm_out", "out.0"), (r"^conv_out", "out.2")),
    (r"^mid_block\.resnets\.0", "middle_block.0"),
    (r"^mid_block\.attentions\.0", "middle_block.1"),
    (r"^mid_block\.resnets\.1", "middle_block.2"),
    # one layer a block and its resampling: two numbers a block
    (r"^down_blocks\.0\.resnets\.0", "input_blocks.1.0"),
    (r"^down_blocks\.0\.downsamplers\.0\.conv", "input_blocks.2.0.op"),
    (r"^down_blocks\.1\.resnets\.0", "input_blocks.3.0"),
    (r"^down_blocks\.1\.attentions\.0", "input_blocks.3.1"),
    (r"^up_blocks\.0\.resnets\.(\d)", r"output_blocks.\1.0"),
    (r"^up_blocks\.0\.attentions\.(\d)", r"output_blocks.\1.1"),
    (r"^up_blocks\.0\.upsamplers\.0\.conv", "output_blocks.1.2.conv"),
    (r"^up_blocks\.1\.resnets\.0", "output_blocks.2.0"),
    (r"^up_blocks\.1\.resnets\.1", "output_blocks.3.0"),
)
_AUTOENCODER = (
    (r"down_blocks\.(\d)\.resnets\.(\d)", r"down.\1.block.\2"),
    (r"down_blocks\.(\d)\.downsamplers\.0", r"down.\1.downsample"),
    (r"up_blocks\.0\.", "up.ONE."),
    (r"up_blocks\.1\.", "up.0."),
    (r"up\.ONE\.", "up.1."),
    (r"up\.(\d)\.resnets\.(\d)", r"up.\1.block.\2"),
    (r"up\.(\d)\.upsamplers\.0", r"up.\1.upsample"),
    (r"mid_block\.resnets\.0", "mid.block_1"),
    (r"mid_block\.resnets\.1", "mid.block_2"),
    (r"mid_block\.attentions\.0", "mid.attn_1"),
    *((r"group_norm", "norm"), (r"\.to_q\.", ".q."), (r"\.to_k\.", ".k."), (r"\.to_v\.", ".v.")),
    *((r"\.to_out\.0\.", ".proj_out."), (r"conv_shortcut", "nin_shortcut"), (r"conv_norm_out", "norm_out")),
)


def _denoiser_name(name: str) -> str:
    renamed = _renamed(name, _DENOISER)
    return renamed if ".transformer_blocks." in renamed else _renamed(renamed, _RESNET)


def _autoencoder_name(name: str) -> str:
    return _renamed(name, _AUTOENCODER)


def digest_of(source: Any, loras: Any = (), *, base: Path | None = None) -> str:
    return model_digest(find_files(source, base=base, safety_checker=False), loras)


def load_generator(*words: Any, **options: Any) -> Generator:
    return describe_generator(*words, **options).load()
