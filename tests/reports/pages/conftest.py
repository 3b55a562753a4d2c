"""The random history of money that statements and overviews are held against."""

from collections.abc import Iterator

import pytest
from lived_history import Lived, live_through


@pytest.fixture(scope="session")
def lived(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lived]:
    """Read it only."""
    with live_through(tmp_path_factory.mktemp("lived") / "space") as history:
        yield history
