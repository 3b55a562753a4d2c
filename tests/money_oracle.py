"""What a revenue line earns whom, once more and naively: an image and an artist at a time, in fractions, from
the tables, the bodies of the records and what the registry says now."""

from __future__ import annotations

import json
from collections import defaultdict
from fractions import Fraction

from fairbrush.corpus.consent import effective_consents
from fairbrush.domain import Consent, Trained
from fairbrush.ledger.book import Account, AccountKind
from fairbrush.ledger.disputes import read_contests
from fairbrush.ledger.exactly import parse_fraction
from fairbrush.ledger.policies import AdoptedPolicy, adopted_policies
from fairbrush.ledger.terms import Rule, Terms, Unattributed, Withheld
from fairbrush.store import Store

Exact = dict[Account, Fraction]
E12 = 10**12


class Oracle:
    """All that is known now."""

    def __init__(self, store: Store, *, now) -> None:
        self.connection = store.connection
        self.consents = effective_consents(self.connection, now=now)
        self.contests = read_contests(self.connection)
        self.models = {
            row[0]: row[1:] for row in self._rows("SELECT model_id, base_model_id, payee_id FROM model")
        }
        self.payees = dict(
            self._rows("SELECT artist_id, payee_id FROM artist JOIN creator USING (creator_id)")
        )
        self.nameless = {row[0] for row in self._rows("SELECT payee_id FROM payee WHERE name IS NULL")}
        self.policies = adopted_policies(self.connection)

    def _rows(self, query: str, *values: object) -> list[tuple]:
        return self.connection.execute(query, list(values)).fetchall()

    def earned(self, revenue_id: str, policy_digest: str, corrected: str | None) -> Exact:
        """corrected: the settlement that settled the line before, whose policy is kept."""
        ((amount, day, image, own_model),) = self._rows(
            "SELECT amount_minor, earned_to, image_sha256, model_id FROM revenue WHERE revenue_id = ?",
            revenue_id,
        )
        in_effect = [one for one in self.policies if one.effective_from <= day]
        policy = max(in_effect, key=lambda one: (one.effective_from, one.version))
        if corrected is not None:
            ((digest,),) = self._rows(
                "SELECT policy_digest FROM settlement WHERE settlement_id = ?", corrected
            )
            (policy,) = (one for one in self.policies if one.digest == digest)
        assert policy.digest == policy_digest
        self.owed = self._owed(corrected)
        model_id = own_model or policy.split.model
        images = [(image, 1)]
        if image is None:
            images = self._rows(
                "SELECT image_sha256, weight_e6 FROM revenue_image WHERE revenue_id = ?", revenue_id
            )
        total = sum(weight for _, weight in images)
        found: Exact = defaultdict(Fraction)
        for name, weight in images:
            body = self._record(name, model_id, policy)
            self._image(found, body, Fraction(amount * weight, total), model_id, policy.terms)
        assert sum(found.values()) == amount
        return {account: part for account, part in found.items() if part}

    def _owed(self, corrected: str | None) -> dict[str, tuple[str, Fraction]]:
        """Payee and factor of those who were paid before, and are erased now."""
        rows = self._rows(
            "SELECT artist_id, payee_id, factor FROM settlement_standing WHERE settlement_id = ?"
            " AND treatment IN ('paid', 'owed') AND dispute_id IS NULL",
            corrected,
        )
        return {
            artist_id: (payee_id, parse_fraction(factor))
            for artist_id, payee_id, factor in rows
            if self.consents[artist_id] is Consent.ERASED
        }

    def _record(self, image: str, model_id: str, policy: AdoptedPolicy) -> tuple[str, dict]:
        for attribution_id, text in self._rows(
            "SELECT attribution_id, body::VARCHAR FROM attribution JOIN chain_leaf"
            " ON kind = 'attribution' AND record_key = attribution_id"
            " WHERE image_sha256 = ? ORDER BY position",
            image,
        ):
            body = json.loads(text)
            told = body["identity"]
            made_under = told["model_id"], told["value_function"]["name"], told["policy_digest"]
            if made_under == (model_id, policy.split.value, policy.split.digest):
                return attribution_id, body
        raise AssertionError(f"no record of {image} may pay")

    def _image(
        self, found: Exact, record: tuple[str, dict], amount: Fraction, model_id: str, terms: Terms
    ) -> None:
        attribution_id, body = record
        shares = {one["artist_id"]: one["share_e12"] for one in body["shares"]}
        nobodys = body["unattributed_e12"]
        if attribution_id in self.contests.decided:
            decision = self.contests.decided[attribution_id]
            shares, nobodys = dict(decision.shares_e12), decision.unattributed_e12
        contest = self.contests.open.get(attribution_id)
        found[Account(AccountKind.PLATFORM)] += terms.platform_fee * amount
        net = (1 - terms.platform_fee) * amount
        self._developers(found, net * Fraction(body["model_share_e12"], E12), model_id, terms)
        if contest is not None and contest.unattributed:
            found[Account(AccountKind.DISPUTED, contest.dispute_id)] += net * Fraction(nobodys, E12)
        else:
            self._nobody(found, net * Fraction(nobodys, E12), model_id, terms)
        for artist_id, share in shares.items():
            part, factor, account = net * Fraction(share, E12), Fraction(0), None
            if share and Fraction(share, E12) >= terms.minimum_claim and artist_id in self.owed:
                payee_id, factor = self.owed[artist_id]
                account = Account(AccountKind.PAYABLE, payee_id)
            elif share and Fraction(share, E12) >= terms.minimum_claim:
                factor = self._factor(model_id, artist_id, terms)
                account = self._account(artist_id, terms) if factor is not None else None
                if account is not None and artist_id in self.contests.standings:
                    account = Account(AccountKind.DISPUTED, self.contests.standings[artist_id], artist_id)
                elif account is not None and contest is not None and artist_id in contest.artist_ids:
                    account = Account(AccountKind.DISPUTED, contest.dispute_id, artist_id)
            if account is None:
                self._nobody(found, part, model_id, terms)
            else:
                found[account] += part * factor
                self._nobody(found, part * (1 - factor), model_id, terms)

    def _factor(self, model_id: str, artist_id: str, terms: Terms) -> Fraction | None:
        """None: nothing is the artist's."""
        factor = Fraction(1)
        trained = self._of_chain(
            "SELECT trained FROM membership WHERE model_id = ? AND artist_id = ?", model_id, artist_id
        )
        trained = Trained(trained[0]) if trained else Trained.UNKNOWN
        if terms.membership is not Rule.IGNORE and trained is Trained.NO:
            return None
        if terms.membership is Rule.WEIGHT and trained is Trained.UNKNOWN:
            factor *= terms.membership_unknown
        if terms.reproducibility is not Rule.IGNORE and self.consents[artist_id] is not Consent.ERASED:
            e6, is_able = self._of_chain(
                "SELECT fidelity_e6, is_reproducible FROM fidelity WHERE model_id = ? AND artist_id = ?",
                model_id,
                artist_id,
            )
            if terms.reproducibility is Rule.WEIGHT:
                factor *= Fraction(e6, 10**6)
            elif not is_able:
                return None
        return factor

    def _of_chain(self, query: str, model_id: str, artist_id: str) -> tuple | None:
        """What is said of a model, or else of its base."""
        at: str | None = model_id
        while at is not None:
            if rows := self._rows(query, at, artist_id):
                return rows[0]
            at = self.models[at][0]
        return None

    def _account(self, artist_id: str, terms: Terms) -> Account | None:
        consent, payee_id = self.consents[artist_id], self.payees[artist_id]
        escrow = Account(AccountKind.ESCROW, artist_id)
        contested = artist_id in self.contests.standings
        match consent:
            case Consent.ERASED:
                return None
            case Consent.OPTED_OUT:
                return escrow if terms.opted_out is Withheld.ESCROW or contested else None
            case Consent.UNCLAIMED:
                return escrow if terms.unclaimed is Withheld.ESCROW or contested else None
            case Consent.OPTED_IN:
                return (
                    escrow if payee_id in self.nameless else Account(AccountKind.PAYABLE, payee_id, artist_id)
                )

    def _nobody(self, found: Exact, amount: Fraction, model_id: str, terms: Terms) -> None:
        match terms.unattributed:
            case Unattributed.MODEL:
                self._developers(found, amount, model_id, terms)
            case Unattributed.PLATFORM:
                found[Account(AccountKind.PLATFORM)] += amount
            case Unattributed.ESCROW:
                found[Account(AccountKind.ESCROW)] += amount
            case Unattributed.FUND:
                found[Account(AccountKind.FUND)] += amount

    def _developers(self, found: Exact, amount: Fraction, model_id: str, terms: Terms) -> None:
        base, payee_id = self.models[model_id]
        weight = (
            Fraction(1) if base is None else terms.fine_tune_weights.get(model_id, terms.fine_tune_weight)
        )
        own = Account(AccountKind.MODEL, model_id)
        if payee_id is not None and payee_id not in self.nameless:
            own = Account(AccountKind.PAYABLE, payee_id, f"model:{model_id}")
        found[own] += amount * weight
        if base is not None:
            self._developers(found, amount * (1 - weight), base, terms)
