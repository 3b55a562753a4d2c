"""What a creator's statement says, by values; and its pages, in a browser and on paper."""

import io
import json
from collections.abc import Iterator
from dataclasses import replace
from datetime import datetime, timedelta

import pytest
from browser import PHONE, Seen, assert_sound, opened
from pypdf import PdfReader
from story import HOSTILE, Story
from written_money import assert_adds_up

from fairbrush.domain import Consent
from fairbrush.ledger.book import EntryKind
from fairbrush.ledger.choices import PayoutStatus
from fairbrush.ledger.disputes import State
from fairbrush.ledger.period import Period, parse_period
from fairbrush.reports.pages.blocks import Cell, Kind, Table, number
from fairbrush.reports.pages.statement import Statement, read_statement, statement_document
from fairbrush.reports.pages.statement_money import Role, Why
from fairbrush.reports.pages.statement_moved import Place
from fairbrush.reports.pages.statement_page import statement_html, statement_pdf
from fairbrush.reports.pages.words import Words
from fairbrush.store import Store, utc_now

EARLIER = parse_period("2019")


@pytest.fixture(scope="module")
def store(story: Story) -> Iterator[Store]:
    with Store.open(story.workspace, readonly=True) as opened_store:
        yield opened_store


@pytest.fixture(scope="module")
def period(store: Store) -> Period:
    """The days on which the story was told."""
    ((first, last),) = store.connection.execute(
        "SELECT least(min(entry.recorded_at), min(attribution.recorded_at))::DATE,"
        " max(entry.recorded_at)::DATE FROM entry, attribution"
    ).fetchall()
    return Period(first, last)


@pytest.fixture(scope="module")
def now(period: Period) -> datetime:
    """A day after the story: the period is over."""
    return datetime.combine(period.last, datetime.min.time()) + timedelta(days=2)


def creator_of(store: Store, story: Story, short: str) -> str:
    rows = store.connection.execute(
        "SELECT creator_id FROM artist WHERE artist_id = ?", [story.artist_ids[short]]
    ).fetchall()
    return str(rows[0][0])


@pytest.fixture(scope="module")
def told(store: Store, story: Story, period: Period, now: datetime) -> dict[str, Statement]:
    return {
        short: read_statement(store, creator_of(store, story, short), period, now=now)
        for short in story.names
    }


def kept(found: Statement) -> list[tuple[Why, str, int]]:
    return [(one.why, one.currency, one.amount_minor) for one in found.kept]


def held(**amounts: int) -> dict[Place, int]:
    return {place: amounts.get(place, 0) for place in Place}


def test_page_and_paper_say_what_the_book_has(told, story, store):
    """The view, which is summed from the book, tells where each creator's money is now."""
    closing = {creator_of(store, story, short): {} for short in story.names}
    paid = []
    for creator_id, currency, owed, escrow, disputed, transit, gone in store.connection.execute(
        "SELECT creator_id, currency, owed_minor, escrow_minor, disputed_minor, in_transit_minor, paid_minor"
        " FROM earnings_by_creator WHERE creator_id IS NOT NULL"
    ).fetchall():
        places = held(payable=owed, escrow=escrow, disputed=disputed, transit=transit)
        closing[creator_id][currency] = places
        paid += [(creator_id, currency, gone)] if gone else []
    words = Words.of("en")
    for found in told.values():
        if found.creator_name:  # of an erased artist the view knows no creator
            html = statement_html(found, story.workspace, words)
            pdf = statement_pdf(found, story.workspace, words)
            assert_adds_up(html, closing[found.creator_id], pdf=pdf)
    sheets = [(found.creator_id, sheet) for found in told.values() for sheet in found.sheets]
    assert [(one, sheet.currency, sheet.paid) for one, sheet in sheets if sheet.paid] == paid


