"""The facts of one answer, on a small platform's two months: shares, who is named, and every cent's way."""

import shutil
from collections import defaultdict
from fractions import Fraction
from pathlib import Path

import pytest
from story import HOSTILE, Story, done
from workspaces import answer, rows

from fairbrush.corpus.changes import open_registry
from fairbrush.domain import Consent
from fairbrush.errors import RecordError
from fairbrush.ledger.book import AccountKind
from fairbrush.ledger.disputes import State
from fairbrush.ledger.lines import settled_images
from fairbrush.ledger.moves import artist_of
from fairbrush.ledger.settled import Purpose, list_settlements, purpose, read_frozen
from fairbrush.reports.pages.image.earned import MoneyPart, Pays, Place, Step, summed
from fairbrush.reports.pages.image.facts import ImageReport, Unexplained
from fairbrush.reports.pages.image.reading import read_report
from fairbrush.store import utc_now
from fairbrush.uncertainty import Confidence


def read(workspace: Path, attribution_id: str) -> ImageReport:
    with open_registry(workspace, readonly=True) as store:
        return read_report(store, attribution_id, now=utc_now())


@pytest.fixture(scope="module")
def reports(story: Story) -> dict[str, ImageReport]:
    return {short: read(story.workspace, one["attribution_id"]) for short, one in story.answers.items()}


def way(report: ImageReport, currency: str) -> list[tuple[str, str, Fraction, str]]:
    """What for, of whom, how much and where, of all lines of a currency."""
    lines = report.money.by_currency[currency]
    parts = summed([part for line in lines for part in line.parts])
    return [(str(p.step), p.artist.name if p.artist else "", p.exact_minor, p.place.name) for p in parts]


def test_shares_intervals_and_works_are_those_of_the_answer(story: Story, reports: dict[str, ImageReport]):
    report, told = reports["both"], story.answers["both"]
    assert [c.artist.artist_id for c in report.credits] == [one["artist_id"] for one in told["artists"]]
    assert [c.share_e12 for c in report.credits] == [one["share_e12"] for one in told["artists"]]
    assert [list(c.interval or ()) for c in report.credits] == [one["interval"] for one in told["artists"]]
    for credit, one in zip(report.credits, told["artists"], strict=True):
        assert (credit.similarity, credit.z) == (one["similarity"], one["z"])
        assert credit.strangers == one["similarity"] - one["z"]
        works = [{"work_sha256": w.sha256, "similarity": w.similarity} for w in credit.evidence]
        assert works == one["evidence"]
    assert report.model_share_e12 == told["model_share_e12"]
    assert (report.confidence, report.steadiness) == (Confidence(told["confidence"]), told["steadiness"])
    assert report.versions.index_manifest_digest == told["index_manifest_digest"]
    assert (report.delta, report.entry) == (
        float(told["value_function"]["parameters"]["delta"]),
        float(told["value_function"]["parameters"]["entry"]),
    )


def test_who_is_erased_has_no_name_and_who_opted_out_no_picture(reports: dict[str, ImageReport]):
    [erased] = reports["jarno"].credits
    assert (erased.artist.name, erased.artist.consent, erased.evidence) == ("", Consent.ERASED, ())
    by_name = {credit.artist.name: credit for credit in reports["both"].credits}
    assert [work.is_shown for work in by_name["Danny Allen"].evidence] == [False] * 3
    assert [work.is_shown for work in by_name["Andy Fitzsimon"].evidence] == [True] * 3
    assert reports["danny"].is_kept_back
    assert not reports["both"].is_kept_back
    assert reports["jarno"].path is None


def test_a_runner_up_who_is_erased_is_not_named(story: Story, reports: dict[str, ImageReport]):
    erased = reports["nobody"].runner_up
    assert erased is not None
    assert erased.artist is None
    assert erased.needed == reports["nobody"].delta > erased.z
    assert erased.behind is None
    named = reports["andy"].runner_up
    assert named is not None
    assert named.artist is not None
    assert named.artist.name == HOSTILE
    assert named.needed == reports["andy"].entry
    assert named.behind == reports["andy"].credits[0].z - named.z
    assert not named.is_near


def test_why_something_is_nobodys_is_told_by_the_record(reports: dict[str, ImageReport]):
    assert reports["nobody"].unexplained is Unexplained.TOO_FAR
    assert reports["nobody"].reason.startswith("No artist is near enough")
    assert reports["both"].unexplained is None


