"""The whole exception tree, under one root.

Every error says what happened, where, and what to do next; only the command line's entry prints it and
chooses the exit code. ``raise`` these for a user's input; ``assert`` is for our own bugs.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from enum import IntEnum
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray


class ExitCode(IntEnum):
    """What the process tells its caller."""

    DONE = 0
    SOME_INPUTS_FAILED = 1
    CANNOT_RUN = 2
    DATABASE_BUSY = 75
    INTERRUPTED = 130


class FairbrushError(Exception):
    """Root of every error fairbrush raises on purpose.

    ``message`` says what and where; ``next_step`` what the user can do about it.
    """

    exit_code: ExitCode = ExitCode.CANNOT_RUN

    def __init__(self, message: str, *, next_step: str | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.next_step = next_step

    def __str__(self) -> str:
        return f"{self.message} {self.next_step}" if self.next_step else self.message


class ConfigError(FairbrushError):
    """fairbrush.toml, an environment variable or a flag cannot be used."""


class WorkspaceError(FairbrushError):
    """A workspace cannot be made, found, backed up or restored."""


class StoreError(FairbrushError):
    """The database cannot be opened, read or written."""


class DatabaseBusyError(StoreError):
    """Another process holds the database for longer than we wait."""

    exit_code = ExitCode.DATABASE_BUSY


class RegistryError(FairbrushError):
    """What was asked of the registry is not possible: an unknown or ambiguous name, a name taken."""


class RosterError(RegistryError):
    """A roster cannot be read at all; single bad rows are refused in its result instead."""


class ErasureUnfinishedError(FairbrushError):
    """An erased artist still has vectors, thumbnails or evidence somewhere; it is credited no more."""


class EligibilityError(FairbrushError):
    """eligibility.json is absent or damaged."""


class NoInputError(FairbrushError):
    """The paths given hold no image to work on."""


class EncoderError(FairbrushError):
    """An encoder cannot be used."""


class EncoderSpecError(EncoderError):
    """An encoder's name is not one fairbrush or open_clip knows."""


class WeightsNotFoundError(EncoderError):
    """An encoder's weights are not on this machine."""


class DeviceUnavailableError(EncoderError):
    """The device asked for is not on this machine."""


class CacheError(FairbrushError):
    """The embedding cache cannot be opened, read or written."""


class CacheFullError(CacheError):
    """The disk, or the cache's size limit, has no room for more vectors."""


class CacheDamagedError(CacheError):
    """The cache's file is not what it should be."""


class FaissInstallError(FairbrushError):
    """No faiss is installed, or both faiss-cpu and faiss-gpu are, which break each other."""


class GameError(FairbrushError):
    """The numbers handed to a game are no game: not finite, negative worth, or too many players to list."""


class AttributionError(FairbrushError):
    """The index and the registry's eligibility do not fit together, or the image's vector is no vector."""


class MixError(FairbrushError):
    """The images that others were mixed from cannot be used, or nobody is known to have made one."""


class PolicyError(ConfigError):
    """fairbrush.toml's [policy] cannot be used."""


class RecordError(FairbrushError):
    """A record cannot be written, or is not what it should be."""


class MoneyError(FairbrushError):
    """An amount or a currency cannot be used, or money cannot go where it was sent."""


class BookError(MoneyError):
    """An entry does not balance, or was written before."""


class SettlementError(MoneyError):
    """A period cannot be settled."""


class DisputeError(FairbrushError):
    """A dispute cannot be opened or resolved."""


class ChainError(FairbrushError):
    """The chain of records, a checkpoint or a proof cannot be used."""


class ProofRefusedError(ChainError):
    """A proof does not prove what it says."""

    exit_code = ExitCode.SOME_INPUTS_FAILED


class QueryError(FairbrushError):
    """A query was refused or failed. The message names the place in the query where DuckDB does."""


class ImageRefusedError(FairbrushError):
    """One file is not an image fairbrush will read.

    ``reason`` is a :class:`fairbrush.corpus.images.RefusalReason`; ``detail`` a plain sentence with the
    numbers and what to do next.
    """

    def __init__(self, reason: str, detail: str) -> None:
        super().__init__(detail)
        self.reason = reason
        self.detail = detail


class GenerationUnreadableError(FairbrushError):
    """What an image's file says about its own generation is damaged, or larger than is read."""


class PartsError(FairbrushError):
    """The chunks or segments of an image's file cannot be told apart, or a new one does not fit."""


class StampError(FairbrushError):
    """A stamp cannot be written into an image's file, or is not what fairbrush writes."""


class SigningError(FairbrushError):
    """A certificate and its key cannot sign, or a list of certificates cannot be read."""


class ImageWorkerError(FairbrushError):
    """The processes that decode images cannot be started."""


class StyleSpaceError(FairbrushError):
    """A style space cannot be fitted, or does not belong to these vectors."""


class ValidationError(FairbrushError):
    """What the fast answer approximates cannot be measured."""


class PromptError(ValidationError):
    """A prompt or a template of prompts does not say what each coalition is to draw."""


class GeneratorError(ValidationError):
    """A text-to-image model cannot be used, or cannot do what is asked of it."""


class RegenerationError(ValidationError):
    """An image cannot be made, or cannot be kept."""


class AuditError(ValidationError):
    """An audit cannot be planned, run or reported."""


class ImagesRefusedError(RegenerationError):
    """Some images of a batch are none. ``made``: one a request, None where ``reasons`` says why not."""

    def __init__(
        self, made: Sequence[NDArray[np.uint8] | None], reasons: Mapping[int, str], *, next_step: str
    ) -> None:
        super().__init__(" ".join(reasons.values()), next_step=next_step)
        self.made = made
        self.reasons = reasons


class GalleryError(FairbrushError):
    """A gallery to measure on cannot be used."""


class ReportError(FairbrushError):
    """A page cannot be made, or what it is about is not recorded."""


class FigureError(FairbrushError):
    """A figure cannot be drawn."""


class CalibrationError(FairbrushError):
    """A calibration cannot be read, or does not cover what it was asked for."""


class PanelError(StyleSpaceError):
    """A background panel cannot be used."""


class VectorRefusedError(FairbrushError):
    """A vector has no direction, is not finite, or has another dim than its style space."""


class IndexUnusableError(FairbrushError):
    """An index cannot be opened, searched or changed."""


class IndexMissingError(IndexUnusableError):
    """There is no index, no such version, or no such artist in it."""


class IndexDamagedError(IndexUnusableError):
    """A file of an index is missing, or is not what its manifest says."""


class IndexOutdatedError(IndexDamagedError):
    """A version of an index was written by an earlier fairbrush, in a format that is not read any more."""


class IndexMismatchError(IndexUnusableError):
    """An index was built with another encoder, style space or panel."""


class IndexBusyError(IndexUnusableError):
    """Another process is writing the index."""

    exit_code = ExitCode.DATABASE_BUSY
