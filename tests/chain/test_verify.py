"""Whoever can write the database alters one thing: it is found, and named."""

import random
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import date, datetime, timedelta
from pathlib import Path

import duckdb
import pytest
from fake_ledger import at, copy_whole
from fake_records import record
from hypothesis import given, settings
from hypothesis import strategies as st

from fairbrush.chain import merkle, tables
from fairbrush.chain.canonical import canonical_json
from fairbrush.chain.commitment import committed
from fairbrush.chain.findings import BATCH, Damage, Finding, Findings
from fairbrush.chain.log import Batch, ChainedTable, batch_row, hash_of_leaf, insert_chained, read_batches
from fairbrush.chain.rows import row_reader
from fairbrush.chain.verify import Verification, verify_chain
from fairbrush.errors import ChainError
from fairbrush.ledger.protected import verify_ledger
from fairbrush.store import table_columns

# What of a protected row is not hashed, and may be forgotten or corrected.
FREE = {
    "attribution": {"image_path", "index_version", "reason", "recorded_at", "about"},
    **{
        table.table: {"reason_salt"}
        for table in (tables.CONSENT_EVENTS, tables.REDACTIONS, tables.REVENUE_EVENTS)
    },
}
TABLES = st.sampled_from(tables.CHAINED_TABLES)


@pytest.fixture
def database(tmp_path: Path) -> Iterator[duckdb.DuckDBPyConnection]:
    with copy_whole(tmp_path / "ledger.duckdb") as connection:
        yield connection


@pytest.fixture(scope="module")
def shared(tmp_path_factory) -> Iterator[duckdb.DuckDBPyConnection]:
    """For examples that undo what they did."""
    with copy_whole(tmp_path_factory.mktemp("shared") / "ledger.duckdb") as connection:
        yield connection


@contextmanager
def undone(connection: duckdb.DuckDBPyConnection, table: str) -> Iterator[None]:
    """Whatever is done to a table within is undone. It is committed meanwhile, for others to read."""
    connection.execute(f"CREATE OR REPLACE TEMP TABLE kept AS SELECT * FROM {table}")
    try:
        yield
    finally:
        connection.execute(f"DELETE FROM {table}")
        connection.execute(f"INSERT INTO {table} SELECT * FROM kept")


def named(found: Verification) -> set[tuple[str, str]]:
    return {(finding.kind, finding.key) for finding in found.findings}


def keys(connection: duckdb.DuckDBPyConnection, table: ChainedTable) -> list[str]:
    key = row_reader(connection, table).key
    return [row[0] for row in connection.execute(f"SELECT {key} FROM {table.table} ORDER BY 1").fetchall()]


def other(value: object, rng: random.Random) -> object:
    """Another value of the same type."""
    if value is None:
        return rng.choice(["x", 1])
    if isinstance(value, bool):
        return not value
    if isinstance(value, int):
        return value + rng.choice([-1, 1, 1000])
    if isinstance(value, float):
        return rng.choice([value + 1e-9, -value - 1, float("inf"), float("nan")])
    if isinstance(value, datetime):
        return value + timedelta(microseconds=rng.choice([1, -1, 10**9]))
    if isinstance(value, date):
        return value + timedelta(days=rng.choice([1, -1]))
    text = str(value)
    place = rng.randrange(len(text) + 1)
    return text[:place] + rng.choice(["x", " ", "0"]) + text[place:]


def alter(
    connection: duckdb.DuckDBPyConnection, table: str, place: int, column: str, rng: random.Random
) -> bool:
    """Write another value into one cell; False where the database itself refuses it."""
    rows = connection.execute(
        f"SELECT rowid, {column} FROM {table} ORDER BY rowid LIMIT 1 OFFSET {place}"
    ).fetchall()
    rowid, value = rows[0]
    if column == "body":
        new: object = value.replace('":', '": ', 1) if rng.random() < 0.3 else value[:-1] + ',"x":1}'
    else:
        new = other(value, rng)
    try:
        connection.execute(f"UPDATE {table} SET {column} = ? WHERE rowid = ?", [new, rowid])
    except (duckdb.ConstraintException, duckdb.ConversionException):
        return False
    return True


def test_what_nobody_touched_is_sound(database):
    found = verify_ledger(database)
    assert (found.is_sound, found.findings, found.notes) == (True, (), ())
    leaves = sum(len(keys(database, table)) for table in tables.CHAINED_TABLES)
    assert (found.end.leaves, found.end.batches) == (leaves, len(read_batches(database)))
    assert found.end.head == read_batches(database)[-1].head
    assert all(keys(database, table) for table in tables.CHAINED_TABLES)


