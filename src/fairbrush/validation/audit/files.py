"""Where the files of drawn images lie, and from which prompts they were made.

Enters: the path a record remembers, a folder, a table of prompts. Leaves: files and prompts by the SHA-256
of the image. The one rule: a file is taken for an image only where its bytes are the image's.
"""

from __future__ import annotations

import csv
import re
from collections.abc import Mapping
from pathlib import Path

from fairbrush.corpus.images import ImageLimits, Refusal, RefusalReason, find_images, hash_file
from fairbrush.errors import AuditError, ImageRefusedError
from fairbrush.spreadsheets import formula_undone

COLUMNS = ("image", "prompt")
_SHA256 = re.compile(r"[0-9a-fA-F]{64}")


class ImageFiles:
    """Finds images by their digest; the folder is only searched where a path does not serve."""

    def __init__(self, folder: Path | None, limits: ImageLimits) -> None:
        """Raises AuditError where the folder is none."""
        if folder is not None and not folder.is_dir():
            raise AuditError(f"--images {folder} is no folder.", next_step="Name the folder of the images.")
        self._folder, self._limits = folder, limits
        self._by_digest: dict[str, Path] | None = None
        self._refusals: dict[Path, Refusal] = {}

    def find(self, sha256: str, remembered: str | None) -> Path | None:
        """The file of an image; None where there is none. remembered: the path when it was asked about."""
        if remembered is not None and self._digest(Path(remembered)) == sha256:
            return Path(remembered)
        return self._in_folder().get(sha256)

    def refusals(self, remembered: str | None) -> list[Refusal]:
        """Why the file there was not read, if it was not."""
        found = self._refusals.get(Path(remembered)) if remembered is not None else None
        return [found] if found is not None else []

    def _in_folder(self) -> Mapping[str, Path]:
        if self._by_digest is None:
            self._by_digest = {}
            for path in find_images([self._folder]).images if self._folder else ():
                if (digest := self._digest(path)) is not None:
                    self._by_digest.setdefault(digest, path)
        return self._by_digest

    def _digest(self, path: Path) -> str | None:
        try:
            return hash_file(path, self._limits)
        except ImageRefusedError as refused:
            self._refusals[path] = Refusal(path, RefusalReason(refused.reason), refused.detail)
            return None


def read_prompts(file: Path, limits: ImageLimits) -> dict[str, str]:
    """Prompts by the SHA-256 of their image. Columns: ``image``, a path (from the table's folder) or a
    SHA-256; ``prompt``. Raises AuditError.
    """
    found: dict[str, str] = {}
    try:
        with file.open(encoding="utf-8-sig", newline="") as stream:
            reader = csv.DictReader(stream)
            if sorted(reader.fieldnames or ()) != sorted(COLUMNS):
                raise AuditError(
                    f"{file} must have the columns image and prompt.", next_step="Write image,prompt above."
                )
            for row in reader:
                named, prompt = (row["image"] or "").strip(), row["prompt"]
                if None in row or not named or prompt is None:
                    raise AuditError(
                        f"{file}, line {reader.line_num}: an image and a prompt are needed, nothing else.",
                        next_step="Put a prompt with commas in quotes.",
                    )
                named, prompt = formula_undone(named), formula_undone(prompt)
                digest = _digest_of(named, file, limits, line=reader.line_num)
                if found.setdefault(digest, prompt) != prompt:
                    raise AuditError(f"{file}, line {reader.line_num}: {named} has another prompt above.")
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise AuditError(f"{file} cannot be read: {error}.", next_step="Give a CSV file in UTF-8.") from error
    return found


def _digest_of(named: str, file: Path, limits: ImageLimits, *, line: int) -> str:
    if _SHA256.fullmatch(named):
        return named.lower()
    try:
        return hash_file(file.parent / named, limits)
    except ImageRefusedError as error:
        raise AuditError(
            f"{file}, line {line}: {named} cannot be read. {error.detail}",
            next_step="Write its path, or its SHA-256.",
        ) from error
