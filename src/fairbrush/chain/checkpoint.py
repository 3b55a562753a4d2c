"""Checkpoints: the chain's end, signed, to be kept where whoever can write the database cannot.

Enters: a ``Seen`` chain and an Ed25519 key. Leaves: a small JSON file. The one rule: a checkpoint says only
what was verified when it was signed, and it is read back byte for byte or refused.

    {"batches", "head", "leaves", "log_root", "public_key", "schema", "signature", "time"}

The signature is over the canonical JSON of all but itself. ``log_root`` is the Merkle root over the heads of
all batches (leaves: the heads as hexadecimal text), from which a proof of one record is O(log n) long.
"""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fairbrush.chain.canonical import canonical_json, parse_canonical
from fairbrush.chain.findings import CHECKPOINT, Damage, Finding
from fairbrush.durable import flush_folder
from fairbrush.errors import ChainError, RecordError

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

    from fairbrush.chain.verify import Seen

CHECKPOINT_SCHEMA = "fairbrush.checkpoint/1"
LARGEST_FILE = 64 * 1024 * 1024

_HEX_32 = re.compile(r"[0-9a-f]{64}")
_HEX_64 = re.compile(r"[0-9a-f]{128}")
_TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ")
_MOST = 2**62


@dataclass(frozen=True)
class Checkpoint:
    """``time``: when it was signed, UTC as ``2026-01-02T12:00:00Z``, by the signer's clock. ``public_key``
    and ``signature``: hexadecimal."""

    batches: int
    leaves: int
    head: str
    log_root: str
    time: str
    public_key: str
    signature: str

    @property
    def signed(self) -> bytes:
        """What the signature is over."""
        return canonical_json({name: value for name, value in self.document.items() if name != "signature"})

    @property
    def document(self) -> dict[str, Any]:
        return {
            "schema": CHECKPOINT_SCHEMA,
            "batches": self.batches,
            "leaves": self.leaves,
            "head": self.head,
            "log_root": self.log_root,
            "time": self.time,
            "public_key": self.public_key,
            "signature": self.signature,
        }


def new_key(file: Path) -> str:
    """Write a new private key as PEM, readable by its owner alone; gives the public key.

    Raises ChainError where the file is there or cannot be written.
    """
    from cryptography.hazmat.primitives import serialization
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

    key = Ed25519PrivateKey.generate()
    pem = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    try:
        descriptor = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(descriptor, "wb") as stream:
            stream.write(pem)
            stream.flush()
            os.fsync(stream.fileno())
        flush_folder(file.absolute().parent)
    except FileExistsError:
        raise ChainError(
            f"{file} exists.", next_step="Name another file: a key is never overwritten."
        ) from None
    except OSError as error:
        raise ChainError(
            f"{file} cannot be written: {error.strerror or error}.", next_step="Choose another place."
        ) from error
    return _public_hex(key)


def read_key(file: Path) -> Ed25519PrivateKey:
    """A private key that ``new_key`` wrote. Raises ChainError."""
    from cryptography.hazmat.primitives import serialization
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

    try:
        key = serialization.load_pem_private_key(read_file(file), password=None)
    except (ValueError, TypeError):  # TypeError: it has a password
        key = None
    if not isinstance(key, Ed25519PrivateKey):
        raise ChainError(
            f"{file} is no private Ed25519 key without a password.",
            next_step="Make one: fairbrush ledger key new FILE",
        )
    return key


def read_public_key(file_or_hex: str) -> str:
    """A public key as hexadecimal text, from such text, or from a file with it or with a PEM key of either
    kind. Raises ChainError."""
    from cryptography.hazmat.primitives import serialization
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

    if _HEX_32.fullmatch(file_or_hex.lower()):
        return file_or_hex.lower()
    file = Path(file_or_hex)
    content = read_file(file)
    text = content.decode("ascii", "replace").strip().lower()
    if _HEX_32.fullmatch(text):
        return text
    if b"PRIVATE KEY" in content:
        return _public_hex(read_key(file))
    try:
        key = serialization.load_pem_public_key(content)
    except ValueError:
        key = None
    if not isinstance(key, Ed25519PublicKey):
        raise ChainError(
            f"{file_or_hex} is no Ed25519 key.",
            next_step="Give 64 hexadecimal digits or a PEM file: fairbrush ledger key show FILE",
        )
    return key.public_bytes_raw().hex()


def sign_checkpoint(seen: Seen, key: Ed25519PrivateKey, *, now: datetime) -> Checkpoint:
    """Sign what was seen, and verified, of the chain. Raises ChainError where there is nothing."""
    assert now.tzinfo is not None, "a time without a zone means another time elsewhere"
    if seen.batches == 0:
        raise ChainError("There is no record yet, so nothing to sign.", next_step="Record something first.")
    unsigned = Checkpoint(
        batches=seen.batches,
        leaves=seen.leaves,
        head=seen.head,
        log_root=seen.log_root,
        time=f"{now.astimezone(UTC):%Y-%m-%dT%H:%M:%SZ}",
        public_key=_public_hex(key),
        signature="",
    )
    signature = key.sign(unsigned.signed).hex()
    return read_checkpoint_document({**unsigned.document, "signature": signature})


