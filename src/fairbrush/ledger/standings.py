"""What is known of artists and developers when they are settled.

Enters: the registry, and what disputes contest. Leaves: a ``Standing`` for each artist and model, and whose a
model's part is. The one rule: it is what holds now, whatever held when the image was answered; a settlement
keeps it, and is taken back by what it kept.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from fractions import Fraction

from fairbrush.corpus.consent import effective_consents
from fairbrush.corpus.fidelity import read_fidelity
from fairbrush.corpus.membership import Membership, Model, rosters
from fairbrush.domain import Consent, Trained
from fairbrush.errors import SettlementError
from fairbrush.ledger.book import Account, AccountKind
from fairbrush.ledger.contests import Contests
from fairbrush.ledger.developers import developer_parts
from fairbrush.ledger.disputes import read_contests
from fairbrush.ledger.earnings import Parts, Standing, Treatment
from fairbrush.ledger.moves import MODEL_SUBJECT, artist_of
from fairbrush.ledger.terms import Rule, Terms, Withheld
from fairbrush.store import Store

_NAMED = 5  # of many, in a message


@dataclass(frozen=True)
class Facts:
    """``people``: artist_id -> (creator_id, payee_id); ``models``: model_id -> (base, payee_id);
    ``fidelity``: (model_id, artist_id) -> how exactly it is reproduced, and whether it is at all."""

    consents: Mapping[str, Consent]
    people: Mapping[str, tuple[str, str]]
    erased_payees: frozenset[str]
    models: Mapping[str, tuple[str | None, str | None]]
    rosters: Mapping[str, Mapping[str, Membership]]
    fidelity: Mapping[tuple[str, str], tuple[Fraction, bool]]
    contests: Contests

    @property
    def open_disputes(self) -> set[str]:
        return {contest.dispute_id for contest in self.contests.open.values()} | set(
            self.contests.standings.values()
        )


def read_facts(store: Store, *, now: datetime) -> Facts:
    """What holds now. now: UTC without a zone."""
    connection = store.connection
    people = connection.execute(
        "SELECT artist_id, creator_id, payee_id FROM artist JOIN creator USING (creator_id)"
    ).fetchall()
    payees = connection.execute("SELECT payee_id FROM payee WHERE name IS NULL").fetchall()
    models = connection.execute("SELECT model_id, base_model_id, payee_id FROM model").fetchall()
    return Facts(
        consents=effective_consents(connection, now=now),
        people={artist_id: (creator_id, payee_id) for artist_id, creator_id, payee_id in people},
        erased_payees=frozenset(payee_id for (payee_id,) in payees),
        models={model_id: (base, payee_id) for model_id, base, payee_id in models},
        rosters=rosters(store),
        fidelity={key: (one.fraction, one.is_reproducible) for key, one in read_fidelity(connection).items()},
        contests=read_contests(connection),
    )


def assess(
    facts: Facts,
    pairs: Iterable[tuple[str, str]],
    *,
    terms: Terms,
    before: Mapping[tuple[str, str], Standing] | None = None,
) -> dict[tuple[str, str], Standing]:
    """The standing of each (model_id, artist_id). before: what they had where this corrects a settlement:
    what was paid for somebody who is erased since stays owed to the payee.

    Raises SettlementError where one is not registered, or the terms ask for a fidelity that nobody measured.
    """
    wanted = sorted(pairs)
    strangers = sorted({artist_id for _, artist_id in wanted} - facts.people.keys())
    if strangers:
        raise SettlementError(
            f"Records credit artists who are not in the registry: {_some(strangers)}.",
            next_step="Restore the registry they were recorded with: fairbrush restore BACKUP DIR",
        )
    if terms.reproducibility is not Rule.IGNORE:
        unmeasured = [
            f"{artist_id} by {model_id}"
            for model_id, artist_id in wanted
            if (model_id, artist_id) not in facts.fidelity and facts.consents[artist_id] is not Consent.ERASED
        ]
        if unmeasured:
            raise SettlementError(
                f"The policy asks how well styles are reproduced; nobody measured {_some(unmeasured)}.",
                next_step="Measure it: fairbrush recognize; say it: fairbrush model fidelity; or adopt a"
                " policy that ignores it.",
            )
    earlier = before or {}
    return {key: _owed(facts, earlier.get(key)) or _standing(facts, *key, terms=terms) for key in wanted}


def developer_accounts(facts: Facts, model_ids: Iterable[str], *, terms: Terms) -> dict[str, Parts]:
    """Whose the part of each of these models is, by the chain of its bases."""
    models = [Model(model_id, base) for model_id, (base, _) in facts.models.items()]
    found = {}
    for model_id in sorted(set(model_ids)):
        parts: dict[Account, Fraction] = defaultdict(Fraction)
        for developer, part in developer_parts(models, terms, model_id).items():
            parts[_developer(facts, developer, facts.models[developer][1])] += part
        found[model_id] = tuple(sorted(parts.items()))
    return found


def unearned(facts: Facts, account: Account, nobody: Parts) -> Parts | None:
    """Where a fraction that is carried forward goes whose account is to receive nothing more: of an erased
    artist or payee, of a dispute that is resolved, of a model that has a payee now. None where it stays.
    nobody: the unattributed."""
    if account.kind is AccountKind.MODEL:
        _, model_payee = facts.models[account.holder]
        own = _developer(facts, account.holder, model_payee)
        return None if own == account else ((own, Fraction(1)),)
    artist_id = artist_of(account)
    if artist_id and facts.consents.get(artist_id) is Consent.ERASED:
        return nobody
    if account.kind is AccountKind.PAYABLE and (
        account.subject == "" or account.holder in facts.erased_payees
    ):
        return nobody
    if account.kind is AccountKind.DISPUTED and account.holder not in facts.open_disputes:
        return nobody if not artist_id else ((_held_for(facts, artist_id), Fraction(1)),)
    return None


def _standing(facts: Facts, model_id: str, artist_id: str, *, terms: Terms) -> Standing:
    creator_id, payee_id = facts.people[artist_id]
    consent = facts.consents[artist_id]
    trained = facts.rosters[model_id].get(artist_id)
    treatment, factor = _treatment(consent, payee_id in facts.erased_payees, terms=terms), Fraction(1)
    answer = Trained.UNKNOWN if trained is None else trained.trained
    if terms.membership is not Rule.IGNORE and answer is Trained.NO:
        treatment, factor = Treatment.UNATTRIBUTED, Fraction(0)
    elif terms.membership is Rule.WEIGHT and answer is Trained.UNKNOWN:
        factor = terms.membership_unknown
    if terms.reproducibility is not Rule.IGNORE and consent is not Consent.ERASED:
        fidelity, is_reproducible = facts.fidelity[model_id, artist_id]
        if terms.reproducibility is Rule.WEIGHT:
            factor *= fidelity
        elif not is_reproducible:
            treatment, factor = Treatment.UNATTRIBUTED, Fraction(0)
    return Standing(
        model_id,
        artist_id,
        creator_id,
        payee_id,
        consent,
        treatment,
        factor,
        # nothing is kept for somebody who is erased, whoever contests it
        None if consent is Consent.ERASED else facts.contests.standings.get(artist_id),
    )


def _owed(facts: Facts, before: Standing | None) -> Standing | None:
    """What remains of a standing that paid an artist who is erased now; None for any other."""
    if before is None or facts.consents[before.artist_id] is not Consent.ERASED:
        return None
    was_paid = before.treatment in (Treatment.PAID, Treatment.OWED) and before.dispute_id is None
    return replace(before, consent=Consent.ERASED, treatment=Treatment.OWED) if was_paid else None


def _treatment(consent: Consent, is_payee_erased: bool, *, terms: Terms) -> Treatment:
    match consent:
        case Consent.ERASED:
            return Treatment.UNATTRIBUTED
        case Consent.OPTED_OUT:
            withheld = terms.opted_out
        case Consent.UNCLAIMED:
            withheld = terms.unclaimed
        case Consent.OPTED_IN:
            return Treatment.ESCROW if is_payee_erased else Treatment.PAID
    return Treatment.ESCROW if withheld is Withheld.ESCROW else Treatment.UNATTRIBUTED


def _developer(facts: Facts, model_id: str, payee_id: str | None) -> Account:
    if payee_id is None or payee_id in facts.erased_payees:
        return Account(AccountKind.MODEL, model_id)
    return Account(AccountKind.PAYABLE, payee_id, f"{MODEL_SUBJECT}{model_id}")


def _held_for(facts: Facts, artist_id: str) -> Account:
    """Where what is an artist's goes now."""
    _, payee_id = facts.people[artist_id]
    dispute_id = facts.contests.standings.get(artist_id)
    if dispute_id is not None:
        return Account(AccountKind.DISPUTED, dispute_id, artist_id)
    if facts.consents[artist_id] is Consent.OPTED_IN and payee_id not in facts.erased_payees:
        return Account(AccountKind.PAYABLE, payee_id, artist_id)
    return Account(AccountKind.ESCROW, artist_id)


def _some(names: list[str]) -> str:
    more = f" and {len(names) - _NAMED} more" if len(names) > _NAMED else ""
    return ", ".join(names[:_NAMED]) + more