def test_a_mix_tells_its_inputs_and_shows_none_of_who_opted_out(reports: dict[str, ImageReport]):
    inputs = [
        (one.artist.name, round(one.weight, 6), one.is_shown) for one in reports["mix"].mixed if one.artist
    ]
    assert inputs == [("Andy Fitzsimon", 0.666667, True), ("Danny Allen", 0.333333, False)]
    assert reports["mix"].confidence is None


def test_money_goes_from_revenue_to_where_it_is(reports: dict[str, ImageReport]):
    """12.50 in October, paid since; 1.01 in November, after the payouts; a tenth is the platform's."""
    assert way(reports["andy"], "EUR") == [
        ("fee", "", Fraction(1351, 10), "PLATFORM"),
        ("model", "", Fraction(12159, 20), "HELD"),
        ("artist", "Andy Fitzsimon", Fraction(1125, 2), "PAID"),
        ("artist", "Andy Fitzsimon", Fraction(909, 20), "OWED"),
    ]
    assert way(reports["andy"], "JPY") == [
        ("fee", "", Fraction(99), "PLATFORM"),
        ("model", "", Fraction(891, 2), "HELD"),
        ("artist", "Andy Fitzsimon", Fraction(891, 2), "ON_ITS_WAY"),
    ]
    places = {
        short: [place for *_, place in way(reports[short], "EUR")[2:]] for short in reports if short != "mix"
    }
    assert places["danny"] == ["ON_ITS_WAY", "OPTED_OUT"]
    assert places["alan"] == ["UNCLAIMED"]
    assert places["benji"] == ["OWED"]  # the payout failed
    assert places["jarno"] == ["ON_ITS_WAY", "OWED"]  # before the erasure, and under nobody's name
    assert places["andy-again"] == ["DISPUTED"]
    assert places["nobody"] == ["UNCLAIMED", "FUND"]  # by what was decided
    assert reports["andy-again"].money.taken_back == 2
    assert reports["nobody"].money.taken_back == 4
    assert reports["andy"].money.waiting == ()


def test_every_line_is_divided_to_the_last_fraction(reports: dict[str, ImageReport]):
    lines = [line for report in reports.values() for line in report.money.lines]
    assert len(lines) == 19
    for line in lines:
        assert sum(part.exact_minor for part in line.parts) == line.exact_minor == line.amount_minor


def of_account(kind: AccountKind) -> Step:
    return {AccountKind.PLATFORM: Step.FEE, AccountKind.MODEL: Step.MODEL}.get(kind, Step.ARTIST)


def test_all_images_together_come_to_what_was_settled(story: Story, reports: dict[str, ImageReport]):
    """An oracle: what all settlements and reversals booked exactly, by artist."""
    settled: dict[tuple[str, Step, str], Fraction] = defaultdict(Fraction)
    with open_registry(story.workspace, readonly=True) as store:
        for settlement in list_settlements(store.connection):
            for part in settlement.parts:
                step, artist_id = of_account(part.account.kind), artist_of(part.account)
                if step is Step.ARTIST and not artist_id:
                    step = Step.UNATTRIBUTED
                settled[part.currency, step, artist_id] += part.exact
    told: dict[tuple[str, Step, str], Fraction] = defaultdict(Fraction)
    for report in reports.values():
        for line in report.money.lines:
            for part in line.parts:
                told[line.currency, part.step, part.artist.artist_id if part.artist else ""] += (
                    part.exact_minor
                )
    assert told == settled
    assert len(told) == 11


def test_what_was_paid_before_a_dispute_counts_for_what_is_divided_after_it(story: Story, tmp_path: Path):
    """Paid 5.62 for October; contested in November, and found to have been right."""
    workspace = Path(shutil.copytree(story.workspace, tmp_path / "space"))
    contested = story.answers["andy-again"]["attribution_id"]
    lines = read(workspace, contested).money.lines
    assert [line.owed_back_minor for line in lines] == [Fraction(1125, 2), 0]
    disputes = answer(workspace, "dispute", "list")["disputes"]
    [opened] = [one["dispute_id"] for one in disputes if one["state"] == "open"]
    done(workspace, "dispute", "resolve", opened, "--rejected", "--reason", "it is Andy's hand")
    report = read(workspace, contested)
    assert way(report, "EUR")[2:] == [
        ("artist", "Andy Fitzsimon", Fraction(1125, 2), "PAID"),
        ("artist", "Andy Fitzsimon", Fraction(909, 20), "OWED"),
    ]
    assert [line.owed_back_minor for line in report.money.lines] == [0, 0]
    assert sum(part.exact_minor for part in report.money.lines[0].parts) == 1250


