"""One image to shares: ids, exactness, eligibility, and the documented JSON, over a small real index."""

import json
import os
import re
import subprocess
import sys
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from fractions import Fraction
from pathlib import Path

import duckdb
import numpy as np
import pytest
from fake_records import create_tables
from hypothesis import given, settings
from hypothesis import strategies as st

from fairbrush.attribution import EncoderFacts, ImageFacts, attribute_vector
from fairbrush.candidates import _candidates
from fairbrush.chain.canonical import parse_canonical
from fairbrush.cli.explanation import why_lines
from fairbrush.documents import recompute, to_json, to_record
from fairbrush.domain import CHOOSABLE_VALUES, Artist, Consent, Evidence, Hint, HintSource, Hit, Value
from fairbrush.errors import AttributionError, GameError, PolicyError
from fairbrush.explaining import Verdict, Why, explain, why
from fairbrush.game.shares import E12
from fairbrush.ledger.policy import Policy
from fairbrush.ledger.records import drain, write_pending
from fairbrush.mixing import InputImage
from fairbrush.style.centroids import ArtistStyle

DOCUMENT = Path(__file__).parents[1] / "docs" / "attribution-schema.md"
NOON = datetime(2026, 1, 2, 12, tzinfo=UTC)
CREDITED = {Consent.OPTED_IN, Consent.UNCLAIMED}


@dataclass(frozen=True)
class FakeNeighbours:
    hits: list[Hit]
    complete: bool


@dataclass(frozen=True)
class FakeIndex:
    """Real cosines to one unit centroid an artist. ``obeys``: whether it respects ``allowed``."""

    centroids: dict[str, np.ndarray]
    offset: float = 0.1
    delta: float = 0.2
    entry: float = 0.05
    shift: float = 0.0
    obeys: bool = True
    version: str = "v0001"
    manifest_digest: str = "ab" * 32
    encoder_id: str = "mini"
    variants: tuple[str, ...] = ("torch-fp32",)
    space_id: str = "0123456789abcdef"
    asked: list[int] = field(default_factory=list)

    @property
    def artist_ids(self):
        return tuple(sorted(self.centroids))

    def search(self, vector, *, k, allowed):
        self.asked.append(k)
        found = []
        for artist_id, centroid in self.centroids.items():
            if artist_id in allowed or not self.obeys:
                similarity = float(centroid.astype(np.float64) @ vector.astype(np.float64))
                found.append(Hit(artist_id, similarity, similarity - self.offset))
        found.sort(key=lambda hit: (-hit.z, hit.artist_id))
        return FakeNeighbours(found[:k], len(found) <= k or found[k].z <= self.delta)

    def affinities(self, vector, artist_ids):
        everyone = self.search(vector, k=len(self.centroids), allowed=self.centroids).hits
        return [hit for hit in everyone if hit.artist_id in artist_ids]

    detectability_floor = 0.3

    def styled(self, vector):
        return vector.astype(np.float64)

    def centroids_of(self, artist_id):
        return self.centroids[artist_id].astype(np.float64)[None]

    def style_of(self, artist_id):
        """Works on both sides of the centroid, so that it is their mean."""
        [centroid] = self.centroids_of(artist_id)
        aside = np.cross(centroid, np.eye(len(centroid))[np.abs(centroid).argmin()])
        works = [centroid + side * spread * aside for side in (-1, 1) for spread in (0.1, 0.2, 0.3)]
        return ArtistStyle(np.array([work / np.linalg.norm(work) for work in works]), centroid[None])

    def nearest_works(self, vector, artist_id, k):
        return [Evidence(f"{artist_id}-work-{rank}", 0.9 - rank / 10) for rank in range(k)]


@dataclass(frozen=True)
class FakeEligibility:
    artists: dict[str, Artist]
    outside: frozenset[str] = frozenset()
    digest: str = "cd" * 32

    def may_be_credited(self, artist_id, model_id):
        artist = self.artists.get(artist_id)
        return artist is not None and artist.consent in CREDITED and artist_id not in self.outside

    def eligible(self, model_id):
        return sorted(a for a in self.artists if self.may_be_credited(a, model_id))


def unit(*numbers) -> np.ndarray:
    vector = np.array(numbers, np.float32)
    return vector / np.linalg.norm(vector)


def artist(artist_id, consent=Consent.UNCLAIMED) -> Artist:
    return Artist(artist_id, artist_id.title(), f"creator-{artist_id}", f"payee-{artist_id}", consent)


