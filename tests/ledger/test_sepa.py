"""Payout files: what a bank reads is what is owed, in letters and sums it takes."""

from __future__ import annotations

import csv
import io
import random
import re
from collections.abc import Iterator
from datetime import date, timedelta
from importlib import util
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest
from earnings import NOW, artist, earn, open_world, payable
from hypothesis import given, settings
from hypothesis import strategies as st

from fairbrush.corpus.consent import set_consent
from fairbrush.domain import Artist, Consent
from fairbrush.errors import MoneyError
from fairbrush.ledger import bank_details, sepa
from fairbrush.ledger.bank_details import (
    BankAccount,
    checked_bic,
    checked_iban,
    in_sepa,
    masked,
    read_bank_accounts,
    remove_bank_account,
    set_bank_account,
)
from fairbrush.ledger.payouts import Payout, PayoutStatus, confirm, propose
from fairbrush.ledger.sepa import (
    Debtor,
    Export,
    checked_debtor,
    end_to_end_id,
    export_csv,
    export_pain,
    message_id,
    sepa_text,
)
from fairbrush.store import Store

GERMAN, FRENCH = "DE89370400440532013000", "FR1420041010050500013M02606"
BRAZILIAN = "BR1800360305000010009795493C1"
DEBTOR = Debtor("Fairbrush & Co", "NL91ABNA0417164300")
DAY = timedelta(days=1)
TOMORROW = (NOW + DAY).date()
SPACE = {"p": "urn:iso:std:iso:20022:tech:xsd:pain.001.001.09"}
needs_extra = pytest.mark.skipif(util.find_spec("sepaxml") is None, reason="the extra sepa is not installed")


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    with open_world(tmp_path / "space") as opened:
        yield opened


def owe(store: Store, name: str, amount: int, currency: str = "EUR", **account: Any) -> Artist:
    """An artist who is owed something, and maybe has an account."""
    one = artist(store, name)
    earn(store, payable(one), amount, currency)
    if account:
        set_bank_account(store, one.payee_id, now=NOW, **account)
    return one


def pain(store: Store, debtor: Debtor = DEBTOR) -> Export:
    return export_pain(store.connection, debtor, execution_date=TOMORROW, now=NOW)


def texts(content: bytes | None, name: str) -> list[str | None]:
    assert content is not None
    return [element.text for element in ElementTree.fromstring(content).iterfind(f".//p:{name}", SPACE)]


def tables(store: Store) -> list[Any]:
    names = ("payout", "payout_event", "entry", "posting", "payee_account", "chain_leaf")
    return [store.connection.execute(f"SELECT * FROM {name} ORDER BY ALL").fetchall() for name in names]


# pain.001


@needs_extra
def test_a_transfer_names_who_gets_how_much_and_the_sums_are_right(store: Store) -> None:
    owe(store, "Zoë Müller & Söhne <Köln>", 5, iban=GERMAN, bic="COBADEFFXXX")
    owe(store, "Bo", 123456, iban=FRENCH, holder="Bo's Agency")
    payouts = propose(store, now=NOW).payouts
    before = tables(store)
    export = pain(store)
    assert tables(store) == before
    assert (set(export.payouts), export.left_out) == (set(payouts), ())
    read = {
        field: dict(zip(texts(export.content, "EndToEndId"), texts(export.content, path), strict=True))
        for field, path in (
            ("amount", "InstdAmt"),
            ("name", "Cdtr/p:Nm"),
            ("iban", "CdtrAcct//p:IBAN"),
            ("text", "Ustrd"),
        )
    }
    by_amount = {one.amount_minor: end_to_end_id(one) for one in payouts}
    zoe, bo = by_amount[5], by_amount[123456]
    assert read["amount"] == {zoe: "0.05", bo: "1234.56"}
    assert read["name"] == {zoe: "Zoe Muller + Sohne .Koln.", bo: "Bo's Agency"}
    assert read["iban"] == {zoe: GERMAN, bo: FRENCH}
    assert read["text"] == {zoe: f"payout {zoe}", bo: f"payout {bo}"}
    assert texts(export.content, "CtrlSum") == ["1234.61", "1234.61"]
    assert texts(export.content, "NbOfTxs") == ["2", "2"]
    assert texts(export.content, "CdtrAgt//p:BICFI") == ["COBADEFFXXX"]
    assert texts(export.content, "Dbtr/p:Nm") == ["Fairbrush + Co"]
    assert texts(export.content, "DbtrAcct//p:IBAN") == [DEBTOR.iban]
    assert texts(export.content, "DbtrAgt//p:Othr/p:Id") == ["NOTPROVIDED"]
    assert texts(export.content, "ReqdExctnDt/p:Dt") == ["2026-06-02"]
    root = ElementTree.fromstring(export.content or b"")
    assert [one.get("Ccy") for one in root.iterfind(".//p:InstdAmt", SPACE)] == ["EUR", "EUR"]


