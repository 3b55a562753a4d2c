"""Reading galleries, and what keeps an error rate honest: nobody in two roles, no work on both sides."""

import hashlib
from collections.abc import Iterator, Sequence
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from fairbrush.accuracy.gallery import (
    Gallery,
    GalleryFile,
    LeftOut,
    embed_gallery,
    gallery_background,
    read_gallery,
)
from fairbrush.domain import EmbedOutcome, EmbedStatus
from fairbrush.errors import GalleryError, PanelError
from fairbrush.style.panel import Panel, PanelWork


class FakeSession:
    """Embeds a file as a vector seeded by its bytes; a file that says ``broken`` fails."""

    encoder = SimpleNamespace(encoder_id="fake#1", variant="fake-float32")

    def __init__(self) -> None:
        self.space = self
        self.seen: dict[str, np.ndarray] = {}

    def embed(self, paths: Sequence[Path]) -> Iterator[EmbedOutcome]:
        for path in paths:
            content = path.read_bytes()
            if content == b"broken":
                yield EmbedOutcome(path, EmbedStatus.FAILED, None, "truncated", "It ends early.")
                continue
            sha256 = hashlib.sha256(content).hexdigest()
            self.seen[sha256] = np.random.default_rng(list(content)).normal(size=(1, 8)).astype(np.float32)
            yield EmbedOutcome(path, EmbedStatus.NEW, sha256)

    def get_many(self, sha256s: Sequence[str]) -> dict[str, np.ndarray]:
        return {sha256: self.seen[sha256] for sha256 in sha256s}


def write(folder: Path, artist: str, count: int, *, mark: str = "") -> Path:
    home = folder / artist
    home.mkdir(parents=True)
    for number in range(count):
        (home / f"{number:02}.png").write_bytes(f"{artist} {mark}{number}".encode())
    return home


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for name in ("Ann", "Bo", "Cy", "Dee"):
        write(tmp_path / "art", name, 9)
    return tmp_path / "art"


@pytest.fixture
def gallery(folder: Path) -> Gallery:
    return embed_gallery(FakeSession(), folder)  # type: ignore[arg-type]


def test_a_folder_of_artists_has_no_split_of_its_own(folder: Path, gallery: Gallery) -> None:
    assert GalleryFile(folder / "Ann" / "00.png", "Ann") in read_gallery(folder)
    assert (gallery.names, len(gallery.artists), gallery.is_query) == (("Ann", "Bo", "Cy", "Dee"), 36, None)


def test_references_and_queries_are_a_split(tmp_path: Path) -> None:
    for name in ("Ann", "Bo", "Cy", "Dee"):
        write(tmp_path / "references", name, 6)
        write(tmp_path / "queries", name, 3, mark="q")
    gallery = embed_gallery(FakeSession(), tmp_path)  # type: ignore[arg-type]
    assert gallery.is_query is not None
    assert {path.parts[-3] for path in np.array(gallery.paths)[gallery.is_query]} == {"queries"}
    assert gallery.is_query.sum() == 12


def test_a_split_file_as_csds_is_read(folder: Path) -> None:
    lines = ["name,artist,path,split", "a,Ann,Ann/00.png,database", "b,Ann,Ann/01.png,query"]
    (folder / "wikiart.csv").write_text("\n".join(lines))
    assert read_gallery(folder) == [
        GalleryFile(folder / "Ann/00.png", "Ann", False),
        GalleryFile(folder / "Ann/01.png", "Ann", True),
    ]


@pytest.mark.parametrize(
    ("text", "complaint"),
    [("artist,path\nAnn,x.png", "split"), ("", "no rows"), ("artist,path,split\nAnn,x.png,train", "train")],
)
def test_a_split_file_that_cannot_be_used_says_why(folder: Path, text: str, complaint: str) -> None:
    (folder / "wikiart.csv").write_text(text)
    with pytest.raises(GalleryError, match=complaint):
        read_gallery(folder)


def test_a_gallery_that_is_no_folder_or_empty_is_refused(tmp_path: Path) -> None:
    with pytest.raises(GalleryError, match="not a folder"):
        read_gallery(tmp_path / "absent")
    with pytest.raises(GalleryError, match="no images"):
        read_gallery(tmp_path)


def test_artists_with_few_works_and_files_that_fail_are_left_out_and_listed(folder: Path) -> None:
    write(folder, "Few", 3)
    (folder / "Ann" / "00.png").write_bytes(b"broken")
    gallery = embed_gallery(FakeSession(), folder)  # type: ignore[arg-type]
    assert gallery.names == ("Ann", "Bo", "Cy", "Dee")
    assert gallery.left_out == (
        LeftOut(str(folder / "Ann" / "00.png"), "truncated. It ends early.", failed=True),
        LeftOut("Few", "3 works, fewer than 8"),
    )


def test_a_file_under_two_artists_belongs_to_neither(folder: Path) -> None:
    (folder / "Bo" / "copy.png").write_bytes((folder / "Ann" / "05.png").read_bytes())
    gallery = embed_gallery(FakeSession(), folder)  # type: ignore[arg-type]
    assert len(gallery.artists) == 35
    assert [one.reason for one in gallery.left_out] == [
        "it lies under two artists",
        f"the same file as {folder / 'Ann' / '05.png'}",
    ]


def test_a_query_that_is_in_the_database_too_is_no_query(tmp_path: Path) -> None:
    for name in ("Ann", "Bo", "Cy", "Dee"):
        write(tmp_path / "references", name, 8)
        write(tmp_path / "queries", name, 3)  # the same bytes as the first references
    gallery = embed_gallery(FakeSession(), tmp_path)  # type: ignore[arg-type]
    assert (len(gallery.artists), gallery.is_query) == (32, None)
    assert len(gallery.left_out) == 12


def test_a_gallery_of_too_few_artists_is_refused(folder: Path) -> None:
    with pytest.raises(GalleryError, match="0 artists with at least 10 works"):
        embed_gallery(FakeSession(), folder, fewest_works=10)  # type: ignore[arg-type]


def test_halves_are_each_artists_halves_and_follow_from_the_seed(gallery: Gallery) -> None:
    one, same, other = (gallery.halves(np.random.default_rng(seed)) for seed in (0, 0, 1))
    assert (one == same).all()
    assert (one != other).any()
    labels = np.array(gallery.artists)
    assert [int(one[labels == name].sum()) for name in gallery.names] == [4, 4, 4, 4]


def test_who_is_left_out_is_in_nobodys_references(gallery: Gallery) -> None:
    everything = np.ones(36, bool)
    artists = gallery.indexed(everything, without=["Bo"])
    assert [one.artist_id for one in artists] == ["Ann", "Cy", "Dee"]
    own = dict(zip(gallery.sha256s, gallery.vectors, strict=True))
    for one in artists:
        assert [own[sha256].tobytes() for sha256 in one.work_sha256s] == [v.tobytes() for v in one.vectors]


def test_an_artist_of_the_gallery_may_not_be_in_the_panel(gallery: Gallery, tmp_path: Path) -> None:
    panel = Panel(tmp_path, (PanelWork(tmp_path / "x.png", "ANN"),))
    with pytest.raises(PanelError, match="both in the gallery"):
        gallery_background(FakeSession(), panel, gallery)  # type: ignore[arg-type]
