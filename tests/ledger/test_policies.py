"""Adopted policies: versioned, in effect from a day on, the same bits out of the database as went in."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import date, datetime, timedelta
from fractions import Fraction
from pathlib import Path
from typing import Any

import pytest
from fake_records import digest
from hypothesis import given, settings
from hypothesis import strategies as st

from fairbrush.chain.canonical import canonical_digest, canonical_json
from fairbrush.chain.log import insert_chained
from fairbrush.chain.tables import INDEX_VERSIONS
from fairbrush.corpus.changes import open_registry
from fairbrush.corpus.membership import add_model
from fairbrush.errors import PolicyError
from fairbrush.ledger.policies import (
    NO_POLICY,
    AdoptedPolicy,
    Pins,
    acting_digest,
    adopt,
    adopted_policies,
    policy_on,
    policy_table,
)
from fairbrush.ledger.policy import Policy
from fairbrush.ledger.terms import Rule, Terms, Unattributed
from fairbrush.store import Store
from fairbrush.workspace import create_workspace

NOW = datetime(2026, 6, 1, 12)
JANUARY = date(2026, 1, 1)
DAY = timedelta(days=1)
SPACE, OTHER_SPACE = "0123456789abcdef", "fedcba9876543210"
CURRENT = Pins(SPACE, "v0001")


def publish(store: Store, name: str, *, space_id: str = SPACE, version: str = "v0001") -> None:
    row = (digest(name), version, None, "mini", space_id, 5, 30, 0.25, NOW)
    with store.transaction() as connection:
        insert_chained(connection, INDEX_VERSIONS, [row], now=NOW)


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    create_workspace(tmp_path / "space")
    with open_registry(tmp_path / "space") as opened:
        publish(opened, "first")
        yield opened


@pytest.fixture(scope="module")
def shared_store() -> Iterator[Store]:
    with tempfile.TemporaryDirectory() as folder:
        create_workspace(Path(folder))
        with open_registry(Path(folder)) as opened:
            publish(opened, "first")
            add_model(opened, "tuned", base="sd-1.5", now=NOW)
            yield opened


def adopted(store: Store, table: dict[str, object] | None = None, *, day: date = JANUARY) -> AdoptedPolicy:
    return adopt(store, table or {}, effective_from=day, now=NOW, current=CURRENT)


def policy_rows(store: Store) -> list[tuple[int, str]]:
    return store.connection.execute("SELECT version, policy_digest FROM policy ORDER BY version").fetchall()


def test_a_policy_is_read_back_as_it_was_adopted(store: Store) -> None:
    one = adopted(store, {"b": 0.4, "platform_fee": 0.15, "minimum_payout": {"EUR": 10, "JPY": "500"}})
    assert one.version == 1
    assert one.split == Policy(b="0.4")
    assert one.terms == Terms(
        platform_fee=Fraction(3, 20), minimum_payout={"EUR": 1000, "JPY": 500}, index=f"{SPACE}/v0001"
    )
    assert one.index_versions == CURRENT
    assert adopted_policies(store.connection) == [one]
    assert policy_on(store.connection, JANUARY) == one


def test_the_digest_is_of_the_stored_body_and_has_a_leaf_in_the_chain(store: Store) -> None:
    one = adopted(store, {"platform_fee": 0.1})
    ((text, policy_digest),) = store.connection.execute(
        "SELECT body::TEXT, policy_digest FROM policy"
    ).fetchall()
    assert text == (
        '{"effective_from":"2026-01-01","index":{"space_id":"0123456789abcdef","version":"v0001"},'
        '"schema":"fairbrush.adopted_policy/1","split":{"b":"0.5","model":"sd-1.5","value":"blend","w":"1"},'
        '"terms":{"calibration":null,"fine_tune_weight":"1/2","fine_tune_weights":{},"membership":"filter",'
        '"membership_unknown":"1/1","minimum_claim":"0/1","minimum_payout":{},"opted_out":"escrow",'
        '"platform_fee":"1/10","reproducibility":"ignore","unattributed":"fund","unclaimed":"escrow"},'
        '"version":1}'
    )
    assert policy_digest == one.digest == canonical_digest(one.body) == digest(text)
    leaves = "SELECT record_key FROM chain_leaf WHERE kind = 'policy'"
    assert store.connection.execute(leaves).fetchall() == [("1",)]


def test_nothing_is_in_effect_before_the_first_day(store: Store) -> None:
    one = adopted(store)
    assert acting_digest(store.connection, JANUARY) == one.digest
    assert acting_digest(store.connection, JANUARY - DAY) == NO_POLICY == "0" * 64
    with pytest.raises(PolicyError, match="No policy is in effect on 2025-12-31"):
        policy_on(store.connection, JANUARY - DAY)


def test_the_same_again_for_the_same_day_changes_nothing(store: Store) -> None:
    one = adopted(store, {"b": 0.5})
    assert adopted(store, {"b": "0.50", "platform_fee": 0}) == one
    another = adopted(store, {"b": 0.4})
    assert another.version == 2
    # back to the first: not the same again, for the second is what is in effect
    assert adopted(store, {"b": 0.5}).version == 3
    assert [version for version, _ in policy_rows(store)] == [1, 2, 3]
    assert len({policy_digest for _, policy_digest in policy_rows(store)}) == 3


def test_a_pin_means_every_digest_its_version_ever_had(store: Store) -> None:
    publish(store, "first without an erased artist")
    publish(store, "second", version="v0002")
    publish(store, "elsewhere", space_id=OTHER_SPACE)
    pins = adopted(store).index_versions
    assert pins.digests(store.connection) == {digest("first"), digest("first without an erased artist")}
    assert Pins(SPACE, "v0009").digests(store.connection) == frozenset()


def test_a_table_may_name_the_index_version_it_pins(store: Store) -> None:
    publish(store, "second", version="v0002")
    publish(store, "elsewhere", space_id=OTHER_SPACE)
    assert adopted(store, {"index": "v0002"}).index_versions == Pins(SPACE, "v0002")
    with pytest.raises(
        PolicyError, match=f"names 2 index versions. Write one of {SPACE}/v0001, {OTHER_SPACE}"
    ):
        adopted(store, {"index": "v0001"})
    named = adopted(store, {"index": f"{OTHER_SPACE}/v0001"})
    assert named.index_versions == Pins(OTHER_SPACE, "v0001")
    assert named.terms.index == f"{OTHER_SPACE}/v0001"


@pytest.mark.parametrize(
    ("table", "message"),
    [
        ({"model": "sd-9"}, r"model: no model 'sd-9' is registered"),
        ({"fine_tune_weights": {"mine": 0.5}}, r"fine_tune_weights.mine: no model 'mine' is registered"),
        ({"index": "v0007"}, r"'v0007': there is no such index version"),
        ({"index": "seven"}, r"'seven': there is no such index version"),
        ({"tax": 1}, r"tax is not known"),
    ],
)
def test_what_cannot_be_meant_is_not_adopted(store: Store, table: dict[str, object], message: str) -> None:
    with pytest.raises(PolicyError, match=message):
        adopted(store, table)
    assert policy_rows(store) == []


def test_without_an_index_there_is_nothing_to_pin(store: Store) -> None:
    with pytest.raises(PolicyError, match="no index version to pin"):
        adopt(store, {}, effective_from=JANUARY, now=NOW)
    with pytest.raises(PolicyError, match="v0009 is not in the database"):
        adopt(store, {}, effective_from=JANUARY, now=NOW, current=Pins(SPACE, "v0009"))
    assert policy_rows(store) == []


@pytest.mark.parametrize(
    "change",
    [
        """body = replace(body::TEXT, '"platform_fee":"0/1"', '"platform_fee":"1/2"')""",
        """body = replace(body::TEXT, '"0/1"', '"0/2"')""",
        "body = '{}'",
        "policy_digest = repeat('0', 64)",
        "effective_from = '2026-01-02'",
        "version = 2",
    ],
)
def test_an_altered_policy_is_refused(store: Store, change: str) -> None:
    adopted(store)
    store.connection.execute(f"UPDATE policy SET {change}")
    with pytest.raises(PolicyError, match="is not the one that was adopted"):
        adopted_policies(store.connection)


# properties


class _UndoError(Exception):
    pass


@contextmanager
def rolled_back(store: Store) -> Iterator[None]:
    """What is adopted inside is gone afterwards."""
    with suppress(_UndoError), store.transaction():
        yield
        raise _UndoError


def without_nothing(table: dict[str, Any]) -> dict[str, Any]:
    """As TOML, which has no null, would hold it."""
    return {name: value for name, value in table.items() if value is not None}


units = st.integers(0, 10**6).map(lambda millionths: f"{millionths / 10**6:.6f}")
tables = st.fixed_dictionaries(
    {},
    optional={
        "b": units,
        "w": units,
        "model": st.sampled_from(["sd-1.5", "tuned"]),
        "value": st.sampled_from(["blend", "nearest"]),
        "platform_fee": units,
        "unattributed": st.sampled_from(list(map(str, Unattributed))),
        "minimum_claim": units,
        "minimum_payout": st.dictionaries(st.sampled_from(["EUR", "JPY", "KWD"]), st.integers(0, 10**9)),
        "membership": st.sampled_from(list(map(str, Rule))),
        "membership_unknown": units,
        "reproducibility": st.sampled_from(list(map(str, Rule))),
        "unclaimed": st.sampled_from(["escrow", "unattributed"]),
        "opted_out": st.sampled_from(["escrow", "unattributed"]),
        "fine_tune_weight": units,
        "fine_tune_weights": st.dictionaries(st.sampled_from(["sd-1.5", "tuned"]), units),
        "index": st.sampled_from(["v0001", str(CURRENT)]),
    },
)


@settings(max_examples=60, deadline=None)
@given(table=tables, day=st.dates(date(2000, 1, 1), date(2100, 1, 1)))
def test_any_table_comes_back_bit_for_bit(shared_store: Store, table: dict[str, object], day: date) -> None:
    with rolled_back(shared_store):
        one = adopted(shared_store, table, day=day)
        (read,) = adopted_policies(shared_store.connection)
        assert read == one
        assert canonical_json(read.body) == canonical_json(one.body)
        assert read.digest == one.digest
        # and what was adopted says the same as the table it came from
        assert adopted(shared_store, table, day=day) == one
        written = policy_table(one.split, one.terms)
        assert adopted(shared_store, without_nothing(written), day=day) == one


@settings(max_examples=40, deadline=None)
@given(
    adoptions=st.lists(st.tuples(st.integers(0, 6), st.integers(0, 3)), max_size=8), asked=st.integers(-1, 8)
)
def test_in_effect_is_the_last_word_on_the_latest_day_begun(
    shared_store: Store, adoptions: list[tuple[int, int]], asked: int
) -> None:
    with rolled_back(shared_store):
        said: dict[int, int] = {}
        for offset, tenths in adoptions:
            adopted(shared_store, {"platform_fee": tenths / 10}, day=JANUARY + offset * DAY)
            said[offset] = tenths
        day = JANUARY + asked * DAY
        begun = [offset for offset in said if offset <= asked]
        if not begun:
            assert acting_digest(shared_store.connection, day) == NO_POLICY
            return
        one = policy_on(shared_store.connection, day)
        assert one.effective_from == JANUARY + max(begun) * DAY
        assert one.terms.platform_fee == Fraction(said[max(begun)], 10)
        assert acting_digest(shared_store.connection, day) == one.digest
