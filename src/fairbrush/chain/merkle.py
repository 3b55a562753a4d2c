"""A Merkle tree over hashes, and proofs that one of them is in it.

Enters: leaves in order, any bytes. Leaves: the root, and for one leaf the hashes that lead to it. The one
rule: leaves and inner nodes are hashed apart, so that neither passes for the other. The tree is that of
RFC 9162 section 2.1, which certificate transparency uses; a path has at most ceil(log2(n)) hashes.

pymerkle does the same under the GPL, which a library under Apache-2.0 cannot ask of its users.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence

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


class RootBuilder:
    """The root of leaves that come one after the other; holds log2(n) hashes.

    >>> builder = RootBuilder()
    >>> for leaf in (leaf_hash(b"a"), leaf_hash(b"b"), leaf_hash(b"c")):
    ...     builder.append(leaf)
    >>> builder.root() == root([leaf_hash(b"a"), leaf_hash(b"b"), leaf_hash(b"c")])
    True
    """

    def __init__(self) -> None:
        self.count = 0
        self._subtrees: list[bytes] = []

    def append(self, leaf: bytes) -> None:
        size, found = self.count, leaf
        while size & 1:
            found = node_hash(self._subtrees.pop(), found)
            size >>= 1
        self._subtrees.append(found)
        self.count += 1

    def root(self) -> bytes:
        """Of the leaves so far."""
        if not self._subtrees:
            return EMPTY_ROOT
        found = self._subtrees[-1]
        for left in reversed(self._subtrees[:-1]):
            found = node_hash(left, found)
        return found


def root_with(levels_: Sequence[Sequence[bytes]], changes: Mapping[int, bytes]) -> bytes:
    """The root of the same tree with other leaves at some places, in O(log n) for each."""
    changed = dict(changes)
    for level in levels_[:-1]:
        above = {}
        for place in changed:
            left = place & ~1
            if left + 1 == len(level):
                above[left // 2] = changed[left]
            elif left // 2 not in above:
                above[left // 2] = node_hash(
                    changed.get(left, level[left]), changed.get(left + 1, level[left + 1])
                )
        changed = above
    return changed.get(0, levels_[-1][0])


def sibling_ranges(place: int, leaf_count: int) -> list[tuple[int, int]]:
    """The leaves (from, up to) under each hash of ``inclusion_path``, in its order.

    >>> sibling_ranges(2, 5)
    [(3, 4), (0, 2), (4, 5)]
    """
    assert 0 <= place < leaf_count, f"there is no leaf {place} of {leaf_count}"
    start, stop = 0, leaf_count
    found = []
    while stop - start > 1:
        middle = start + (1 << ((stop - start - 1).bit_length() - 1))
        if place < middle:
            found.append((middle, stop))
            stop = middle
        else:
            found.append((start, middle))
            start = middle
    return found[::-1]


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
