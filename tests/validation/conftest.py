"""What the tests of generators share: one miniature, built and loaded once."""

import shutil
from pathlib import Path

import pytest
from validation.tiny import build, write_checkpoint, write_lora

from fairbrush.validation.generators import Generator, load_generator


@pytest.fixture(scope="session")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A diffusers directory, for reading only, beside ``lora.safetensors`` and ``one.safetensors``."""
    folder = tmp_path_factory.mktemp("tiny") / "model"
    build(folder)
    write_lora(folder, folder.with_name("lora.safetensors"))
    write_checkpoint(folder, folder.with_name("one.safetensors"))
    return folder


@pytest.fixture
def copy(tiny: Path, tmp_path: Path) -> Path:
    """A copy of the miniature to damage."""
    return Path(shutil.copytree(tiny, tmp_path / "model"))


@pytest.fixture(scope="session")
def generator(tiny: Path) -> Generator:
    return load_generator(tiny)
