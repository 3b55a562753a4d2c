"""A failure at any step leaves the user's file as it was, and nothing beside it."""

import errno
from pathlib import Path

import pytest
from stamped_files import png

from fairbrush.errors import StampError
from fairbrush.provenance.copies import _put, _replace


@pytest.mark.parametrize("step", ["replace", "chmod", "open"])
def test_a_full_disk_leaves_the_image_as_it_was(
    step: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    image = tmp_path / "image.png"
    image.write_bytes(png())
    kept = getattr(Path, step)

    def fail(self: Path, *arguments: object, **options: object) -> object:
        if self.name.startswith(".draft-"):
            raise OSError(errno.ENOSPC, "No space left on device")
        return kept(self, *arguments, **options)

    monkeypatch.setattr(Path, step, fail)
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
