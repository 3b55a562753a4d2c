"""What the tests of generators share: one miniature, built and loaded once."""

import shutil
from pathlib import Path

import pytest
from validation.tiny import build_variation, load_generator, write_adapter, write_image_encoder

from fairbrush.validation.generators import Generator


@pytest.fixture
def copy(tiny: Path, tmp_path: Path) -> Path:
    """A copy of the miniature to damage."""
    return Path(shutil.copytree(tiny, tmp_path / "model"))


@pytest.fixture(scope="session")
def generator(tiny: Path) -> Generator:
    return load_generator(tiny)


@pytest.fixture(scope="session")
def variation(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A diffusers directory of image variation, for reading only."""
    return build_variation(tmp_path_factory.mktemp("variation") / "model")


@pytest.fixture(scope="session")
def adapter(tiny: Path) -> Path:
    """An IP-Adapter for the miniature, with its ``image_encoder`` beside it, for reading only."""
    write_image_encoder(tiny.with_name("image_encoder"))
    return write_adapter(tiny, tiny.with_name("ip-adapter.safetensors"))