def checkpoint_bytes(checkpoint: Checkpoint) -> bytes:
    """The file's content: one line of canonical JSON."""
    return canonical_json(checkpoint.document) + b"\n"


def read_checkpoint(file: Path, *, public_key: str | None = None) -> Checkpoint:
    """A checkpoint whose signature is right, by this key where one is given. Raises ChainError."""
    content = read_file(file)
    try:
        checkpoint = read_checkpoint_document(parse_canonical(content))
    except RecordError as error:
        raise ChainError(f"{file} is no checkpoint: {error.message}", next_step=_ANOTHER) from error
    except ChainError as error:
        raise ChainError(f"{file}: {error.message}", next_step=error.next_step) from error
    if checkpoint_bytes(checkpoint) != content:
        raise ChainError(f"{file} is not as it was written.", next_step=_ANOTHER)
    try:
        check_signature(checkpoint, public_key=public_key)
    except ChainError as error:
        raise ChainError(f"{file}: {error.message}", next_step=error.next_step) from error
    return checkpoint


_ANOTHER = "Take another copy of the file that fairbrush ledger checkpoint wrote."


def read_checkpoint_document(document: Any) -> Checkpoint:
    """A checkpoint from its JSON; the signature is not looked at. Raises ChainError."""
    if not isinstance(document, dict) or document.get("schema") != CHECKPOINT_SCHEMA:
        raise ChainError(f"This is no {CHECKPOINT_SCHEMA}.", next_step=_ANOTHER)
    texts = {"head": _HEX_32, "log_root": _HEX_32, "public_key": _HEX_32, "signature": _HEX_64, "time": _TIME}
    numbers = ("batches", "leaves")
    is_whole = set(document) == {"schema", *texts, *numbers}
    if (
        not is_whole
        or not all(isinstance(document[n], str) and form.fullmatch(document[n]) for n, form in texts.items())
        or not all(type(document[name]) is int and 0 < document[name] < _MOST for name in numbers)
    ):
        raise ChainError("The checkpoint is not as it was written.", next_step=_ANOTHER)
    return Checkpoint(**{name: value for name, value in document.items() if name != "schema"})


def check_signature(checkpoint: Checkpoint, *, public_key: str | None = None) -> None:
    """public_key: whose signature is wanted; the checkpoint's own where none is named. Raises ChainError."""
    from cryptography.exceptions import InvalidSignature
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

    if public_key is not None and public_key != checkpoint.public_key:
        raise ChainError(
            f"The checkpoint was signed with another key: {checkpoint.public_key}.",
            next_step="Ask who should have signed it for the checkpoint and the key.",
        )
    try:
        key = Ed25519PublicKey.from_public_bytes(bytes.fromhex(checkpoint.public_key))
        key.verify(bytes.fromhex(checkpoint.signature), checkpoint.signed)
    except (InvalidSignature, ValueError):
        raise ChainError("The checkpoint's signature is wrong.", next_step=_ANOTHER) from None


def against_checkpoint(checkpoint: Checkpoint, *, end: Seen, seen: Seen | None) -> Finding | None:
    """What is wrong with a chain that a checkpoint saw earlier.

    end: the chain now; seen: after as many batches as the checkpoint has, None where there are fewer.
    """
    key, signed = f"{checkpoint.batches}", f"signed {checkpoint.time}"
    if seen is None:
        detail = f"the checkpoint {signed} has {checkpoint.batches} batches, here are {end.batches}"
        return Finding(Damage.TRUNCATED, CHECKPOINT, key, detail)
    told = (checkpoint.leaves, checkpoint.head, checkpoint.log_root)
    if (seen.leaves, seen.head, seen.log_root) != told:
        detail = f"the first {checkpoint.batches} batches are not those of the checkpoint {signed}"
        return Finding(Damage.REWRITTEN, CHECKPOINT, key, detail)
    return None


def read_file(file: Path) -> bytes:
    """A key, a checkpoint or a proof. Raises ChainError."""
    try:
        with file.open("rb") as stream:
            content = stream.read(LARGEST_FILE + 1)
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or error
        raise ChainError(f"{file} cannot be read: {reason}.", next_step="Check the path.") from error
    if len(content) > LARGEST_FILE:
        raise ChainError(f"{file} is larger than any key, checkpoint or proof.", next_step="Check the path.")
    return content


def _public_hex(key: Ed25519PrivateKey) -> str:
    return key.public_key().public_bytes_raw().hex()
