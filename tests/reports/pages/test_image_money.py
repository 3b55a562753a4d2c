"""What pages about answers say of money, held against the book: also of lines that were cancelled."""

import random
import re
import shutil
from collections import Counter, defaultdict
from collections.abc import Iterable
from datetime import datetime
from fractions import Fraction
from html import unescape
from pathlib import Path

import pytest
from money_histories import begin
from story import Story, done
from workspaces import answer, command

from fairbrush.corpus.changes import open_registry
from fairbrush.domain import Consent
from fairbrush.errors import DisputeError, MoneyError, RegistryError, SettlementError
from fairbrush.ledger.book import Account, AccountKind, balances
from fairbrush.ledger.earnings import SharedRecord
from fairbrush.ledger.moves import MODEL_SUBJECT, artist_of
from fairbrush.ledger.payouts import PayoutStatus, list_payouts
from fairbrush.reports.pages.image.earned import Money, Pays, Place, Step
from fairbrush.reports.pages.image.money import read_money
from fairbrush.reports.pages.image.people import People, Person, read_people
from fairbrush.store import Store, utc_now
from fairbrush.workspace import create_workspace

MOST_CARRIED = 2  # minor units of one account that were earned, and not posted yet
Sums = dict[tuple[str, str, str], Fraction]  # by currency, whose, and where
OUT = ("paid out, or proposed", (Place.PAID, Place.ON_ITS_WAY))
KEPT = ("kept", (Place.OWED, Place.UNCLAIMED, Place.OPTED_OUT, Place.HELD))
DISPUTED = ("disputed", (Place.DISPUTED,))
WHERE = {place: name for name, places in (OUT, KEPT, DISPUTED) for place in places}


def money_of(store: Store, attribution_id: str, *, people: People, now: datetime) -> Money:
    ((image, model_id, model_share, nobodys),) = store.connection.execute(
        "SELECT image_sha256, model_id, model_share_e12, unattributed_e12 FROM attribution"
        " WHERE attribution_id = ?",
        [attribution_id],
    ).fetchall()
    shares = store.connection.execute(
        "SELECT artist_id, share_e12 FROM attribution_share WHERE attribution_id = ? ORDER BY artist_id",
        [attribution_id],
    ).fetchall()
    record = SharedRecord(attribution_id, model_share, nobodys, tuple(shares))
    return read_money(store, record, image_sha256=image, model_id=model_id, people=people, now=now)


def all_money(store: Store, *, now: datetime) -> tuple[list[Money], People]:
    people = read_people(store.connection, now=now)
    rows = store.connection.execute("SELECT attribution_id FROM attribution").fetchall()
    return [money_of(store, one, people=people, now=now) for (one,) in rows], people


def whose(step: Step, artist: Person | None) -> str:
    """An artist's id; nothing for who is erased, and for what is the platform's or nobody's."""
    if step is Step.MODEL:
        return "models"
    return artist.artist_id if artist and artist.consent is not Consent.ERASED else ""


def told(pages: Iterable[Money]) -> Sums:
    """By all pages together. What is owed back was paid, and is missing where it was paid from."""
    sums: Sums = defaultdict(Fraction)
    for line in [line for money in pages for line in (*money.lines, *money.gone)]:
        assert sum(part.exact_minor for part in line.parts) == (line.exact_minor if line.stands else 0)
        for part in line.parts:
            place = WHERE.get(part.place, str(part.place))
            own = whose(part.step, part.artist) if part.place in WHERE else ""
            if part.step is Step.UNATTRIBUTED and part.place is not Place.DISPUTED and part.place in WHERE:
                own = "models"  # or in the escrow of nobody's part
            sums[line.currency, own, place] += part.exact_minor
            sums[line.currency, "", "revenue"] -= part.exact_minor
        for one in line.returning:
            assert min(one.owed_back_minor, one.set_off_minor) >= 0 < one.owed_back_minor + one.set_off_minor
            sums[line.currency, whose(one.step, one.artist), OUT[0]] += one.owed_back_minor
            sums[line.currency, whose(one.step, one.artist), KEPT[0]] -= one.owed_back_minor
    return sums


def booked(store: Store, people: People) -> Sums:
    """By the book: every account but those of the bank, of which payouts tell the parts."""
    sums: Sums = defaultdict(Fraction)

    def named(subject: str) -> str:
        if subject.startswith(MODEL_SUBJECT):
            return "models"
        return "" if subject in people and people[subject].consent is Consent.ERASED else subject

    def place_of(account: Account) -> tuple[str, str]:
        match account.kind:
            case AccountKind.PLATFORM:
                return "", str(Place.PLATFORM)
            case AccountKind.FUND:
                return "", str(Place.FUND)
            case AccountKind.REVENUE:
                return "", "revenue"
            case AccountKind.DISPUTED:
                return named(artist_of(account)), DISPUTED[0]
            case AccountKind.PAYABLE:
                return named(account.subject), KEPT[0]
            case _:
                return artist_of(account) or "models", KEPT[0]

    for (account, currency), amount in balances(store.connection).items():
        if account.kind not in (AccountKind.BANK, AccountKind.TRANSIT):
            sums[currency, *place_of(account)] += amount
    for payout in list_payouts(store.connection):
        if payout.status is not PayoutStatus.FAILED:
            for subject, amount in payout.parts:
                sums[payout.currency, named(subject), OUT[0]] += amount
    return sums


