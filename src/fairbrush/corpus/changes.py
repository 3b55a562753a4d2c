"""Change the registry. The one rule: the database commits, then eligibility.json follows, under one lock."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from fairbrush.chain.adoption import adopt_earlier_rows
from fairbrush.corpus.eligibility import repair_eligibility, write_eligibility
from fairbrush.store import DEFAULT_WAIT_S, Store

if TYPE_CHECKING:
    import duckdb


@contextmanager
def open_registry(
    workspace: Path, *, readonly: bool = False, wait_s: float = DEFAULT_WAIT_S
) -> Iterator[Store]:
    """``Store.open``; an eligibility.json that an interrupted command left behind is brought up to date."""
    with Store.open(workspace, readonly=readonly, wait_s=wait_s) as store:
        if not readonly:
            adopt_earlier_rows(store)
        repair_eligibility(store)
        yield store


@contextmanager
def registry_change(store: Store) -> Iterator[duckdb.DuckDBPyConnection]:
    """A transaction on the registry, followed by the eligibility file; inside another it joins that one."""
    is_outermost = not store.in_transaction
    with store.transaction() as connection:
        yield connection
        connection.execute("UPDATE registry_state SET revision = revision + 1")
    if is_outermost:
        write_eligibility(store)
