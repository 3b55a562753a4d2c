"""What reports of money are held against: a random history of it in which everything happens."""

import random
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import date, datetime
from pathlib import Path

from fake_records import digest
from money import adopted
from money_histories import History, begin

from fairbrush.corpus.changes import open_registry
from fairbrush.corpus.people import assign_artist
from fairbrush.ledger.book import EntryKind
from fairbrush.ledger.disputes import State, read_disputes
from fairbrush.ledger.period import Period
from fairbrush.ledger.revenue import add_line, image_line
from fairbrush.ledger.settlement import settle
from fairbrush.reports.catalogue import install_views
from fairbrush.store import Store
from fairbrush.workspace import create_workspace

SEED, MOST_STEPS = 10, 100
FIRST_DAY = date(2026, 1, 1)
# kinds of entries, states of disputes, steps
WANTED = {
    *(str(kind) for kind in EntryKind if kind is not EntryKind.MODEL_ASSIGNED),
    *(State.REJECTED, State.UPHELD),
    *("assign", "cancel", "consent"),
}


@dataclass(frozen=True)
class Lived:
    store: Store
    now: datetime


@contextmanager
def live_through(workspace: Path) -> Iterator[Lived]:
    """Money in three currencies until every kind of entry is in the book, disputes are decided both ways,
    lines are cancelled, and entries or creators handed on; and something is due at the end."""
    create_workspace(workspace)
    with open_registry(workspace) as store:
        history = begin(store, random.Random(SEED))
        for name in ("look", "assert_settled", "assert_held_back", "assert_sound"):
            setattr(history, name, lambda *_: None)  # that a history is sound is tested elsewhere
        assign_artist(store, "bo", "c-ann")  # who has two entries from now on
        earn(history, "first")
        for _ in range(MOST_STEPS):
            history.step()
            if happened(history) >= WANTED:
                break
        else:
            raise AssertionError(f"{WANTED - happened(history)} never happens: choose another seed")
        earn(history, "last")
        install_views(store.connection)
        yield Lived(store, history.now)


def earn(history: History, reference: str) -> None:
    """Images earn in every currency on a day of which a policy of its own tells, and that is settled."""
    adopted(
        history.store,
        day=FIRST_DAY,
        platform_fee="0.1",
        minimum_payout={"EUR": "20", "JPY": "40000", "KWD": "3"},
    )
    for number, (image, model_id) in enumerate(history.images[:6]):
        for amount, currency in (("12.34", "EUR"), ("31415", "JPY"), ("9.125", "KWD")):
            line = image_line(
                f"{reference} {number} in {currency}",
                amount,
                currency=currency,
                image_sha256=digest(image),
                day=FIRST_DAY,
                model_id=model_id,
            )
            add_line(history.store, line, now=history.now)
    settle(history.store, Period(FIRST_DAY, FIRST_DAY), now=history.now)


def happened(history: History) -> set[str]:
    kinds = history.connection.execute("SELECT DISTINCT kind FROM entry").fetchall()
    states = {one.state for one in read_disputes(history.connection)}
    return {*(kind for (kind,) in kinds), *map(str, states), *history.done}