def test_whose_part_is_not_contested_stays_paid(story: Story, tmp_path: Path):
    """Danny's part of an image is given to Alan: Andy's was paid, and Danny's was on its way."""
    workspace = Path(shutil.copytree(story.workspace, tmp_path / "space"))
    shared = story.answers["both"]["attribution_id"]
    before = way(read(workspace, shared), "EUR")
    contest = ("dispute", "open", "--reason", "mine", "--by", story.names["alan"], "--attribution", shared)
    opened = answer(workspace, *contest, "--contest", story.names["danny"])["dispute_id"]
    name = f"{story.names['alan']}:1"
    done(workspace, "dispute", "resolve", opened, "--reason", "it is", "--give", name)
    report = read(workspace, shared)
    told = way(report, "EUR")
    assert told[:4] == before[:4]
    assert [(whose, exact, place) for _, whose, exact, place in before[4:]] == [
        ("Danny Allen", before[4][2], "ON_ITS_WAY"),
        ("Danny Allen", before[5][2], "OPTED_OUT"),
    ]
    assert told[4:] == [("artist", "Alan Horkan", before[4][2] + before[5][2], "UNCLAIMED")]
    assert sum(line.owed_back_minor for line in report.money.lines) == before[4][2]


def test_what_is_owed_to_who_opted_out_is_held(story: Story, tmp_path: Path):
    workspace = Path(shutil.copytree(story.workspace, tmp_path / "space"))
    report = read(workspace, story.answers["andy"]["attribution_id"])
    assert way(report, "EUR")[3][3] == "OWED"
    done(workspace, "artist", "consent", story.names["andy"], "opted_out", "--reason", "asked to stop")
    report = read(workspace, story.answers["andy"]["attribution_id"])
    assert way(report, "EUR")[3][3] == "OPTED_OUT"


def test_what_the_rules_take_from_shares_is_told(story: Story, tmp_path: Path):
    """Danny's share is below what can be claimed, and half of Andy's counts: nobody knows of either."""
    workspace = Path(shutil.copytree(story.workspace, tmp_path / "space"))
    settings = workspace / "fairbrush.toml"
    rules = 'platform_fee = 0.1\nminimum_claim = 0.2\nmembership = "weight"\nmembership_unknown = 0.5\n'
    settings.write_text(settings.read_text().replace("platform_fee = 0.1\n", rules))
    done(workspace, "policy", "adopt", "--from", "2026-12-01")
    done(
        workspace,
        "revenue",
        "add",
        "DEC",
        "10.00",
        "EUR",
        "--image",
        story.images["both"],
        "--date",
        "2026-12-02",
    )
    done(workspace, "settle", "2026-12")
    lines = read(workspace, story.answers["both"]["attribution_id"]).money.lines
    *earlier, line = sorted(lines, key=lambda line: line.earned_to)
    andy, danny = (Fraction(c["share_e12"], 10**12) * 900 for c in story.answers["both"]["artists"])
    assert [(part.step, part.exact_minor) for part in summed(line.parts)][2:] == [
        (Step.ARTIST, andy / 2),
        (Step.UNATTRIBUTED, andy / 2 + danny),
    ]
    assert line.by_rule_minor == andy / 2 + danny
    assert [one.by_rule_minor for one in earlier] == [0, 0]


def test_a_line_spread_over_images_is_parted_among_them(story: Story, tmp_path: Path):
    workspace = Path(shutil.copytree(story.workspace, tmp_path / "space"))
    over = tmp_path / "over.csv"
    digests = [story.answers[short]["image"]["sha256"] for short in ("both", "nobody", "alan")]
    over.write_text(
        "sha256,weight\n" + "".join(f"{d},{w}\n" for d, w in zip(digests, (1, 2, 4), strict=True))
    )
    done(
        workspace,
        "revenue",
        "add",
        "DEC",
        "10.00",
        "EUR",
        "--period",
        "2026-12",
        "--over",
        over,
        "--by",
        "weight",
    )
    [waiting] = read(workspace, story.answers["both"]["attribution_id"]).money.waiting
    assert (waiting.reference, waiting.exact_minor) == ("DEC", Fraction(1000, 7))
    done(workspace, "settle", "2026-12")
    told: dict[Purpose, Fraction] = defaultdict(Fraction)
    purposes = {
        Step.FEE: lambda _: Purpose.PLATFORM,
        Step.MODEL: lambda _: Purpose.MODELS,
        Step.UNATTRIBUTED: lambda _: Purpose.UNATTRIBUTED,
        Step.ARTIST: lambda part: Purpose.ARTISTS if part.place is Place.OWED else Purpose.ESCROW,
    }
    for short, weight in (("both", 1), ("nobody", 2), ("alan", 4)):
        report = read(workspace, story.answers[short]["attribution_id"])
        [line] = [line for line in report.money.lines if line.reference == "DEC"]
        assert (line.part, line.exact_minor) == (Fraction(weight, 7), Fraction(1000 * weight, 7))
        for part in line.parts:
            told[purposes[part.step](part)] += part.exact_minor
    with open_registry(workspace, readonly=True) as store:
        last = list_settlements(store.connection)[-1].settlement_id
        images = settled_images(store.connection, last)
        settled: dict[Purpose, Fraction] = defaultdict(Fraction)
        for account, exact in (
            read_frozen(store.connection, last).earnings(store.connection, images)["EUR"].items()
        ):
            settled[purpose(account)] += exact
    assert told == settled
    assert sum(told.values()) == 1000


