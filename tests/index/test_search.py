"""Searching: affinity by its definition, exact order, the same answer however it is asked."""

import math
import subprocess
import sys
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from index_worlds import World, make_world, name_work, queries

from fairbrush.domain import Evidence
from fairbrush.errors import DeviceUnavailableError, IndexMismatchError, IndexMissingError, VectorRefusedError
from fairbrush.index.build import ArtistWorks, require_encoder
from fairbrush.index.search import SearchDevice, StyleIndex, open_index, works_by_artist
from fairbrush.style.affinity import PanelScale


def z_by_definition(world: World, vector: np.ndarray, *, quantile: float = 0.95) -> dict[str, float]:
    """Affinity of one query to every artist, in plain loops over float64."""
    panel = world.strangers.rows.astype(float)
    [query] = world.space.apply(vector[None])
    affinities = {}
    for artist in world.artists:
        works = world.space.apply(artist.vectors)
        mean = [math.fsum(works[:, axis]) / len(works) for axis in range(works.shape[1])]
        length = math.sqrt(math.fsum(m * m for m in mean))
        centroid = [m / length for m in mean]
        strangers = sorted(math.fsum(c * p for c, p in zip(centroid, row, strict=True)) for row in panel)
        place = quantile * (len(strangers) - 1)
        low = int(place)
        h = strangers[low] + (place - low) * (strangers[low + 1] - strangers[low])
        affinities[artist.artist_id] = math.fsum(c * x for c, x in zip(centroid, query, strict=True)) - h
    return affinities


@pytest.fixture(scope="module")
def world() -> World:
    return make_world(artists=40, panel=240)


@pytest.fixture(scope="module")
def index(world: World, tmp_path_factory: pytest.TempPathFactory) -> StyleIndex:
    folder = tmp_path_factory.mktemp("indexes")
    world.build(folder)
    return open_index(folder)


def test_hits_are_the_definition_in_descending_order(world: World, index: StyleIndex) -> None:
    for vector in queries(world, 12):
        expected = sorted(z_by_definition(world, vector).items(), key=lambda pair: -pair[1])[:5]
        hits = index.search(vector, k=5).hits
        assert [hit.artist_id for hit in hits] == [artist_id for artist_id, _ in expected]
        assert [hit.z for hit in hits] == pytest.approx([z for _, z in expected], abs=1e-6)


def test_every_work_knows_whose_it_is(index: StyleIndex) -> None:
    works = works_by_artist(index)
    pairs = {(sha256, artist_id) for artist_id, sha256s in works.items() for sha256 in sha256s}
    found = index.artists_by_work
    assert {(sha256, one) for sha256, artist_ids in found.items() for one in artist_ids} == pairs


def test_inner_product_of_row_and_extended_query_is_the_affinity(world: World, index: StyleIndex) -> None:
    for vector in queries(world, 6):
        [query] = world.space.apply(vector[None])
        products = index.rows.astype(float) @ np.append(query, 1.0)
        for hit in index.search(vector, k=40).hits:
            row = index.rows[index.artist_ids.index(hit.artist_id)].astype(float)
            assert hit.z == pytest.approx(products[index.artist_ids.index(hit.artist_id)], abs=1e-12)
            assert hit.similarity - hit.z == pytest.approx(-row[-1], abs=1e-12)


def test_the_threshold_is_the_panels(world: World, index: StyleIndex) -> None:
    """How it is placed is tested where it is: tests/style/test_affinity.py."""
    rows = [index.rows[index.owners == owner] for owner in range(len(index.artist_ids))]
    scale = PanelScale.of_artists(rows, world.strangers, rule=index.manifest.rule)
    assert index.delta == scale.delta(index.manifest.alpha)


def test_of_several_centroids_the_nearest_counts(tmp_path: Path) -> None:
    world = make_world(artists=3, works=24)
    rng = np.random.default_rng(4)
    periods = np.repeat(3 * rng.normal(size=(3, 12)), 8, axis=0) + 0.1 * rng.normal(size=(24, 12))
    shas = [name_work("varied", work) for work in range(24)]
    varied = ArtistWorks("varied", "own-varied", shas, periods.astype(np.float32))
    world.build(tmp_path, [*world.artists, varied])
    index = open_index(tmp_path)
    own = index.rows[index.owners == index.artist_ids.index("varied")].astype(float)
    assert len(own) >= 3
    for vector in periods[::8].astype(np.float32):
        [query] = world.space.apply(vector[None])
        best = index.search(vector, k=1).hits[0]
        assert (best.artist_id, best.z) == ("varied", pytest.approx(max(own @ np.append(query, 1.0))))
    vectors = queries(world, 20, seed=1)
    named = ["artist-0001", "varied"]
    assert index.search_many(vectors, k=2) == [index.search(vector, k=2) for vector in vectors]
    everyone = [index.search(vector, k=4).hits for vector in vectors]
    asked = [[hit for hit in hits if hit.artist_id in named] for hits in everyone]
    assert [index.affinities(vector, named) for vector in vectors] == asked
    assert [index.search(vector, k=2).hits for vector in vectors] == [hits[:2] for hits in everyone]


