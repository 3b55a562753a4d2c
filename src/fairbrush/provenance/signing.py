"""Stamped files signed as C2PA (Content Credentials) wants it, with c2pa-python, the extra ``c2pa``.

Enters: a certificate chain and its key, both files of the user's. Leaves: signed files. The rules: whatever
cannot sign is said before any work; the key stays in memory and in no message; no thumbnail is put in, no
network asked, unless a timestamp authority is named.

The manifest says what is known: this program opened the file, whose whole self is the parent ingredient, and
added metadata. Where the picture came from is not ours to claim, so no digitalSourceType is stated.
"""

from __future__ import annotations

import json
from base64 import b64decode
from dataclasses import dataclass, field
from datetime import UTC, datetime
from io import BytesIO
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fairbrush import __version__
from fairbrush.corpus.parts import PNG_SIGNATURE, Container, container_of, make_part
from fairbrush.errors import SigningError, StampError
from fairbrush.provenance.manifest import ATTRIBUTION, ManifestState, import_c2pa, open_context, read_manifest
from fairbrush.provenance.stamp import Stamp

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.types import PrivateKeyTypes
    from cryptography.x509 import Certificate

MIME_TYPES = {Container.PNG: "image/png", Container.JPEG: "image/jpeg", Container.WEBP: "image/webp"}
LARGEST_FILE = 4 * 1024 * 1024
_BEGIN, _END = b"-----BEGIN CERTIFICATE-----", b"-----END CERTIFICATE-----"
_CURVES = {"secp256r1": "es256", "secp384r1": "es384", "secp521r1": "es512"}


@dataclass(frozen=True)
class Credentials:
    """``chain``: PEM, the signer's certificate first. ``key``: PKCS #8 PEM. ``algorithm``: C2PA's name."""

    chain: bytes
    key: bytes = field(repr=False)
    algorithm: str
    timestamp_authority: str | None = None


def read_credentials(
    chain: Path, key: Path, *, now: datetime, timestamp_authority: str | None = None
) -> Credentials:
    """Read both files, and make sure that they sign. Raises SigningError."""
    import_c2pa("To sign,")
    certificates = _read_chain(chain)
    private = _read_key(key)
    _check_dates(certificates, chain, now)
    if _public(certificates[0].public_key()) != _public(private.public_key()):
        raise SigningError(
            f"The key in {key} is not that of the first certificate in {chain}.",
            next_step="The signer's own certificate comes first in the chain; name its key.",
        )
    for signed, issuer in pairwise(certificates):
        _check_issued(signed, issuer, chain)
    if timestamp_authority is not None and not timestamp_authority.startswith(("http://", "https://")):
        raise SigningError(
            f"The timestamp authority {timestamp_authority} is no address of the web.",
            next_step="Write http://... or https://..., or leave it out.",
        )
    algorithm = _algorithm(private)
    if algorithm is None:
        raise SigningError(
            f"The key in {key} is of no kind that C2PA signs with.",
            next_step="Use an EC key (P-256, P-384, P-521), Ed25519, or RSA of 2048 bits or more.",
        )
    credentials = Credentials(_pem_chain(certificates), _pem_key(private), algorithm)
    _try_out(credentials, chain)
    return Credentials(credentials.chain, credentials.key, algorithm, timestamp_authority)


def read_anchors(file: Path) -> str:
    """Certificates of signers to trust, or of who vouches for them, in PEM and no more. Raises SigningError.

    A broken one is refused here: with it the library calls every signature invalid.
    """
    anchors: list[bytes] = []
    for after in _read(file).split(_BEGIN)[1:]:
        body, end, _ = after.partition(_END)
        try:
            if not (end and b64decode(b"".join(body.split()), validate=True)):
                raise ValueError("no end, or nothing before it")
        except ValueError as error:
            raise SigningError(
                f"Certificate {len(anchors) + 1} in {file} is broken.", next_step="Take it out."
            ) from error
        anchors.append(_BEGIN + body + _END + b"\n")
    if not anchors:
        raise _no_certificate(file)
    return b"".join(anchors).decode("ascii")


def sign_file(content: bytes, given: bytes, stamp: Stamp, *, credentials: Credentials) -> bytes:
    """``content`` signed; ``given``: the file it was made of, its parent. Raises StampError."""
    signed = _signed(content, given, stamp.document, credentials)
    manifest = read_manifest(signed)
    if manifest is None or manifest.state not in (ManifestState.INTACT, ManifestState.TRUSTED):
        why = "; ".join(manifest.reasons) if manifest else "nothing was signed"
        raise StampError(f"The signed file does not verify: {why}.", next_step="Stamp it without signing.")
    return signed


