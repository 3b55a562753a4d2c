"""Ctrl-C while DuckDB works on a query.

Enters: a connection and what to do on it. Leaves: what that gave, or KeyboardInterrupt at once. The one rule:
nobody waits for a query that will not stop. DuckDB looks for signals between two steps of a query only, and a
step (a join of everything with everything) may take hours, so the work is done in a thread beside.
"""

from __future__ import annotations

from collections.abc import Callable
from threading import Event, Thread
from typing import TYPE_CHECKING, Any, Generic, TypeVar

if TYPE_CHECKING:
    import duckdb

_GRACE_S = 2.0  # for DuckDB to stop by itself
_LOOK_S = 0.5  # a wait without a limit hears no signal on every system
T = TypeVar("T")


class Stoppable(Generic[T]):
    """One piece of work on one connection.

    >>> import duckdb
    >>> Stoppable(duckdb.connect(), lambda: 3).run()
    3
    """

    def __init__(self, connection: duckdb.DuckDBPyConnection, work: Callable[[], T]) -> None:
        self._connection = connection
        self._work = work
        self._answers: list[T] = []
        self._failures: list[BaseException] = []
        self._done = Event()  # a join that Ctrl-C ends takes the thread itself for ended
        self._thread = Thread(target=self._do, daemon=True)  # which keeps no process alive

    def run(self) -> T:
        """Raises what the work raised, and KeyboardInterrupt."""
        import duckdb

        self._thread.start()
        try:
            while not self._done.wait(_LOOK_S):
                pass
        except KeyboardInterrupt:
            self._connection.interrupt()
            self._done.wait(_GRACE_S)
            raise
        if not self._failures:
            return self._answers[0]
        if isinstance(self._failures[0], duckdb.InterruptException):
            raise KeyboardInterrupt from self._failures[0]
        raise self._failures[0]

    def close(self, *_: Any) -> None:
        """Close the connection, but for one that still works: to close that would be to wait for it."""
        if self._done.is_set() or not self._thread.is_alive():  # it may never have begun
            self._connection.close()

    def _do(self) -> None:
        try:
            self._answers.append(self._work())
        except BaseException as error:  # noqa: BLE001 - raised again where it is waited for
            self._failures.append(error)
        finally:
            self._done.set()
