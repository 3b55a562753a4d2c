"""The overview of a platform, by values: every figure against the ledger, or counted by hand."""

from collections import Counter
from collections.abc import Iterable, Mapping
from datetime import date, datetime, timedelta
from pathlib import Path

import pytest
from browser import DESKTOP, PHONE, Seen, assert_sound, look, opened
from lived_history import Lived
from money import E12, adopted, artist, bring, look_up, publish, record
from story import HOSTILE
from workspaces import answer, command

from fairbrush.corpus.changes import open_registry
from fairbrush.corpus.consent import set_consent
from fairbrush.domain import Consent
from fairbrush.index.distinctiveness import Verdict
from fairbrush.ledger.book import AccountKind, balances
from fairbrush.ledger.choices import LineState
from fairbrush.ledger.disputes import State
from fairbrush.ledger.period import parse_period
from fairbrush.ledger.settled import Purpose, by_purpose, list_settlements
from fairbrush.ledger.settlement import settle
from fairbrush.reports.pages.overview import Overview, overview_document, read_overview
from fairbrush.reports.pages.overview_matters import Kind
from fairbrush.reports.pages.overview_money import Place
from fairbrush.reports.pages.overview_page import overview_page
from fairbrush.reports.pages.overview_quality import AuditFigure
from fairbrush.reports.pages.overview_styles import NoStyles, Styles
from fairbrush.reports.pages.overview_volumes import (
    Cause,
    Step,
    read_gaps,
    read_settled_gaps,
    read_volumes,
)
from fairbrush.reports.pages.words import Words
from fairbrush.store import Store, utc_now
from fairbrush.uncertainty import Confidence
from fairbrush.workspace import create_workspace

LATER = datetime(2026, 12, 1)  # than anything the story tells of


@pytest.fixture(scope="module")
def told(story):
    with open_registry(story.workspace, readonly=True) as store:
        yield read_overview(store, now=max(utc_now(), LATER))


@pytest.fixture
def world(tmp_path: Path):
    create_workspace(tmp_path / "space")
    with open_registry(tmp_path / "space") as store:
        publish(store)
        yield store


def test_what_settled_revenue_was_for_sums_to_the_unit(story, told):
    with open_registry(story.workspace, readonly=True) as store:
        settled = list_settlements(store.connection)
        booked = Counter()
        for (account, currency), amount in balances(store.connection).items():
            booked[currency] -= amount if account.kind is AccountKind.REVENUE else 0
    expected = by_purpose([part for one in settled for part in one.parts])
    assert {currency: dict(flow.purposes) for currency, flow in told.flows.items()} == expected
    assert booked == {"EUR": 9 * 1250 + 9 * 101, "JPY": 990}
    for currency, flow in told.flows.items():
        assert flow.settled_minor == booked[currency]
        standing = told.standings[currency]
        assert sum(standing.places.values()) == standing.settled_minor == booked[currency]


def test_a_period_counts_what_was_earned_in_it(story):
    october = parse_period("2026-10")
    with open_registry(story.workspace, readonly=True) as store:
        found = read_overview(store, october, now=max(utc_now(), LATER))
        settled = [one for one in list_settlements(store.connection) if one.period.last in october]
    expected = by_purpose([part for one in settled for part in one.parts])
    assert {currency: dict(flow.purposes) for currency, flow in found.flows.items()} == expected
    assert found.flows["EUR"].settled_minor == 9 * 1250
    assert found.volumes.lookups == 0  # which were asked today
    euros = next(one for one in found.revenue if one.currency == "EUR")
    assert euros.amounts == {LineState.SETTLED: 11250, LineState.OPEN: 800, LineState.CANCELLED: 0}
    assert euros.received_minor == 12050


def test_money_is_where_the_book_has_it(story, told):
    with open_registry(story.workspace, readonly=True) as store:
        held = dict.fromkeys(AccountKind, 0)
        for (account, currency), amount in balances(store.connection).items():
            held[account.kind] += amount if currency == "EUR" else 0
    places = told.standings["EUR"].places
    assert places[Place.PAID] == held[AccountKind.BANK] > 0
    assert places[Place.PROPOSED] == held[AccountKind.TRANSIT] > 0
    assert places[Place.OWED] + places[Place.WITHHELD] == held[AccountKind.PAYABLE]
    assert places[Place.DISPUTED] == held[AccountKind.DISPUTED] == told.quarrels.aside["EUR"] > 0
    assert (
        places[Place.ESCROW] + places[Place.UNATTRIBUTED] == held[AccountKind.ESCROW] + held[AccountKind.FUND]
    )


