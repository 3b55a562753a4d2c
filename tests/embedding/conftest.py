"""What the tests of encoders share: one import of open_clip, which takes seconds."""

from types import ModuleType

import pytest

from fairbrush.embedding.torchvision_ops import make_torchvision_importable


@pytest.fixture(scope="session")
def open_clip() -> ModuleType:
    make_torchvision_importable()
    import open_clip

    return open_clip
