"""Signed copies: who signed is found again, a change is seen, and nothing is asked of the network."""

import json
import socket
import threading
from collections.abc import Iterator
from dataclasses import replace
from datetime import timedelta
from functools import partial
from io import BytesIO
from pathlib import Path
from typing import Any

import c2pa
import pytest
from certificates import NOW, Signer, make_signer, with_password
from cryptography.x509.oid import ExtendedKeyUsageOID
from hypothesis import given, settings
from hypothesis import strategies as st
from stamped_files import FOREIGN, every_file, png, saved, stamp_for, with_chunk

from fairbrush.corpus.parts import read_parts
from fairbrush.corpus.stamped import bare_of, is_manifest, original_of
from fairbrush.errors import SigningError
from fairbrush.provenance.inserting import stamp_file
from fairbrush.provenance.manifest import _SETTINGS, LARGEST_STORE, ManifestState, open_context, read_manifest
from fairbrush.provenance.signing import (
    ATTRIBUTION,
    LARGEST_FILE,
    Credentials,
    read_anchors,
    read_credentials,
    sign_file,
)
from fairbrush.provenance.stamp import read_stamp

FILES = every_file()
SIGNER = make_signer()


def credentials(signer: Signer, folder: Path) -> Credentials:
    return read_credentials(*signer.write(folder), now=NOW)


@pytest.fixture(scope="module")
def ours(tmp_path_factory: pytest.TempPathFactory) -> Credentials:
    return credentials(SIGNER, tmp_path_factory.mktemp("ours"))


def signed(content: bytes, ours: Credentials) -> bytes:
    return stamp_file(content, stamp_for(content), sign=partial(sign_file, credentials=ours))


def store_of(content: bytes) -> Any:
    with c2pa.Reader(None, BytesIO(content)) as reader:
        return json.loads(reader.json())


@pytest.mark.parametrize("content", FILES.values(), ids=FILES.keys())
def test_a_signed_copy_is_intact_and_leaves_the_file_as_it_was(content: bytes, ours: Credentials) -> None:
    copy = signed(content, ours)
    manifest = read_manifest(copy)
    assert manifest is not None
    assert manifest.state is ManifestState.INTACT
    assert (manifest.signer, manifest.organisation) == ("Example Signer", "Example Platform")
    assert (manifest.generator, manifest.reasons) == ("fairbrush 0.1.0", ())
    assert read_stamp(manifest.attribution) == stamp_for(content)
    assert original_of(copy) == content


def test_a_list_of_signers_to_trust_tells_ours_from_others(ours: Credentials) -> None:
    copy = signed(png(), ours)
    trusted = read_manifest(copy, anchors=SIGNER.anchor.decode())
    other = read_manifest(copy, anchors=make_signer().anchor.decode())
    assert trusted is not None
    assert other is not None
    assert (trusted.state, other.state) == (ManifestState.TRUSTED, ManifestState.INTACT)


def test_the_manifest_says_what_is_known_and_no_more(ours: Credentials) -> None:
    store = store_of(signed(png(), ours))
    active = store["manifests"][store["active_manifest"]]
    said = {one["label"]: one["data"] for one in active["assertions"]}
    assert said.keys() == {ATTRIBUTION, "c2pa.actions.v2"}
    assert [one["action"] for one in said["c2pa.actions.v2"]["actions"]] == [
        "c2pa.opened",
        "c2pa.edited.metadata",
    ]
    assert "digitalSourceType" not in json.dumps(store)
    assert active["claim_version"] == 2
    assert [one["relationship"] for one in active["ingredients"]] == ["parentOf"]
    assert "thumbnail" not in json.dumps(store)


@pytest.mark.parametrize("name", ["png", "jpeg", "webp"])
def test_a_change_after_signing_is_seen(name: str, ours: Credentials) -> None:
    copy = signed(FILES[name], ours)
    changed = copy.replace(b'fairbrush:modelShare="0.5"', b'fairbrush:modelShare="0.4"')
    if name == "png":
        changed = copy.replace(b"model sd-1.5: 0.5", b"model sd-1.5: 0.4")
    manifest = read_manifest(changed)
    assert manifest is not None
    assert manifest.state is ManifestState.INVALID
    assert "assertion.dataHash.mismatch" in manifest.reasons[0]