@settings(max_examples=50, deadline=None)
@given(TABLES, st.integers(0, 10**6), st.randoms(use_true_random=False))
def test_any_altered_cell_names_its_row(shared, table, place, rng):
    free = FREE.get(table.table, {"reason_salt"})
    columns = [name for name in table_columns(shared, table.table) if name not in free]
    before = keys(shared, table)
    place %= len(before)
    column = rng.choice(columns)
    with undone(shared, table.table):
        row = shared.execute(
            f"SELECT {row_reader(shared, table).key} FROM {table.table} ORDER BY rowid LIMIT 1 OFFSET {place}"
        ).fetchall()[0][0]
        if not alter(shared, table.table, place, column, rng):
            return
        found = verify_ledger(shared)
        assert not found.is_sound, (table.kind, column)
        first = found.findings[0]
        if column in table.key:
            assert (table.kind, row) in named(found)
        else:
            assert (first.what, first.kind, first.key) == (Damage.ALTERED, table.kind, row), column


@settings(max_examples=15, deadline=None)
@given(st.sampled_from(["attribution_share", "revenue_image"]), st.integers(0, 99), st.randoms())
def test_any_altered_cell_beside_a_body_names_its_record(shared, table, place, rng):
    count = shared.execute(f"SELECT count(*) FROM {table}").fetchall()[0][0]
    column = rng.choice(table_columns(shared, table))
    with undone(shared, table):
        key = shared.execute(f"SELECT * FROM {table} ORDER BY rowid LIMIT 1 OFFSET {place % count}")
        owner = key.fetchall()[0][0]
        if not alter(shared, table, place % count, column, rng):
            return
        kind = "attribution" if table == "attribution_share" else "revenue"
        assert (kind, owner) in named(verify_ledger(shared)), column


@pytest.mark.parametrize("table", tables.CHAINED_TABLES, ids=lambda table: table.kind)
def test_a_removed_row_is_named(shared, table):
    for key in keys(shared, table)[:2]:
        with undone(shared, table.table):
            shared.execute(f"DELETE FROM {table.table} WHERE {row_reader(shared, table).key} = ?", [key])
            first = verify_ledger(shared).findings[0]
            assert (first.what, first.kind, first.key) == (Damage.REMOVED, table.kind, key)


@pytest.mark.parametrize("table", tables.CHAINED_TABLES, ids=lambda table: table.kind)
def test_a_row_put_in_is_named(shared, table):
    """A copy of a row under another key; and, where the table has no primary key, the same row twice."""
    with undone(shared, table.table):
        columns = table_columns(shared, table.table)
        (row, *_) = shared.execute(f"SELECT * FROM {table.table}").fetchall()
        key = columns.index(table.key[-1])
        new = row[key] + 1000 if isinstance(row[key], int) else f"{row[key]}x"
        marks = ", ".join("?" for _ in columns)
        shared.execute(f"INSERT INTO {table.table} VALUES ({marks})", [*row[:key], new, *row[key + 1 :]])
        inserted = set(keys(shared, table)) - {
            row[0]
            for row in shared.execute(
                "SELECT record_key FROM chain_leaf WHERE kind = ?", [table.kind]
            ).fetchall()
        }
        found = verify_ledger(shared)
        assert {(table.kind, key) for key in inserted} <= named(found)
        assert Damage.INSERTED in {finding.what for finding in found.findings}


@pytest.mark.parametrize(
    "table", [tables.POSTINGS, tables.SETTLEMENT_LINES, tables.SETTLEMENT_STANDINGS, tables.SETTLEMENT_PARTS],
    ids=lambda table: table.kind,
)  # fmt: skip
def test_the_same_row_twice_is_named(shared, table):
    with undone(shared, table.table):
        shared.execute(f"INSERT INTO {table.table} SELECT * FROM {table.table} LIMIT 1")
        twice = shared.execute(
            f"SELECT k FROM (SELECT {row_reader(shared, table).key} AS k FROM {table.table})"
            " GROUP BY k HAVING count(*) > 1"
        ).fetchall()
        found = verify_ledger(shared)
        assert (table.kind, twice[0][0]) in named(found)


