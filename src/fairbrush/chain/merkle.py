"""A Merkle tree over hashes, and proofs that one of them is in it.

Enters: leaves in order, any bytes. Leaves: the root, and for one leaf the hashes that lead to it. The one
rule: leaves and inner nodes are hashed apart, so that neither passes for the other. The tree is that of
RFC 9162 section 2.1, which certificate transparency uses; a path has at most ceil(log2(n)) hashes.

pymerkle does the same under the GPL, which a library under Apache-2.0 cannot ask of its users.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

EMPTY_ROOT = hashlib.sha256(b"").digest()


def leaf_hash(content: bytes) -> bytes:
    return hashlib.sha256(b"\0" + content).digest()


def node_hash(left: bytes, right: bytes) -> bytes:
    return hashlib.sha256(b"\1" + left + right).digest()


def root(leaves: Sequence[bytes]) -> bytes:
    """The root over leaf hashes; of none, the hash of nothing.

    >>> root([leaf_hash(b"")]).hex()
    '6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d'
    """
    if not leaves:
        return EMPTY_ROOT
    return levels(leaves)[-1][0]


def levels(leaves: Sequence[bytes]) -> list[list[bytes]]:
    """The hashes of every height, the leaves first, the root last; an odd one out moves up as it is."""
    assert leaves, "a tree of nothing has no levels"
    found = [list(leaves)]
    while len(found[-1]) > 1:
        below = found[-1]
        above = [node_hash(below[i], below[i + 1]) for i in range(0, len(below) - 1, 2)]
        found.append(above + below[len(above) * 2 :])
    return found


def inclusion_path(leaves: Sequence[bytes], place: int) -> list[bytes]:
    """The hashes beside the way from leaf ``place`` (from 0) up to the root, lowest first."""
    assert 0 <= place < len(leaves), f"there is no leaf {place} of {len(leaves)}"
    path = []
    for level in levels(leaves)[:-1]:
        beside = place ^ 1
        if beside < len(level):
            path.append(level[beside])
        place //= 2
    return path


def root_from_path(leaf: bytes, place: int, leaf_count: int, path: Sequence[bytes]) -> bytes | None:
    """The root that a path leads to; None where the path cannot be one of that place and count.

    leaf: a leaf hash. Compare the answer with a root that is trusted.
    """
    if not 0 <= place < leaf_count:
        return None
    remaining, width, found = list(path), leaf_count, leaf
    while width > 1:
        if place ^ 1 < width:
            if not remaining:
                return None
            beside = remaining.pop(0)
            found = node_hash(beside, found) if place & 1 else node_hash(found, beside)
        place, width = place // 2, (width + 1) // 2
    return None if remaining else found
