"""Look-ups by value function: a collage's hands from its crops, cached, and forgotten with their image."""

import hashlib
import shutil
import tracemalloc
from datetime import UTC, datetime
from pathlib import Path
from typing import NoReturn

import numpy as np
import pytest
from PIL import Image
from running import GALLERY
from stamped_files import saved, with_chunk
from workspaces import Gallery, command

from fairbrush.attribution import Attribution, EncoderFacts, ImageFacts, attribute_vector
from fairbrush.chain.canonical import canonical_json, parse_canonical
from fairbrush.config import Settings, load_settings
from fairbrush.corpus.generation.facts import GenerationMetadata
from fairbrush.documents import recompute, to_record
from fairbrush.domain import Value
from fairbrush.embedding.cache import EmbeddingCache
from fairbrush.embedding.facets import FACETS
from fairbrush.embedding.session import EmbeddingSession
from fairbrush.errors import AttributionError
from fairbrush.lookup import Lookup

NOON = datetime(2026, 1, 2, 12, tzinfo=UTC)
LEFT, RIGHT = "Danny Allen", "Andy Fitzsimon"


@pytest.fixture
def collage(tmp_path: Path) -> Path:
    """A work each of two artists, side by side; neither is in the index."""
    image = Image.new("RGB", (256, 256))
    for left, artist in ((0, LEFT), (128, RIGHT)):
        work = min((GALLERY.parent / "queries" / artist).glob("*.webp"))
        image.paste(Image.open(work).convert("RGB").resize((128, 256)), (left, 0))
    image.save(tmp_path / "collage.png")
    return tmp_path / "collage.png"


@pytest.fixture
def settings(workspace: Path) -> Settings:
    return load_settings(workspace=workspace, environ={})


def look_up(settings: Settings, image: Path, value: Value | None = None, **options: bool) -> Attribution:
    with Lookup(settings, record=False, value=value, **options) as lookup:
        [answer] = lookup.attribute([image])
    assert answer.attribution is not None, answer.detail
    return answer.attribution


def paid(attribution: Attribution) -> dict[str, float]:
    return {share.artist.name: share.share for share in attribution.artists}


def spaces_with(cache: Path, sha256: str) -> set[str]:
    """The variants that hold a row of an image."""
    with EmbeddingCache.open(cache, readonly=True) as opened:
        spaces = opened.info().spaces
        return {s.variant for s in spaces if opened.space(s.encoder_id, s.variant).get(sha256) is not None}


def refuse(*_: object, **__: object) -> NoReturn:
    raise AssertionError("an encoder is loaded for what is cached")


def test_facets_credit_both_hands_of_a_collage_of_which_nearest_sees_one(
    settings: Settings, collage: Path
) -> None:
    assert paid(look_up(settings, collage, Value.NEAREST)) == {LEFT: 0.5}
    found = paid(look_up(settings, collage, Value.FACETS))
    assert found.keys() == {LEFT, RIGHT}
    assert found[LEFT] == pytest.approx(0.339, abs=0.01)
    assert found[RIGHT] == pytest.approx(0.161, abs=0.01)


def test_facets_are_another_answer_that_names_its_crops_and_has_intervals(
    settings: Settings, collage: Path
) -> None:
    nearest, facets = (look_up(settings, collage, value) for value in (Value.NEAREST, Value.FACETS))
    assert nearest.attribution_id != facets.attribution_id
    assert facets.identity["value_function"]["parameters"]["facets"] == FACETS.name
    assert facets.encoder.variant == nearest.encoder.variant
    assert all(s.interval and s.interval[0] <= s.share <= s.interval[1] for s in facets.artists)
    quick = look_up(settings, collage, Value.FACETS, intervals=False)
    assert (quick.attribution_id, paid(quick)) == (facets.attribution_id, paid(facets))
    assert [share.interval for share in quick.artists] == [None, None]


def test_a_record_of_facets_gives_its_shares_again(settings: Settings, collage: Path) -> None:
    answer = look_up(settings, collage, Value.FACETS)
    body = parse_canonical(canonical_json(to_record(answer, now=NOON).body))
    assert recompute(body).artists_e12 == tuple(share.share_e12 for share in answer.artists)


def test_a_plain_vector_is_no_facets(settings: Settings, collage: Path) -> None:
    with Lookup(settings, record=False) as lookup, pytest.raises(AttributionError, match="takes 5 vectors"):
        attribute_vector(
            ImageFacts("00" * 32, collage),
            np.ones(681, np.float32),
            index=lookup.index,
            eligibility=lookup.eligibility,
            encoder=EncoderFacts(lookup.index.encoder_id, lookup.index.variants[0]),
            policy=lookup.policy,
            model_id=lookup.model,
            value=Value.FACETS,
        )


def test_a_policy_that_says_facets_is_followed(settings: Settings, collage: Path) -> None:
    assert settings.workspace is not None
    with (settings.workspace / "fairbrush.toml").open("a", encoding="utf-8") as file:
        file.write('\n[policy]\nvalue = "facets"\n')
    followed = look_up(load_settings(workspace=settings.workspace, environ={}), collage)
    assert followed.identity["value_function"]["name"] == "facets"
    assert paid(followed).keys() == {LEFT, RIGHT}


def test_what_was_asked_before_needs_no_encoder(
    settings: Settings, collage: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = {value: look_up(settings, collage, value) for value in (Value.FACETS, Value.NEAREST)}
    monkeypatch.setattr(EmbeddingSession, "open", refuse)
    for value, answer in first.items():
        again = look_up(settings, collage, value)
        assert (answer.encoder.device, again.encoder.device) == ("cpu", None)
        assert (again.attribution_id, again.game) == (answer.attribution_id, answer.game)


def test_an_erased_artists_facets_are_forgotten(settings: Settings, gallery: Gallery, collage: Path) -> None:
    assert settings.workspace is not None
    work = gallery.credited
    artist = next(name for name, works in gallery.works.items() if work in works)
    sha256 = hashlib.sha256(work.read_bytes()).hexdigest()
    copy = Path(shutil.copy(work, collage.parent / "work.webp"))
    look_up(settings, collage, Value.FACETS)
    plain = look_up(settings, copy, Value.FACETS).encoder.variant
    assert spaces_with(settings.cache_folder, sha256) == {plain, f"{plain}+whole+2x2"}
    assert command(settings.workspace, "artist", "erase", artist, "--yes").code == 0
    assert spaces_with(settings.cache_folder, sha256) == set()
    others = hashlib.sha256(collage.read_bytes()).hexdigest()
    assert spaces_with(settings.cache_folder, others) == {f"{plain}+whole+2x2"}


def test_files_whose_metadata_cannot_be_read_are_not_held(settings: Settings, tmp_path: Path) -> None:
    generations: dict[str, GenerationMetadata | str | None] = {}
    with Lookup(settings, record=False) as lookup:
        tracemalloc.start()
        try:
            for n in range(4):
                broken = with_chunk(saved("PNG"), b"tEXt", b"prompt\0{")
                (tmp_path / "broken.png").write_bytes(with_chunk(broken, b"prVt", bytes([n]) * 2_000_000))
                lookup._digest(tmp_path / "broken.png", generations)
            held_bytes, _ = tracemalloc.get_traced_memory()
        finally:
            tracemalloc.stop()
    assert [str(why).startswith("ComfyUI's prompt is no JSON") for why in generations.values()] == [True] * 4
    assert held_bytes < 1_000_000