def test_a_row_put_in_with_a_leaf_and_no_batch_is_named(database):
    last = read_batches(database)[-1]
    event = (9, "bo", "opted_out", at(0), at(0), "test", *committed(None).columns)
    database.execute("INSERT INTO consent_event VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)", event)
    leaf = tables.CONSENT_EVENTS.leaf(dict(zip(table_columns(database, "consent_event"), event, strict=True)))
    database.execute(
        "INSERT INTO chain_leaf VALUES (?, ?, ?, ?, ?)",
        [last.first_position + last.leaves, last.batch, leaf.kind, leaf.key, leaf.digest],
    )
    (finding,) = verify_ledger(database).findings
    assert (finding.what, finding.kind, finding.key) == (Damage.INSERTED, "consent", "9")


@settings(max_examples=20, deadline=None)
@given(st.data())
def test_leaves_that_changed_places_are_named(shared, data):
    """By their positions, or by what they say; within a batch or between two."""
    total = verify_chain(shared).end.leaves
    first = data.draw(st.integers(0, total - 2))
    second = data.draw(st.integers(first + 1, total - 1))
    by_position = data.draw(st.booleans())
    leaves = {
        position: rest
        for position, *rest in shared.execute(
            "SELECT position, batch, kind, record_key, digest FROM chain_leaf"
        ).fetchall()
    }
    with undone(shared, "chain_leaf"):
        if by_position:
            swap = "UPDATE chain_leaf SET position = CASE position WHEN $1 THEN $2 ELSE $1 END"
            shared.execute(f"{swap} WHERE position IN ($1, $2)", [first, second])
        else:
            for position, source in ((first, second), (second, first)):
                shared.execute(
                    "UPDATE chain_leaf SET kind = ?, record_key = ?, digest = ? WHERE position = ?",
                    [*leaves[source][1:], position],
                )
        found = verify_ledger(shared)
        assert [(one.what, one.kind, one.key, one.position) for one in found.findings] == [
            (Damage.REORDERED, *leaves[place][1:3], place) for place in (first, second)
        ]


def test_many_leaves_in_another_order_are_named_by_the_order_of_their_rows(database):
    """What the leaves of the largest batch say is turned round; where they lie tells nothing."""
    batch = max(read_batches(database), key=lambda one: one.leaves)
    span = (batch.first_position, batch.first_position + batch.leaves)
    leaves = database.execute(
        "SELECT kind, record_key, digest FROM chain_leaf WHERE position >= ? AND position < ?"
        " ORDER BY position", span
    ).fetchall()  # fmt: skip
    same_kind = [place for place, leaf in enumerate(leaves) if leaf[0] == leaves[-1][0]]
    turned = same_kind[1:] + same_kind[:1]
    assert len(turned) > 2
    for place, source in zip(same_kind, turned, strict=True):
        database.execute(
            "UPDATE chain_leaf SET kind = ?, record_key = ?, digest = ? WHERE position = ?",
            [*leaves[source], span[0] + place],
        )
    found = verify_ledger(database)
    assert [(one.what, one.kind, one.key) for one in found.findings] == [
        (Damage.REORDERED, *leaves[place][:2]) for place in same_kind
    ]


@settings(max_examples=25, deadline=None)
@given(
    st.sampled_from(["position", "batch", "kind", "record_key", "digest"]), st.integers(0, 999), st.randoms()
)
def test_any_altered_cell_of_a_leaf_names_its_record(shared, column, place, rng):
    total = verify_chain(shared).end.leaves
    leaf = shared.execute(
        "SELECT kind, record_key FROM chain_leaf ORDER BY rowid LIMIT 1 OFFSET ?", [place % total]
    ).fetchall()[0]
    with undone(shared, "chain_leaf"):
        alter(shared, "chain_leaf", place % total, column, rng)
        found = verify_ledger(shared)
        assert not verify_chain(shared).is_sound
        assert leaf in named(found), found.findings


@pytest.mark.parametrize("place", [0, 5, -1])
def test_a_removed_leaf_names_its_record(database, place):
    leaves = database.execute("SELECT position, kind, record_key FROM chain_leaf ORDER BY 1").fetchall()
    position, kind, key = leaves[place]
    database.execute("DELETE FROM chain_leaf WHERE position = ?", [position])
    (finding,) = verify_ledger(database).findings
    assert (finding.what, finding.kind, finding.key) == (Damage.REMOVED, kind, key)


