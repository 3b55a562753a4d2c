"""indexes/gallery, as committed, is what the bundled encoder makes of the bundled gallery now."""

import json
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from fairbrush.embedding.session import EmbeddingSession
from fairbrush.index.search import open_index, works_by_artist
from fairbrush.index.versions import current_version, manifest_files, verify_index

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT / "scripts"))

import build_gallery_index as script  # noqa: E402 - scripts are no package

COMMITTED = ROOT / "indexes" / "gallery"
REBUILD = "Rebuild and commit it: python scripts/build_gallery_index.py && git add indexes/gallery"
TOLERANCE = 1e-5


@pytest.fixture(scope="module")
def session(tmp_path_factory: pytest.TempPathFactory) -> Iterator[EmbeddingSession]:
    with script.open_session(tmp_path_factory.mktemp("gallery") / "embeddings") as opened:
        yield opened


def require_committed(session: EmbeddingSession) -> None:
    """Fail, with the way out, where the committed index is absent or belongs to another encoder."""
    if not (COMMITTED / "CURRENT").exists():
        pytest.fail(f"{COMMITTED} holds no index. {REBUILD}", pytrace=False)
    built_with = current_version(COMMITTED).encoder_id
    bundled = session.encoder.encoder_id
    if built_with != bundled:
        pytest.fail(f"{COMMITTED} was built with {built_with}, not {bundled}. {REBUILD}", pytrace=False)


def test_the_committed_index_is_sound_and_of_the_bundled_encoder(session: EmbeddingSession):
    require_committed(session)
    assert verify_index(COMMITTED) == []
    assert list(manifest_files(COMMITTED)) == [1]
    assert not (COMMITTED / ".lock").exists()


def test_a_rebuild_has_the_same_ids_works_and_similarities(session: EmbeddingSession, tmp_path: Path):
    require_committed(session)
    ids = json.loads((COMMITTED / script.IDS).read_text(encoding="utf-8"))
    script.build(tmp_path / "rebuilt", session, ids)
    committed, rebuilt = open_index(COMMITTED), open_index(tmp_path / "rebuilt")
    assert committed.artist_ids == rebuilt.artist_ids
    assert committed.artist_ids == tuple(sorted(one["artist_id"] for one in ids.values()))
    assert works_by_artist(committed) == works_by_artist(rebuilt)
    assert [committed.creator_of(one) for one in committed.artist_ids] == [
        rebuilt.creator_of(one) for one in committed.artist_ids
    ]
    assert committed.delta == pytest.approx(rebuilt.delta, abs=TOLERANCE)
    queries = [path for works in script.gallery_works("queries").values() for _, path in works[:3]]
    embedded = [outcome.sha256 for outcome in session.embed(queries)]
    stored = session.space.get_many(embedded)
    vectors = np.concatenate([stored[sha256] for sha256 in embedded])
    everyone = len(committed.artist_ids)
    pairs = zip(
        committed.search_many(vectors, k=everyone), rebuilt.search_many(vectors, k=everyone), strict=True
    )
    for one, other in pairs:
        z = {hit.artist_id: (hit.similarity, hit.z) for hit in other.hits}
        for hit in one.hits:
            assert (hit.similarity, hit.z) == pytest.approx(z[hit.artist_id], abs=TOLERANCE)


def test_building_twice_gives_the_same_bytes_in_place_of_the_old(session: EmbeddingSession, tmp_path: Path):
    ids = script.keep_ids(tmp_path / "out" / script.IDS, script.gallery_works("references"))
    script.build(tmp_path / "first", session, ids)
    script.replace_index(tmp_path / "first", tmp_path / "out")
    (tmp_path / "out" / "0123456789abcdef").mkdir()
    before = {path.name: path.read_bytes() for path in (tmp_path / "out").rglob("*") if path.is_file()}
    assert {script.IDS, "CURRENT", "v0001.json"} < set(before)
    script.build(tmp_path / "second", session, ids)
    script.replace_index(tmp_path / "second", tmp_path / "out")
    assert before == {
        path.name: path.read_bytes() for path in (tmp_path / "out").rglob("*") if path.is_file()
    }
    assert not (tmp_path / "out" / "0123456789abcdef").exists()


def test_nobodys_id_changes_and_ids_say_nothing_of_names(tmp_path: Path):
    first = script.keep_ids(tmp_path / "artists.json", ["Ann", "Bo"])
    second = script.keep_ids(tmp_path / "artists.json", ["Ann", "Bo", "Cy"])
    assert {name: second[name] for name in first} == first
    assert json.loads((tmp_path / "artists.json").read_text()) == second
    given = [one for ids in second.values() for one in ids.values()]
    assert len(set(given)) == 6
    assert all(len(bytes.fromhex(one)) == 16 for one in given)
    assert script.keep_ids(tmp_path / "other.json", ["Ann"])["Ann"] != first["Ann"]


def test_every_gallery_artist_has_a_kept_id():
    ids = json.loads((COMMITTED / script.IDS).read_text(encoding="utf-8"))
    assert set(ids) == set(script.gallery_works("references"))