@needs_extra
def test_the_same_payouts_make_the_same_file_and_others_another_message(store: Store) -> None:
    owe(store, "Ann", 5, iban=GERMAN)
    propose(store, now=NOW)
    first = pain(store)
    assert pain(store).content == first.content
    ids = texts(first.content, "MsgId")
    assert ids == texts(first.content, "PmtInfId") == [message_id(first.payouts)]
    assert texts(first.content, "CreDtTm") == ["2026-06-01T12:00:00"]
    owe(store, "Bo", 5, iban=FRENCH)
    propose(store, now=NOW)
    assert texts(pain(store).content, "MsgId") != ids


@needs_extra
def test_end_to_end_ids_and_message_ids_fit_and_are_each_payouts_own(store: Store) -> None:
    for number in range(5):
        owe(store, f"Artist {number}", 7, iban=GERMAN)
    propose(store, now=NOW)
    ids = texts(pain(store).content, "EndToEndId")
    assert len(set(ids)) == 5
    assert all(
        re.fullmatch("[0-9a-f]{32}", one or "") for one in [*ids, *texts(pain(store).content, "MsgId")]
    )


@needs_extra
def test_the_debtors_bank_is_named_where_it_is_given(store: Store) -> None:
    owe(store, "Ann", 5, iban=GERMAN)
    propose(store, now=NOW)
    content = pain(store, checked_debtor("Me", DEBTOR.iban, "abna nl 2a")).content
    assert texts(content, "DbtrAgt//p:BICFI") == ["ABNANL2A"]
    assert texts(content, "DbtrAgt//p:Othr/p:Id") == []


@needs_extra
def test_what_sepa_cannot_pay_is_left_out_with_its_reason(store: Store) -> None:
    paid = owe(store, "Ann", 5, iban=GERMAN)
    expected = {
        owe(store, "Yen", 500, "JPY", iban=GERMAN).payee_id: "SEPA pays in EUR, not in JPY",
        owe(store, "No account", 5).payee_id: "no IBAN is known: fairbrush payee account",
        owe(store, "Abroad", 5, iban=BRAZILIAN).payee_id: "the IBAN BR** **** 93C1 is not of a SEPA country",
        owe(store, "Rich", 10**11, iban=GERMAN).payee_id: "more than one SEPA transfer",
        owe(store, "///", 5, iban=GERMAN).payee_id: "no letter a bank can read",
    }
    propose(store, now=NOW)
    export = pain(store)
    assert [one.payee_id for one in export.payouts] == [paid.payee_id]
    assert {one.payout.payee_id for one in export.left_out} == expected.keys()
    for one in export.left_out:
        assert expected[one.payout.payee_id] in one.reason


@needs_extra
def test_the_largest_transfer_is_written_to_the_cent(store: Store) -> None:
    owe(store, "Rich", 10**11 - 1, iban=GERMAN)
    propose(store, now=NOW)
    assert texts(pain(store).content, "InstdAmt") == ["999999999.99"]