INDEX = FakeIndex({"ada": unit(1, 0, 0), "bo": unit(1, 1, 0), "cy": unit(0, 0, 1)})
EVERYONE = FakeEligibility({name: artist(name) for name in INDEX.centroids})
ENCODER = EncoderFacts("mini", "torch-fp32", "cpu")
IMAGE = ImageFacts("12" * 32, Path("pictures/harbour.png"))
BETWEEN = unit(3, 1, 0)  # nearest to ada, then bo; nothing of cy


def attribute(vector=BETWEEN, image=IMAGE, **changed):
    given_ = {"index": INDEX, "eligibility": EVERYONE, "encoder": ENCODER, "policy": Policy(),
              "model_id": "sd-1.5", "value": Value.NEAREST}  # fmt: skip
    return attribute_vector(image, vector, **given_ | changed)


def test_shares_are_the_airport_game_of_the_affinities():
    """Worked by hand: z = cos - 0.1, gains over 0.2, then d_2/2 to both and d_1 to the first."""
    ada, bo = 3 / 10**0.5 - 0.3, 4 / 20**0.5 - 0.3
    answer = attribute()
    assert [share.artist.artist_id for share in answer.artists] == ["ada", "bo"]
    expected = np.array([ada - bo + bo / 2, bo / 2]) / ada
    np.testing.assert_allclose([share.phi for share in answer.artists], expected, atol=1e-6)
    np.testing.assert_allclose([share.share for share in answer.artists], expected / 2, atol=1e-6)
    assert (answer.model_share, answer.unattributed) == (0.5, 0.0)
    assert answer.certificate.exact
    assert answer.game.eligible_count == 3
    assert answer.runner_up.artist_id == "cy"


def test_nobody_near_is_all_unattributed_and_says_why():
    answer = attribute(unit(-1, -1, -1))
    assert (answer.model_share, answer.unattributed, answer.artists) == (0.5, 0.5, ())
    assert answer.reason == (
        "No artist is near enough: the nearest has affinity -0.677, the threshold is 0.200."
        " All of the style stays unattributed."
    )
    nobody = attribute(eligibility=FakeEligibility({}))
    assert nobody.reason == "No artist in the index may be credited for images of sd-1.5."
    assert nobody.unattributed_e12 == E12 // 2
    assert attribute().reason is None


def test_the_policy_decides_between_model_and_artists():
    answer = attribute(policy=Policy(b="0.2", w="0.5"))
    assert answer.model_share_e12 == 600_000_000_000
    assert sum(share.share_e12 for share in answer.artists) == 400_000_000_000


@pytest.mark.parametrize(
    "changed",
    [
        {"image": replace(IMAGE, sha256="34" * 32)},
        {"index": replace(INDEX, manifest_digest="ef" * 32)},
        {"index": replace(INDEX, delta=0.21)},
        {"index": replace(INDEX, variants=("onnx",)), "encoder": replace(ENCODER, variant="onnx")},
        {"index": replace(INDEX, encoder_id="big"), "encoder": replace(ENCODER, encoder_id="big")},
        {"eligibility": replace(EVERYONE, digest="01" * 32)},
        {"policy": Policy(b="0.4")},
        {"model_id": "mine"},
        {"hint": Hint(HintSource.PROMPT, ("ada",))},
        {"value": Value.BLEND},
        {"value": Value.RECONSTRUCTION},
        {"value": Value.FACETS, "vector": np.stack([BETWEEN] * 5)},
    ],
)
def test_everything_an_answer_depends_on_changes_its_id(changed):
    assert attribute(**changed).attribution_id != attribute().attribution_id


def test_the_value_function_is_the_policys_where_none_is_asked_for():
    assert attribute(value=None).identity["value_function"]["name"] == "blend"
    nearest = attribute(value=None, policy=Policy(value="nearest"))
    assert nearest.identity == attribute().identity


