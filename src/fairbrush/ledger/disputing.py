"""Open a dispute and resolve it, and let the money follow.

Enters: who contests what, and later a ruling; each with a reason. Leaves: the ``Dispute``, and entries in the
book. The one rule: event and entries are one transaction; what is contested is set aside in accounts of the
dispute while it is open, and nothing is left in them once it is resolved.

Over a standing, whatever the artist is owed moves to the dispute's account, and later to whoever it is the
artist's by the ruling. Over an attribution, the lines that it settled are reversed and settled again, each
time by what is then contested or decided.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace
from datetime import datetime
from fractions import Fraction
from typing import TYPE_CHECKING

from fairbrush.chain.log import Append
from fairbrush.corpus.changes import registry_change
from fairbrush.corpus.consent import effective_consents
from fairbrush.corpus.people import assign_artist
from fairbrush.domain import Consent
from fairbrush.errors import DisputeError
from fairbrush.ledger.apportion import apportion
from fairbrush.ledger.book import Account, AccountKind, EntryKind, Posting, balances, post
from fairbrush.ledger.contests import Decision
from fairbrush.ledger.destinations import artist_account, artist_accounts, unattributed_account
from fairbrush.ledger.disputes import (
    Assigned,
    Dispute,
    Divided,
    Rejected,
    Resolution,
    Ruling,
    State,
    Subject,
    add_opening,
    add_resolution,
    find_dispute,
    read_contests,
)
from fairbrush.ledger.policies import acting_digest
from fairbrush.ledger.records import find_attribution
from fairbrush.store import Store, as_utc

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection


@dataclass(frozen=True)
class Shares:
    """The shares of one attribution in force: as it was recorded, or as a dispute decided since."""

    artists: Mapping[str, int]  # whole numbers of 10^-12
    unattributed_e12: int


def shares_in_force(connection: DuckDBPyConnection, attribution_id: str) -> Shares:
    """Of a recorded look-up."""
    decided = read_contests(connection).decided.get(attribution_id)
    if decided is not None:
        return Shares(dict(decided.shares_e12), decided.unattributed_e12)
    ((unattributed,),) = connection.execute(
        "SELECT unattributed_e12 FROM attribution WHERE attribution_id = ?", [attribution_id]
    ).fetchall()
    rows = connection.execute(
        "SELECT artist_id, share_e12 FROM attribution_share WHERE attribution_id = ? ORDER BY rank",
        [attribution_id],
    ).fetchall()
    return Shares(dict(rows), unattributed)


def contest_attribution(
    store: Store,
    attribution_id: str,
    *,
    creator_id: str,
    artist_ids: Sequence[str] | None = None,
    claims_unattributed: bool = False,
    reason: str,
    now: datetime,
) -> Dispute:
    """Contest the shares of ``artist_ids`` in one look-up, or of all it credits; and what it credits nobody
    with, where ``claims_unattributed``. From now on they are set aside, settled or not.

    attribution_id: whole, or its beginning. Raises DisputeError, SettlementError.
    """
    words = _checked_reason(reason)
    with store.transaction() as connection:
        _check_creator(connection, creator_id)
        subject_id = find_attribution(connection, attribution_id)
        _refuse_second(read_contests(connection).open.get(subject_id), "attribution", subject_id)
        shares = shares_in_force(connection, subject_id)
        contested = tuple(sorted(set(shares.artists if artist_ids is None else artist_ids)))
        for artist_id in contested:
            if artist_id not in shares.artists:
                raise DisputeError(
                    f"The artist {artist_id} is not credited in {subject_id}.",
                    next_step=f"Credited: {', '.join(shares.artists) or 'nobody'}.",
                )
        if not _contested_whole(shares, contested, claims_unattributed=claims_unattributed):
            raise DisputeError(
                f"Nothing of {subject_id} would be contested.",
                next_step="Name artists it credits, or contest what it credits nobody with: --unattributed",
            )
        append = Append(connection)
        opened = Dispute(
            "",
            Subject.ATTRIBUTION,
            subject_id,
            creator_id,
            contested,
            claims_unattributed,
            as_utc(now),
            words,
        )
        dispute = add_opening(connection, append, opened)
        append.commit(now=as_utc(now))
        _settle_again(store, [subject_id], dispute, now=now)
    return dispute


def contest_standing(store: Store, artist_id: str, *, creator_id: str, reason: str, now: datetime) -> Dispute:
    """Contest who an artist entry is. What it is owed, and all it earns from now on, is set aside.

    Raises DisputeError for an artist that is unknown, erased, or contested already.
    """
    words, moment = _checked_reason(reason), as_utc(now)
    with store.transaction() as connection:
        _check_creator(connection, creator_id)
        _check_artists(connection, [artist_id], now=moment)
        _refuse_second(read_contests(connection).standings.get(artist_id), "artist", artist_id)
        append = Append(connection)
        opened = Dispute("", Subject.STANDING, artist_id, creator_id, (artist_id,), False, moment, words)
        dispute = add_opening(connection, append, opened)
        aside = Account(AccountKind.DISPUTED, dispute.dispute_id, artist_id)
        contested = artist_accounts(connection, artist_id)
        moves = [
            move
            for (account, currency), amount in balances(
                connection, AccountKind.PAYABLE, AccountKind.ESCROW
            ).items()
            if amount > 0 and account in contested
            for move in _move(account, aside, currency, amount)
        ]
        _book(connection, append, EntryKind.DISPUTE_OPENED, moves, dispute, now=moment)
        append.commit(now=moment)
    return dispute


def resolve_dispute(store: Store, dispute_id: str, ruling: Ruling, *, reason: str, now: datetime) -> Dispute:
    """Decide a dispute for good; what was set aside goes where it belongs by the ruling.

    dispute_id: whole, or its beginning. Raises DisputeError for a dispute that is unknown or resolved, a
    ruling that does not fit it, or somebody who cannot be given anything; SettlementError.
    """
    words, moment = _checked_reason(reason), as_utc(now)
    with _change(store, ruling) as connection:
        dispute = find_dispute(connection, dispute_id)
        _check_ruling(connection, dispute, ruling, now=moment)
        decision = _decide(connection, dispute, ruling) if isinstance(ruling, Divided) else None
        resolved = replace(dispute, resolution=Resolution(ruling, decision, moment, words))
        append = Append(connection)
        add_resolution(connection, append, resolved)
        if isinstance(ruling, Assigned) and ruling.creator_id is not None:
            assign_artist(store, dispute.subject_id, ruling.creator_id)
        if decision is not None:
            append.commit(now=moment)
            _settle_again(store, [dispute.subject_id], dispute, now=moment)
        _empty_accounts(connection, append, resolved, ruling, now=moment)
        append.commit(now=moment)
        if dispute.subject is Subject.STANDING:
            _settle_again(store, _still_contested(connection, dispute.subject_id), dispute, now=moment)
        assert not _held(connection, dispute.dispute_id), "a resolved dispute holds nothing"
    return resolved


def _change(store: Store, ruling: Ruling) -> AbstractContextManager[DuckDBPyConnection]:
    is_registry = isinstance(ruling, Assigned) and ruling.creator_id is not None
    return registry_change(store) if is_registry else store.transaction()


def _checked_reason(text: str) -> str:
    words = text.strip()
    if not words:
        raise DisputeError("A dispute needs a reason, and so does its resolution.", next_step="Say why.")
    try:
        words.encode()
    except UnicodeEncodeError:
        raise DisputeError("The reason is not UTF-8.", next_step="Write it as UTF-8 text.") from None
    return words


def _check_creator(connection: DuckDBPyConnection, creator_id: str) -> None:
    rows = connection.execute("SELECT name FROM creator WHERE creator_id = ?", [creator_id]).fetchall()
    if not rows or rows[0][0] is None:
        raise DisputeError(
            f"The creator {creator_id} is {'erased' if rows else 'not registered'}.",
            next_step="fairbrush creator list shows them all.",
        )


def _payee_of(connection: DuckDBPyConnection, creator_id: str) -> str:
    """Raises DisputeError where nobody can be paid for a creator any more."""
    ((payee_id, name),) = connection.execute(
        "SELECT payee_id, payee.name FROM creator JOIN payee USING (payee_id) WHERE creator_id = ?",
        [creator_id],
    ).fetchall()
    if name is None:
        raise DisputeError(
            f"The payee {payee_id} of the creator {creator_id} is erased.",
            next_step="Say who is paid: fairbrush payee assign",
        )
    return str(payee_id)


def _check_artists(connection: DuckDBPyConnection, artist_ids: Iterable[str], *, now: datetime) -> None:
    consents = effective_consents(connection, now=now)
    for artist_id in artist_ids:
        if consents.get(artist_id, Consent.ERASED) is Consent.ERASED:
            raise DisputeError(
                f"The artist {artist_id} is {'erased' if artist_id in consents else 'not registered'}.",
                next_step="fairbrush artist list shows them all.",
            )


def _refuse_second(known: object, what: str, subject_id: str) -> None:
    """known: the open dispute over it, or its id."""
    if known is not None:
        dispute_id = getattr(known, "dispute_id", known)
        raise DisputeError(
            f"The {what} {subject_id} is contested already, by the dispute {dispute_id}.",
            next_step=f"Resolve that first: fairbrush dispute resolve {dispute_id}",
        )


def _check_ruling(connection: DuckDBPyConnection, dispute: Dispute, ruling: Ruling, *, now: datetime) -> None:
    if dispute.state is not State.OPEN:
        raise DisputeError(
            f"The dispute {dispute.dispute_id} is resolved already: {dispute.state}.",
            next_step="Open a new one over the same subject.",
        )
    match ruling:
        case Rejected():
            return
        case Divided(give):
            if dispute.subject is not Subject.ATTRIBUTION:
                raise DisputeError(
                    f"The dispute {dispute.dispute_id} is over who an artist is: no shares can be given.",
                    next_step="Say whose the artist is: --to CREATOR, --nobody, or --rejected.",
                )
            if any(part < 0 for part in give.values()) or sum(give.values()) > 1:
                raise DisputeError(
                    "The parts to give must not be negative, and sum to at most 1.",
                    next_step="Each is a part of what is contested; what is not given is unattributed.",
                )
            _check_artists(connection, sorted(give), now=now)
        case Assigned(creator_id):
            if dispute.subject is not Subject.STANDING:
                raise DisputeError(
                    f"The dispute {dispute.dispute_id} is over shares: they are given to artists.",
                    next_step="Say what each is given: --give ARTIST:PART, or --rejected.",
                )
            if creator_id is not None:
                _check_creator(connection, creator_id)
                _payee_of(connection, creator_id)
                _check_artists(connection, [dispute.subject_id], now=now)


def _decide(connection: DuckDBPyConnection, dispute: Dispute, ruling: Divided) -> Decision:
    """The shares of the whole attribution once the contested part is divided by the ruling."""
    shares = shares_in_force(connection, dispute.subject_id)
    whole = _contested_whole(shares, dispute.contested, claims_unattributed=dispute.claims_unattributed)
    parts = {(0, artist_id): part for artist_id, part in ruling.give.items()}
    parts[1, ""] = Fraction(1 - sum(ruling.give.values()))  # nobody's
    amounts = apportion({key: whole * part for key, part in parts.items()}, whole)
    given = {artist_id: share for (last, artist_id), share in amounts.items() if not last}
    artists = {
        artist_id: share for artist_id, share in shares.artists.items() if artist_id not in dispute.contested
    }
    for artist_id, share in given.items():
        artists[artist_id] = artists.get(artist_id, 0) + share
    nobody = 0 if dispute.claims_unattributed else shares.unattributed_e12
    nobody += whole - sum(given.values())
    assert sum(artists.values()) + nobody == sum(shares.artists.values()) + shares.unattributed_e12
    return Decision(dispute.dispute_id, tuple(sorted(artists.items())), nobody)


def _contested_whole(shares: Shares, contested: Iterable[str], *, claims_unattributed: bool) -> int:
    nobody = shares.unattributed_e12 if claims_unattributed else 0
    return nobody + sum(shares.artists[artist_id] for artist_id in contested)


def _settle_again(store: Store, attribution_ids: Sequence[str], dispute: Dispute, *, now: datetime) -> None:
    if attribution_ids:
        from fairbrush.ledger.settlement import correct

        correct(store, attribution_ids=attribution_ids, why=f"dispute:{dispute.dispute_id}", now=now)


def _still_contested(connection: DuckDBPyConnection, artist_id: str) -> list[str]:
    """The attributions in which the artist's share is contested: what the artist's standing held back of
    them, no ruling has decided."""
    waiting = read_contests(connection).open
    return sorted(
        attribution_id for attribution_id, contest in waiting.items() if artist_id in contest.artist_ids
    )


def _empty_accounts(
    connection: DuckDBPyConnection, append: Append, dispute: Dispute, ruling: Ruling, *, now: datetime
) -> None:
    moves = [
        move
        for (account, currency), amount in _held(connection, dispute.dispute_id).items()
        for move in _move(account, _destination(connection, account, ruling, now=now), currency, amount)
    ]
    _book(connection, append, EntryKind.DISPUTE_RESOLVED, moves, dispute, now=now)


def _destination(
    connection: DuckDBPyConnection, account: Account, ruling: Ruling, *, now: datetime
) -> Account:
    """Where the money of one of the dispute's accounts goes by the ruling."""
    if account.subject == "" or ruling == Assigned(None):
        return unattributed_account(connection, now.date())
    if isinstance(ruling, Assigned):
        assert ruling.creator_id is not None
        return Account(AccountKind.PAYABLE, _payee_of(connection, ruling.creator_id), account.subject)
    return artist_account(connection, account.subject, now=now)


def _held(connection: DuckDBPyConnection, dispute_id: str) -> dict[tuple[Account, str], int]:
    held = balances(connection, AccountKind.DISPUTED)
    return {key: amount for key, amount in held.items() if key[0].holder == dispute_id}


def _move(source: Account, target: Account, currency: str, amount: int) -> list[Posting]:
    return [Posting(source, currency, -amount), Posting(target, currency, amount)]


def _book(
    connection: DuckDBPyConnection,
    append: Append,
    kind: EntryKind,
    moves: Sequence[Posting],
    dispute: Dispute,
    *,
    now: datetime,
) -> None:
    digest = acting_digest(connection, now.date())
    post(append, connection, kind, moves, reference=dispute.dispute_id, policy_digest=digest, now=now)
