"""What a check answers, and what later checks need of earlier ones.

The one rule: whatever is broken becomes a row with its way out: a doctor that dies of the illness helps
nobody.
"""

from __future__ import annotations

import shlex
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING

from fairbrush.config import Settings, find_workspace
from fairbrush.embedding.encoder import Encoder
from fairbrush.errors import FairbrushError

if TYPE_CHECKING:
    from fairbrush.index.search import StyleIndex

_REPORT = "fairbrush backup FILE.zip, then report this with the row above"


class Status(StrEnum):
    OK = "ok"
    WARNING = "warning"
    PROBLEM = "problem"


@dataclass(frozen=True)
class Check:
    """One thing looked at. ``fix``: what to type, or what to do where no command can; empty when ok."""

    what: str
    status: Status
    detail: str
    fix: str = ""


@dataclass
class Patient:
    """What later checks need of earlier ones; None where it could not be had."""

    settings: Settings
    deep: bool
    encoder: Encoder | None = None
    artists_with_works: set[str] | None = None
    registry_revision: int | None = None
    index: StyleIndex | None = None

    @property
    def workspace(self) -> Path:
        assert self.settings.workspace is not None, "asked of a workspace that is not there"
        return self.settings.workspace

    @property
    def here(self) -> str:
        """The option that names this workspace, ready to be typed; empty where walking up finds it."""
        if find_workspace(Path.cwd()) == self.workspace:
            return ""
        return f"--workspace {shlex.quote(str(self.workspace))} "

    def command(self, words: str) -> str:
        return f"fairbrush {self.here}{words}"


def guarded(what: str, check: Callable[[], Iterator[Check]]) -> Iterator[Check]:
    """The rows of a check; one that fails on something unforeseen is a row too."""
    try:
        yield from check()
    except FairbrushError as error:
        yield problem(what, error)
    except Exception as error:  # noqa: BLE001 - whatever is broken must not end the examination
        detail = str(error).strip().partition("\n")[0]
        yield Check(what, Status.PROBLEM, f"cannot be looked at: {type(error).__name__}: {detail}", _REPORT)


def problem(what: str, error: FairbrushError, fix: str = "", status: Status = Status.PROBLEM) -> Check:
    return Check(what, status, error.message, fix or error.next_step or _REPORT)
