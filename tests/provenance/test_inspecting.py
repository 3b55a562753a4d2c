"""Inspection gives a statement of any file, and the documents are as documented."""

import doctest
import hashlib
from importlib import import_module
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from stamped_files import every_file, png, stamp_for

from fairbrush.corpus.images import ImageLimits
from fairbrush.corpus.stamped import bare_of, original_of
from fairbrush.errors import ImageRefusedError, StampError
from fairbrush.provenance.inserting import _insert, stamp_file
from fairbrush.provenance.inspecting import Inspection, inspect_file
from fairbrush.provenance.stamp import StampedShare, read_stamp
from fairbrush.provenance.xmp import with_stamp

FILES = {name: stamp_file(content, stamp_for(content)) for name, content in every_file().items()}
DOCS = (Path(__file__).parents[2] / "docs" / "provenance.md").read_text(encoding="utf-8")


def inspected(content: bytes) -> Inspection:
    with TemporaryDirectory() as folder:
        file = Path(folder, "image")
        file.write_bytes(content)
        return inspect_file(file, ImageLimits())


def test_a_stamp_that_contradicts_itself_is_no_stamp() -> None:
    copy = FILES["webp"]
    for old, new in (
        (b'modelShare="0.5"', b'modelShare="0.1"'),
        (b"<fairbrush:share>0.2<", b"<fairbrush:share>0.3<"),
        (b'model="sd-1.5"', b'model="sd-9.9"'),
    ):
        found = inspected(copy.replace(old, new))
        assert found.stamp is None
        assert found.stamp_problem is not None
        assert "contradicts itself" in found.stamp_problem


def test_a_stamp_that_another_program_wrote_anew_is_read_and_not_bound() -> None:
    """As ExifTool does: attributes become elements, and prefixes change."""
    copy = FILES["webp"]
    start, stop = copy.index(b"<rdf:Description"), copy.index(b">", copy.index(b"<rdf:Description"))
    head = copy[start:stop].decode().split("\n")
    elements = "".join(
        "<fairbrush:{0}>{1}</fairbrush:{0}>".format(*line.strip().removeprefix("fairbrush:")[:-1].split('="'))
        for line in head[1:]
    )
    anew = copy[start:].replace(copy[start:stop] + b">", f"{head[0]}>{elements}".encode())
    anew = anew.replace(b"fairbrush:", b"ns1:").replace(b"xmlns:fairbrush", b"xmlns:ns1")
    content = copy[:start] + anew
    grown = len(content) - len(copy)
    at = copy.index(b"XMP ") + 4
    n_bytes = int.from_bytes(copy[at : at + 4], "little") + grown
    content = content[:at] + n_bytes.to_bytes(4, "little") + content[at + 4 :] + b"\0" * (n_bytes % 2)
    content = content[:4] + (len(content) - 8).to_bytes(4, "little") + content[8:]
    found = inspected(content)
    assert found.stamp == stamp_for(every_file()["webp"])
    assert not found.is_bound


def test_a_stamp_on_another_image_is_not_bound_whatever_it_states() -> None:
    """Anybody can take a recorded image's stamp and state the digest of another image beside it."""
    other = png()
    copied = stamp_for(every_file()["webp"], bare_sha256=hashlib.sha256(other).hexdigest())
    forged = _insert(other, copied)
    assert bare_of(forged) == other
    found = inspected(forged)
    assert found.stamp == copied
    assert (found.is_bound, found.is_as_stated) == (False, True)
    assert found.original_sha256 == found.sha256


def test_of_two_stamps_the_one_that_is_read_must_be_the_one_that_is_proven() -> None:
    """A stamp under another prefix is no part that is taken out: another, plain one would vouch for it."""
    taken = stamp_for(every_file()["webp"])
    first = with_stamp(None, taken).replace(b"fairbrush:", b"ns1:").replace(b"xmlns:fairbrush", b"xmlns:ns1")
    content = png(xmp=first)
    copy = _insert(content, stamp_for(content, artists=(), unattributed_e12=500_000_000_000))
    assert original_of(copy) == content
    found = inspected(copy)
    assert found.stamp == taken
    assert (found.is_bound, found.is_as_stated) == (False, False)


@pytest.mark.parametrize(
    "change",
    [
        {"schema": "fairbrush.stamp/9"},
        {"image_sha256": "A" * 64},
        {"model_share_e12": 1},
        {"model_share_e12": True},
        {"artists": None},
        {"artists": [7]},
        {"encoder_id": "x" * 1000},
        {"unattributed_e12": -1},
    ],
)
def test_a_document_that_is_none_is_refused(change: dict[str, object]) -> None:
    document = stamp_for(png()).document
    assert read_stamp(document) == stamp_for(png())
    with pytest.raises(StampError):
        read_stamp(document | change)


@settings(max_examples=200, deadline=None)
@given(st.sampled_from(sorted(FILES)), st.data())
def test_any_broken_file_gets_a_statement(name: str, data: st.DataObject) -> None:
    content = bytearray(FILES[name])
    for _ in range(data.draw(st.integers(1, 8))):
        content[data.draw(st.integers(0, len(content) - 1))] = data.draw(st.integers(0, 255))
    try:
        found = inspected(bytes(content[: data.draw(st.integers(0, len(content)))]))
    except ImageRefusedError:
        return
    assert found.stamp is None or found.stamp_problem is None


def test_the_documents_are_documented() -> None:
    named = stamp_for(png(), artists=(StampedShare("1", 312_500_000_000, "Ann"),), bare_sha256="d" * 64)
    for name in named.document.keys() - {"schema"}:
        assert f"`{name}`" in DOCS, name


@pytest.mark.parametrize("name", ["corpus.parts", "corpus.stamped", "provenance.stamp"])
def test_the_examples_in_the_docstrings_hold(name: str) -> None:
    assert doctest.testmod(import_module(f"fairbrush.{name}")).failed == 0
