"""Style retrieval as CSD measures it: query vectors and a database in, mAP@k and Recall@k out.

The rule: the definitions are those of Somepalli et al. 2024, "Measuring Style Similarity in Diffusion
Models" (arXiv:2404.01292), as their released evaluation computes them: a database work is relevant when it
is by the query's artist; mAP@k is the mean over queries of the mean precision at 1, ..., k, misses counted;
Recall@k is the part of queries with a relevant work among the k nearest. So figures compare with theirs.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

CUTOFFS = (1, 10, 100)
QUERIES_AT_A_TIME = 256


@dataclass(frozen=True, eq=False)
class Retrieved:
    """Each query's scores by cutoff k. precision: float64 (n_queries,), the mean of P@1, ..., P@k, whose
    mean over queries is mAP@k; found: float64 (n_queries,) of 0 and 1, whose mean is Recall@k."""

    precision: dict[int, NDArray[np.float64]]
    found: dict[int, NDArray[np.float64]]


def retrieve(
    queries: NDArray[np.float64],
    query_artists: Sequence[str],
    database: NDArray[np.float64],
    database_artists: Sequence[str],
    *,
    cutoffs: Sequence[int] = CUTOFFS,
) -> Retrieved:
    """Rank the database for each query by cosine, ties by place in the database.

    queries, database: (n, dim), unit rows. A cutoff beyond the database stops at its end.

    >>> import numpy as np
    >>> found = retrieve(np.eye(2)[:1], ["Ann"], np.eye(2), ["Bo", "Ann"], cutoffs=[1, 2])
    >>> found.precision[2].tolist(), found.found[2].tolist()
    ([0.25], [1.0])
    """
    import numpy as np

    own = np.asarray(query_artists)
    theirs = np.asarray(database_artists)
    depth = min(max(cutoffs), len(database))
    relevant = np.empty((len(queries), depth), bool)
    for start in range(0, len(queries), QUERIES_AT_A_TIME):
        part = slice(start, start + QUERIES_AT_A_TIME)
        ranked = np.argsort(-(queries[part] @ database.T), axis=1, kind="stable")[:, :depth]
        relevant[part] = theirs[ranked] == own[part, None]
    precision: NDArray[np.float64] = np.cumsum(relevant, axis=1) / np.arange(1, depth + 1)
    return Retrieved(
        {k: np.asarray(precision[:, :k].mean(axis=1)) for k in cutoffs},
        {k: np.asarray(relevant[:, :k].any(axis=1), np.float64) for k in cutoffs},
    )
