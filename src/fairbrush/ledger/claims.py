"""Claims: the verified creator behind an unclaimed style gets what was kept for it.

Enters: an artist, who is behind it, and how that was verified. Leaves: the artist opted in and assigned, and
its escrow in the creator's payable account, all in one transaction. The one rule: an artist is claimed once;
whoever says that the claim was wrong opens a dispute.

An artist who opted out and in again gets the escrow of the time between the same way, on the creator and
payee they had.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING

from fairbrush.chain.commitment import committed
from fairbrush.chain.log import Append
from fairbrush.chain.tables import CLAIMS
from fairbrush.corpus.changes import registry_change
from fairbrush.corpus.consent import set_consent
from fairbrush.corpus.people import (
    add_creator,
    add_payee,
    assign_artist,
    assign_creator,
    find_creator,
    find_payee,
    list_creators,
)
from fairbrush.corpus.registry import ArtistEntry, find_artist
from fairbrush.domain import Artist, Consent
from fairbrush.errors import RegistryError
from fairbrush.ledger.book import Account, AccountKind, EntryKind, Posting, balances, post
from fairbrush.ledger.disputes import read_contests
from fairbrush.ledger.policies import acting_digest
from fairbrush.store import Store, as_utc, next_sequence

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection

CLAIM_SOURCE = "artist claim"


@dataclass(frozen=True)
class Claim:
    """``released``: (currency, minor units) that were in escrow and are the payee's now."""

    artist_id: str
    artist_name: str
    creator_id: str
    creator_name: str
    payee_id: str
    payee_name: str
    released: tuple[tuple[str, int], ...]


def claim(
    store: Store,
    artist: str,
    *,
    evidence: str,
    now: datetime,
    creator: str | None = None,
    payee: str | None = None,
) -> Claim:
    """Say who was verified to be behind a style.

    artist, creator, payee: a name or an id. creator: who made the works, paid as registered; payee: who is
    paid for the artist's own creator; with neither it stays as registered, with somebody new in the place
    of who is erased. Raises RegistryError for an artist who is opted out, erased, claimed already or
    disputed.
    """
    moment = as_utc(now)
    if not evidence.strip():
        raise RegistryError("A claim needs its evidence.", next_step="Say how it was verified: --evidence")
    if creator is not None and payee is not None:
        raise RegistryError("A claim names a creator or a payee, not both.", next_step="Leave one out.")
    with registry_change(store) as connection:
        entry = find_artist(store, artist, now=moment)
        artist_id = entry.artist.artist_id
        escrow = [
            (account, currency, amount)
            for (account, currency), amount in balances(connection, AccountKind.ESCROW).items()
            if account.holder == artist_id
        ]
        _refuse(store, entry, has_escrow=bool(escrow))
        is_owned = entry.artist.consent is Consent.OPTED_IN or _is_claimed(store, artist_id)
        _assign(store, entry, creator, payee, now=moment)
        claimed = find_artist(store, artist_id, now=moment)
        if is_owned and _is_taken_over(entry, claimed):
            raise RegistryError(
                f"{entry.artist.name} is claimed already, by the creator {entry.creator_name!r} and the "
                f"payee {entry.payee_name!r}.",
                next_step=_DISPUTE,
            )
        if entry.artist.consent is not Consent.OPTED_IN:
            set_consent(store, artist_id, Consent.OPTED_IN, reason=evidence, source=CLAIM_SOURCE, now=moment)
        owner = claimed.artist
        _record(connection, owner, evidence, escrow, now=moment)
    released = tuple((currency, amount) for _, currency, amount in escrow)
    return Claim(
        artist_id,
        entry.artist.name,
        owner.creator_id,
        claimed.creator_name,
        owner.payee_id,
        claimed.payee_name,
        released,
    )


_DISPUTE = "If that is wrong, it is a dispute over the standing: fairbrush dispute open"


