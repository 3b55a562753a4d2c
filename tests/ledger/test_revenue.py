"""Revenue: a line is what its reference first said, however often it is said."""

from collections.abc import Iterator
from datetime import date, datetime
from pathlib import Path
from typing import Any

import pytest
from fake_records import digest, record
from hypothesis import given, settings
from hypothesis import strategies as st

from fairbrush.chain.canonical import canonical_digest
from fairbrush.chain.log import last_batch
from fairbrush.chain.tables import REVENUE
from fairbrush.corpus.images import ImageLimits
from fairbrush.errors import MoneyError
from fairbrush.ledger.period import Period, parse_period
from fairbrush.ledger.records import drain, write_pending
from fairbrush.ledger.revenue import (
    E6,
    Line,
    LineState,
    Outcome,
    Spread,
    add_line,
    add_lines,
    cancel_line,
    find_line,
    image_line,
    images_digest,
    list_lines,
    period_line,
    recording,
)
from fairbrush.ledger.revenue_file import Images, import_revenue, read_images
from fairbrush.store import Store, insert_rows, utc_now

NOW = datetime(2026, 2, 3, 12)
LATER = datetime(2026, 3, 4, 12)
MOON, SUN, SEA = digest("moon"), digest("sun"), digest("sea")


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    with Store.open(tmp_path, create=True) as opened:
        yield opened


def line(reference: str = "INV-1", amount: str = "12.50", **said: Any) -> Line:
    return image_line(reference, amount, **{"currency": "EUR", "image_sha256": MOON, **said})


def spread_line(reference: str = "INV-1", amount: str = "12.50", **said: Any) -> Line:
    known = {"currency": "EUR", "earned": parse_period("2026-01"), "images": [(MOON, E6), (SUN, E6)]}
    return period_line(reference, amount, **{**known, **said})


def snapshot(store: Store) -> Any:
    tables = ("revenue", "revenue_image", "revenue_event", "chain_leaf", "chain_batch")
    return [store.connection.execute(f"SELECT * FROM {t} ORDER BY ALL").fetchall() for t in tables]


def rows(store: Store) -> Any:
    return store.connection.execute("SELECT * FROM revenue ORDER BY reference").fetchall()


def answer_images(store: Store, folder: Path, *names: str) -> None:
    write_pending(folder, [record(name) for name in names])
    drain(store.connection, folder)


def commit_chain_at(store: Store, moment: datetime) -> None:
    store.connection.execute("UPDATE chain_batch SET committed_at = ?", [moment])


def test_an_image_line_is_a_row_with_a_leaf(store: Store) -> None:
    assert add_line(store, line(day=date(2026, 1, 31)), now=NOW).outcome is Outcome.ADDED
    line_id = canonical_digest({"reference": "INV-1"})
    day = date(2026, 1, 31)
    assert rows(store) == [(line_id, "INV-1", "EUR", 1250, day, day, MOON, None, None, None, NOW)]
    names = [name for (name, *_) in store.connection.execute("DESCRIBE revenue").fetchall()]
    leaf = REVENUE.leaf(dict(zip(names, rows(store)[0], strict=True)))
    assert store.connection.execute("SELECT kind, record_key, digest FROM chain_leaf").fetchall() == [
        ("revenue", line_id, leaf.digest)
    ]


def test_a_spread_line_keeps_its_images_and_their_digest(store: Store) -> None:
    pairs = [(SUN, 3 * E6), (MOON, 250_000)]
    add_line(store, spread_line(spread=Spread.WEIGHT, images=pairs), now=NOW)
    kept = find_line(store.connection, "INV-1")
    assert kept.earned == Period(date(2026, 1, 1), date(2026, 1, 31))
    assert (kept.spread, kept.n_images) == (Spread.WEIGHT, 2)
    assert kept.images_digest == canonical_digest(sorted([image, weight] for image, weight in pairs))
    stored = store.connection.execute("SELECT image_sha256, weight_e6 FROM revenue_image").fetchall()
    assert sorted(stored) == sorted(pairs)
    assert images_digest(stored) == kept.images_digest


references = st.sampled_from([f"R-{n}" for n in range(5)])
amounts = st.sampled_from(["1", "2.50", "0.01", "90071992547409.92"])
any_line = st.one_of(
    st.builds(
        lambda r, a, i, d: line(r, a, image_sha256=i, day=d),
        references,
        amounts,
        st.sampled_from([MOON, SUN]),
        st.sampled_from([None, date(2026, 1, 1), date(2026, 2, 3)]),
    ),
    st.builds(
        lambda r, a, images: spread_line(r, a, images=images),
        references,
        amounts,
        st.sampled_from([[(MOON, E6)], [(MOON, E6), (SUN, E6)], [(MOON, 2 * E6)]]),
    ),
)