def test_intervals_change_no_id_and_no_hashed_body():
    told, silent = attribute(value=Value.BLEND), attribute(value=Value.BLEND, intervals=False)
    assert told.attribution_id == silent.attribution_id
    assert to_record(told, now=NOON).body == to_record(silent, now=NOON).body
    assert all(0 <= one.interval[0] <= one.share <= one.interval[1] <= 0.5 for one in told.artists)
    assert (told.confidence, told.unattributed_interval) == ("mixed", (0.0, 0.0))
    assert all(one.interval is None for one in silent.artists)
    assert (silent.confidence, silent.steadiness, silent.unattributed_interval) == (None, None, None)
    about = to_record(told, now=NOON).about
    assert about["intervals"].keys() == {"ada", "bo"}
    assert to_record(silent, now=NOON).about["intervals"] == {}
    nobody = attribute(unit(-1, -1, -1))
    assert (nobody.confidence, nobody.steadiness, nobody.unattributed_interval) == (
        "unknown",
        1.0,
        (0.5, 0.5),
    )
    near_miss = attribute(unit(0.31, 0, 1), index=replace(INDEX, delta=0.2, centroids={"ada": unit(1, 0, 0)}))
    assert (near_miss.artists, near_miss.confidence) == ((), "unknown")
    assert near_miss.unattributed_interval == (0.0, 0.5)
    assert 0.1 < near_miss.steadiness < 0.95
    assert attribute(unit(-1, -1, -1), intervals=False).confidence is None


@dataclass(frozen=True)
class IndexOfSingleWorks(FakeIndex):
    def style_of(self, artist_id):
        return ArtistStyle(self.centroids_of(artist_id), self.centroids_of(artist_id))


@pytest.mark.parametrize("value", CHOOSABLE_VALUES)
def test_a_single_work_makes_no_answer_sure(value):
    vector = np.tile(unit(1, 0.2, 0), (5, 1)) if value is Value.FACETS else unit(1, 0.2, 0)
    found = attribute(vector, index=IndexOfSingleWorks(INDEX.centroids), value=value)
    assert found.artists
    assert all(one.interval is None for one in found.artists)
    assert (found.confidence, found.steadiness) == ("weak", None)


def test_a_creators_total_is_the_same_over_any_number_of_entries():
    """What an index does with a creator's entries: it gives each of them the creator's centroid."""
    for value in (Value.BLEND, Value.NEAREST, Value.RECONSTRUCTION):
        whole = {one.artist.artist_id: one.share_e12 for one in attribute(value=value).artists}
        for entries in (2, 5, 20, 40):
            names = [f"bo-{number:02d}" for number in range(entries)]
            index = replace(INDEX, centroids={"ada": INDEX.centroids["ada"], "cy": INDEX.centroids["cy"],
                                              **dict.fromkeys(names, INDEX.centroids["bo"])})  # fmt: skip
            several = {name: replace(artist(name), creator_id="creator-bo") for name in names}
            everyone = FakeEligibility({"ada": artist("ada"), "cy": artist("cy"), **several})
            found = attribute(value=value, index=index, eligibility=everyone)
            of_bo = [one for one in found.artists if one.artist.artist_id != "ada"]
            assert len(of_bo) == entries
            assert abs(sum(one.share_e12 for one in of_bo) - whole["bo"]) <= entries, "a unit each, at most"
            [ada] = [one for one in found.artists if one.artist.artist_id == "ada"]
            assert abs(ada.share_e12 - whole["ada"]) <= 1
            assert sum(one.interval[1] for one in of_bo) >= whole["bo"] / E12


def test_why_names_the_one_reason():
    def asked(name, vector=BETWEEN, **changed):
        answer = attribute(vector, value=Value.BLEND, **changed)
        index, eligibility = changed.get("index", INDEX), changed.get("eligibility", EVERYONE)
        return why(answer, artist(name), vector, index=index, eligibility=eligibility)

    credited = asked("bo")
    assert (credited.verdict, credited.threshold) == (Verdict.CREDITED, 0.05)
    assert credited.margin == pytest.approx(0.9486832981 - 0.894427191, abs=1e-6)
    assert len(credited.evidence) == 3
    far = asked("cy")
    assert (far.verdict, far.z) == (Verdict.TOO_FAR, pytest.approx(-0.1))
    assert far.left_over < 0
    assert asked("cy", unit(-1, -1, -1)).verdict is Verdict.NOBODY
    assert asked("zed") == Why(artist("zed"), Verdict.NOT_INDEXED)
    out = FakeEligibility({**EVERYONE.artists, "bo": artist("bo", Consent.OPTED_OUT)})
    assert asked("bo", eligibility=out).verdict is Verdict.NOT_ALLOWED
    ada = asked("bo", unit(1, 0, 0))
    assert (ada.verdict, ada.z > ada.threshold, ada.left_over < 0) == (Verdict.EXPLAINED_AWAY, True, True)