def assert_as_booked(store: Store, *, now: datetime) -> list[Money]:
    """Every sum of all pages is the book's, but for what is carried to the next settlement."""
    pages, people = all_money(store, now=now)
    found, book = told(pages), booked(store, people)
    for key in found.keys() | book.keys():
        exact = 0 if key[2] == "revenue" else MOST_CARRIED
        assert abs(found[key] - book[key]) <= exact, f"{key}: {float(found[key])} told, {book[key]} booked"
    return pages


STEPS = {
    "revenue": 8,
    "settle": 6,
    "payout": 7,
    "finish_payout": 4,
    "contest_attribution": 2,
    "contest_standing": 1,
    "resolve": 3,
    "correct": 4,
    "cancel": 3,
    "claim": 1,
    "assign": 1,
    "assign_model": 1,
    "consent": 1,
    "erase": 1,
}


def test_whatever_happened_the_pages_say_what_the_book_says(tmp_path: Path):
    create_workspace(tmp_path / "space")
    with open_registry(tmp_path / "space") as store:
        history = begin(store, random.Random(206))
        for name in history.rng.choices([*STEPS], [*STEPS.values()], k=45):
            history.now_days += history.rng.choice((0, 0, 1))
            try:
                getattr(history, name)()
            except (DisputeError, MoneyError, RegistryError, SettlementError):
                continue
        pages = assert_as_booked(store, now=history.now)
    lines = [line for money in pages for line in (*money.lines, *money.gone)]
    assert any(line.divisions > 1 for line in lines)
    assert any(line.cancelled_at for line in lines)
    assert any(line.owed_back_minor for line in lines)


