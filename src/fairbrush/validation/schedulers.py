"""Samplers by the names other programs write, as diffusers' schedulers.

Enters: a sampler's name as AUTOMATIC1111, ComfyUI or InvokeAI write it, and the name of its noise schedule.
Leaves: a ``SchedulerChoice``, applied to the model's own scheduler config (betas and what the model predicts
stay the model's). The one rule: a name that is not known, or not served, is said, never guessed.

Names and options follow diffusers' own table (docs, "Schedulers", k-diffusion and AUTOMATIC1111). Two
programs never draw the same picture from one seed; the sampler is matched, not the noise.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any

from fairbrush.errors import GeneratorError

KARRAS, EXPONENTIAL, TRAILING, BETA = "karras", "exponential", "trailing", "beta"
_SIGMAS = frozenset({KARRAS, EXPONENTIAL, BETA, TRAILING})
_SPACING_OPTIONS: dict[str, tuple[tuple[str, str | bool], ...]] = {
    KARRAS: (("use_karras_sigmas", True),),
    EXPONENTIAL: (("use_exponential_sigmas", True),),
    BETA: (("use_beta_sigmas", True),),
    TRAILING: (("timestep_spacing", "trailing"),),
}
_SPACING_LABELS = {KARRAS: "Karras", EXPONENTIAL: "Exponential", BETA: "Beta", TRAILING: "Trailing"}


@dataclass(frozen=True)
class Sampler:
    """``spacings``: the noise schedules diffusers has for it; ``automatic``: AUTOMATIC1111's default one."""

    name: str
    class_name: str
    aliases: tuple[str, ...] = ()
    options: tuple[tuple[str, str | bool | int], ...] = ()
    spacings: frozenset[str] = frozenset()
    automatic: str | None = None
    note: str | None = None


_SINGLESTEP = "diffusers has no exact equal: its nearest, the deterministic single-step solver, stands in."
_SDE = (("algorithm_type", "sde-dpmsolver++"),)
_NO_TRAILING = _SIGMAS - {TRAILING}
_UNIPC_2 = (("solver_type", "bh2"),)

# Aliases are in the spelling of ``_plain``: ComfyUI's and InvokeAI's names, without the schedule's.
SAMPLERS = (
    Sampler("Euler", "EulerDiscreteScheduler", spacings=_SIGMAS),
    Sampler(
        "Euler a",
        "EulerAncestralDiscreteScheduler",
        ("euler ancestral",),
        spacings=frozenset({TRAILING}),
    ),
    Sampler("Heun", "HeunDiscreteScheduler", spacings=_SIGMAS),
    Sampler("LMS", "LMSDiscreteScheduler", spacings=_SIGMAS),
    Sampler("DPM2", "KDPM2DiscreteScheduler", ("dpm 2", "kdpm 2"), spacings=_SIGMAS, automatic=KARRAS),
    Sampler(
        "DPM2 a",
        "KDPM2AncestralDiscreteScheduler",
        ("dpm 2 a", "dpm 2 ancestral", "kdpm 2 a"),
        spacings=_SIGMAS,
        automatic=KARRAS,
    ),
    Sampler(
        "DPM++ 2M",
        "DPMSolverMultistepScheduler",
        options=(("algorithm_type", "dpmsolver++"),),
        spacings=_SIGMAS,
        automatic=KARRAS,
    ),
    Sampler(
        "DPM++ 2M SDE",
        "DPMSolverMultistepScheduler",
        ("dpmpp 2m sde gpu",),
        options=_SDE,
        spacings=_SIGMAS,
        automatic=EXPONENTIAL,
    ),
    Sampler(
        "DPM++ 3M SDE",
        "DPMSolverMultistepScheduler",
        ("dpmpp 3m sde gpu",),
        options=(*_SDE, ("solver_order", 3)),
        spacings=_SIGMAS,
        automatic=EXPONENTIAL,
    ),
    Sampler(
        "DPM++ 3M",
        "DPMSolverMultistepScheduler",
        options=(("algorithm_type", "dpmsolver++"), ("solver_order", 3)),
        spacings=_SIGMAS,
    ),
    Sampler(
        "DPM++ 2S a",
        "DPMSolverSinglestepScheduler",
        ("dpmpp 2s ancestral", "dpmpp 2 a"),
        spacings=_NO_TRAILING,
        automatic=KARRAS,
        note=_SINGLESTEP,
    ),
    Sampler("DPM++ 2S", "DPMSolverSinglestepScheduler", ("dpmpp 2",), spacings=_NO_TRAILING),
    Sampler(
        "DPM++ SDE",
        "DPMSolverSinglestepScheduler",
        ("dpmpp sde gpu",),
        spacings=_NO_TRAILING,
        automatic=KARRAS,
        note=_SINGLESTEP,
    ),
    Sampler("DDIM", "DDIMScheduler", spacings=frozenset({TRAILING})),
    Sampler("DDPM", "DDPMScheduler", spacings=frozenset({TRAILING})),
    Sampler("PLMS", "PNDMScheduler", ("pndm",), options=(("skip_prk_steps", True),)),
    Sampler("UniPC", "UniPCMultistepScheduler", ("uni pc",), spacings=_SIGMAS),
    Sampler("UniPC bh2", "UniPCMultistepScheduler", ("uni pc bh2",), options=_UNIPC_2, spacings=_SIGMAS),
    Sampler("DEIS", "DEISMultistepScheduler", spacings=_SIGMAS),
)

