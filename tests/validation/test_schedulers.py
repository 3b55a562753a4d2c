"""Samplers' names, against diffusers itself."""

import doctest
import importlib.util
import inspect
from typing import Any

import pytest

import fairbrush.validation.schedulers
from fairbrush.embedding.torchvision_ops import make_torchvision_importable
from fairbrush.errors import GeneratorError
from fairbrush.validation.schedulers import SAMPLERS, build_scheduler, find_scheduler

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")  # diffusers' own, of numpy

EVERY_CHOICE = [
    answer.choice
    for row in SAMPLERS
    for schedule in (None, *sorted(row.spacings))
    if (answer := find_scheduler(row.name, schedule)).choice
]
has_scipy = importlib.util.find_spec("scipy") is not None


@pytest.fixture(scope="module")
def own() -> Any:
    """SD-1.5's scheduler."""
    make_torchvision_importable()
    from diffusers import PNDMScheduler

    return PNDMScheduler(
        beta_start=0.00085, beta_end=0.012, beta_schedule="scaled_linear", skip_prk_steps=True, steps_offset=1
    )


def needs_scipy(choice: Any) -> bool:
    return choice.class_name == "LMSDiscreteScheduler" or ("use_beta_sigmas", True) in choice.options


@pytest.mark.parametrize("choice", EVERY_CHOICE, ids=lambda choice: choice.name)
def test_each_row_takes_its_options_and_leads_a_perfect_denoiser_to_the_truth(own: Any, choice: Any) -> None:
    if needs_scipy(choice) and not has_scipy:
        with pytest.raises(GeneratorError, match="pip install scipy"):
            build_scheduler(own, choice)
        return
    scheduler = build_scheduler(own, choice)
    assert type(scheduler).__name__ == choice.class_name
    taken = inspect.signature(type(scheduler).__init__).parameters
    for option, value in choice.options:
        assert option in taken
        assert scheduler.config[option] == value
    for kept in ("beta_start", "beta_end", "beta_schedule", "prediction_type"):
        assert scheduler.config[kept] == own.config[kept]
    assert denoise(scheduler) == pytest.approx(TRUTH, abs=0.15)  # the last step leaves some noise


TRUTH = 0.7


def denoise(scheduler: Any) -> Any:
    """What 20 steps with a perfect denoiser make of noise: the truth, whatever the sampler."""
    import torch

    noise = torch.Generator().manual_seed(0)
    with_noise = {"generator": noise} if "generator" in inspect.signature(scheduler.step).parameters else {}
    scheduler.set_timesteps(20)
    image = torch.randn(1, 4, 8, 8, generator=noise) * scheduler.init_noise_sigma
    for step in scheduler.timesteps:
        seen = scheduler.scale_model_input(image, step)
        signal = float(scheduler.alphas_cumprod[min(max(round(float(step)), 0), 999)])
        predicted = (seen - signal**0.5 * TRUTH) / (1 - signal) ** 0.5
        image = scheduler.step(predicted, step, image, **with_noise, return_dict=False)[0]
    return image.numpy()


@pytest.mark.parametrize(
    ("sampler", "schedule", "name"),
    [
        # AUTOMATIC1111, before and after schedules became a field of their own
        ("Euler a", None, "Euler a"),
        ("DPM++ 2M Karras", None, "DPM++ 2M Karras"),
        ("DPM++ 2M", "Karras", "DPM++ 2M Karras"),
        ("DPM++ 2M", "Automatic", "DPM++ 2M Karras"),
        ("DPM++ 2M", None, "DPM++ 2M"),
        ("DPM++ 2M SDE Exponential", None, "DPM++ 2M SDE Exponential"),
        ("DPM++ SDE Karras", None, "DPM++ SDE Karras"),
        ("Euler", "SGM Uniform", "Euler Trailing"),
        ("Euler", "Uniform", "Euler"),
        ("Euler", "Automatic", "Euler"),
        ("DDIM", None, "DDIM"),
        ("PLMS", None, "PLMS"),
        ("UniPC", None, "UniPC"),
        ("LMS Karras", None, "LMS Karras"),
        ("Heun", None, "Heun"),
        # ComfyUI
        ("euler_ancestral", "normal", "Euler a"),
        ("dpmpp_2m", "karras", "DPM++ 2M Karras"),
        ("dpmpp_2m_sde_gpu", "exponential", "DPM++ 2M SDE Exponential"),
        ("dpmpp_sde", "normal", "DPM++ SDE"),
        ("dpm_2_ancestral", "normal", "DPM2 a"),
        ("uni_pc_bh2", "simple", "UniPC bh2 Trailing"),
        ("ddim", "normal", "DDIM"),
        # InvokeAI, now and in its versions 1 and 2
        ("dpmpp_2m_k", None, "DPM++ 2M Karras"),
        ("euler_a", None, "Euler a"),
        ("kdpm_2_k", None, "DPM2 Karras"),
        ("unipc", None, "UniPC"),
        ("k_euler_a", None, "Euler a"),
        ("k_lms", None, "LMS"),
        ("k_dpmpp_2_a", None, "DPM++ 2S a"),
        ("pndm", None, "PLMS"),
    ],
)
def test_a_name_is_understood_in_each_programs_spelling(
    sampler: str, schedule: str | None, name: str
) -> None:
    choice = find_scheduler(sampler, schedule).choice
    assert choice is not None
    assert choice.name == name
    assert find_scheduler(choice.name).choice == choice  # the name alone leads back, as it is stored


def test_what_is_not_served_as_asked_is_said() -> None:
    assert find_scheduler("DPM fast").note == "The sampler 'DPM fast' is not known: the model's own is used."
    answer = find_scheduler("Euler a", "karras")
    assert answer.choice == find_scheduler("Euler a").choice
    assert answer.note == "Euler a has no schedule 'karras' in diffusers: its plain one is used."
    unknown = find_scheduler("Euler", "Align Your Steps").note
    assert unknown == "Euler has no schedule 'Align Your Steps' in diffusers: its plain one is used."
    stand_in = find_scheduler("DPM++ SDE").note
    assert stand_in is not None
    assert "stands in" in stand_in
    assert find_scheduler(None, "karras") == find_scheduler(None)


def test_a_sampler_of_another_family_is_refused(own: Any) -> None:
    from diffusers import FlowMatchEulerDiscreteScheduler

    choice = find_scheduler("DDIM").choice
    assert choice is not None
    with pytest.raises(GeneratorError, match="DDIM does not fit this model, whose own is FlowMatch"):
        build_scheduler(FlowMatchEulerDiscreteScheduler(), choice)


def test_examples() -> None:
    assert doctest.testmod(fairbrush.validation.schedulers).failed == 0