@pytest.fixture(scope="module")
def cancelled(story: Story, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The story, and then: what Andy was paid for, what is on its way to Danny, what is held for Alan, all
    of an image, and a line that was never divided are cancelled."""
    workspace = Path(shutil.copytree(story.workspace, tmp_path_factory.mktemp("cancelled") / "space"))
    done(
        workspace,
        "revenue",
        "add",
        "DEC",
        "3.00",
        "EUR",
        "--image",
        story.images["alan"],
        "--date",
        "2026-12-01",
    )
    done(
        workspace,
        "revenue",
        "add",
        "JAN",
        "4.00",
        "EUR",
        "--image",
        story.images["alan"],
        "--date",
        "2027-01-01",
    )
    for reference in ("OCT-andy", "OCT-danny", "OCT-alan", "OCT-both", "NOV-both", "DEC"):
        done(workspace, "revenue", "cancel", reference, "--reason", "the customer got it back")
    return workspace


def read(workspace: Path, story: Story, short: str) -> Money:
    with open_registry(workspace, readonly=True) as store:
        now = utc_now()
        people = read_people(store.connection, now=now)
        return money_of(store, story.answers[short]["attribution_id"], people=people, now=now)


def html(workspace: Path, story: Story, short: str, *more: str) -> str:
    """The page's text, without its tags."""
    answered = story.answers[short]["attribution_id"]
    page = command(workspace, "report", "image", answered, "--html", *more).text
    text = unescape(re.sub(r"<[^>]*>", " ", page)).replace("\N{NO-BREAK SPACE}", " ")
    return re.sub(r"\s+", " ", text)


def returning(money: Money) -> list[tuple[str, str, Fraction, Fraction]]:
    """Of which line, whose, owed back, set off."""
    return sorted(
        (line.reference, one.artist.name if one.artist else "", one.owed_back_minor, one.set_off_minor)
        for line in (*money.lines, *money.gone)
        for one in line.returning
    )


def test_the_storys_pages_say_what_the_book_says(story: Story, cancelled: Path):
    for workspace in (story.workspace, cancelled):
        with open_registry(workspace, readonly=True) as store:
            assert_as_booked(store, now=utc_now())


def test_a_cancelled_line_tells_what_was_paid_of_it(story: Story, cancelled: Path):
    andy = read(cancelled, story, "andy")
    assert [line.reference for line in andy.lines] == ["OCT-yen", "NOV-andy"]
    [gone] = andy.gone
    assert (gone.reference, gone.parts, gone.exact_minor, gone.divisions) == ("OCT-andy", (), 1250, 1)
    assert gone.cancelled_at is not None
    assert returning(andy) == [("OCT-andy", "Andy Fitzsimon", Fraction(1125, 2), 0)]
    assert returning(read(cancelled, story, "danny")) == [("OCT-danny", "Danny Allen", Fraction(1125, 2), 0)]
    assert andy.pays is Pays.SETTLED


def test_what_was_held_is_nobodys_to_give_back(story: Story, cancelled: Path):
    alan = read(cancelled, story, "alan")
    assert ([line.reference for line in alan.gone], returning(alan)) == (["OCT-alan"], [])
    never = {line.reference: line.cancelled_at is not None for line in alan.undivided}
    assert never == {"DEC": True, "JAN": False}
    assert [line.reference for line in alan.waiting] == ["JAN"]
    assert [line.reference for line in alan.came_in] == ["OCT-alan", "NOV-alan", "DEC", "JAN"]


def test_where_all_is_cancelled_nothing_is_earned_and_both_owe(story: Story, cancelled: Path):
    both = read(cancelled, story, "both")
    assert (both.lines, both.pays) == ((), Pays.FIRST)
    assert {line.reference for line in both.gone} == {"OCT-both", "NOV-both"}
    shares = {one["artist"]: one["share_e12"] for one in story.answers["both"]["artists"]}
    assert returning(both) == [
        ("OCT-both", name, Fraction(1125 * share, 10**12), 0) for name, share in sorted(shares.items())
    ]


def test_a_later_payout_sets_off_what_was_paid_of_a_cancelled_line(
    story: Story, cancelled: Path, tmp_path: Path
):
    workspace = Path(shutil.copytree(cancelled, tmp_path / "space"))
    before = answer(workspace, "payout", "list")["payouts"]
    done(
        workspace,
        "revenue",
        "add",
        "FEB",
        "90.00",
        "EUR",
        "--image",
        story.images["andy"],
        "--date",
        "2027-02-01",
    )
    done(workspace, "settle", "2027-02")
    assert returning(read(workspace, story, "andy")) == [("OCT-andy", "Andy Fitzsimon", Fraction(1125, 2), 0)]
    done(workspace, "payout", "propose")
    assert len(answer(workspace, "payout", "list")["payouts"]) > len(before)
    assert returning(read(workspace, story, "andy")) == [("OCT-andy", "Andy Fitzsimon", 0, Fraction(1125, 2))]
    with open_registry(workspace, readonly=True) as store:
        assert_as_booked(store, now=utc_now())


@pytest.mark.parametrize(
    ("language", "said"),
    [
        (
            "en",
            (
                "€13.51 came in and was divided. Of that €12.50 was cancelled later",
                "Came in, and was divided €13.5100 Cancelled since -€12.5000 Earned by the image €1.0100",
                "Andy Fitzsimon €5.6250 €0.0000",
                "divided by settlement 1, cancelled on",
            ),
        ),
        (
            "de",
            (
                "13,51 € kamen herein und wurden aufgeteilt. Davon wurden 12,50 € später storniert",
                "Hereingekommen und aufgeteilt 13,5100 € Seither storniert -12,5000 € Vom Bild eingenommen",
                "Andy Fitzsimon 5,6250 € 0,0000 €",
                "aufgeteilt in Abrechnung 1, storniert am",
            ),
        ),
    ],
)
def test_the_page_shows_what_was_cancelled(
    story: Story, cancelled: Path, language: str, said: tuple[str, ...]
):
    page = html(cancelled, story, "andy", "--language", language)
    for words in said:
        assert words in page


def test_the_page_of_a_wholly_cancelled_image_says_that_nothing_is_left(story: Story, cancelled: Path):
    page = html(cancelled, story, "both")
    assert "So nothing is left that the image earned." in page
    assert "An example" not in page
    shown = html(cancelled, story, "alan")
    assert "One amount that the image brought in is not divided yet: €4.00." in shown
    assert ", before it was divided" in shown


def test_the_document_and_the_terminal_tell_it_too(story: Story, cancelled: Path):
    andy = story.answers["andy"]["attribution_id"]
    money = answer(cancelled, "report", "image", andy)["money"]
    assert [line["reference"] for line in money["lines"]] == ["OCT-yen", "NOV-andy"]
    [gone] = money["taken_back_lines"]
    assert (gone["reference"], gone["owed_back_minor"], gone["parts"]) == ("OCT-andy", "1125/2", [])
    assert gone["cancelled_at"] is not None
    assert [(one["for"], one["owed_back_minor"]) for one in gone["returning"]] == [("artist", "1125/2")]
    lines = command(cancelled, "report", "image", andy).text.splitlines()
    assert "  12.50  more came in, and was cancelled" in lines
    assert "  5.6250  was paid out before a division was taken back" in lines


def test_one_line_is_told_by_one_page(story: Story, cancelled: Path):
    with open_registry(cancelled, readonly=True) as store:
        pages, _ = all_money(store, now=utc_now())
    references = Counter(line.reference for money in pages for line in (*money.lines, *money.gone))
    assert max(references.values()) == 1
    assert len(references) == 19