def _record(
    connection: DuckDBPyConnection,
    owner: Artist,
    evidence: str,
    escrow: Sequence[tuple[Account, str, int]],
    *,
    now: datetime,
) -> None:
    """The claim, and its money on the move: out of escrow, to the owner's payee."""
    sequence = next_sequence(connection, "claim_event")
    append = Append(connection)
    ids = (owner.artist_id, owner.creator_id, owner.payee_id)
    append.insert(CLAIMS, [(sequence, *ids, now, *committed(evidence).columns)])
    payable = Account(AccountKind.PAYABLE, owner.payee_id, owner.artist_id)
    post(
        append,
        connection,
        EntryKind.CLAIM,
        [
            posting
            for account, currency, amount in escrow
            for posting in (Posting(account, currency, -amount), Posting(payable, currency, amount))
        ],
        reference=str(sequence),
        policy_digest=acting_digest(connection, now.date()),
        now=now,
    )
    append.commit(now=now)


def _refuse(store: Store, entry: ArtistEntry, *, has_escrow: bool) -> None:
    artist_id, name = entry.artist.artist_id, entry.artist.name
    dispute_id = read_contests(store.connection).standings.get(artist_id)
    if entry.artist.consent is Consent.ERASED:
        raise RegistryError(f"The artist {artist_id} is erased; that is final.")
    if entry.artist.consent is Consent.OPTED_OUT:
        raise RegistryError(
            f"{name} is opted out.",
            next_step=f"First: fairbrush artist consent {artist_id} opted_in; then claim again.",
        )
    if dispute_id is not None:
        raise RegistryError(
            f"Who {name} is, is disputed: {dispute_id}.",
            next_step="Decide that first: fairbrush dispute resolve",
        )
    if not has_escrow and _is_claimed(store, artist_id):
        raise RegistryError(
            f"{name} is claimed already, by the creator {entry.creator_name!r}.", next_step=_DISPUTE
        )
    if not has_escrow and entry.artist.consent is Consent.OPTED_IN:
        raise RegistryError(
            f"{name} is opted in, by the creator {entry.creator_name!r}, and nothing is kept in escrow.",
            next_step=_DISPUTE,
        )


def _is_claimed(store: Store, artist_id: str) -> bool:
    rows = store.connection.execute("SELECT 1 FROM claim_event WHERE artist_id = ? LIMIT 1", [artist_id])
    return bool(rows.fetchall())


def _is_taken_over(before: ArtistEntry, after: ArtistEntry) -> bool:
    """Whether somebody was put in the place of a creator or a payee who is there."""
    was, is_now = before.artist, after.artist
    other_creator = is_now.creator_id != was.creator_id and before.creator_name != ""
    return other_creator or (is_now.payee_id != was.payee_id and before.payee_name != "")


def _assign(
    store: Store, entry: ArtistEntry, creator: str | None, payee: str | None, *, now: datetime
) -> None:
    """Say who is behind the artist. A creator who stands behind others too keeps its payee."""
    artist = entry.artist
    if creator is not None:
        maker = find_creator(store, creator)
        if not maker.name or not find_payee(store, maker.payee_id).name:
            raise RegistryError(
                f"The creator {creator!r}, or its payee, is erased.", next_step="Name another creator."
            )
        assign_artist(store, artist.artist_id, maker.creator_id)
        return
    payee_id = _payee_id(store, entry, payee, now=now)
    n_artists = {one.creator.creator_id: one.n_artists for one in list_creators(store)}
    is_shared = n_artists[artist.creator_id] > 1 and entry.payee_name
    if payee_id == artist.payee_id and entry.creator_name:
        return
    if entry.creator_name and not is_shared:
        assign_creator(store, artist.creator_id, payee_id)
        return
    own = add_creator(store, artist.name, payee=payee_id, allow_same_name=True, now=now)
    assign_artist(store, artist.artist_id, own.creator_id)


def _payee_id(store: Store, entry: ArtistEntry, payee: str | None, *, now: datetime) -> str:
    """The payee named, else the one there is, else a new one."""
    if payee is not None:
        named = find_payee(store, payee)
        if not named.name:
            raise RegistryError(f"The payee {payee!r} is erased.", next_step="Name another payee.")
        return named.payee_id
    if entry.creator_name and entry.payee_name:
        return entry.artist.payee_id
    name = entry.creator_name or entry.artist.name
    return add_payee(store, name, allow_same_name=True, now=now).payee_id