def test_complete_says_whether_anyone_above_the_threshold_is_missing(world: World, index: StyleIndex) -> None:
    seen = set()
    centres = [artist.vectors.mean(axis=0) for artist in world.artists]
    between = [one + other for one, other in pairwise(centres)]
    for vector in [*queries(world, 20), *between]:
        above = {hit.artist_id for hit in index.search(vector, k=40).hits if hit.z > index.delta}
        for k in (1, 2, 5):
            answer = index.search(vector, k=k)
            assert answer.complete == (above <= {hit.artist_id for hit in answer.hits})
            seen.add(answer.complete)
    assert seen == {True, False}


@settings(deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=40)
@given(st.integers(1, 45), st.sets(st.integers(0, 44)), st.integers(0, 30))
def test_only_the_allowed_are_found_and_none_is_lost(
    world: World, index: StyleIndex, k: int, chosen: set[int], seed: int
) -> None:
    allowed = {f"artist-{number:04d}" for number in chosen}  # some are not in the index
    [vector] = queries(world, 1, seed=seed)
    everyone = index.search(vector, k=40).hits
    answer = index.search(vector, k=k, allowed=allowed)
    wanted = [hit for hit in everyone if hit.artist_id in allowed]
    assert answer.hits == wanted[:k]
    assert answer.complete == all(hit.z <= index.delta for hit in wanted[k:])


@settings(deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=30)
@given(st.lists(st.integers(0, 39)), st.integers(0, 30))
def test_artists_asked_for_by_id_have_the_affinities_a_search_gives(
    world: World, index: StyleIndex, chosen: list[int], seed: int
) -> None:
    named = [f"artist-{number:04d}" for number in chosen]
    [vector] = queries(world, 1, seed=seed)
    everyone = index.search(vector, k=40).hits
    assert index.affinities(vector, named) == [hit for hit in everyone if hit.artist_id in named]


def test_an_artist_who_is_not_in_the_index_has_no_affinity(world: World, index: StyleIndex) -> None:
    with pytest.raises(IndexMissingError, match="has no artist artist-9999"):
        index.affinities(queries(world, 1)[0], ["artist-0001", "artist-9999"])


def test_a_batch_is_a_loop_bit_for_bit(world: World, index: StyleIndex) -> None:
    vectors = queries(world, 33)
    for k in (1, 3, 40):
        assert index.search_many(vectors, k=k) == [index.search(vector, k=k) for vector in vectors]


def test_identical_artists_tie_and_go_by_id(tmp_path: Path) -> None:
    world = make_world(artists=3)
    twins = [
        ArtistWorks(f"twin-{n:03d}", f"own-{n}", [f"{n:064x}"], world.artists[0].vectors[:1])
        for n in (7, 3, *range(100, 160))
    ]
    world.build(tmp_path, [*world.artists, *twins])
    hits = open_index(tmp_path).search(world.artists[0].vectors[0], k=5).hits
    assert [hit.artist_id for hit in hits] == ["twin-003", "twin-007", "twin-100", "twin-101", "twin-102"]
    assert len({hit.z for hit in hits}) == 1


@pytest.mark.parametrize("artists", [1, 2, 5])
def test_small_workspaces_work(tmp_path: Path, artists: int) -> None:
    world = make_world(artists=artists)
    world.build(tmp_path)
    index = open_index(tmp_path)
    vector = world.artists[-1].vectors[0]
    answer = index.search(vector, k=32)
    assert {hit.artist_id: hit.z for hit in answer.hits} == pytest.approx(
        z_by_definition(world, vector), abs=1e-6
    )
    assert answer.complete