def test_why_tells_who_is_credited_for_a_part_of_the_image_alone():
    facets = np.stack([unit(1, 0, 0), unit(0, 0, 1), *[unit(1, 0, 0)] * 3])
    answer = attribute(facets, value=Value.FACETS)
    one = why(answer, artist("cy"), facets[0], index=INDEX, eligibility=EVERYONE)
    assert one.verdict is Verdict.CREDITED
    assert "above the threshold in a part of it" in why_lines(answer, [one])
    near = why(answer, artist("ada"), facets[0], index=INDEX, eligibility=EVERYONE)
    assert "in a part of it" not in why_lines(answer, [near])


def test_path_time_and_device_change_no_id_and_no_record():
    again = attribute(image=replace(IMAGE, path=None), encoder=replace(ENCODER, device="cuda"))
    assert again.attribution_id == attribute().attribution_id
    later = to_record(again, now=NOON.replace(year=2027))
    assert later.digest == to_record(attribute(), now=NOON).digest
    assert later.attribution_id == again.attribution_id


def test_a_named_artist_is_a_candidate_however_far_and_changes_no_share():
    plain = attribute()
    answer = attribute(hint=Hint(HintSource.PROMPT, ("cy", "ada")))
    assert answer.identity["hint"] == {"source": "prompt", "artist_ids": ["ada", "cy"]}
    assert [(named.artist.name, named.is_near) for named in answer.hinted] == [("Ada", True), ("Cy", False)]
    assert [named.is_credited for named in answer.hinted] == [True, False]
    assert answer.hinted[1].z == pytest.approx(-0.1)
    shares = [replace(share, interval=None) for share in plain.artists]  # seeded by the id
    assert [replace(share, interval=None) for share in answer.artists] == shares
    assert (answer.runner_up, answer.reason) == (plain.runner_up, plain.reason)
    assert to_json(answer)["hint"]["source"] == "prompt"
    assert to_json(answer)["hint"]["artists"][1]["near"] is False
    sources = {
        attribute(hint=Hint(source, ("cy",))).attribution_id for source in (HintSource.PROMPT, "metadata")
    }
    assert len(sources | {answer.attribution_id, plain.attribution_id}) == 4


@pytest.mark.parametrize("value", [Value.BLEND, Value.RECONSTRUCTION, Value.FACETS])
def test_a_named_artist_plays_behind_any_number_of_nearer_ones(value):
    centroids = {f"near-{n:02d}": unit(1, 0, n / 1000) for n in range(40)} | {"zoe": unit(0, 1, 0)}
    everyone = FakeEligibility({name: artist(name) for name in centroids})
    vector = unit(1, 0.5, 0) if value is not Value.FACETS else np.tile(unit(1, 0.5, 0), (5, 1))
    asked = {"index": FakeIndex(centroids), "eligibility": everyone, "value": value, "intervals": False}
    hinted = attribute(vector, hint=Hint(HintSource.PROMPT, ("zoe",)), **asked)
    assert "zoe" not in {one.artist.artist_id for one in attribute(vector, **asked).artists}
    assert "zoe" in {one.artist.artist_id for one in hinted.artists}
    assert hinted.hinted[0].is_credited


def test_a_named_artist_above_the_entry_is_not_near_where_nobody_passes_the_threshold():
    answer = attribute(unit(0.2, 0, -1), value=Value.BLEND, hint=Hint(HintSource.PROMPT, ("ada",)))
    [named] = answer.hinted
    assert INDEX.entry < named.z < INDEX.delta
    assert (answer.artists, named.is_near, named.is_credited) == ((), False, False)


def test_candidates_are_the_nearest_and_the_named_each_once():
    near, far = [Hit("bo", 0.5, 0.4), Hit("ada", 0.5, 0.3)], Hit("cy", 0.0, -0.1)
    assert _candidates(near, [near[1], far]) == [*near, far]
    assert _candidates(near, []) == near
    assert _candidates([], [far]) == [far]