Totals = dict[str, tuple[int, ...]]  # by currency, without those in which there is nothing


def summed(store: Store, query: str) -> Totals:
    rows = store.connection.execute(query).fetchall()
    return {currency: tuple(map(int, sums)) for currency, *sums in rows if any(sums)}


def figures(by_currency: Mapping[str, Iterable[int]]) -> Totals:
    return {currency: tuple(sums) for currency, sums in by_currency.items() if any(sums)}


def assert_earned_as_in_the_views(found: Overview, store: Store) -> None:
    assert figures(
        {
            one.currency: [
                sum(one.lines.values()),
                *(one.amounts[state] for state in (LineState.SETTLED, LineState.OPEN, LineState.CANCELLED)),
            ]
            for one in found.revenue
        }
    ) == summed(
        store,
        "SELECT currency, sum(lines), sum(settled_minor), sum(open_minor), sum(cancelled_minor)"
        " FROM revenue_by_month GROUP BY 1",
    )
    assert figures(
        {
            currency: [flow.settled_minor, *(flow.purposes[purpose] for purpose in Purpose)]
            for currency, flow in found.flows.items()
        }
    ) == summed(
        store,
        "SELECT currency, sum(revenue_minor), "
        + ", ".join(f"sum({purpose.name}_minor)" for purpose in Purpose)
        + " FROM earnings_by_period GROUP BY 1",
    )


def assert_held_as_in_the_views(found: Overview, store: Store) -> None:
    places = {currency: standing.places for currency, standing in found.standings.items()}
    assert figures(
        {
            one: [held[Place.PAID], held[Place.PROPOSED], held[Place.OWED] + held[Place.WITHHELD]]
            for one, held in places.items()
        }
    ) == summed(
        store,
        "SELECT currency, sum(paid_minor), sum(in_transit_minor), sum(owed_minor)"
        " FROM earnings_by_payee GROUP BY 1",
    )
    assert figures(
        {
            one: [held[Place.UNATTRIBUTED], held[Place.ESCROW], held[Place.DISPUTED]]
            for one, held in places.items()
        }
    ) == summed(
        store,
        "SELECT currency, arg_max(unattributed_minor, entry), arg_max(escrow_minor, entry),"
        " arg_max(disputed_minor, entry) FROM held_over_time GROUP BY 1",
    )
    assert figures({one: [held[Place.MODELS]] for one, held in places.items()}) == summed(
        store, "SELECT currency, sum(unassigned_minor) FROM earnings_by_model GROUP BY 1"
    )
    for standing in found.standings.values():
        assert sum(standing.places.values()) == standing.settled_minor
    assert figures({one: [amount] for one, amount in found.quarrels.aside.items()}) == summed(
        store, "SELECT currency, sum(set_aside_minor) FROM disputes WHERE currency IS NOT NULL GROUP BY 1"
    )


def assert_counted_as_in_the_views(found: Overview, store: Store) -> None:
    assert {str(state): count for state, count in found.quarrels.states.items() if count} == dict(
        store.connection.execute(
            "SELECT state, count(DISTINCT dispute_id) FROM disputes GROUP BY 1"
        ).fetchall()
    )
    assert [
        (found.volumes.lookups, found.volumes.images, found.volumes.credited)
    ] == store.connection.execute(
        "SELECT count(*), count(DISTINCT image_sha256),"
        " count(*) FILTER (model_share + unattributed < 1) FROM lookups"
    ).fetchall()


@pytest.mark.parametrize(
    "assert_as_in_the_views",
    [assert_earned_as_in_the_views, assert_held_as_in_the_views, assert_counted_as_in_the_views],
)
def test_totals_are_those_of_the_views(told, story, lived: Lived, assert_as_in_the_views):
    with open_registry(story.workspace, readonly=True) as store:
        assert_as_in_the_views(told, store)
    overview = read_overview(lived.store, now=lived.now)
    assert overview.standings.keys() >= {"EUR", "JPY", "KWD"}
    assert_as_in_the_views(overview, lived.store)