def _signed(content: bytes, parent: bytes, document: dict[str, Any], credentials: Credentials) -> bytes:
    c2pa = import_c2pa("To sign,")
    container = container_of(content)
    assert container is not None, "it was stamped"
    mime_type = MIME_TYPES[container]
    definition = {
        "claim_generator_info": [{"name": "fairbrush", "version": __version__}],
        "format": mime_type,
        "assertions": [
            {"label": ATTRIBUTION, "data": document, "created": True},
            {
                "label": "c2pa.actions.v2",
                "data": {"actions": [{"action": "c2pa.edited.metadata"}]},
                "created": True,
            },
        ],
    }
    authority = credentials.timestamp_authority
    signed = BytesIO()
    try:
        with (
            open_context(is_offline=authority is None) as context,
            c2pa.Builder(json.dumps(definition), context=context) as builder,
        ):
            builder.set_intent(c2pa.C2paBuilderIntent.EDIT)  # adds c2pa.opened, of the parent
            builder.add_ingredient({"relationship": "parentOf"}, mime_type, BytesIO(parent))
            info = c2pa.C2paSignerInfo(
                credentials.algorithm, credentials.chain, credentials.key, authority and authority.encode()
            )
            with c2pa.Signer.from_info(info) as signer:
                builder.sign(signer, mime_type, BytesIO(content), signed)
    except c2pa.C2paError as error:
        raise StampError(f"It could not be signed: {error}.") from error
    return signed.getvalue()


def _try_out(credentials: Credentials, chain: Path) -> None:
    """Sign a picture of one pixel: what the library minds about a certificate, it says now."""
    import zlib

    header = b"\0\0\0\1\0\0\0\1\x08\0\0\0\0"
    parts = ((b"IHDR", header), (b"IDAT", zlib.compress(b"\0\0")), (b"IEND", b""))
    pixel = PNG_SIGNATURE + b"".join(make_part(Container.PNG, name, body) for name, body in parts)
    try:
        manifest = read_manifest(_signed(pixel, pixel, {"schema": "a trial"}, credentials))
    except StampError as error:
        problem = error.message
    else:
        assert manifest is not None, "it was just signed"
        if manifest.state is not ManifestState.INVALID:
            return
        problem = "; ".join(manifest.reasons)
    raise SigningError(
        f"{chain} cannot sign for C2PA: {problem}",
        next_step="It must be no CA, for signatures, with the purpose emailProtection or documentSigning, "
        "and be signed by a CA whose certificate follows it (docs/provenance.md).",
    )


def _read_chain(file: Path) -> list[Certificate]:
    from cryptography.x509 import load_pem_x509_certificates

    try:
        return load_pem_x509_certificates(_read(file))
    except ValueError as error:
        raise _no_certificate(file) from error


def _no_certificate(file: Path) -> SigningError:
    return SigningError(
        f"{file} holds no certificate in PEM.", next_step="-----BEGIN CERTIFICATE----- begins each."
    )


def _read_key(file: Path) -> PrivateKeyTypes:
    from cryptography.exceptions import UnsupportedAlgorithm
    from cryptography.hazmat.primitives.serialization import load_pem_private_key

    try:
        return load_pem_private_key(_read(file), password=None)
    except TypeError as error:
        raise SigningError(
            f"The key in {file} has a password.",
            next_step="Give a key without one, in a file that nobody else can read.",
        ) from error
    except (ValueError, UnsupportedAlgorithm):
        # not from the error: whatever it says of the content stays unsaid
        raise SigningError(
            f"{file} holds no private key in PEM.", next_step="-----BEGIN PRIVATE KEY----- begins it."
        ) from None


def _read(file: Path) -> bytes:
    try:
        with file.open("rb") as stream:
            content = stream.read(LARGEST_FILE + 1)
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or error
        raise SigningError(f"{file} cannot be read: {reason}.", next_step="Check the path.") from error
    if len(content) > LARGEST_FILE:
        raise SigningError(f"{file} is larger than any certificate or key.", next_step="Check the path.")
    return content


def _check_dates(certificates: list[Certificate], file: Path, now: datetime) -> None:
    moment = now.astimezone(UTC)
    for number, one in enumerate(certificates, start=1):
        if moment > one.not_valid_after_utc:
            raise SigningError(
                f"Certificate {number} in {file} expired on {one.not_valid_after_utc:%Y-%m-%d}.",
                next_step="Get a new one.",
            )
        if moment < one.not_valid_before_utc:
            raise SigningError(
                f"Certificate {number} in {file} is valid from {one.not_valid_before_utc:%Y-%m-%d} on.",
                next_step="Check this machine's clock, or wait.",
            )


def _check_issued(signed: Certificate, issuer: Certificate, file: Path) -> None:
    from cryptography.exceptions import InvalidSignature

    try:
        signed.verify_directly_issued_by(issuer)
    except (ValueError, TypeError, InvalidSignature) as error:
        raise SigningError(
            f"The certificates in {file} are no chain: one was not signed by the next.",
            next_step="The signer's comes first, then who signed it, and so on.",
        ) from error


def _algorithm(key: PrivateKeyTypes) -> str | None:
    from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePrivateKey
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
    from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey

    if isinstance(key, Ed25519PrivateKey):
        return "ed25519"
    if isinstance(key, EllipticCurvePrivateKey):
        return _CURVES.get(key.curve.name)
    return "ps256" if isinstance(key, RSAPrivateKey) and key.key_size >= 2048 else None


def _public(key: Any) -> bytes:
    from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

    return bytes(key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo))


def _pem_chain(certificates: list[Certificate]) -> bytes:
    from cryptography.hazmat.primitives.serialization import Encoding

    return b"".join(one.public_bytes(Encoding.PEM) for one in certificates)


def _pem_key(key: PrivateKeyTypes) -> bytes:
    from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

    return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