@pytest.mark.parametrize(
    "changed",
    [
        {"eligibility": FakeEligibility({**EVERYONE.artists, "cy": artist("cy", Consent.OPTED_OUT)})},
        {"eligibility": replace(EVERYONE, outside=frozenset({"cy"}))},
        {"eligibility": FakeEligibility({"ada": artist("ada"), "bo": artist("bo")})},
        {"index": FakeIndex({name: INDEX.centroids[name] for name in ("ada", "bo")})},
    ],
)
def test_a_named_artist_who_may_not_be_credited_leaves_no_trace(changed):
    plain = attribute(**changed)
    answer = attribute(**changed, hint=Hint(HintSource.PROMPT, ("cy",)))
    assert answer.identity == plain.identity
    assert answer.hinted == ()
    assert to_json(answer) == to_json(plain)
    record = to_record(answer, now=NOON)
    assert (record.body, record.about) == (to_record(plain, now=NOON).body, to_record(plain, now=NOON).about)


def test_a_record_with_a_hint_holds_ids_alone_and_gives_its_shares_again():
    answer = attribute(hint=Hint(HintSource.METADATA, ("ada", "cy"), "not recorded"))
    record = to_record(answer, now=NOON)
    assert record.body["identity"]["hint"] == {"source": "metadata", "artist_ids": ["ada", "cy"]}
    for part in (record.body, record.about):
        assert not [name for name in ("Ada", "Cy", "not recorded") if name in json.dumps(part)]
    shares = recompute(parse_canonical(json.dumps(record.body)))
    assert shares.artists_e12 == tuple(share.share_e12 for share in answer.artists)


VECTORS = st.lists(st.floats(-1, 1, width=32), min_size=3, max_size=3).filter(lambda v: any(v)).map(
    lambda v: unit(*v) if np.linalg.norm(v) > 1e-3 else unit(1, 2, 3)
)  # fmt: skip


@given(
    VECTORS,
    st.sampled_from(["0", "0.1", "0.5", "1"]),
    st.sampled_from(["0", "0.3", "1"]),
    st.sampled_from(CHOOSABLE_VALUES),
)
@settings(max_examples=100, deadline=None)
def test_a_record_gives_its_shares_again_bit_for_bit(vector, b, w, value):
    vectors = np.stack([vector, vector[::-1], *[BETWEEN] * 3]) if value is Value.FACETS else vector
    answer = attribute(vectors, policy=Policy(b=b, w=w), value=value)
    record = to_record(answer, now=NOON)
    shares = recompute(parse_canonical(json.dumps(record.body)))
    assert shares.artists == tuple(share.share for share in answer.artists)
    assert shares.artists_e12 == tuple(share.share_e12 for share in answer.artists)
    assert (shares.model, shares.unattributed) == (answer.model_share, answer.unattributed)
    assert answer.model_share_e12 + answer.unattributed_e12 + sum(shares.artists_e12) == E12
    assert abs(answer.model_share + answer.unattributed + sum(shares.artists) - 1) <= 1e-12


NAMES = [f"artist-{number:02d}" for number in range(12)]


@given(
    consents=st.lists(st.none() | st.sampled_from(list(Consent)), min_size=12, max_size=12),
    outside=st.sets(st.sampled_from(NAMES)),
    obeys=st.booleans(),
    seed=st.integers(0, 1000),
)
@settings(max_examples=100, deadline=None)
def test_who_may_not_be_credited_never_is_whatever_the_index_says(consents, outside, obeys, seed):
    rows = np.random.default_rng(seed).standard_normal((12, 3)) + 1
    index = replace(INDEX, centroids={n: unit(*r) for n, r in zip(NAMES, rows, strict=True)}, obeys=obeys)
    registry = {n: artist(n, c) for n, c in zip(NAMES, consents, strict=True) if c is not None}
    answer = attribute(unit(1, 1, 1), index=index, eligibility=FakeEligibility(registry, frozenset(outside)))
    allowed = {n for n, a in registry.items() if a.consent in CREDITED and n not in outside}
    credited = {share.artist.artist_id for share in answer.artists}
    near = {n for n, c in index.centroids.items() if float(c @ unit(1, 1, 1)) - 0.1 > 0.2 + 1e-6}
    assert credited <= allowed
    assert allowed & near <= credited
    assert {player.hit.artist_id for player in answer.game.players} == credited
    assert answer.runner_up is None or answer.runner_up.artist_id in allowed


def test_the_index_is_asked_for_more_until_no_near_artist_is_missing():
    rng = np.random.default_rng(1)
    many = {f"artist-{n:03d}": unit(1, *(rng.random(2) * 0.2)) for n in range(100)}
    index = replace(INDEX, centroids=many, asked=[])
    registry = FakeEligibility({name: artist(name) for name in many})
    answer = attribute(unit(1, 0, 0), index=index, eligibility=registry)
    assert index.asked == [32, 64, 128]
    assert len(answer.artists) == 100
    assert [bool(share.evidence) for share in answer.artists] == [True] * 10 + [False] * 90