def test_the_first_figures_are_those_of_the_story(story, told):
    assert (told.volumes.lookups, told.volumes.images, told.volumes.credited) == (10, 10, 9)
    assert told.volumes.artists == 5
    assert (told.people.artists, told.people.works) == (4, 24)
    assert told.people.consents[Consent.ERASED] == told.people.consents[Consent.OPTED_OUT] == 1
    assert told.quarrels.states == {State.OPEN: 1, State.REJECTED: 0, State.UPHELD: 1}
    assert [(gap.cause, gap.lookups, gap.share) for gap in told.gaps] == [(Cause.NOBODY_NEAR, 1, 1.0)]
    assert told.settled_gaps == {}  # the one look-up that credits nobody was disputed
    words = Counter(story.answers[short]["confidence"] for short in story.answers)
    assert told.quality.words == {Confidence(word) if word else None: n for word, n in words.items()}
    assert sum(told.quality.verdicts.values()) == 4
    assert told.quality.distinct == told.quality.verdicts[Verdict.DISTINCT]


def test_creators_come_in_the_order_of_what_was_settled_for_them(story, told):
    euros, yen = told.rankings
    amounts = [one.earned_minor for one in euros.first]
    assert amounts == sorted(amounts, reverse=True)
    flow = told.flows["EUR"].purposes
    # a cent below zero of what was contested is nobody's
    assert sum(one.disputed_minor for one in euros.first) == flow[Purpose.DISPUTED] + 1
    assert sum(amounts) == flow[Purpose.ARTISTS] + flow[Purpose.ESCROW] + flow[Purpose.DISPUTED] + 1
    assert sum(one.escrow_minor for one in euros.first) == flow[Purpose.ESCROW]
    assert (yen.creators, yen.half, yen.first[0].name) == (1, 1, story.names["andy"])
    assert (euros.others, round(euros.first_part, 9)) == (0, 1.0)
    assert [one.name for one in euros.first].count(None) == 1  # who is erased


def test_what_needs_attention_has_its_next_command(told):
    found = {matter.kind: matter for matter in told.matters}
    assert found[Kind.DISPUTES].count == 1
    assert found[Kind.UNASKED].count == 1
    assert found[Kind.UNSETTLED].amounts == {"EUR": 800}
    assert found[Kind.UNCLAIMED].amounts["EUR"] == told.rankings[0].first[2].escrow_minor
    assert all(matter.command.startswith("fairbrush ") for matter in told.matters)
    assert Kind.BEHIND not in found
    assert Kind.NO_POLICY not in found


def test_payouts_are_old_after_two_weeks(story):
    with open_registry(story.workspace, readonly=True) as store:
        kinds = [
            {one.kind for one in read_overview(store, now=utc_now() + timedelta(days=days)).matters}
            for days in (1, 15)
        ]
    assert [Kind.OLD_PAYOUTS in found for found in kinds] == [False, True]


def test_the_map_shows_who_may_be_credited(story, told):
    styles = told.styles
    assert isinstance(styles, Styles)
    ids = story.artist_ids
    assert {one.artist_id for one in styles.styles} == {ids["alan"], ids["andy"], ids["benji"]}
    assert styles.left_out == 1  # Danny has opted out, Jarno is erased
    assert styles.variation == pytest.approx(1)  # three points lie in a plane
    assert all(len(one.nearest) == 2 for one in styles.styles)
    assert all(
        (story.workspace / "thumbnails" / f"{one.work_sha256}.webp").is_file() for one in styles.styles
    )


def test_the_page_is_sound_and_names_do_nothing(story, told, browser, tmp_path: Path, screenshots):
    page = tmp_path / "overview.html"
    page.write_text(overview_page(told, Words.of("en"), workspace=story.workspace))
    assert_sound(browser, page, keep=screenshots)
    with opened(browser, page) as (shown, seen):
        text = shown.inner_text("body")
        assert seen.dialogs == []
        assert shown.locator("img").count() == 0  # of the hostile name
        assert shown.locator("svg.map image").count() == 3
        assert HOSTILE.replace("\u202e", "\\u202e") in text
        assert story.names["jarno"] not in text
        assert "€121.59" in text
        assert "fairbrush dispute list --open" in text


def test_the_page_speaks_german(story, told, browser, tmp_path: Path, screenshots):
    page = tmp_path / "overview-de.html"
    page.write_text(overview_page(told, Words.of("de"), workspace=story.workspace))
    assert look(browser, page, size=PHONE, scheme="light", keep=screenshots) == Seen()
    text = page.read_text()
    assert Words.of("de").money(12159, "EUR") in text
    assert "eine gelöschte Person" in text
    assert "an erased artist" not in text