@settings(max_examples=15, deadline=None)
@given(lines=st.lists(any_line, max_size=12), parts=st.integers(1, 4))
def test_saying_it_again_changes_nothing_however_it_is_cut(lines: list[Line], parts: int) -> None:
    """The first line of a reference stays; what comes later is the same or refused, in one call or many."""
    import tempfile

    with tempfile.TemporaryDirectory() as folder, Store.open(Path(folder), create=True) as store:
        outcomes = []
        for part in range(parts):
            size = -(-len(lines) // parts)
            outcomes += add_lines(store, lines[part * size : (part + 1) * size], now=NOW)
        expected: dict[str, Line] = {}
        for one, added in zip(lines, outcomes, strict=True):
            first = expected.setdefault(one.reference, one)
            same = (first.amount_minor, first.image_sha256, first.images) == (
                one.amount_minor,
                one.image_sha256,
                one.images,
            ) and one.earned in (None, first.earned or Period(NOW.date(), NOW.date()))
            if first is one:
                assert added.outcome is Outcome.ADDED
            else:
                assert added.outcome is (Outcome.THERE if same else Outcome.REFUSED)
        before = snapshot(store)
        again = add_lines(store, list(expected.values()), now=LATER)
        assert {one.outcome for one in again} <= {Outcome.THERE}
        assert snapshot(store) == before


@pytest.mark.parametrize(
    ("other", "told"),
    [
        (line(amount="13"), "amount 12.50 EUR, now 13.00 EUR"),
        (line(currency="USD"), "amount 12.50 EUR, now 12.50 USD"),
        (line(day=date(2026, 1, 30)), "earned 2026-02-03, now 2026-01-30"),
        (line(image_sha256=SUN), f"image {MOON}, now {SUN}"),
        (line(model_id="SD-1.5"), "model the policy's, now sd-1.5"),
        (spread_line(), "spread not, now count"),
    ],
)
def test_a_known_reference_with_other_content_is_refused_with_what_differs(
    store: Store, other: Line, told: str
) -> None:
    add_line(store, line(), now=NOW)
    before = snapshot(store)
    with pytest.raises(MoneyError, match="known with other content") as refused:
        add_line(store, other, now=LATER)
    assert told in refused.value.message
    assert snapshot(store) == before


def test_other_images_under_a_known_reference_are_refused(store: Store) -> None:
    add_line(store, spread_line(), now=NOW)
    before = snapshot(store)
    for images in ([(MOON, E6)], [(MOON, E6), (SUN, 2 * E6)], [(MOON, E6), (SEA, E6)]):
        with pytest.raises(MoneyError, match="spread over 2 images"):
            add_line(store, spread_line(images=images), now=NOW)
    assert snapshot(store) == before


def test_without_a_list_the_images_are_those_the_chain_took_in_that_period(
    store: Store, tmp_path: Path
) -> None:
    answer_images(store, tmp_path, "moon", "sun")
    commit_chain_at(store, datetime(2026, 1, 31, 23, 59, 59, 999_999))
    add_line(store, spread_line(images=None), now=NOW)
    stored = store.connection.execute("SELECT image_sha256, weight_e6 FROM revenue_image").fetchall()
    assert sorted(stored) == sorted([(MOON, E6), (SUN, E6)])
    with pytest.raises(MoneyError, match="No answer to an image was recorded in 2026-02-01"):
        add_line(store, spread_line("INV-2", images=None, earned=parse_period("2026-02")), now=NOW)
    store.connection.execute("INSERT INTO model VALUES ('other', NULL, NULL, ?, NULL)", [NOW])
    with pytest.raises(MoneyError, match="No answer to an image by other"):
        add_line(store, spread_line("INV-3", images=None, model_id="other"), now=NOW)


def test_its_images_are_frozen_and_saying_it_again_later_changes_nothing(
    store: Store, tmp_path: Path
) -> None:
    answer_images(store, tmp_path, "moon", "sun")
    commit_chain_at(store, datetime(2026, 1, 15))
    add_line(store, spread_line(images=None), now=NOW)
    answer_images(store, tmp_path, "sea")
    commit_chain_at(store, datetime(2026, 1, 16))
    before = snapshot(store)
    assert add_line(store, spread_line(images=None), now=LATER).outcome is Outcome.THERE
    assert snapshot(store) == before


@pytest.mark.parametrize("currency", ["JPY", "EUR", "KWD", "CLF"])
def test_the_smallest_and_the_largest_amount_come_back(store: Store, currency: str) -> None:
    digits = {"JPY": 0, "EUR": 2, "KWD": 3, "CLF": 4}[currency]
    least = f"{10**-digits:.{digits}f}" if digits else "1"
    most = str(2**53)[: 16 - digits] + ("." + str(2**53)[16 - digits :] if digits else "")
    add_lines(store, [line("a", least, currency=currency), line("b", most, currency=currency)], now=NOW)
    assert [(one.amount_minor, one.currency) for one in list_lines(store.connection)] == [
        (1, currency),
        (2**53, currency),
    ]


@pytest.mark.parametrize("amount", ["0", "0.00", "-1", "-0.01", "", "1e3", "12.345", "99999999999999999"])
def test_an_amount_that_is_nothing_or_no_amount_is_refused(amount: str) -> None:
    with pytest.raises(MoneyError) as refused:
        line(amount=amount)
    assert refused.value.next_step


@pytest.mark.parametrize(
    "reference",
    [
        "",
        "  ",
        "\t",
        "a" * 201,
        "a\nb",
        "a\x00b",
        "a\x1b[31m",
        "a\u202eb",
        "a\u200bb",
        "a\udcffb",
        "a\u2028b",
    ],
)
def test_a_hostile_reference_is_refused(reference: str) -> None:
    with pytest.raises(MoneyError, match="reference") as refused:
        line(reference)
    assert len(refused.value.message) < 200


def test_spellings_of_one_reference_are_one(store: Store) -> None:
    add_line(store, line(" Caf\u00e9 "), now=NOW)
    assert add_line(store, line("Cafe\u0301"), now=NOW).outcome is Outcome.THERE
    assert [one.reference for one in list_lines(store.connection)] == ["Caf\u00e9"]
    assert add_line(store, line("a" * 200), now=NOW).outcome is Outcome.ADDED
    assert add_line(store, line("=1+1; DROP TABLE revenue"), now=NOW).outcome is Outcome.ADDED


@pytest.mark.parametrize(
    ("images", "told"),
    [
        ([], "no image"),
        ([(MOON, E6), (MOON, E6)], "twice"),
        ([(MOON, 0)], "weight"),
        ([("moon", E6)], "SHA-256"),
    ],
)
def test_images_that_cannot_share_are_refused(images: list[tuple[str, int]], told: str) -> None:
    with pytest.raises(MoneyError, match=told):
        spread_line(images=images)


def test_an_unknown_model_is_refused_and_stops_no_other_line(store: Store) -> None:
    added = add_lines(store, [line("a", model_id="none"), line("b", model_id="SD-1.5")], now=NOW)
    assert [one.outcome for one in added] == [Outcome.REFUSED, Outcome.ADDED]
    assert "'none' is not registered" in str(added[0].problem)
    assert [(one.reference, one.model_id) for one in list_lines(store.connection)] == [("b", "sd-1.5")]


def test_a_command_is_one_batch_of_the_chain(store: Store) -> None:
    add_lines(store, [line(str(n)) for n in range(5)], now=NOW)
    batch = last_batch(store.connection)
    assert batch is not None
    assert (batch.batch, batch.leaves, batch.committed_at) == (0, 5, NOW)


def test_an_interrupt_leaves_nothing(store: Store) -> None:
    before = snapshot(store)

    def record_some() -> None:
        with recording(store, now=NOW) as recorder:
            recorder.add([line("a"), spread_line("b")])
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        record_some()
    assert snapshot(store) == before


def test_a_cancelled_line_stays_and_is_never_open_again(store: Store) -> None:
    add_line(store, line(), now=NOW)
    assert cancel_line(store, "INV-1", reason="refunded", now=LATER).state is LineState.OPEN
    assert find_line(store.connection, "INV-1").state is LineState.CANCELLED
    events = store.connection.execute(
        "SELECT sequence, event, recorded_at, reason FROM revenue_event"
    ).fetchall()
    assert events == [(1, "cancelled", LATER, "refunded")]
    before = snapshot(store)
    assert cancel_line(store, "INV-1", reason="again", now=LATER).state is LineState.CANCELLED
    assert add_line(store, line(), now=LATER).outcome is Outcome.CANCELLED
    assert snapshot(store) == before
    with pytest.raises(MoneyError, match="No revenue has the reference"):
        cancel_line(store, "INV-2", reason="refunded", now=LATER)
    with pytest.raises(MoneyError, match="reason is empty"):
        cancel_line(store, "INV-1", reason=" ", now=LATER)


def settle_by_hand(store: Store, kind: str, number: int, reverses: str | None, *references: str) -> None:
    store.connection.execute(
        "INSERT INTO settlement (settlement_id, number, kind, period_from, period_to, policy_digest,"
        " reverses, body, recorded_at)"
        " VALUES (?, ?, ?, DATE '2026-01-01', DATE '2026-01-31', 'p', ?, '{}', ?)",
        [f"s{number}", number, kind, reverses, NOW],
    )
    lines = [(f"s{number}", line(r).revenue_id, MOON, "a", None, None) for r in references]
    insert_rows(store.connection, "settlement_line", lines)


def test_a_line_is_settled_until_a_reversal_names_it_again(store: Store) -> None:
    add_lines(store, [line("a"), line("b")], now=NOW)
    settle_by_hand(store, "settlement", 1, None, "a", "b")
    assert [one.state for one in list_lines(store.connection)] == [LineState.SETTLED, LineState.SETTLED]
    settle_by_hand(store, "reversal", 2, "s1", "a")
    assert [one.state for one in list_lines(store.connection)] == [LineState.OPEN, LineState.SETTLED]
    settle_by_hand(store, "settlement", 3, None, "a")
    assert [one.state for one in list_lines(store.connection)] == [LineState.SETTLED, LineState.SETTLED]
    assert [one.reference for one in list_lines(store.connection, state=LineState.SETTLED)] == ["a", "b"]
    assert list_lines(store.connection, state=LineState.OPEN) == []


def test_a_period_lists_what_ends_in_it(store: Store) -> None:
    add_lines(
        store,
        [
            line("a", day=date(2026, 1, 31)),
            line("b", day=date(2026, 2, 1)),
            spread_line("c", earned=parse_period("2026-01-15..2026-02-15")),
        ],
        now=NOW,
    )
    found = list_lines(store.connection, period=parse_period("2026-02"))
    assert [one.reference for one in found] == ["b", "c"]


HEADER = "reference,amount,currency,sha256,date,model"


def write(file: Path, *lines: str, encoding: str = "utf-8", newline: str = "\n") -> Path:
    file.write_bytes((newline.join(lines) + newline).encode(encoding))
    return file


def imported(store: Store, file: Path) -> Any:
    return import_revenue(store, file, limits=ImageLimits(), now=NOW)


def test_good_rows_are_recorded_and_bad_ones_listed(store: Store, tmp_path: Path) -> None:
    file = write(
        tmp_path / "in.csv",
        HEADER,
        f"A,1.50,EUR,{MOON},2026-01-02,",
        f"B,1.505,EUR,{MOON},,",
        f"C,7,JPY,{SUN.upper()},,sd-1.5",
        "",
        f"C,7,JPY,{SUN},,sd-1.5",
        f"D,0.125,KWD,{SEA},,",
        f"E,1,EUR,{SEA},02.01.2026,",
        f"F,1,EUR,{SEA},,none",
        "G,1,EUR,,,",
        f"H,1,EUR,{SEA},,,",
        f"I,1,XAU,{SEA},,",
    )
    result = imported(store, file)
    assert (result.added, result.there, result.cancelled) == (3, 0, 0)
    assert [(row.line, row.reference) for row in result.refused] == [
        (3, "B"), (6, "C"), (8, "E"), (9, "F"), (10, "G"), (11, "H"), (12, "I")
    ]  # fmt: skip
    assert "in line 4 already" in result.refused[1].problem
    assert [(one.reference, one.amount_minor) for one in list_lines(store.connection)] == [
        ("A", 150),
        ("C", 7),
        ("D", 125),
    ]
    before = snapshot(store)
    again = imported(store, file)
    assert (again.added, again.there, again.refused) == (0, 3, result.refused)
    assert snapshot(store) == before


@pytest.mark.parametrize(
    ("encoding", "newline", "separator"),
    [("utf-8-sig", "\r\n", ";"), ("utf-8", "\r", "\t"), ("utf-8-sig", "\n", ",")],
)
def test_what_spreadsheets_save_is_read(
    store: Store, tmp_path: Path, encoding: str, newline: str, separator: str
) -> None:
    lines = [HEADER.upper(), f"Caf\u00e9,1.50,EUR,{MOON},,"]
    file = write(
        tmp_path / "in.csv",
        *[one.replace(",", separator) for one in lines],
        encoding=encoding,
        newline=newline,
    )
    assert imported(store, file).added == 1
    assert find_line(store.connection, "Caf\u00e9").amount_minor == 150


def test_a_row_that_is_not_utf_8_is_refused_alone(store: Store, tmp_path: Path) -> None:
    file = tmp_path / "in.csv"
    file.write_bytes(f"{HEADER}\nCaf\u00e9,1,EUR,{MOON},,\nB,1,EUR,{MOON},,\n".encode("latin-1"))
    result = imported(store, file)
    assert (result.added, [(row.line, row.reference) for row in result.refused]) == (1, [(2, "Caf?")])


@pytest.mark.parametrize(
    ("content", "told"),
    [
        (b"", "no header"),
        (b"\xff\xfea\x00", "UTF-16"),
        (b"amount,currency\n", "no column called reference"),
        (b"reference,amount,currency,colour\n", "'colour' is not a column"),
        (b"reference,amount,currency,currency\n", "twice"),
        (b'reference,amount,currency\nA,"' + b"x" * 200_000, "not CSV"),
    ],
)
def test_a_file_that_would_be_misread_is_refused_whole(
    store: Store, tmp_path: Path, content: bytes, told: str
) -> None:
    (tmp_path / "in.csv").write_bytes(content)
    with pytest.raises(MoneyError, match=told):
        imported(store, tmp_path / "in.csv")
    assert rows(store) == []


def test_rows_for_a_period_and_images_by_file(store: Store, tmp_path: Path) -> None:
    (tmp_path / "moon.png").write_bytes(b"moon")
    write(tmp_path / "by_count.csv", "image;count", "moon.png;3;", encoding="utf-8-sig")
    write(tmp_path / "used.csv", "sha256;weight", f"{SUN};0.25", f"{SEA};1")
    write(tmp_path / "twice.csv", "sha256", SUN, SUN)
    file = write(
        tmp_path / "in.csv",
        "reference,amount,currency,image,period,by,over",
        "A,1,EUR,moon.png,,,",
        "B,1,EUR,,2026-Q1,,used.csv",
        "C,1,EUR,,2026-Q1,count,used.csv",
        "D,1,EUR,,2026-Q1,,",
        "E,1,EUR,,2026-Q1,weight,",
        "F,1,EUR,moon.png,2026-Q1,,",
        "G,1,EUR,moon.png,,,used.csv",
        "H,1,EUR,,2026-Q1,,twice.csv",
        "I,1,EUR,sun.png,,,",
        "J,1,EUR,,2026-Q1,,none.csv",
        "K,1,EUR,/dev/zero,,,",
    )
    result = imported(store, file)
    assert [row.reference for row in result.refused] == list("DEFGHIJK")
    assert "twice.csv, line 3" in result.refused[4].problem
    kept = {one.reference: one for one in list_lines(store.connection)}
    assert kept["A"].image_sha256 == digest("moon")
    assert (kept["B"].spread, kept["C"].spread) == (Spread.WEIGHT, Spread.COUNT)
    assert kept["B"].images_digest == images_digest([(SUN, 250_000), (SEA, E6)])
    assert kept["C"].images_digest == images_digest([(SUN, E6), (SEA, E6)])


@pytest.mark.parametrize(
    ("header", "cells", "e6"),
    [("weight", "0.000001", 1), ("weight", "2.5000000", 2_500_000), ("count", "3", 3 * E6),
     ("weight", "0", 0), ("weight", "-1", 0), ("weight", "1e3", 0), ("weight", "0.0000001", 0),
     ("weight", "nan", 0), ("weight", "", 0), ("count", "1.5", 0), ("weight", "1" * 13, 0)],
)  # fmt: skip
def test_a_weight_is_a_decimal_of_at_most_six_places(
    tmp_path: Path, header: str, cells: str, e6: int
) -> None:
    file = write(tmp_path / "images.csv", f"sha256,{header}", f"{MOON},{cells}")
    if e6:
        assert read_images(file, Images(ImageLimits())) == (Spread(header), ((MOON, e6),))
    else:
        with pytest.raises(MoneyError, match=f"line 2: .* is no {header}"):
            read_images(file, Images(ImageLimits()))


def test_now_is_what_a_line_without_a_day_was_earned_on(store: Store) -> None:
    now = utc_now()
    add_line(store, line(), now=now)
    assert find_line(store.connection, "INV-1").earned == Period(now.date(), now.date())
