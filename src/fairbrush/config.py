"""Settings: fairbrush.toml, then environment variables, then the defaults. Read once.

Leaves: a frozen ``Settings``. The one rule: a flag beats a variable, a variable beats the file, the file
beats the default, and an unknown name is an error rather than silence.
"""

from __future__ import annotations

import math
import os
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from typing import Any

from fairbrush.errors import ConfigError

CONFIG_NAME = "fairbrush.toml"


@dataclass(frozen=True)
class Settings:
    """What a command runs with. ``workspace`` is None where no fairbrush.toml was found."""

    workspace: Path | None = None
    encoder: str = "mini"
    device: str = "auto"
    cache: Path | None = None
    workers: int = 0  # decoding processes; 0: one a core, at most 8
    threads: int = 0  # of the encoder's backend; 0: the backend's choice
    batch: int = 32  # images embedded, and committed, at a time
    max_bytes: int = 64 * 2**20  # of one image file
    max_pixels: int = 100_000_000  # of one image
    timeout_s: float = 20.0  # for decoding one image
    database_wait_s: float = 10.0  # for another process to let go of the database
    language: str = "en"  # of pages: en or de
    policy: Mapping[str, Any] = field(default_factory=dict)  # the [policy] table, read by the ledger
    generators: Mapping[str, Path] = field(default_factory=dict)  # [generators]: a model's id -> its weights

    @property
    def cache_folder(self) -> Path:
        """The embedding cache: as set, else the workspace's, else the user's."""
        if self.cache is not None:
            return self.cache
        if self.workspace is not None:
            return self.workspace / "embeddings"
        import platformdirs

        return platformdirs.user_cache_path("fairbrush") / "embeddings"


def load_settings(
    *,
    start: Path | None = None,
    workspace: Path | None = None,
    environ: Mapping[str, str] | None = None,
    alone: bool = False,
) -> Settings:
    """Settings of the workspace named, or found by walking up from ``start``; ``alone``: of none, wherever
    that is. Raises ConfigError."""
    environ = os.environ if environ is None else environ
    folder = None
    if not alone:
        folder = _named_workspace(workspace, environ) or find_workspace(start or _current_folder())
    settings = Settings(workspace=folder)
    if folder is not None and (folder / CONFIG_NAME).is_file():
        values = _read_toml(folder / CONFIG_NAME)
        policy = values.pop("policy", {})
        if not isinstance(policy, dict):
            raise ConfigError(f"{folder / CONFIG_NAME}: policy must be a table.", next_step="Write [policy].")
        generators = _generators(values.pop("generators", {}), folder)
        settings = replace(settings, policy=policy, generators=generators)
        settings = _overlay(settings, values, source=str(folder / CONFIG_NAME))
        if settings.cache is not None:
            # a relative path in the file means the same from wherever the command is run
            settings = replace(settings, cache=folder / settings.cache)
    known = {f"FAIRBRUSH_{name.upper()}": name for name in _simple_settings()}
    readable = {*known, "FAIRBRUSH_WORKSPACE"}
    unknown = sorted(v for v in environ if v.startswith("FAIRBRUSH_") and v not in readable)
    if unknown:
        raise ConfigError(
            f"{unknown[0]} is not a variable fairbrush reads.",
            next_step=f"Known: {', '.join(sorted(readable))}.",
        )
    from_environment = {
        name: environ[variable]
        for variable, name in known.items()
        if environ.get(variable)  # empty means unset
    }
    return _overlay(settings, from_environment, source="the environment")


def find_workspace(start: Path) -> Path | None:
    """The nearest folder from ``start`` upwards that holds fairbrush.toml."""
    return next((folder for folder in [start, *start.parents] if (folder / CONFIG_NAME).is_file()), None)


def home_expanded(path: Path) -> Path:
    """A leading ``~`` of a setting is the user's home. Raises ConfigError."""
    try:
        return path.expanduser()
    except RuntimeError as error:
        raise ConfigError(
            f"{path}: {str(error).rstrip('.')}.", next_step="Write the whole path, or ./~ for a name with ~."
        ) from error


def _generators(table: Any, folder: Path) -> dict[str, Path]:
    """Where each generating model's weights lie; a relative path is the workspace's. Raises ConfigError."""
    if not isinstance(table, dict) or not all(isinstance(path, str) and path for path in table.values()):
        raise ConfigError(
            f"{folder / CONFIG_NAME}: generators must be a table of paths.",
            next_step='Write [generators], and below it "sd-1.5" = "/path/to/a/diffusers/folder".',
        )
    return {model: folder / home_expanded(Path(path)) for model, path in table.items()}


def _current_folder() -> Path:
    try:
        return Path.cwd()
    except OSError as error:
        raise ConfigError(
            "The current folder is gone.", next_step="Change to a folder that exists, and run again."
        ) from error


def _named_workspace(workspace: Path | None, environ: Mapping[str, str]) -> Path | None:
    named = workspace or (
        Path(environ["FAIRBRUSH_WORKSPACE"]) if environ.get("FAIRBRUSH_WORKSPACE") else None
    )
    named = home_expanded(named) if named is not None else None
    if named is not None and not named.is_dir():
        raise ConfigError(
            f"The workspace {named} is not a folder.", next_step="Check --workspace or FAIRBRUSH_WORKSPACE."
        )
    return named


def _read_toml(file: Path) -> dict[str, Any]:
    try:
        return tomllib.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise ConfigError(
            f"{file} cannot be read: {error}.", next_step="Correct it, or restore it from a backup."
        ) from error


def _overlay(settings: Settings, values: Mapping[str, Any], *, source: str) -> Settings:
    kinds = _simple_settings()
    changed: dict[str, Any] = {}
    for name, value in values.items():
        if isinstance(value, dict) and name not in kinds:
            continue  # a table belongs to the part of fairbrush that reads it
        if name not in kinds:
            raise ConfigError(
                f"{source}: {name} is not a setting.", next_step=f"Known: {', '.join(sorted(kinds))}."
            )
        changed[name] = _convert(name, value, kinds[name], source=source)
    return replace(settings, **changed)


def _simple_settings() -> dict[str, str]:
    """The settings that are one value each, with their types."""
    return {
        f.name: str(f.type) for f in fields(Settings) if f.name not in ("workspace", "policy", "generators")
    }


def _convert(name: str, value: Any, kind: str, *, source: str) -> Any:
    wanted = {"str": str, "int": int, "float": float}.get(kind, Path)
    is_whole = isinstance(value, int) and not isinstance(value, bool)
    usable = (isinstance(value, str) and value != "") or (wanted in (int, float) and is_whole)
    usable = usable or (wanted is float and isinstance(value, float))
    try:
        converted = wanted(value) if usable else None
    except ValueError:
        converted = None
    if converted is None or (isinstance(converted, int | float) and not 0 <= converted < math.inf):
        raise ConfigError(
            f"{source}: {name} must be {_PLAIN[wanted]}, not {value!r}.", next_step="Correct the value."
        )
    return home_expanded(converted) if isinstance(converted, Path) else converted


_PLAIN = {str: "text", int: "a whole number, 0 or more", float: "a number, 0 or more", Path: "a path"}