def test_an_empty_workspace_has_a_page(tmp_path: Path, browser, screenshots):
    space = tmp_path / "space"
    assert command(tmp_path, "init", space).code == 0
    page = tmp_path / "empty.html"
    ran = command(space, "report", "overview", "--output", page)
    assert ran.code == 0, ran.stderr
    assert look(browser, page, size=DESKTOP, scheme="dark", keep=screenshots) == Seen()
    text = page.read_text()
    for said in (
        "Everything on record.",
        "Nothing is settled",
        "There is no index yet",
        "Nobody was credited",
    ):
        assert said in text


def test_every_matter_and_figure_can_be_said(told, story):
    """A page of everything that is rare: audits, measurements, dots, a damaged index."""
    from dataclasses import replace

    from fairbrush.reports.pages.overview_matters import Matter
    from fairbrush.reports.pages.overview_quality import Measured

    audit = AuditFigure("a" * 64, parse_period("2026-10"), "EUR", 7, 8, 0.125, 0.5, 0.95)
    quality = replace(
        told.quality,
        audits=(audit,),
        measured=(Measured(True, 1, 0.125, 0.125, 0.125), Measured(False, 3, 0.25, 0.0, 0.5)),
        refused_images=2,
        refused_records=1,
        conflicts=1,
        versions_before=3,
    )
    matters = tuple(Matter(kind, n, "fairbrush doctor") for kind in Kind for n in (1, 2))
    rare = replace(told, quality=quality, matters=matters, styles=NoStyles(False, f"broken {HOSTILE}", None))
    for language in ("en", "de"):
        text = overview_page(rare, Words.of(language), workspace=story.workspace)
        assert "<img" not in text
    text = overview_page(rare, Words.of("en"), workspace=story.workspace)
    assert '<td class="number">7 of 8</td>' in text
    assert "2 image files were refused." in text
    assert "fairbrush report refused_images" in text


def test_the_document_has_the_figures_and_no_pictures(told):
    document = overview_document(told)
    assert document["schema"] == "fairbrush.overview/1"
    assert document["now"] == f"{told.now.isoformat()}Z"
    assert document["quality"]["words"]["none"] == told.quality.words[None]
    assert document["flows"]["EUR"]["settled_minor"] == 12159
    assert document["volumes"]["buckets"][0]["lookups"] == 10
    assert document["matters"][0] == {
        "kind": "open disputes",
        "count": 1,
        "command": "fairbrush dispute list --open",
        "amounts": {"EUR": told.quarrels.aside["EUR"]},
    }
    assert {"x", "y", "nearest", "name"} <= document["styles"]["styles"][0].keys()
    assert "canvas" not in document["styles"]


def test_the_command_gives_json_a_page_and_first_figures(story, tmp_path: Path):
    told = answer(story.workspace, "report", "overview", "--period", "2026-10")
    assert told["period"] == {"first": "2026-10-01", "last": "2026-10-31"}
    assert told["flows"]["EUR"]["settled_minor"] == 11250
    page = tmp_path / "overview.html"
    ran = command(story.workspace, "report", "overview", "--language", "de", "--output", page)
    assert ran.code == 0, ran.stderr
    assert "Überblick über die Plattform" in page.read_text()
    plain = command(story.workspace, "report", "overview").text
    assert "revenue settled, EUR  121.59" in plain
    assert "fairbrush dispute list --open" in plain
    refused = command(story.workspace, "report", "overview", "--period", "soon")
    assert (refused.code, "'soon' is no period." in refused.stderr) == (2, True)
    assert command(story.workspace, "report", "overview", "-o", tmp_path / "x.pdf").code == 2
    assert not (tmp_path / "x.pdf").exists()