def test_who_was_paid_and_is_contested_owes_the_payment_back_until_it_is_decided(told):
    euros, yen = told["andy"].sheets
    assert (euros.currency, yen.currency) == ("EUR", "JPY")
    assert euros.opening == held()
    assert {one.kind: one.amounts for one in euros.movements} == {
        EntryKind.SETTLEMENT: held(payable=1493 + 120 + 1, disputed=562 + 46),
        EntryKind.REVERSAL: held(payable=-562 - 46),
        EntryKind.PAYOUT_PROPOSED: held(payable=-1493, transit=1493),
        EntryKind.PAYOUT_CONFIRMED: held(transit=-1493),
    }
    assert euros.closing == held(payable=-487, disputed=608)
    assert (euros.earned, euros.taken_back, euros.paid, euros.otherwise) == (2222, -608, 1493, 0)
    assert yen.closing == held(transit=445)
    assert kept(told["andy"]) == [
        (Why.DISPUTED, "EUR", 608),
        (Why.OWED_BACK, "EUR", -487),
        (Why.ON_ITS_WAY, "JPY", 445),
    ]
    [dispute] = told["andy"].contested
    assert (dispute.role, dispute.state, dispute.reason) == (Role.SHARE, State.OPEN, None)
    assert dispute.image_sha256 in {one.image_sha256 for one in told["andy"].use.answers}


def test_settlements_name_their_corrections_and_what_is_only_rounding(told):
    found = [
        (one.number, one.reverses, one.currency, one.total, one.lines, one.images)
        for one in told["andy"].settled
    ]
    assert found == [
        (1, None, "EUR", 1493, 3, 3),
        (1, None, "JPY", 445, 1, 1),
        (2, None, "EUR", 120, 3, 3),
        (3, 1, "EUR", -562, 1, 1),
        (4, None, "EUR", 562, 1, 1),
        (5, 2, "EUR", -46, 1, 1),
        (6, None, "EUR", 46, 1, 1),
        (8, None, "EUR", 1, 0, 0),
    ]
    [first, *_] = [one for one in told["andy"].lines if one.settlement == 2]
    assert (first.share_e12, first.line_amount_minor, first.images) == (327022141092, 101, 1)


def test_payouts_are_told_with_what_became_of_them(told):
    def payouts(short: str) -> list[tuple[PayoutStatus, str, int, str | None]]:
        return [(one.status, one.currency, one.amount_minor, one.note) for one in told[short].paid]

    assert sorted(payouts("andy")) == [
        (PayoutStatus.CONFIRMED, "EUR", 1493, "BANK-1"),
        (PayoutStatus.PROPOSED, "JPY", 445, None),
    ]
    assert payouts("benji") == [(PayoutStatus.FAILED, "EUR", 562, "account closed")]
    assert payouts("danny") == [(PayoutStatus.PROPOSED, "EUR", 1320, None)]
    assert payouts("alan") == []


def test_every_reason_for_holding_money_is_told(told):
    assert kept(told["danny"]) == [(Why.OPTED_OUT, "EUR", 107), (Why.ON_ITS_WAY, "EUR", 1320)]
    assert kept(told["alan"]) == [(Why.UNCLAIMED, "EUR", 563 + 45 + 281 + 23)]
    assert kept(told["benji"]) == [(Why.DUE, "EUR", 562 + 46)]
    assert kept(told["jarno"]) == [(Why.ON_ITS_WAY, "EUR", 562), (Why.BELOW_MINIMUM, "EUR", 46)]
    assert told["jarno"].kept[-1].minimum_minor == 200


def test_a_dispute_of_ones_own_is_told_with_its_reason_and_its_end(told, story):
    [own] = told["benji"].contested
    assert (own.role, own.state, own.reason) == (Role.OPENED, State.OPEN, "this is my hand")
    [decided] = told["alan"].contested
    assert (decided.role, decided.state) == (Role.OPENED, State.UPHELD)
    assert decided.image_sha256 == story.answers["nobody"]["image"]["sha256"]
    page = statement_html(told["alan"], story.workspace, Words.of("de"))
    for expected in ("Entschieden am", f">{decided.image_sha256[:12]}<"):
        assert expected in page


