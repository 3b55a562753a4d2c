"""Is everything in order? Versions, devices, encoder and a workspace, each with the way out.

Enters: a workspace's name, or nothing. Leaves: ``Check``s. The one rule: nothing is changed, not even
repaired.
"""

from __future__ import annotations

import os
import shlex
from collections.abc import Iterator
from pathlib import Path

from fairbrush.config import CONFIG_NAME, Settings, find_workspace, load_settings
from fairbrush.doctor.checks import Check, Patient, Status, guarded, problem
from fairbrush.doctor.installation import (
    LIBRARIES,
    check_devices,
    check_encoder,
    check_encoder_run,
    check_faiss,
    check_library,
    check_processor,
    check_python,
)
from fairbrush.doctor.workspace import WORKSPACE_CHECKS, check_cache
from fairbrush.errors import CalibrationError, ConfigError, FairbrushError
from fairbrush.ledger.policy import read_policy
from fairbrush.ledger.terms import read_terms
from fairbrush.style.calibration import read_calibration


def examine(workspace: Path | None = None, *, deep: bool = False) -> Iterator[Check]:
    """Every check, as it is made. ``deep``: load torch and the encoder, and read every cached page."""
    yield from guarded("python", check_python)
    for name in LIBRARIES:
        yield from guarded(name, lambda name=name: check_library(name))  # type: ignore[misc]
    yield from guarded("faiss", check_faiss)
    settings, problems = examine_settings(workspace)
    yield from problems
    patient = Patient(settings, deep)
    yield from guarded("processor", lambda: check_processor(patient))
    yield from guarded("encoder", lambda: check_encoder(patient))
    if deep:
        yield from guarded("devices", check_devices)
        yield from guarded("encoder run", lambda: check_encoder_run(patient))
    if settings.workspace is None:
        # a command that was told of a workspace, wrongly, has its row already
        if not problems:
            yield Check(
                "workspace",
                Status.WARNING,
                "none here, nor in the folders above; embed works without one",
                "fairbrush init",
            )
        yield from guarded("cache", lambda: check_cache(patient))
        return
    for what, check in WORKSPACE_CHECKS.items():
        yield from guarded(what, lambda check=check: check(patient))  # type: ignore[misc]


def examine_settings(workspace: Path | None) -> tuple[Settings, list[Check]]:
    """The settings to go on with, and what is wrong with them: the file's fault or a variable's."""
    try:
        settings = load_settings(workspace=workspace)
        return settings, _policy_problems(settings)
    except FairbrushError as error:
        fault = error
    folder = _workspace_named(workspace)
    if workspace is not None and not workspace.is_dir():
        fix = f"fairbrush init {shlex.quote(str(workspace))}"
        return Settings(), [problem("settings", fault, fix)]
    variables = sorted(name for name in os.environ if name.startswith("FAIRBRUSH_"))
    for variable in variables:
        try:
            load_settings(start=Path("/"), environ={variable: os.environ[variable]})
        except FairbrushError as error:
            fix = f"unset {variable}"
            return Settings(workspace=folder), [problem("settings", error, fix)]
    if folder is None:
        return Settings(), [problem("settings", fault)]
    file, there = shlex.quote(str(folder / CONFIG_NAME)), shlex.quote(str(folder))
    fix = f"mv {file} {file}.old && fairbrush init {there}"
    return Settings(workspace=folder), [problem("settings", fault, fix)]


def _policy_problems(settings: Settings) -> list[Check]:
    file = None if settings.workspace is None else settings.workspace / CONFIG_NAME
    source = "defaults" if file is None or not file.is_file() else str(file)
    try:
        named = {read_policy(settings.policy).calibrated_by, read_terms(settings.policy).calibration}
        for one in filter(None, named):
            read_calibration(settings.workspace or Path(), one)
    except (ConfigError, CalibrationError) as error:
        return [problem("settings", error)]
    return [Check("settings", Status.OK, f"{source} can be read")] if file else []


def _workspace_named(workspace: Path | None) -> Path | None:
    named = workspace or (Path(found) if (found := os.environ.get("FAIRBRUSH_WORKSPACE")) else None)
    try:
        return (named if named.is_dir() else None) if named else find_workspace(Path.cwd())
    except OSError:
        return None