def test_who_opted_out_since_the_proposal_is_in_no_file(store: Store) -> None:
    ann = owe(store, "Ann", 5, iban=GERMAN)
    propose(store, now=NOW)
    set_consent(store, ann.artist_id, Consent.OPTED_OUT, now=NOW)
    exports = [export_csv(store.connection, now=NOW)]
    if util.find_spec("sepaxml"):
        exports.append(pain(store))
    for export in exports:
        assert (export.content, export.payouts) == (None, ())
        assert [one.reason for one in export.left_out] == [
            "the artist is opted out; fail it, and propose again"
        ]


def test_only_what_is_proposed_is_exported(store: Store) -> None:
    owe(store, "Ann", 5, iban=GERMAN)
    assert export_csv(store.connection, now=NOW) == Export(None, (), ())
    confirm(store, propose(store, now=NOW).payouts[0].payout_id, reference="B", now=NOW)
    assert export_csv(store.connection, now=NOW) == Export(None, (), ())


@needs_extra
def test_a_day_that_is_over_and_a_debtor_no_bank_can_read_are_refused(store: Store) -> None:
    with pytest.raises(MoneyError, match="2026-05-31 is over"):
        export_pain(store.connection, DEBTOR, execution_date=date(2026, 5, 31), now=NOW)
    with pytest.raises(MoneyError, match="No bank can read"):
        pain(store, Debtor("//", DEBTOR.iban))


def test_without_the_extra_pain_001_says_what_to_install(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sepa, "find_spec", lambda name: None)
    with pytest.raises(MoneyError, match=r"fairbrush\[sepa\]"):
        pain(store)


@needs_extra
@settings(max_examples=200, deadline=None)
@given(name=st.text(max_size=120))
def test_a_name_is_sent_in_the_letters_every_bank_takes(name: str) -> None:
    sent = sepa_text(name)
    assert re.fullmatch(r"[a-zA-Z0-9/\-?:().,'+ ]{0,70}", sent)
    assert not sent.startswith("/")
    assert not sent.endswith("/")
    assert "//" not in sent
    assert sepa_text(sent) == sent


@needs_extra
@settings(max_examples=12, deadline=None)
@given(
    owed=st.lists(
        st.tuples(st.text(max_size=80).filter(sepa_text), st.integers(1, 10**11 - 1)),
        min_size=1,
        max_size=8,
    )
)
def test_any_payees_make_a_valid_file_whose_sums_are_exact(owed: list[tuple[str, int]]) -> None:
    payouts = [
        Payout(f"{place:064}", str(place), name, "EUR", amount, (), PayoutStatus.PROPOSED, NOW, NOW)
        for place, (name, amount) in enumerate(owed)
    ]
    accounts = {one.payee_id: BankAccount(one.payee_id, one.payee_name, GERMAN) for one in payouts}
    content = sepa._pain(payouts, accounts, DEBTOR, TOMORROW, NOW)
    euros, cents = divmod(sum(one.amount_minor for one in payouts), 100)
    assert texts(content, "GrpHdr/p:CtrlSum") == [f"{euros}.{cents:02}"]
    assert texts(content, "GrpHdr/p:NbOfTxs") == [str(len(owed))]
    sent = [int((text or "").replace(".", "")) for text in texts(content, "InstdAmt")]
    assert sent == [one.amount_minor for one in payouts]


# CSV


