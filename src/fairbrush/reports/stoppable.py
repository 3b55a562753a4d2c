"""Ctrl-C while DuckDB works on a query.

Enters: a connection and what to do on it. Leaves: what that gave, or KeyboardInterrupt at once. The one rule:
nobody waits for a query that will not stop. DuckDB looks for signals between two steps of a query only, and a
step (a join of everything with everything) may take hours, so the work is done in a thread beside.
"""

from __future__ import annotations

from collections.abc import Callable
from threading import Event, Thread
from typing import TYPE_CHECKING, Any, TypeVar

if TYPE_CHECKING:
    import duckdb

_GRACE_S = 2.0  # for DuckDB to stop by itself
_LOOK_S = 0.5  # a wait without a limit hears no signal on every system
T = TypeVar("T")


class Stoppable:
    """One connection, and one piece of work on it after the other.

    >>> import duckdb
    >>> Stoppable(duckdb.connect()).run(lambda: 3)
    3
    """

    def __init__(self, connection: duckdb.DuckDBPyConnection) -> None:
        self._connection = connection
        self._thread: Thread | None = None
        self._done = Event()  # a join that Ctrl-C ends takes the thread itself for ended

    def run(self, work: Callable[[], T]) -> T:
        """Raises what the work raised, and KeyboardInterrupt."""
        import duckdb

        answers: list[T] = []
        failures: list[BaseException] = []
        self._done = done = Event()

        def do() -> None:
            try:
                answers.append(work())
            except BaseException as error:  # noqa: BLE001 - raised again where it is waited for
                failures.append(error)
            finally:
                done.set()

        self._thread = Thread(target=do, daemon=True)  # which keeps no process alive
        self._thread.start()
        try:
            while not done.wait(_LOOK_S):
                pass
        except KeyboardInterrupt:
            self._connection.interrupt()
            done.wait(_GRACE_S)
            raise
        if not failures:
            return answers[0]
        if isinstance(failures[0], duckdb.InterruptException):
            raise KeyboardInterrupt from failures[0]
        raise failures[0]

    def close(self, *_: Any) -> None:
        """Close the connection, but for one that still works: to close that would be to wait for it."""
        if self._done.is_set() or self._thread is None or not self._thread.is_alive():
            self._connection.close()
