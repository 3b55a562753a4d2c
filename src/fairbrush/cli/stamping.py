"""The options of ``fairbrush attribute`` that put the answer into the images' files."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from fairbrush.cli.output import say
from fairbrush.errors import ConfigError, StampError

if TYPE_CHECKING:
    from fairbrush.attribution import Attribution
    from fairbrush.config import Settings
    from fairbrush.provenance.copies import StampedCopy, Stamper

StampOption = Annotated[
    Path | None,
    typer.Option(metavar="FOLDER", help="Write copies of the images there that carry the answer."),
]
InPlaceFlag = Annotated[
    bool, typer.Option("--in-place", help="Put the answer into the images themselves instead.")
]
ForceFlag = Annotated[
    bool, typer.Option("--force", help="With --stamp: replace other files of the same names there.")
]
StampNamesFlag = Annotated[
    bool,
    typer.Option(
        "--stamp-names",
        help="Stamp the names of artists who opted in, too. A file that was passed on cannot be called back.",
    ),
]
CertificateOption = Annotated[
    Path | None,
    typer.Option(metavar="CHAIN.pem", help="Sign the stamped files (C2PA) with this certificate."),
]
KeyOption = Annotated[Path | None, typer.Option(metavar="KEY.pem", help="The certificate's private key.")]
AuthorityOption = Annotated[
    str | None,
    typer.Option(
        "--timestamp-authority", metavar="URL", help="Ask this server when it was signed.  [default: nobody]"
    ),
]


@dataclass(frozen=True)
class StampChoice:
    """What was typed about stamps."""

    folder: Path | None
    in_place: bool
    force: bool
    names: bool
    certificate: Path | None
    key: Path | None
    authority: str | None

    @property
    def is_asked(self) -> bool:
        """Raises ConfigError for options that would be ignored, or contradict each other."""
        if self.folder is not None and self.in_place:
            raise ConfigError("--stamp and --in-place were both asked for.", next_step="Choose one.")
        asked = self.folder is not None or self.in_place
        others = {
            "--force": self.force,
            "--stamp-names": self.names,
            "--certificate": self.certificate,
            "--key": self.key,
            "--timestamp-authority": self.authority,
        }
        given = [name for name, value in others.items() if value]
        if given and not asked:
            raise ConfigError(f"{given[0]} is about stamps.", next_step="Add --stamp FOLDER or --in-place.")
        if self.force and self.in_place:
            raise ConfigError("--force goes with --stamp.", next_step="Leave it out.")
        if (self.certificate is None) != (self.key is None) or (self.authority and not self.certificate):
            raise ConfigError("To sign takes --certificate and --key.", next_step="Add what is missing.")
        return asked


@dataclass
class Stamping:
    """Stamps answers as they come. ``copies``: by image; ``failures``: as the answer lists them."""

    stamper: Stamper
    copies: dict[Path, StampedCopy] = field(default_factory=dict)
    failures: list[dict[str, Any]] = field(default_factory=list)

    def write(self, image: Path, attribution: Attribution) -> None:
        try:
            self.copies[image] = self.stamper.write(image, attribution)
        except StampError as error:
            self.failures.append({"path": str(image), "reason": "not stamped", "detail": str(error)})

    def document(self, image: Path) -> dict[str, Any] | None:
        """What an answer says about its stamp; None where there is none."""
        copy = self.copies.get(image)
        return None if copy is None else {"path": str(copy.path), "signed": copy.is_signed}

    def tell(self) -> None:
        n_new = sum(copy.is_new for copy in self.copies.values())
        n_old = len(self.copies) - n_new
        where = "in place" if self.stamper.folder is None else f"into {self.stamper.folder}"
        there = f", {n_old} there already" if n_old else ""
        failed = f", {len(self.failures)} not stamped" if self.failures else ""
        say(f"Stamped {where}: {n_new} new{there}{failed}.")


def open_stamping(choice: StampChoice, images: list[Path], settings: Settings) -> Stamping | None:
    """None where none was asked for. Raises ConfigError, SigningError: before any work."""
    if not choice.is_asked:
        return None
    from fairbrush.corpus.images import image_limits
    from fairbrush.provenance.copies import Stamper

    sign = None
    if choice.certificate is not None and choice.key is not None:
        from datetime import UTC, datetime
        from functools import partial

        from fairbrush.provenance.signing import read_credentials, sign_file

        credentials = read_credentials(
            choice.certificate,
            choice.key,
            now=datetime.now(UTC),
            timestamp_authority=choice.authority,
        )
        sign = partial(sign_file, credentials=credentials)
    stamper = Stamper(choice.folder, image_limits(settings), choice.force, choice.names, sign)
    stamper.prepare(images)
    return Stamping(stamper)