def test_evidence_is_the_nearest_works_of_the_artist(world: World, index: StyleIndex) -> None:
    artist = world.artists[4]
    [vector] = queries(world, 1)
    [query] = world.space.apply(vector[None])
    expected = sorted(
        (-math.fsum(a * b for a, b in zip(row, query, strict=True)), sha256)
        for row, sha256 in zip(world.space.apply(artist.vectors), artist.work_sha256s, strict=True)
    )
    found = index.nearest_works(vector, artist.artist_id, 3)
    assert [evidence.work_sha256 for evidence in found] == [sha256 for _, sha256 in expected[:3]]
    assert [evidence.similarity for evidence in found] == pytest.approx(
        [-s for s, _ in expected[:3]], abs=1e-6
    )
    [own] = index.nearest_works(artist.vectors[2], artist.artist_id, 1)
    assert own == Evidence(artist.work_sha256s[2], pytest.approx(1.0, abs=1e-6))


def test_an_open_index_says_what_it_is(world: World, index: StyleIndex) -> None:
    assert (index.manifest.label, index.dim, index.space_id) == ("v0001", 12, world.space.space_id)
    assert (index.encoder_id, index.variants) == ("toy#0123456789abcdef", ("toy-float32",))
    assert index.artist_ids == tuple(artist.artist_id for artist in world.artists)
    assert index.manifest_digest == index.manifest.manifest_digest
    assert index.is_current()
    assert works_by_artist(index) == {a.artist_id: tuple(sorted(a.work_sha256s)) for a in world.artists}
    assert index.recognisability("artist-0001") is None, "one work"
    assert -2 < index.recognisability("artist-0000") < 1


def test_what_is_not_there_is_said(world: World, index: StyleIndex, tmp_path: Path) -> None:
    with pytest.raises(IndexMissingError, match="fairbrush index build"):
        open_index(tmp_path)
    with pytest.raises(IndexMissingError, match="has no artist nobody"):
        index.nearest_works(world.panel[0], "nobody", 3)
    with pytest.raises(VectorRefusedError, match="not finite"):
        index.search(np.full(12, np.nan, np.float32), k=1)
    with pytest.raises(VectorRefusedError, match="all zeros"):
        index.search(np.zeros(12, np.float32), k=1)
    with pytest.raises(VectorRefusedError, match=r"\(1, 13\)"):
        index.search(np.ones(13, np.float32), k=1)


def test_another_encoder_is_refused_with_both_sides_named(index: StyleIndex) -> None:
    version = index.manifest
    require_encoder(version, encoder_id=version.encoder_id, variant="toy-float32", dim=12)
    with pytest.raises(IndexMismatchError) as caught:
        require_encoder(version, encoder_id="other", variant="toy-float32", dim=768)
    assert str(caught.value) == "Index v0001 has 12 dims, encoder gives 768. Rebuild: fairbrush index build"
    with pytest.raises(IndexMismatchError, match="built with encoder toy#0123456789abcdef, not other"):
        require_encoder(version, encoder_id="other", variant="toy-float32", dim=12)
    with pytest.raises(IndexMismatchError, match="variants toy-float32, not toy-bfloat16"):
        require_encoder(version, encoder_id=version.encoder_id, variant="toy-bfloat16", dim=12)


def test_a_look_up_imports_numpy_and_faiss_only(world: World, index: StyleIndex) -> None:
    code = (
        "import sys; from pathlib import Path; from fairbrush.index.search import open_index\n"
        "import numpy as np\n"
        f"index = open_index(Path({str(index.folder)!r}))\n"
        "index.nearest_works(np.ones(12, 'f'), index.search(np.ones(12, 'f'), k=3).hits[0].artist_id, 2)\n"
        "heavy = {'torch', 'torchvision', 'lmdb', 'duckdb', 'PIL', 'onnxruntime', 'open_clip', 'typer'}\n"
        "print(sorted(heavy & set(sys.modules)), {'numpy', 'faiss'} <= set(sys.modules))"
    )
    answer = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert answer.stdout == "[] True\n"


def gpu_is_there() -> bool:
    from fairbrush.index.faiss_door import import_faiss

    faiss = import_faiss()
    return hasattr(faiss, "StandardGpuResources") and faiss.get_num_gpus() > 0


@pytest.mark.skipif("gpu_is_there()", reason="a GPU is there")
def test_a_missing_gpu_is_said_when_asked_for(index: StyleIndex) -> None:
    with pytest.raises(DeviceUnavailableError, match="no GPU"):
        open_index(index.folder, device=SearchDevice.GPU)


@pytest.mark.gpu
@pytest.mark.skipif("not gpu_is_there()", reason="needs faiss-gpu and a CUDA device")
def test_a_gpu_gives_the_same_answers(world: World, index: StyleIndex) -> None:
    on_gpu = open_index(index.folder, device=SearchDevice.GPU)
    assert on_gpu.device is SearchDevice.GPU
    vectors = queries(world, 40)
    assert on_gpu.search_many(vectors, k=7) == index.search_many(vectors, k=7)
