"""Fixtures: the real command line, a few real images, and a cache of each test's own."""

import os
import shutil
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from browser import SCREENSHOTS, chromium
from hypothesis import settings
from panels import Panels, fit_panels
from PIL import Image
from playwright.sync_api import Browser
from running import GALLERY, Fairbrush, copy_art
from story import Story, tell_story
from validation.tiny import build, write_checkpoint, write_lora
from workspaces import Gallery, make_gallery

# how long an example takes on a busy machine says nothing
settings.register_profile("unhurried", deadline=None)
settings.load_profile("unhurried")


@pytest.fixture
def fairbrush(tmp_path: Path) -> Fairbrush:
    return Fairbrush(tmp_path)


@pytest.fixture
def cache(tmp_path: Path) -> Path:
    """A cache folder of the test's own; it is not there yet."""
    return tmp_path / "cache"


@pytest.fixture
def art(tmp_path: Path) -> list[Path]:
    """Four images of the bundled gallery, in ``art/``, in the order a search finds them."""
    return copy_art(tmp_path)


@pytest.fixture(scope="session")
def many_images(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of 160 images that differ in one pixel: some seconds of work."""
    folder = tmp_path_factory.mktemp("many")
    pixels = np.array(Image.open(sorted(GALLERY.rglob("*.webp"))[0]).convert("RGB"))
    for number in range(160):
        pixels[0, 0] = (number, 0, 255)
        Image.fromarray(pixels).save(folder / f"{number:03}.png", compress_level=1)
    return folder


@pytest.fixture(scope="session")
def panels(tmp_path_factory: pytest.TempPathFactory) -> Panels:
    return fit_panels(tmp_path_factory.mktemp("panels"))


@pytest.fixture
def kept(panels: Panels, monkeypatch: pytest.MonkeyPatch) -> Path:
    """What check-me keeps, with the panel in it."""
    panels.lend(monkeypatch)
    return panels.cache


@pytest.fixture
def no_process_left(fairbrush: Fairbrush) -> Iterator[None]:
    """Fails a test that leaves a process behind, and ends it."""
    if not Path("/proc/self/environ").exists():
        pytest.skip("processes are looked for in /proc, which this system lacks")
    yield
    deadline = time.monotonic() + 5
    while (left := fairbrush.processes()) and time.monotonic() < deadline:
        time.sleep(0.05)
    for process in left:
        os.kill(process, 9)
    assert left == []


@pytest.fixture(scope="session")
def gallery(tmp_path_factory: pytest.TempPathFactory) -> Gallery:
    """Five artists with six works each, indexed; for reading only, ``workspace`` is a copy to work on."""
    return make_gallery(tmp_path_factory.mktemp("gallery"))


@pytest.fixture(scope="session")
def story(gallery: Gallery, tmp_path_factory: pytest.TempPathFactory) -> Story:
    """A year of a small platform; for reading only."""
    return tell_story(gallery, tmp_path_factory.mktemp("story"))


@pytest.fixture
def workspace(gallery: Gallery, tmp_path: Path) -> Path:
    return Path(shutil.copytree(gallery.workspace, tmp_path / "space"))


@pytest.fixture(scope="session")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A diffusers directory, for reading only, beside ``lora.safetensors`` and ``one.safetensors``."""
    folder = tmp_path_factory.mktemp("tiny") / "model"
    build(folder)
    write_lora(folder, folder.with_name("lora.safetensors"))
    write_checkpoint(folder, folder.with_name("one.safetensors"))
    return folder


@pytest.fixture(scope="session")
def browser() -> Iterator[Browser]:
    with chromium() as found:
        yield found


@pytest.fixture
def screenshots() -> Path | None:
    """Where to keep what a browser showed; SCREENSHOTS names the folder."""
    folder = os.environ.get(SCREENSHOTS)
    return Path(folder) if folder else None