@settings(max_examples=20, deadline=None)
@given(
    st.sampled_from(["batch", "first_position", "leaves", "root", "previous_head", "head", "committed_at"]),
    st.integers(0, 99),
    st.randoms(),
)
def test_any_altered_cell_of_a_batch_is_found(shared, column, place, rng):
    batches = read_batches(shared)
    place %= len(batches)
    with undone(shared, "chain_batch"):
        alter(shared, "chain_batch", place, column, rng)
        found = verify_chain(shared)
        assert not found.is_sound
        batches_named = [int(one.key) for one in found.findings if one.kind == BATCH]
        assert column == "batch" or batches_named[0] in (place, place + 1)
        assert batches_named


def test_a_removed_batch_is_named(database):
    database.execute("DELETE FROM chain_batch WHERE batch = 2")
    first = verify_ledger(database).findings[0]
    assert (first.what, first.kind, first.key) == (Damage.REMOVED, BATCH, "2")


def test_a_row_altered_with_its_leaf_names_the_batch(database):
    """What was committed is known by its hash alone."""
    (row,) = database.execute("SELECT * FROM consent_event WHERE sequence = 2").fetchall()
    names = table_columns(database, "consent_event")
    forged = dict(zip(names, row, strict=True)) | {"consent": "opted_in"}
    database.execute("UPDATE consent_event SET consent = 'opted_in' WHERE sequence = 2")
    database.execute(
        "UPDATE chain_leaf SET digest = ? WHERE kind = 'consent' AND record_key = '2'",
        [tables.CONSENT_EVENTS.leaf(forged).digest],
    )
    (finding,) = verify_ledger(database).findings
    assert (finding.what, finding.kind, finding.key) == (Damage.DAMAGED, BATCH, "0")


def test_a_row_altered_with_leaf_and_batch_breaks_the_heads(database):
    database.execute("UPDATE chain_leaf SET digest = record_key WHERE position = 1")
    batches = read_batches(database)
    rows = database.execute("SELECT kind, record_key, digest FROM chain_leaf ORDER BY position").fetchall()
    first = batches[0]
    root = merkle.root([hash_of_leaf(*row) for row in rows[: first.leaves]]).hex()
    forged = Batch(0, 0, first.leaves, root, first.previous_head, first.committed_at)
    database.execute("DELETE FROM chain_batch WHERE batch = 0")
    database.execute("INSERT INTO chain_batch VALUES (?, ?, ?, ?, ?, ?, ?)", batch_row(forged))
    found = verify_chain(database)
    assert [(one.kind, one.key) for one in found.findings] == [(BATCH, "1")]
    assert "not that of the one before" in found.findings[0].detail


def test_the_first_in_the_chain_is_named_first_and_only_as_many_as_asked_for(database):
    database.execute("UPDATE posting SET amount_minor = amount_minor * 2")
    database.execute("UPDATE consent_event SET source = 'x' WHERE sequence = 3")
    found = verify_ledger(database, limit=2)
    assert found.count == 6
    assert [(one.kind, one.key) for one in found.findings] == [("consent", "3"), ("posting", "1/1")]


def test_text_that_is_put_in_or_altered_is_found_and_text_that_is_forgotten_is_not_damage(database):
    database.execute("UPDATE consent_event SET reason = NULL, reason_salt = NULL WHERE sequence = 1")
    found = verify_ledger(database)
    assert found.is_sound
    (note,) = found.notes
    assert note == (
        "The reason of 1 consent record is gone, first that of consent:1, and an erasure takes those that"
        " name somebody."
    )
    database.execute("INSERT INTO redaction_event VALUES (3, 'ada', now()::TIMESTAMP, 0, NULL, NULL, NULL)")
    assert verify_ledger(database).notes == ()
    for statement, key in (
        ("UPDATE consent_event SET reason = 'other' WHERE sequence = 2", ("consent", "2")),
        ("UPDATE claim_event SET reason_salt = 'zz'", ("claim", "1")),
        ("UPDATE payout_event SET reason = 'slipped in' WHERE sequence = 1", ("payout_event", "1")),
    ):
        database.execute(statement)
        assert key in named(verify_ledger(database)), statement


def test_an_erasure_may_explain_a_forgotten_text_that_is_older_than_it(database):
    """It takes every reason that names the person, whoever the record is about."""
    database.execute("UPDATE dispute_event SET reason = NULL, reason_salt = NULL")
    (note,) = verify_ledger(database).notes
    assert note.endswith("first that of dispute:1, and no erasure explains it.")
    row = (9, "nobody", at(9999), 0, None, None, None)
    insert_chained(database, tables.REDACTIONS, [row], now=at(9999))
    (note,) = verify_ledger(database).notes
    assert note.endswith("first that of dispute:1, and an erasure takes those that name somebody.")
    late = (9, "ada", "opted_out", at(10000), at(10000), "x", None, None, committed("gone").commitment)
    insert_chained(database, tables.CONSENT_EVENTS, [late], now=at(10000))
    assert verify_ledger(database).notes[0].endswith("consent:9, and no erasure explains it.")