def test_an_index_that_never_gives_all_is_refused():
    class Stingy(FakeIndex):
        def search(self, vector, *, k, allowed):
            return FakeNeighbours([], complete=False)

    with pytest.raises(AttributionError, match="does not give all of its 3 artists"):
        attribute(index=Stingy(INDEX.centroids))


def test_an_index_with_broken_numbers_is_refused():
    class Twice(FakeIndex):
        def search(self, vector, *, k, allowed):
            return FakeNeighbours([Hit("ada", 0.9, 0.8), Hit("ada", 0.9, 0.8)], complete=True)

    with pytest.raises(GameError, match="different id"):
        attribute(index=Twice(INDEX.centroids))
    with pytest.raises(GameError, match="finite"):
        attribute(index=replace(INDEX, delta=float("-inf")))


def test_an_encoder_that_is_not_the_indexs_is_refused():
    with pytest.raises(AttributionError, match="built with encoder mini, the image embedded with big"):
        attribute(encoder=replace(ENCODER, encoder_id="big"))
    with pytest.raises(AttributionError, match="serves torch-fp32, not torch-bf16"):
        attribute(encoder=replace(ENCODER, variant="torch-bf16"))


def test_explanation_shows_coalitions_offsets_and_the_models_veto_value():
    told = explain(attribute())
    ada, bo = (hit.z - 0.2 for hit in told.players)
    assert [worth.artist_ids for worth in told.coalitions] == [("ada",), ("bo",), ("ada", "bo")]
    np.testing.assert_allclose([worth.explained for worth in told.coalitions], [1, bo / ada, 1], atol=1e-9)
    np.testing.assert_allclose(told.offsets, [0.1, 0.1], atol=1e-9)
    veto = ((ada - bo) / 2 + bo * 2 / 3) / ada
    assert told.model_veto_share == pytest.approx(0.5 + 0.5 * veto, abs=1e-12)
    nothing = explain(attribute(unit(-1, -1, -1)))
    assert (nothing.coalitions, nothing.model_veto_share) == ((), 0.5)


def test_a_record_of_another_algorithm_is_not_recomputed():
    body = to_record(attribute(), now=NOON).body
    other = {**body, "identity": {**body["identity"], "algorithm": "99"}}
    with pytest.raises(AttributionError, match="algorithm 99"):
        recompute(other)


def test_names_and_paths_stay_out_of_the_hashed_body():
    text = json.dumps(to_record(attribute(), now=NOON).body)
    assert "harbour" not in text
    assert '"Ada"' not in text
    assert "work-0" not in text


def test_a_real_record_drains_and_recomputes_from_the_database(tmp_path):
    answer = attribute()
    write_pending(tmp_path, [to_record(answer, now=NOON)])
    with duckdb.connect() as connection:
        create_tables(connection)
        assert drain(connection, tmp_path).recorded == 1
        [(body,)] = connection.execute("SELECT body::TEXT FROM attribution").fetchall()
        rows = connection.execute(
            "SELECT artist_id, share_e12, phi, similarity, z FROM attribution_share ORDER BY rank"
        ).fetchall()
    assert rows == [(s.artist.artist_id, s.share_e12, s.phi, s.similarity, s.z) for s in answer.artists]
    assert recompute(parse_canonical(body)).artists_e12 == tuple(s.share_e12 for s in answer.artists)


def rounded(content):
    """Floats to 6 digits: a cosine's last bits are the machine's."""
    if isinstance(content, dict):
        return {key: rounded(value) for key, value in content.items()}
    if isinstance(content, list):
        return [rounded(value) for value in content]
    return round(content, 6) if isinstance(content, float) else content


