"""A failure at any step leaves the user's file as it was, and nothing beside it."""

import errno
import os
from pathlib import Path

import pytest
from stamped_files import png

from fairbrush.corpus.images import ImageLimits
from fairbrush.errors import ConfigError, StampError
from fairbrush.provenance.copies import Stamper, _put, _replace


@pytest.mark.parametrize(("owner", "step"), [(Path, "replace"), (Path, "open"), (os, "chmod"), (os, "utime")])
def test_a_full_disk_leaves_the_image_as_it_was(
    owner: object, step: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    image = tmp_path / "image.png"
    image.write_bytes(png())
    kept = getattr(owner, step)

    def fail(file: Path, *arguments: object, **options: object) -> object:
        if Path(file).name.startswith(".draft-"):
            raise OSError(errno.ENOSPC, "No space left on device")
        return kept(file, *arguments, **options)

    monkeypatch.setattr(owner, step, fail)
    with pytest.raises(StampError, match="No space left"):
        _replace(image, png(), b"stamped")
    monkeypatch.undo()
    assert image.read_bytes() == png()
    assert [path.name for path in tmp_path.iterdir()] == ["image.png"]


def test_a_file_that_changed_meanwhile_is_left_alone(tmp_path: Path) -> None:
    image = tmp_path / "image.png"
    image.write_bytes(b"edited meanwhile")
    with pytest.raises(StampError, match="changed meanwhile"):
        _replace(image, png(), b"stamped")
    assert image.read_bytes() == b"edited meanwhile"


def test_a_folder_of_that_name_is_said(tmp_path: Path) -> None:
    (tmp_path / "image.png").mkdir()
    with pytest.raises(StampError, match="another file"):
        _put(tmp_path / "image.png", b"stamped", force=False)
    with pytest.raises(StampError, match="cannot be written"):
        _put(tmp_path / "image.png", b"stamped", force=True)
    assert [path.name for path in tmp_path.iterdir()] == ["image.png"]


@pytest.mark.parametrize(("theirs", "is_said"), [(b"another stamp", True), (b"stamped", False)])
def test_a_stamper_that_was_first_is_not_overwritten(
    theirs: bytes, is_said: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    target = tmp_path / "image.png"
    flush = os.fsync

    def come_between(descriptor: int) -> None:
        flush(descriptor)
        target.write_bytes(theirs)

    monkeypatch.setattr(os, "fsync", come_between)
    if is_said:
        with pytest.raises(StampError, match="another file"):
            _put(target, b"stamped", force=False)
    else:
        assert not _put(target, b"stamped", force=False)
    assert target.read_bytes() == theirs
    assert [path.name for path in tmp_path.iterdir()] == ["image.png"]


def test_a_read_only_file_stays_as_it_was(tmp_path: Path) -> None:
    image = tmp_path / "image.png"
    image.write_bytes(png())
    image.chmod(0o444)
    with pytest.raises(StampError, match="read-only"):
        _replace(image, png(), b"stamped")
    assert image.read_bytes() == png()


def test_a_changed_file_keeps_its_owner_and_attributes_and_has_a_new_time(tmp_path: Path) -> None:
    image = tmp_path / "image.png"
    image.write_bytes(png())
    image.chmod(0o660)
    os.utime(image, (1, 1))
    attributes, owner = {}, (os.getuid(), os.getgid())
    if os.getuid() == 0:
        owner = (1234, 2345)
        os.chown(image, *owner)
    if hasattr(os, "setxattr"):
        try:
            os.setxattr(image, "user.tag", b"mine")
            attributes = {"user.tag": b"mine"}
        except OSError:
            pass  # this file system has none
    assert _replace(image, png(), b"stamped")
    status = image.stat()
    assert (status.st_uid, status.st_gid, status.st_mode & 0o777) == (*owner, 0o660)
    assert status.st_mtime > 1
    assert {name: os.getxattr(image, name) for name in attributes} == attributes


def test_a_name_of_any_length_can_be_written(tmp_path: Path) -> None:
    target = tmp_path / ("\u00e4" * 125 + ".png")
    assert _put(target, b"stamped", force=False)
    assert target.read_bytes() == b"stamped"


def test_names_that_some_systems_take_for_one_are_refused(tmp_path: Path) -> None:
    images = [tmp_path / "a" / "caf\u00e9.png", tmp_path / "b" / "CAFE\u0301.png"]
    with pytest.raises(ConfigError, match="would both be"):
        Stamper(tmp_path / "out", ImageLimits()).prepare(images)