def test_lookups_are_counted_by_week_and_gaps_are_filled(world):
    monday = datetime(2026, 1, 5, 12)
    for number, (days, shares) in enumerate([(0, {"ann": E12 // 2}), (6, {}), (21, {}), (63, {"ann": 1})]):
        record(world, look_up(number, shares, model_e12=E12 // 2, recorded_at=monday + timedelta(days=days)))
    found = read_volumes(world.connection, None)
    assert found.step is Step.WEEK
    assert [(one.begins, one.lookups, one.credited) for one in found.buckets[:4]] == [
        (date(2026, 1, 5), 2, 1),
        (date(2026, 1, 12), 0, 0),
        (date(2026, 1, 19), 0, 0),
        (date(2026, 1, 26), 1, 0),
    ]
    assert len(found.buckets) == 10
    assert found.buckets[0].unattributed_share == 0.5
    assert found.buckets[1].unattributed_share is None
    assert (found.first, found.last) == (date(2026, 1, 5), date(2026, 3, 9))
    january = read_volumes(world.connection, parse_period("2026-01-11..2026-01-26"))
    assert (january.lookups, january.step, january.artists) == (2, Step.DAY, 0)
    assert january.buckets[-1].begins - january.buckets[0].begins == timedelta(days=15)
    assert len(january.buckets) == 16


def test_months_and_years_are_steps_too(world):
    for number, year in enumerate((2024, 2026)):
        record(world, look_up(number, {}, recorded_at=datetime(year, 2, 29 if year == 2024 else 28)))
    found = read_volumes(world.connection, None)
    assert (found.step, len(found.buckets)) == (Step.MONTH, 25)
    record(world, look_up("old", {}, recorded_at=datetime(1999, 1, 1)))
    assert [one.begins.year for one in read_volumes(world.connection, None).buckets] == [1999, 2024, 2026]


@pytest.mark.parametrize(
    ("reason", "cause"),
    [
        ("No artist is near enough: the nearest has affinity 0.1, the threshold is 0.2.", Cause.NOBODY_NEAR),
        ("No artist in the index may be credited for images of sd-1.5.", Cause.NOBODY_ALLOWED),
        ("No artist of the inputs may be credited for images of sd-1.5.", Cause.NOBODY_ALLOWED),
        ("The image is like no mix of its inputs.", Cause.NO_SUCH_MIX),
        ("The nearest artist has affinity 0.3, above the threshold 0.2;", Cause.CALIBRATED),
        ("Something new.", Cause.OTHER),
        (None, Cause.PART),
    ],
)
def test_a_look_up_tells_why_nobody_is_credited(world, reason, cause):
    record(world, look_up("one", {"ann": E12 // 4}, model_e12=E12 // 2))
    world.connection.execute("UPDATE attribution SET reason = ?", [reason])
    assert [(gap.cause, gap.lookups, gap.share) for gap in read_gaps(world.connection, None)] == [
        (cause, 1, 1.0)
    ]


def test_settled_money_tells_why_nobody_gets_it(world):
    for name, consent in {
        "ann": Consent.OPTED_IN,
        "bo": Consent.OPTED_IN,
        "cy": Consent.UNCLAIMED,
    }.items():
        artist(world, name, consent=consent)
    adopted(world, minimum_claim=0.2, unclaimed="unattributed", opted_out="unattributed", platform_fee=0.5)
    shares = {"ann": 3 * E12 // 10, "bo": 2 * E12 // 10, "cy": 2 * E12 // 10}
    record(world, look_up("one", shares), look_up("two", {"ann": E12 // 10}))
    set_consent(world, "bo", Consent.OPTED_OUT, now=datetime(2026, 6, 1, 13))
    bring(world, "a", 1000, image="one")
    bring(world, "b", 1000, images={"one": 10**6, "two": 3 * 10**6})
    settle(world, parse_period("2026-01"), now=datetime(2026, 6, 2))
    # one brings 1000 + 250, two 750; half of it is the platform's
    expected = {
        Cause.PART: 0.3 * 625 + 0.9 * 375,
        Cause.TOO_SMALL: 0.1 * 375,
        Cause.OPTED_OUT: 0.2 * 625,
        Cause.UNCLAIMED: 0.2 * 625,
    }
    found = {gap.cause: gap.share for gap in read_settled_gaps(world.connection, None)["EUR"]}
    whole = sum(expected.values())
    assert found == pytest.approx({cause: amount / whole for cause, amount in expected.items()})
    settled = {one.currency: one for one in read_overview(world, now=datetime(2026, 6, 3)).flows.values()}
    assert abs(settled["EUR"].purposes[Purpose.UNATTRIBUTED] - whole) <= 1
    assert read_settled_gaps(world.connection, parse_period("2025")) == {}


def test_the_first_ten_creators_are_named_and_the_others_counted(world):
    names = [f"a{number:02}" for number in range(13)]
    for name in names:
        artist(world, name)
    for number, name in enumerate(names):
        record(world, look_up(number, {name: (number + 1) * 10**9}))
    (ranking,) = read_overview(world, now=datetime(2026, 6, 3)).rankings
    assert ranking.currency is None
    assert [one.name for one in ranking.first] == names[:2:-1]
    assert (ranking.creators, ranking.others) == (13, 3)
    assert ranking.first_part == pytest.approx((91 - 6) / 91)
    assert ranking.half == 4  # 13 + 12 + 11 + 10 of 91
