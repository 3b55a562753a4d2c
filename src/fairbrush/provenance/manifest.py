"""A file's C2PA manifest (Content Credentials). Enters: its bytes. Leaves: a ``Manifest``, checked.

The one rule: nothing is asked of the network: a manifest that lies elsewhere is not fetched, and whether a
certificate was revoked is not asked. No list of signers to trust comes with fairbrush: who signed is what the
certificate says, until a list is named.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from io import BytesIO
from typing import Any

from fairbrush.corpus.generation.facts import as_word
from fairbrush.corpus.parts import read_parts
from fairbrush.corpus.stamped import is_manifest
from fairbrush.errors import PartsError, SigningError

ATTRIBUTION = "org.fairbrush.attribution"  # our assertion's label: a name, which is all that C2PA asks
LARGEST_STORE = 16 * 1024 * 1024
MOST_REASONS = 10
_SETTINGS = {
    "verify": {"remote_manifest_fetch": False, "ocsp_fetch": False, "verify_trust": True},
    "builder": {"thumbnail": {"enabled": False}},
    # an identity assertion (CAWG) may name an address where its issuer's keys are
    "core": {"decode_identity_assertions": False},
}
_UNTRUSTED = "signingCredential.untrusted"


class ManifestState(StrEnum):
    """What the check of a manifest gave."""

    TRUSTED = "trusted"  # as it was signed, by somebody a named list vouches for
    INTACT = "intact"  # as it was signed; who signed is unknown to this machine
    INVALID = "invalid"
    ELSEWHERE = "elsewhere"  # on the network, where nobody looks
    UNREAD = "unread"


@dataclass(frozen=True)
class Manifest:
    """``signer`` and ``organisation``: what the certificate says. ``reasons``: why it is not intact.

    ``signed_at``: by a timestamp authority, else None. ``generator``: the program that signed.
    ``attribution``: the document of our assertion, not looked at yet.
    """

    state: ManifestState
    signer: str | None = None
    organisation: str | None = None
    signed_at: str | None = None
    generator: str | None = None
    reasons: tuple[str, ...] = ()
    attribution: Any = None


def import_c2pa(purpose: str) -> Any:
    """The library. Raises SigningError where it is not installed."""
    try:
        import c2pa
    except ImportError as error:
        raise SigningError(
            f"{purpose} fairbrush needs c2pa-python, which is not installed.",
            next_step="pip install 'fairbrush[c2pa]'",
        ) from error
    return c2pa


def open_context(*, anchors: str | None = None, is_offline: bool = True) -> Any:
    """The library's settings as we want them, to be used ``with``. anchors: certificates to trust, PEM.

    ``is_offline``: whatever it would ask of the network, it is refused.
    """
    c2pa = import_c2pa("For Content Credentials,")
    wanted: dict[str, Any] = dict(_SETTINGS)
    if anchors is not None:
        wanted["trust"] = {"user_anchors": anchors}
    if is_offline:
        wanted["core"] = {**wanted["core"], "allowed_network_hosts": []}
    return c2pa.Context(settings=c2pa.Settings.from_dict(wanted))


def read_manifest(content: bytes, *, anchors: str | None = None) -> Manifest | None:
    """Read and check; None where the file has none. Never raises for what the file holds."""
    n_bytes = _store_bytes(content)
    if n_bytes > LARGEST_STORE:
        reason = f"it has {n_bytes:,} bytes; at most {LARGEST_STORE:,} are read"
        return Manifest(ManifestState.UNREAD, reasons=(reason,))
    # the only other place is an address, in XMP
    if not n_bytes and b"provenance" not in content:
        return None
    try:
        c2pa = import_c2pa("To read it,")
    except SigningError as error:
        return Manifest(ManifestState.UNREAD, reasons=(str(error),)) if n_bytes else None
    try:
        with open_context(anchors=anchors) as context:
            reader = c2pa.Reader.try_create(None, BytesIO(content), context=context)
            if reader is None:
                return _unreadable("nothing that can be read is in it", is_embedded=bool(n_bytes))
            with reader:
                return _checked(json.loads(reader.json()))
    except c2pa.C2paError as error:
        return _unreadable(str(error), is_embedded=bool(n_bytes))
    except (ValueError, RecursionError, TypeError, AttributeError) as error:
        return Manifest(ManifestState.UNREAD, reasons=(f"its JSON cannot be read ({type(error).__name__})",))


def _store_bytes(content: bytes) -> int:
    try:
        parts = read_parts(content)
    except PartsError:
        return 0
    marks = zip(parts, is_manifest(content, parts), strict=True)
    return sum(part.stop - part.start for part, is_one in marks if is_one)


def _unreadable(problem: str, *, is_embedded: bool) -> Manifest | None:
    if problem.startswith("Remote"):
        return Manifest(ManifestState.ELSEWHERE, reasons=("it lies on the network, where it is not fetched",))
    return Manifest(ManifestState.INVALID, reasons=(_word(problem),)) if is_embedded else None


def _checked(store: Mapping[str, Any]) -> Manifest:
    active: Mapping[str, Any] = (store.get("manifests") or {}).get(store.get("active_manifest")) or {}
    signature: Mapping[str, Any] = active.get("signature_info") or {}
    state = {"Trusted": ManifestState.TRUSTED, "Valid": ManifestState.INTACT}.get(
        str(store.get("validation_state")), ManifestState.INVALID
    )
    failures = [one for one in store.get("validation_status") or () if one.get("code") != _UNTRUSTED]
    generators = active.get("claim_generator_info") or [{}]
    return Manifest(
        state,
        signer=as_word(signature.get("common_name")),
        organisation=as_word(signature.get("issuer")),
        signed_at=as_word(signature.get("time")),
        generator=as_word(f"{generators[0].get('name') or ''} {generators[0].get('version') or ''}"),
        reasons=tuple(
            _word(f"{one.get('code')}: {one.get('explanation') or ''}") for one in failures[:MOST_REASONS]
        ),
        attribution=next(
            (one.get("data") for one in active.get("assertions") or () if one.get("label") == ATTRIBUTION),
            None,
        ),
    )


def _word(text: str) -> str:
    return as_word(text[:250]) or "it does not say why"