@pytest.mark.parametrize("name", ["png with XMP", "jpeg with XMP", "webp without loss"])
def test_a_manifest_that_was_there_becomes_the_parent(name: str, ours: Credentials) -> None:
    foreign = sign_file(FILES[name], FILES[name], stamp_for(FILES[name]), credentials=ours)
    copy = signed(foreign, ours)
    store = store_of(copy)
    assert len(store["manifests"]) == 2
    active = store["manifests"][store["active_manifest"]]
    [parent] = active["ingredients"]
    assert parent["active_manifest"] == store_of(foreign)["active_manifest"]
    assert original_of(copy) is None  # its manifest cannot be put back byte for byte
    assert bare_of(copy) == FILES[name]
    again = signed(copy, ours)
    assert bare_of(again) == FILES[name]
    assert len(store_of(again)["manifests"]) == 3


@pytest.mark.parametrize("kind", ["ed25519", "p384", "rsa"])
def test_keys_of_other_kinds_sign_too(kind: str, tmp_path: Path) -> None:
    manifest = read_manifest(signed(png(), credentials(make_signer(kind), tmp_path)))
    assert manifest is not None
    assert manifest.state is ManifestState.INTACT


@pytest.mark.parametrize(
    ("signer", "says"),
    [
        (make_signer(ends=timedelta(hours=-1)), "expired on"),
        (make_signer(starts=timedelta(days=1)), "valid from"),
        (replace(SIGNER, key=make_signer().key), "is not that of the first certificate"),
        (replace(SIGNER, chain=b"".join(SIGNER.chain.partition(b"-----END")[:2])), "no certificate"),
        (replace(SIGNER, chain=SIGNER.chain.split(b"-\n-")[0] + b"-\n" + make_signer().anchor), "no chain"),
        (
            replace(SIGNER, key=b"-----BEGIN PRIVATE KEY-----\nSECRET\n-----END PRIVATE KEY-----"),
            "no private",
        ),
        (replace(SIGNER, key=SIGNER.chain), "no private key"),
        (replace(SIGNER, key=b"x" * (LARGEST_FILE + 1)), "larger than"),
        (with_password(SIGNER), "password"),
        (make_signer("koblitz"), "no kind that C2PA signs with"),
        (make_signer(purpose=ExtendedKeyUsageOID.SERVER_AUTH), "cannot sign for C2PA"),
        (replace(SIGNER, chain=SIGNER.chain.split(b"-\n-")[0] + b"-\n"), None),
    ],
)
def test_what_cannot_sign_is_said_without_the_key(signer: Signer, says: str | None, tmp_path: Path) -> None:
    if says is None:  # the CA may be left out: those who trust it have it
        assert credentials(signer, tmp_path).algorithm == "es256"
        return
    with pytest.raises(SigningError, match=says) as refused:
        credentials(signer, tmp_path)
    assert "SECRET" not in str(refused.value)
    lines = signer.key.splitlines()[1:-1]
    assert not [line for line in lines if line.decode() in str(refused.value)]


def test_a_missing_file_and_a_wrong_address_are_said(tmp_path: Path) -> None:
    chain, key = SIGNER.write(tmp_path)
    with pytest.raises(SigningError, match="cannot be read: No such file"):
        read_credentials(tmp_path / "none.pem", key, now=NOW)
    with pytest.raises(SigningError, match="no address of the web"):
        read_credentials(chain, key, now=NOW, timestamp_authority="file:///etc/passwd")


def test_a_list_to_trust_may_have_remarks_and_no_broken_certificate(tmp_path: Path) -> None:
    file = tmp_path / "trust.pem"
    file.write_bytes("# F\u0151tan\u00fas\u00edtv\u00e1ny\r\n".encode() + SIGNER.anchor + b"# the end")
    assert read_anchors(file).encode() == SIGNER.anchor
    for content, says in (
        (b"", "holds no certificate"),
        (SIGNER.key, "holds no certificate"),
        # with a broken one every signature would be called invalid
        (SIGNER.anchor + b"-----BEGIN CERTIFICATE-----\nnonsense", "Certificate 2 in .* is broken"),
        (SIGNER.anchor.replace(b"M", b"\xff", 1), "Certificate 1 in .* is broken"),
    ):
        file.write_bytes(content)
        with pytest.raises(SigningError, match=says):
            read_anchors(file)


