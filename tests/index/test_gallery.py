"""The bundled gallery, with the bundled encoder: real hands, held-out works."""

import json
from pathlib import Path

import pytest

from fairbrush.config import Settings
from fairbrush.embedding.encoder import BUNDLED
from fairbrush.embedding.session import EmbeddingSession
from fairbrush.index.build import ArtistWorks, build_index, extend_index
from fairbrush.index.search import open_index
from fairbrush.index.versions import verify_index
from fairbrush.style.panel import bundled_panel, fit_panel

np = pytest.importorskip("numpy")
GALLERY = Path(__file__).parents[2] / "src/fairbrush/data/gallery"
pytestmark = pytest.mark.skipif(
    not (BUNDLED / "image_tower.onnx").exists(), reason="the bundled encoder is not in this checkout"
)


def test_held_out_works_find_their_hand_and_runs_agree(tmp_path: Path) -> None:
    works = json.loads((GALLERY / "manifest.json").read_text())["works"]
    settings = Settings(cache=tmp_path / "embeddings", workers=1, threads=1)
    with EmbeddingSession.open(settings) as session:
        fitted = fit_panel(session, bundled_panel())
        space, strangers = fitted.space, fitted.strangers()
        outcomes = list(session.embed([GALLERY / work["file"] for work in works]))
        assert not [outcome for outcome in outcomes if outcome.reason]
        stored = session.space.get_many([work["sha256"] for work in works])
        named = {"encoder_id": session.encoder.encoder_id, "variant": session.encoder.variant}
    references = [work for work in works if work["file"].startswith("references/")]
    queries = [work for work in works if work["file"].startswith("queries/")]
    artists = []
    for name in sorted({work["artist"] for work in references}):
        shas = [work["sha256"] for work in references if work["artist"] == name]
        artists.append(ArtistWorks(name, name, shas, np.concatenate([stored[sha256] for sha256 in shas])))
    built = build_index(tmp_path / "a", artists, space=space, strangers=strangers, **named)
    index = open_index(tmp_path / "a")
    vectors = np.concatenate([stored[work["sha256"]] for work in queries])
    answers = index.search_many(vectors, k=3)
    right = [
        answer.hits[0].artist_id == work["artist"] for answer, work in zip(answers, queries, strict=True)
    ]
    assert sum(right) / len(right) > 0.4
    credited = sum(
        hit.z > index.delta and hit.artist_id == work["artist"]
        for answer, work in zip(answers, queries, strict=True)
        for hit in answer.hits[:1]
    )
    assert credited / len(queries) > 0.2, "the threshold leaves something"
    assert sum(index.recognisability(artist.artist_id) is not None for artist in artists) == len(artists)

    again = build_index(tmp_path / "b", artists[::-1], space=space, strangers=strangers, **named)
    assert again.manifest_digest == built.manifest_digest
    build_index(tmp_path / "c", artists[:9], space=space, strangers=strangers, **named)
    extend_index(tmp_path / "c", artists[9:], space=space, **named)
    assert open_index(tmp_path / "b").search_many(vectors, k=3) == answers
    assert open_index(tmp_path / "c").search_many(vectors, k=3) == answers
    assert verify_index(tmp_path / "c") == []