def test_use_counts_answers_images_evidence_and_how_sure_they_are(told, story):
    use = told["andy"].use
    expected = {
        short: one
        for short, one in story.answers.items()
        if story.artist_ids["andy"] in [share["artist_id"] for share in one["artists"]]
    }
    assert {one.attribution_id for one in use.answers} == {one["attribution_id"] for one in expected.values()}
    words = [one["confidence"] or "none" for one in expected.values()]
    assert use.confidences == {word: words.count(word) for word in words}
    [entry] = use.entries
    assert (entry.answers, entry.images, entry.settled, entry.works) == (4, 4, 7, 6)
    intervals = [
        share["interval"]
        for one in expected.values()
        for share in one["artists"]
        if share["artist_id"] == entry.artist_id and share["interval"]
    ]
    assert use.with_interval == len(intervals)
    assert use.reaching_nothing == sum(low == 0 for low, _ in intervals)
    seen = [
        work["work_sha256"]
        for one in expected.values()
        for share in one["artists"]
        if share["artist_id"] == entry.artist_id
        for work in share["evidence"]
    ]
    assert {one.work_sha256: one.answers for one in use.evidence} == {w: seen.count(w) for w in seen}
    assert [one.answers for one in use.evidence] == sorted(map(seen.count, {*seen}), reverse=True)
    assert told["danny"].use.entries[0].consent is Consent.OPTED_OUT


def test_nothing_of_other_people_is_in_it(told, story, store):
    document = json.dumps(statement_document(told["andy"]))
    for short, artist_id in story.artist_ids.items():
        if short != "andy":
            assert artist_id not in document
            assert creator_of(store, story, short) not in document
            assert story.names[short] not in document
    assert HOSTILE not in document
    assert str(story.workspace.parent) not in document, "nor where files lie"


def test_an_erased_artist_is_nowhere_named(told, story):
    found = told["jarno"]
    assert found.creator_name == ""
    assert (found.payees, found.use.answers, found.use.evidence) == ({}, (), ())
    words = Words.of("en")
    for text in (json.dumps(statement_document(found)), statement_html(found, story.workspace, words)):
        assert "Jarno" not in text
        assert "Vasamaa" not in text


def test_the_number_stays_and_the_periods_chain(store, story, period, now, told):
    creator_id = creator_of(store, story, "andy")
    again = read_statement(store, creator_id, period, now=now + timedelta(days=30))
    assert again.number == told["andy"].number
    assert again.is_over
    later = Period(period.last + timedelta(days=1), period.last + timedelta(days=9))
    after = read_statement(store, creator_id, later, now=now + timedelta(days=30))
    assert [(one.currency, one.opening, one.closing) for one in after.sheets] == [
        (one.currency, one.closing, one.closing) for one in told["andy"].sheets
    ]
    assert kept(after) == kept(told["andy"]), "it is held on"
    assert [one.status for one in after.paid] == [PayoutStatus.PROPOSED], "and what is on its way is told"
    assert after.number != told["andy"].number
    renamed = replace(told["andy"], creator_name="Somebody")
    assert renamed.number == told["andy"].number
    assert statement_document(renamed)["number"] == renamed.number


def test_a_creator_with_nothing_gets_a_statement_that_says_so(store, story, now):
    found = read_statement(store, creator_of(store, story, "andy"), EARLIER, now=now)
    assert (found.sheets, found.settled, found.paid, found.kept, found.contested) == ((), (), (), (), ())
    page = statement_html(found, story.workspace, Words.of("en"))
    for sentence in (
        "No answer of this period credits you.",
        "Nothing was settled for you in this period.",
        "Nothing was paid or proposed for payment in this period.",
        "Nothing is held for you, and nothing is owed to you.",
    ):
        assert sentence in page


# pages


def test_a_table_leaves_out_columns_in_which_nothing_stands():
    table = Table("c", ["a", "b", "n"], [[Cell("x"), Cell(""), number("1")], [Cell("y"), Cell(""), Cell("")]])
    assert table.columns == ["a", "n"]
    assert table.numeric == [1]
    assert Cell("a\u202eb", Kind.NAME).text == "a\\u202eb"