def test_the_documented_example_is_what_comes_out_and_every_field_is_described():
    document = DOCUMENT.read_text(encoding="utf-8")
    example = json.loads(re.search(r"```json\n(.*?)```", document, re.DOTALL)[1])
    answer = to_json(attribute(value=None))
    for share in [*example["artists"], *answer["artists"]]:
        share["share_e12"] = round(share["share_e12"], -6)
    assert rounded(example) == rounded(answer)
    described = set(re.findall(r"^\| `([a-z_0-9.]+)`", document, re.MULTILINE))
    fields = set(answer) | {f"artists.{name}" for name in answer["artists"][0]}
    fields |= {f"{name}.{key}" for name in ("image", "encoder", "certificate", "value_function")
               for key in answer[name]}  # fmt: skip
    fields |= {f"hint.{key}" for key in to_json(attribute(hint=Hint(HintSource.PROMPT, ("cy",))))["hint"]}
    fields |= {f"inputs.{key}" for key in to_json(attribute(value=None, inputs=INPUTS))["inputs"][0]}
    assert described == fields - {"image", "encoder", "certificate", "value_function"}


def input_image(artist_id, vector, weight="1/2", sha256="a1" * 32, name="a.png") -> InputImage:
    return InputImage(sha256, Path(name), Fraction(weight), artist_id, vector.astype(np.float64))


INPUTS = (
    input_image("ada", unit(1, 0, 0), "3/5"),
    input_image("cy", unit(0, 1, 0), "2/5", sha256="b2" * 32, name="b.png"),
)


def of_mix(vector=BETWEEN, inputs=INPUTS, **changed):
    return attribute(vector, value=None, inputs=inputs, **changed)


def test_a_mix_is_shared_by_its_inputs_creators_however_near_their_other_works():
    """Worked by hand, from cosines of (3, 1) to (1, 0), (0, 1) and (3, 2)."""
    answer = of_mix()
    ada, cy, both = 3 / 10**0.5, 1 / 10**0.5, 11 / 130**0.5
    expected = {"ada": (ada + both - cy) / 2 / both, "cy": (cy + both - ada) / 2 / both}
    assert {one.artist.artist_id: one.phi for one in answer.artists} == pytest.approx(expected, abs=1e-6)
    assert {one.artist.artist_id: one.share * 2 for one in answer.artists} == pytest.approx(
        expected, abs=1e-6
    )
    assert answer.artists[1].z == pytest.approx(-0.1), "below every threshold"
    assert (answer.unattributed, answer.certificate.exact, answer.reason) == (0.0, True, None)
    assert (answer.confidence, answer.steadiness, answer.unattributed_interval) == (None, None, None)
    assert all(one.interval is None and len(one.evidence) == 3 for one in answer.artists)
    told = explain(answer)
    assert [one.artist_ids for one in told.coalitions] == [("ada",), ("cy",), ("ada", "cy")]
    assert [one.explained for one in told.coalitions] == pytest.approx([ada / both, cy / both, 1], abs=1e-6)


@pytest.mark.parametrize(
    "changed",
    [
        {"inputs": (replace(INPUTS[0], weight=Fraction(1, 2)), replace(INPUTS[1], weight=Fraction(1, 2)))},
        {"inputs": (INPUTS[0], replace(INPUTS[1], sha256="c3" * 32))},
        {"inputs": (INPUTS[0], replace(INPUTS[1], artist_id="bo"))},
        {"inputs": INPUTS[:1]},
        {"vector": BETWEEN, "image": replace(IMAGE, sha256="34" * 32)},
    ],
)
def test_other_inputs_weights_or_artists_are_another_answer(changed):
    assert of_mix(**changed).attribution_id != of_mix().attribution_id


def test_where_inputs_lie_is_in_the_answer_and_in_no_record():
    moved = of_mix(inputs=(replace(INPUTS[0], path=Path("elsewhere.png")), INPUTS[1]))
    assert to_record(moved, now=NOON).digest == to_record(of_mix(), now=NOON).digest
    [first, second] = to_json(of_mix())["inputs"]
    assert first == {
        "sha256": "a1" * 32, "path": "a.png", "weight": 0.6, "artist_id": "ada", "is_creditable": True
    }  # fmt: skip
    assert (second["path"], second["weight"]) == ("b.png", 0.4)
    record = to_record(of_mix(), now=NOON)
    assert "b.png" not in json.dumps([record.body, record.about])


def test_answers_without_inputs_are_what_they_were_before_there_were_any():
    answer = attribute(value=None)
    assert answer.attribution_id == "8d08bd637922411bc5a9ce06f1c73f4a5762b89130645b5f1c55848201974461"
    assert "mixed" not in to_record(answer, now=NOON).body["game"]
    assert to_json(answer)["inputs"] is None