_SCHEDULES: dict[str, str | None] = {
    **{"karras": KARRAS, "exponential": EXPONENTIAL, "beta": BETA},
    **{"trailing": TRAILING, "sgm uniform": TRAILING, "simple": TRAILING},
    **{"normal": None, "uniform": None, "discrete": None},
}
_ENDINGS = {" k": KARRAS, **{f" {label.casefold()}": name for name, label in _SPACING_LABELS.items()}}


@dataclass(frozen=True)
class SchedulerChoice:
    """``name``: one spelling, with the schedule; ``options``: set over the model's own scheduler config."""

    name: str
    class_name: str
    options: tuple[tuple[str, str | bool | int], ...]


@dataclass(frozen=True)
class SchedulerAnswer:
    """``choice`` None: the model's own sampler is used. ``note``: what differs from what was asked for."""

    choice: SchedulerChoice | None
    note: str | None = None


def find_scheduler(sampler: str | None, schedule: str | None = None) -> SchedulerAnswer:
    """What diffusers calls a sampler that an image's metadata name.

    >>> find_scheduler("DPM++ 2M Karras").choice == find_scheduler("dpmpp_2m", "karras").choice
    True
    >>> find_scheduler("k_euler_a").choice.name, find_scheduler("DPM++ 2M", "Automatic").choice.name
    ('Euler a', 'DPM++ 2M Karras')
    >>> find_scheduler("my sampler")
    SchedulerAnswer(choice=None, note="The sampler 'my sampler' is not known: the model's own is used.")
    """
    if sampler is None:
        return SchedulerAnswer(None)
    name, said = _split_schedule(_plain(sampler))
    found = _BY_NAME.get(name)
    if found is None:
        return SchedulerAnswer(None, f"The sampler {sampler!r} is not known: the model's own is used.")
    notes = [f"{found.name}: {found.note}"] if found.note else []
    asked = _plain(schedule) if schedule else said
    if asked == "automatic":
        spacing = said or found.automatic
    else:
        spacing = _SCHEDULES.get(asked, asked) if asked else None
    if spacing is not None and spacing not in found.spacings:
        notes.append(
            f"{found.name} has no schedule {schedule or said!r} in diffusers: its plain one is used."
        )
        spacing = None
    options = found.options + (_SPACING_OPTIONS[spacing] if spacing else ())
    label = f"{found.name} {_SPACING_LABELS[spacing]}" if spacing else found.name
    return SchedulerAnswer(SchedulerChoice(label, found.class_name, options), " ".join(notes) or None)


def build_scheduler(own: Any, choice: SchedulerChoice) -> Any:
    """A diffusers scheduler on the config of a model's ``own``. Raises GeneratorError."""
    import diffusers

    if choice.class_name not in {scheduler.__name__ for scheduler in own.compatibles}:
        raise GeneratorError(
            f"The sampler {choice.name} does not fit this model, whose own is {type(own).__name__}.",
            next_step="Leave the sampler out: the model's own is then used.",
        )
    try:
        return getattr(diffusers, choice.class_name).from_config(own.config, **dict(choice.options))
    except (ImportError, ValueError, NotImplementedError) as error:
        lacks_scipy = "scipy" in str(error)
        raise GeneratorError(
            f"The sampler {choice.name} cannot be used: "
            f"{'diffusers computes it with scipy' if lacks_scipy else error}.",
            next_step=f"{'pip install scipy, or leave' if lacks_scipy else 'Leave'} the sampler out.",
        ) from error


def _plain(name: str) -> str:
    """Lower case, single spaces, ``++`` as ``pp``.

    >>> _plain("DPM++ 2M  SDE"), _plain("dpmpp_2m-sde")
    ('dpmpp 2m sde', 'dpmpp 2m sde')
    """
    return " ".join(re.sub(r"[\s_\-]+", " ", name.casefold().replace("++", "pp")).split())


def _split_schedule(plain: str) -> tuple[str, str | None]:
    """The schedule at a name's end: AUTOMATIC1111's word, InvokeAI's ``_k``; ``k_`` before is k-diffusion."""
    plain = plain.removeprefix("k ")
    for ending, schedule in _ENDINGS.items():
        if plain.endswith(ending):
            return plain.removesuffix(ending), schedule
    return plain, None


_BY_NAME = {alias: row for row in SAMPLERS for alias in (_plain(row.name), *row.aliases)}