def test_a_statement_is_sound_in_a_browser(told, story, browser, tmp_path, screenshots):
    page = tmp_path / "statement.html"
    page.write_text(statement_html(told["andy"], story.workspace, Words.of("en")), encoding="utf-8")
    assert_sound(browser, page, keep=screenshots)
    with opened(browser, page, size=PHONE) as (shown, _):
        text = shown.locator("body").inner_text().replace("\N{NO-BREAK SPACE}", " ")
        for sentence in ("Statement for Andy Fitzsimon", "€16.14", "JP¥445", "takes back from no. 1"):
            assert sentence in text
        use = told["andy"].use
        assert shown.locator("img").count() == len(use.answers) + len(use.evidence)
        for table in shown.locator(".scroll").all():
            assert table.evaluate("one => one.scrollWidth <= one.clientWidth"), "no amount is out of sight"


def test_a_statement_of_a_hostile_name_does_nothing_in_a_browser(told, story, browser, tmp_path):
    page = tmp_path / "statement-de.html"
    found = replace(told["benji"], creator_name=HOSTILE)
    page.write_text(statement_html(found, story.workspace, Words.of("de")), encoding="utf-8")
    with opened(browser, page) as (shown, seen):
        text = shown.locator("body").inner_text()
        for sentence in ("Kontoauszug für", "account closed", "von Ihnen eröffnet", "gescheitert"):
            assert sentence in text
    assert seen == Seen()


def test_the_pages_of_others_say_what_happened(told, story, store, period, now):
    words = Words.of("en")
    assert "Statement for a creator who is erased" in statement_html(told["jarno"], story.workspace, words)
    danny = statement_html(told["danny"], story.workspace, Words.of("de"))
    for sentence in ("Kontoauszug für Danny Allen", "nimmt nicht teil", "Was warum zurückgehalten wird"):
        assert sentence in danny
    early = read_statement(store, creator_of(store, story, "alan"), period, now=utc_now())
    assert "The period is not over." in statement_html(replace(early, is_over=False), story.workspace, words)
    assert "Nobody has claimed this artist entry." in statement_html(early, story.workspace, words)


def read(found: Statement, story: Story, language: str = "en") -> PdfReader:
    return PdfReader(io.BytesIO(statement_pdf(found, story.workspace, Words.of(language))))


def test_a_pdf_is_tagged_named_and_says_the_same(told, story):
    pdf = read(told["andy"], story, "de")
    root = pdf.trailer["/Root"]
    assert root["/Lang"] == "de"
    assert root["/MarkInfo"]["/Marked"]
    assert "/StructTreeRoot" in root
    assert pdf.metadata.title == "Kontoauszug für Andy Fitzsimon"
    assert len(pdf.pages) >= 3
    assert all(page.mediabox.width < page.mediabox.height for page in pdf.pages)
    text = "\n".join(page.extract_text() for page in pdf.pages).replace("\N{NO-BREAK SPACE}", " ")
    for expected in (told["andy"].number, "16,14 €", "-4,87 €", "6,08 €", "BANK-1", "Seite 1 / "):
        assert expected in text, expected
    assert statement_pdf(told["andy"], story.workspace, Words.of("de")) == statement_pdf(
        told["andy"], story.workspace, Words.of("de")
    )


def test_a_long_table_repeats_its_header_on_every_page(told, story):
    line = told["andy"].settled[0]
    many = replace(told["andy"], settled=tuple(replace(line, number=n) for n in range(150)))
    pages = [page.extract_text() for page in read(many, story).pages]
    assert sum("Where it went" in page for page in pages) >= 3


@pytest.mark.parametrize(
    ("name", "shown"),
    [
        (HOSTILE, "img src=x onerror=alert('Benji')>\\u202eevil"),
        ("#strong[x] $a$ @ref", "#strong[x] $a$ @ref"),
        ("Ann \u0378", "Ann [U+0378]"),  # no character at all
        ("Ann \U0001f469\u200d\U0001f3a8 \U00012000", "Ann"),  # cuneiform: no font has it
    ],
)
def test_any_name_can_be_set_in_a_pdf(told, story, name, shown):
    found = replace(told["alan"], creator_name=name)
    pdf = read(found, story)
    assert shown in " ".join(pdf.pages[0].extract_text().split())
    if "\U00012000" in name:
        assert "[U+12000]" in pdf.pages[0].extract_text().replace("\n", "")
        assert "for which there was no font" in pdf.pages[0].extract_text().replace("\n", " ")