def test_a_table_or_a_column_that_is_gone_is_told(database):
    database.execute("ALTER TABLE dispute_event DROP COLUMN body")
    with pytest.raises(ChainError, match='column "body" not found'):
        verify_ledger(database)
    database.execute("DROP TABLE attribution_share")
    with pytest.raises(ChainError, match="cannot be read"):
        verify_ledger(database)
    database.execute("DROP TABLE chain_leaf")
    with pytest.raises(ChainError, match="chain_leaf"):
        verify_chain(database)


def test_rows_of_nothing_are_named(database):
    database.execute("INSERT INTO revenue_image VALUES ('nowhere', 'image', 1)")
    database.execute("INSERT INTO attribution_share VALUES ('nobody', 'a', 'c', 'p', 1, 1, 1, 1, 1)")
    found = verify_ledger(database)
    assert [(one.what, one.kind, one.key) for one in found.findings] == [
        (Damage.INSERTED, "attribution", "nobody"),
        (Damage.INSERTED, "revenue", "nowhere"),
    ]


def test_a_body_is_compared_as_it_is_stored(database):
    """The same JSON in other words is not what was committed."""
    key = record("moon").attribution_id
    database.execute("UPDATE attribution SET body = body || ' ' WHERE attribution_id = ?", [key])
    (finding,) = verify_ledger(database).findings
    assert (finding.kind, finding.key) == ("attribution", key)
    assert "body has not the digest" in finding.detail


@pytest.mark.parametrize("table", tables.CHAINED_TABLES, ids=lambda table: table.kind)
def test_the_fast_digest_is_the_one_that_is_written(shared, table):
    reader = row_reader(shared, table)
    rows = shared.execute(f"SELECT {', '.join(table.columns)} FROM {table.table}").fetchall()
    values = shared.execute(f"SELECT {', '.join(reader.values)} FROM {table.table}").fetchall()
    for row, read in zip(rows, values, strict=True):
        leaf = table.leaf(dict(zip(table.columns, row, strict=True)))
        assert reader.digest(read) == leaf.digest
        content = canonical_json([leaf.kind, leaf.key, leaf.digest])
        assert leaf.hash == merkle.leaf_hash(content)


@given(
    st.integers(-(2**63), 2**63 - 1), st.text(st.characters(exclude_categories=["Cs"]), max_size=9),
    st.floats(allow_nan=False, allow_infinity=False), st.datetimes(), st.none() | st.dates(),
)  # fmt: skip
@settings(max_examples=20, deadline=None)
def test_the_fast_digest_is_the_same_for_any_value(number, text, real, moment, day):
    table = ChainedTable("any", "any_row", ("number",), ("number", "text", "real", "moment", "day"))
    with duckdb.connect() as connection:
        connection.execute(
            "CREATE TABLE any_row (number BIGINT, text TEXT, real DOUBLE, moment TIMESTAMP, day DATE)"
        )
        row = (number, text, real, moment, day)
        connection.execute("INSERT INTO any_row VALUES (?, ?, ?, ?, ?)", row)
        reader = row_reader(connection, table)
        (read,) = connection.execute(f"SELECT {', '.join(reader.values)} FROM any_row").fetchall()
        (stored,) = connection.execute("SELECT * FROM any_row").fetchall()
    names = ("number", "text", "real", "moment", "day")
    assert stored == row
    assert reader.digest(read) == table.leaf(dict(zip(names, row, strict=True))).digest


def test_findings_stay_few_however_much_is_wrong():
    found = Findings(limit=3)
    for position in random.Random(0).sample(range(5000), 5000):
        found.add(Finding(Damage.ALTERED, "posting", str(position), "", position))
    assert found.count == 5000
    assert [one.position for one in found.first()] == [0, 1, 2]
    assert len(found.kept()) < 200


def test_more_records_after_all_this_are_verified_too(database):
    insert_chained(
        database,
        tables.CONSENT_EVENTS,
        [(5, "zoë/💎\n", "opted_in", at(60), at(60), 'quote " \x7f', *committed("é").columns)],
        now=at(60),
    )
    assert verify_ledger(database).is_sound