def test_the_key_is_in_no_text_of_the_credentials(ours: Credentials) -> None:
    assert SIGNER.key.splitlines()[1] not in repr(ours).encode()


@pytest.fixture
def listener() -> Iterator[tuple[str, list[int]]]:
    """An address of this machine, and how often somebody called there."""
    calls: list[int] = []
    with socket.create_server(("127.0.0.1", 0)) as server:

        def serve() -> None:
            try:
                while True:
                    server.accept()[0].close()
                    calls.append(1)
            except OSError:
                pass

        threading.Thread(target=serve, daemon=True).start()
        yield f"http://127.0.0.1:{server.getsockname()[1]}/", calls
        server.shutdown(socket.SHUT_RDWR)


def elsewhere(content: bytes, address: str, ours: Credentials) -> bytes:
    """A file whose manifest lies on the network."""
    made = BytesIO()
    with open_context() as context, c2pa.Builder({}, context=context) as builder:
        builder.set_intent(c2pa.C2paBuilderIntent.EDIT)
        builder.add_ingredient({"relationship": "parentOf"}, "image/jpeg", BytesIO(content))
        builder.set_no_embed()
        builder.set_remote_url(address)
        info = c2pa.C2paSignerInfo(ours.algorithm, ours.chain, ours.key, None)
        with c2pa.Signer.from_info(info) as signer:
            builder.sign(signer, "image/jpeg", BytesIO(content), made)
    return made.getvalue()


def test_reading_asks_nothing_of_the_network(
    listener: tuple[str, list[int]],
    ours: Credentials,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    address, calls = listener
    remote = elsewhere(saved("JPEG"), address, ours)
    manifest = read_manifest(remote)
    assert manifest is not None
    assert manifest.state is ManifestState.ELSEWHERE
    copy = signed(png(), credentials(make_signer(ocsp=address), tmp_path))
    assert read_manifest(copy, anchors=SIGNER.anchor.decode()) is not None
    monkeypatch.setitem(_SETTINGS["verify"], "remote_manifest_fetch", True)  # type: ignore[arg-type]
    manifest = read_manifest(remote)  # refused by the list of hosts, too, which has none
    assert manifest is not None
    assert manifest.state is ManifestState.ELSEWHERE
    assert calls == []
    with pytest.raises(c2pa.C2paError):  # as it is where nobody says no
        c2pa.Reader(None, BytesIO(remote))
    assert calls != []


def test_hostile_stores_are_said_to_be_what_they_are() -> None:
    for body in (b"", b"junk", b"\0\0\0\x10jumb" * 100):
        manifest = read_manifest(with_chunk(png(), b"caBX", body))
        assert manifest is not None
        assert manifest.state is ManifestState.INVALID
    large = read_manifest(with_chunk(png(), b"caBX", bytes(LARGEST_STORE)))
    assert large is not None
    assert (large.state, "at most" in large.reasons[0]) == (ManifestState.UNREAD, True)
    assert read_manifest(png(xmp=FOREIGN)) is None
    assert read_manifest(b"") is None


@settings(max_examples=150, deadline=None)
@given(st.sampled_from(["png", "jpeg", "webp"]), st.data())
def test_a_broken_store_never_raises(ours_at: str, data: st.DataObject) -> None:
    copy = bytearray(_SIGNED[ours_at])
    parts = read_parts(bytes(copy))
    [store, *_] = [part for part, mark in zip(parts, is_manifest(bytes(copy), parts), strict=True) if mark]
    for _ in range(data.draw(st.integers(1, 5))):
        copy[data.draw(st.integers(store.start, store.stop - 1))] = data.draw(st.integers(0, 255))
    manifest = read_manifest(bytes(copy))
    assert manifest is None or manifest.state in ManifestState


def _signed_files() -> dict[str, bytes]:
    from tempfile import TemporaryDirectory

    with TemporaryDirectory() as folder:
        ours = credentials(SIGNER, Path(folder))
        return {name: signed(FILES[name], ours) for name in ("png", "jpeg", "webp")}


_SIGNED = _signed_files()