def test_the_table_has_every_currency_and_no_formula(store: Store) -> None:
    ann = owe(store, "=HYPERLINK(1)", 1250, iban=GERMAN)
    bo = owe(store, 'Bo, the "Great"', 7, "JPY")
    kim = owe(store, "Kim", 5, "KWD", iban=FRENCH, holder="@Kim")
    payouts = {one.payee_id: one for one in propose(store, now=NOW).payouts}
    before = tables(store)
    export = export_csv(store.connection, now=NOW)
    assert tables(store) == before
    rows = list(csv.reader(io.StringIO((export.content or b"").decode())))
    assert rows[0] == ["payout_id", "payee", "iban", "amount", "currency", "reference"]
    assert {tuple(row[1:5]) for row in rows[1:]} == {
        ("'=HYPERLINK(1)", GERMAN, "12.50", "EUR"),
        ('Bo, the "Great"', "", "7", "JPY"),
        ("'@Kim", FRENCH, "0.005", "KWD"),
    }
    for one in (ann, bo, kim):
        payout_id = payouts[one.payee_id].payout_id
        assert [row[5] for row in rows if row[0] == payout_id] == [payout_id[:32]]


# bank accounts


def test_a_bank_account_is_kept_compact_replaced_and_forgotten(store: Store) -> None:
    ann = artist(store, "Ann")
    kept = set_bank_account(store, ann.payee_id, "de89 3704 0044 0532 0130 00", now=NOW)
    assert (kept.holder, kept.iban, kept.bic, kept.masked_iban) == ("Ann", GERMAN, None, "DE** **** 3000")
    set_bank_account(store, ann.payee_id, FRENCH, holder="Bo", bic="COBADEFF", now=NOW)
    assert [(a.holder, a.iban, a.bic) for a in read_bank_accounts(store.connection).values()] == [
        ("Bo", FRENCH, "COBADEFF")
    ]
    assert remove_bank_account(store, ann.payee_id) is True
    assert remove_bank_account(store, ann.payee_id) is False
    assert read_bank_accounts(store.connection) == {}


def test_an_erased_payee_gets_no_bank_account(store: Store) -> None:
    ann = artist(store, "Ann")
    store.connection.execute("UPDATE payee SET name = NULL")
    for payee_id in (ann.payee_id, "nobody"):
        with pytest.raises(MoneyError, match="erased or unknown"):
            set_bank_account(store, payee_id, GERMAN, now=NOW)


@pytest.mark.parametrize("text", ["", "DE", "DE8937040044053201300O", "12345678901234567890", GERMAN + "0"])
def test_what_is_no_iban_is_refused_without_repeating_it(text: str) -> None:
    with pytest.raises(MoneyError) as error:
        checked_iban(text)
    assert len(text) < 3 or text not in str(error.value)


def test_any_one_digit_that_is_wrong_is_found() -> None:
    rng = random.Random(1)
    for iban in (GERMAN, FRENCH, BRAZILIAN, DEBTOR.iban):
        for place in range(2, len(iban)):
            if iban[place].isdigit():
                other = rng.choice([digit for digit in "0123456789" if digit != iban[place]])
                with pytest.raises(MoneyError):
                    checked_iban(iban[:place] + other + iban[place + 1 :])


@needs_extra
def test_an_iban_of_no_country_is_known_with_the_extra_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    too_short = "DE41370400440532013"
    with pytest.raises(MoneyError, match=r"DE\*\* \*\*\*\* 2013 is not as long, or not made"):
        checked_iban(too_short)
    monkeypatch.setattr(bank_details, "knows_banks", lambda: False)
    assert checked_iban(too_short) == too_short
    with pytest.raises(MoneyError, match="check digits"):
        checked_iban("DE43370400440532013")
    with pytest.raises(MoneyError, match=r"fairbrush\[sepa\]"):
        in_sepa(GERMAN)


@pytest.mark.parametrize("bic", ["COBADEFF", "COBADEFFXXX", "coba de ff"])
def test_a_bic_is_kept_compact(bic: str) -> None:
    assert checked_bic(bic) in ("COBADEFF", "COBADEFFXXX")


@pytest.mark.parametrize("bic", ["", "COBADEF", "COBADEFFXX", "COBA12FF"])
def test_what_is_no_bic_is_refused(bic: str) -> None:
    with pytest.raises(MoneyError, match="is no BIC"):
        checked_bic(bic)


def test_a_masked_iban_shows_its_country_and_four_last() -> None:
    assert masked(FRENCH) == "FR** **** 2606"