def test_an_example_is_divided_by_todays_rules(reports: dict[str, ImageReport]):
    money = reports["mix"].money
    assert (money.pays, money.lines) == (Pays.UNPINNED, ())
    assert money.example is not None
    danny, andy = (Fraction(c.share_e12, 10**12) * 9000 for c in reports["mix"].credits)
    assert [(p.step, p.exact_minor, p.place) for p in summed(money.example.parts)] == [
        (Step.FEE, 1000, Place.PLATFORM),
        (Step.MODEL, 4500, Place.HELD),
        (Step.ARTIST, danny, Place.OPTED_OUT),
        (Step.ARTIST, andy, Place.OWED),
    ]
    assert danny + andy == 4500


def test_disputes_are_told_open_and_decided(reports: dict[str, ImageReport]):
    [open_one] = reports["andy-again"].disputes
    assert (open_one.state, open_one.by, open_one.resolved_at) == (State.OPEN, "Benji Park", None)
    assert [artist.name for artist in open_one.artists] == ["Andy Fitzsimon"]
    [decided] = reports["nobody"].disputes
    assert (decided.state, decided.claims_unattributed, decided.artists) == (State.UPHELD, True, ())
    given = reports["nobody"].decided
    assert given is not None
    assert [(artist.name, share) for artist, share in given.shares_e12] == [("Alan Horkan", 25 * 10**10)]
    assert given.unattributed_e12 == 25 * 10**10


def test_which_answer_pays_is_told_before_anything_is_settled(story: Story, tmp_path: Path):
    workspace = Path(shutil.copytree(story.workspace, tmp_path / "space"))
    image = story.images["both"].parent.parent / "mix.png"
    first, second = (
        answer(workspace, "attribute", image, *more)["attributions"][0]["attribution_id"]
        for more in ((), ("--prompt", "a folder by Andy Fitzsimon"))
    )
    assert rows(workspace, "SELECT count(*) AS n FROM attribution") == [{"n": 12}]  # and both are drained
    assert read(workspace, first).money.pays is Pays.FIRST
    report = read(workspace, second)
    assert (report.money.pays, report.money.paying_id) == (Pays.OTHER, first)
    assert report.hinted is not None
    assert [artist.name for artist in report.hinted.artists] == ["Andy Fitzsimon"]
    assert {one.attribution_id for one in report.others} == {first, story.answers["mix"]["attribution_id"]}


def test_without_a_policy_the_example_has_no_fee(gallery, tmp_path: Path):
    workspace = Path(shutil.copytree(gallery.workspace, tmp_path / "space"))
    told = answer(workspace, "attribute", gallery.credited)["attributions"][0]
    assert rows(workspace, "SELECT count(*) AS n FROM attribution") == [{"n": 1}]
    money = read(workspace, told["attribution_id"]).money
    assert money.pays is Pays.NO_POLICY
    assert money.example is not None
    assert (money.example.is_adopted, money.example.platform_fee) == (False, 0)
    assert sum(part.exact_minor for part in money.example.parts) == 10_000


def test_an_unknown_record_is_an_error(story: Story):
    with pytest.raises(RecordError, match="no record"):
        read(story.workspace, "0" * 64)


def test_parts_are_added_up_by_step_artist_and_place():
    parts = [
        MoneyPart(Step.UNATTRIBUTED, Fraction(1), place=Place.FUND),
        MoneyPart(Step.FEE, Fraction(1, 3), place=Place.PLATFORM),
        MoneyPart(Step.FEE, Fraction(2, 3), place=Place.PLATFORM),
    ]
    assert [(one.step, one.exact_minor) for one in summed(parts)] == [(Step.FEE, 1), (Step.UNATTRIBUTED, 1)]
