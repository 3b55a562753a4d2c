"""The files of a segment: what is read back, whoever else reads."""

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np

from fairbrush.index.segments import decode_rows, encode_rows


def test_threads_decode_side_by_side() -> None:
    """faiss's limits on what it reads are the process's: a small index must not cap a large one beside it."""
    contents = [encode_rows(np.ones((n_rows, 65), np.float32)) for n_rows in (1, 2_000)]

    def decode(number: int) -> int:
        return len(decode_rows(contents[number % 2], source=Path("rows.faiss")))

    with ThreadPoolExecutor(4) as threads:
        assert list(threads.map(decode, range(2_000))) == [1, 2_000] * 1_000