@pytest.mark.parametrize("gone", ["opted out", "erased", "outside"])
def test_the_part_of_an_artist_who_may_not_be_credited_is_unattributed_and_names_nobody(gone):
    registry = {
        "opted out": FakeEligibility({**EVERYONE.artists, "cy": artist("cy", Consent.OPTED_OUT)}),
        "erased": FakeEligibility({name: one for name, one in EVERYONE.artists.items() if name != "cy"}),
        "outside": replace(EVERYONE, outside=frozenset({"cy"})),
    }[gone]
    answer = of_mix(eligibility=registry)
    assert [one.artist.artist_id for one in answer.artists] == ["ada"]
    assert answer.artists[0].phi == pytest.approx(3 / 10**0.5 / (11 / 130**0.5), abs=1e-6)
    assert answer.unattributed == pytest.approx((1 - answer.artists[0].phi) / 2)
    told = to_json(answer)["inputs"][1]
    assert (told["artist_id"], told["is_creditable"]) == (None, False)
    assert '"cy"' not in json.dumps([to_json(answer), to_record(answer, now=NOON).body])
    nobody = of_mix(eligibility=registry, inputs=(replace(INPUTS[1], weight=Fraction(1)),))
    assert (nobody.artists, nobody.unattributed_e12) == ((), E12 // 2)
    assert nobody.reason == "No artist of the inputs may be credited for images of sd-1.5."


def test_an_image_unlike_its_inputs_credits_nobody_and_says_so():
    answer = of_mix(unit(0, 0, 1))
    assert (answer.artists, answer.unattributed) == ((), 0.5)
    assert answer.reason == "The image is like no mix of its inputs. All of the style stays unattributed."
    asked = {"index": INDEX, "eligibility": EVERYONE}
    assert why(answer, artist("ada"), unit(0, 0, 1), **asked).verdict is Verdict.UNLIKE


def test_why_of_a_mix_asks_for_no_threshold():
    out = FakeEligibility({**EVERYONE.artists, "cy": artist("cy", Consent.OPTED_OUT)})
    for registry, name, verdict in (
        (EVERYONE, "cy", Verdict.CREDITED),
        (EVERYONE, "bo", Verdict.NO_INPUT),
        (out, "cy", Verdict.NOT_ALLOWED),
    ):
        answer = of_mix(eligibility=registry)
        told = why(answer, artist(name), BETWEEN, index=INDEX, eligibility=registry)
        assert (told.verdict, told.threshold, told.left_over, len(told.evidence)) == (verdict, None, None, 3)
        assert "threshold" not in why_lines(answer, [told])


def test_a_mix_goes_with_its_inputs_alone():
    for asked in (
        {"value": Value.MIX},
        {"value": Value.BLEND, "inputs": INPUTS},
        {"value": None, "inputs": INPUTS, "hint": Hint(HintSource.PROMPT, ("cy",))},
    ):
        with pytest.raises(AttributionError, match="value function mix"):
            attribute(**asked)
    known = FakeEligibility({**EVERYONE.artists, "di": artist("di")})
    with pytest.raises(AttributionError, match="Di, of an input, has no work in index v0001"):
        of_mix(eligibility=known, inputs=(replace(INPUTS[0], artist_id="di"),))


@given(VECTORS, st.lists(st.tuples(VECTORS, st.sampled_from(["ada", "bo", "cy"])), min_size=1, max_size=5))
@settings(max_examples=50, deadline=None)
def test_a_record_of_a_mix_gives_its_shares_again_bit_for_bit(vector, named):
    part = Fraction(1, len(named))
    inputs = tuple(input_image(who, style, part, sha256=f"{n:064x}") for n, (style, who) in enumerate(named))
    answer = of_mix(vector, inputs)
    shares = recompute(parse_canonical(json.dumps(to_record(answer, now=NOON).body)))
    assert shares.artists_e12 == tuple(share.share_e12 for share in answer.artists)
    assert (shares.model, shares.unattributed) == (answer.model_share, answer.unattributed)


def test_an_attribution_imports_no_duckdb_torch_or_faiss():
    code = (
        "import sys, fairbrush.attribution;"
        "print([m for m in ('duckdb', 'torch', 'faiss', 'open_clip') if m in sys.modules])"
    )
    environment = os.environ | {"PYTHONPATH": str(Path(__file__).parents[1] / "src")}
    done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True)
    assert (done.stdout, done.stderr) == ("[]\n", "")


def test_a_policy_is_checked_before_any_image():
    with pytest.raises(PolicyError):
        attribute(policy=Policy(b="2"))
