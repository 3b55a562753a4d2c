"""The tree of RFC 6962 and 9162: its published vectors, and paths against brute force."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fairbrush.chain import merkle

# The leaves and roots that certificate transparency's own implementations are tested with.
LEAVES = [
    bytes.fromhex(text)
    for text in (
        "",
        "00",
        "10",
        "2021",
        "3031",
        "40414243",
        "5051525354555657",
        "606162636465666768696a6b6c6d6e6f",
    )
]
ROOTS = [
    "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d",
    "fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125",
    "aeb6bcfe274b70a14fb067a5e5578264db0fa9b51af5e0ba159158f329e06e77",
    "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
    "4e3bbb1f7b478dcfe71fb631631519a3bca12c9aefca1612bfce4c13a86264d4",
    "76e67dadbcdf1e10e1b74ddc608abd2f98dfb16fbce75277b5232a127f2087ef",
    "ddb89be403809e325750d3d263cd78929c2942b7942a34b77e122c9594a74c8c",
    "5dc9da79a70659a9ad559cb701ded9a2ab9d823aad2f4960cfe370eff4604328",
]
PATHS = {
    (0, 1): [],
    (0, 8): [
        "96a296d224f285c67bee93c30f8a309157f0daa35dc5b87e410b78630a09cfc7",
        "5f083f0a1a33ca076a95279832580db3e0ef4584bdff1f54c8a360f50de3031e",
        "6b47aaf29ee3c2af9af889bc1fb9254dabd31177f16232dd6aab035ca39bf6e4",
    ],
    (5, 8): [
        "bc1a0643b12e4d2d7c77918f44e0f4f79a838b6cf9ec5b5c283e1f4d88599e6b",
        "ca854ea128ed050b41b35ffc1b87b8eb2bde461e9e3b5596ece6b9d5975a0ae0",
        "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
    ],
    (2, 3): ["fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125"],
    (1, 5): [
        "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d",
        "5f083f0a1a33ca076a95279832580db3e0ef4584bdff1f54c8a360f50de3031e",
        "bc1a0643b12e4d2d7c77918f44e0f4f79a838b6cf9ec5b5c283e1f4d88599e6b",
    ],
}
HASHES = [merkle.leaf_hash(leaf) for leaf in LEAVES]
TREES = st.integers(1, 70).flatmap(lambda n: st.tuples(st.just(n), st.integers(0, n - 1)))


def hashes(count: int) -> list[bytes]:
    return [merkle.leaf_hash(str(number).encode()) for number in range(count)]


def root_by_definition(leaves: list[bytes]) -> bytes:
    """RFC 9162, section 2.1.1, word for word."""
    if len(leaves) == 1:
        return leaves[0]
    k = 1
    while k * 2 < len(leaves):
        k *= 2
    return merkle.node_hash(root_by_definition(leaves[:k]), root_by_definition(leaves[k:]))


@pytest.mark.parametrize("count", range(1, 9))
def test_the_roots_are_the_published_ones(count: int) -> None:
    assert merkle.root(HASHES[:count]).hex() == ROOTS[count - 1]


def test_the_root_of_nothing_is_the_published_one() -> None:
    empty = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
    assert merkle.root([]).hex() == merkle.RootBuilder().root().hex() == empty


@pytest.mark.parametrize(("place", "count"), PATHS)
def test_the_paths_are_the_published_ones(place: int, count: int) -> None:
    assert [hash_.hex() for hash_ in merkle.inclusion_path(HASHES[:count], place)] == PATHS[place, count]


@given(TREES)
def test_every_path_leads_to_the_root_by_definition(tree: tuple[int, int]) -> None:
    count, place = tree
    leaves = hashes(count)
    path = merkle.inclusion_path(leaves, place)
    assert merkle.root(leaves) == root_by_definition(leaves)
    assert merkle.root_from_path(leaves[place], place, count, path) == root_by_definition(leaves)
    assert len(path) <= (count - 1).bit_length()
    ranges = merkle.sibling_ranges(place, count)
    assert [root_by_definition(leaves[start:stop]) for start, stop in ranges] == path


@given(TREES, st.data())
def test_a_path_leads_nowhere_else(tree: tuple[int, int], data: st.DataObject) -> None:
    """Another leaf, another place, another count, a longer or a shorter path: none gives the root."""
    count, place = tree
    leaves = hashes(count)
    path, root = merkle.inclusion_path(leaves, place), merkle.root(leaves)
    other = data.draw(st.integers(0, count + 3).filter(lambda there: there != place))
    assert merkle.root_from_path(leaves[place], other, count, path) != root
    assert merkle.root_from_path(merkle.leaf_hash(b"x"), place, count, path) != root
    assert merkle.root_from_path(leaves[place], place, count, [*path, root]) is None
    assert not path or merkle.root_from_path(leaves[place], place, count, path[:-1]) is None


@given(st.integers(0, 70))
def test_one_by_one_is_the_same_root(count: int) -> None:
    builder = merkle.RootBuilder()
    for number, leaf in enumerate(hashes(count)):
        assert builder.count == number
        builder.append(leaf)
    assert builder.root() == merkle.root(hashes(count))


@given(st.integers(1, 40).flatmap(lambda n: st.tuples(st.just(n), st.sets(st.integers(0, n - 1)))))
def test_changed_leaves_give_the_root_of_the_changed_tree(tree: tuple[int, set[int]]) -> None:
    count, places = tree
    leaves = hashes(count)
    changes = {place: merkle.leaf_hash(f"other {place}".encode()) for place in places}
    changed = [changes.get(place, leaf) for place, leaf in enumerate(leaves)]
    assert merkle.root_with(merkle.levels(leaves), changes) == merkle.root(changed)
