"""What is observed of a request on its way, by stations that know nothing of each other: for metrics and logs."""

import time
from contextvars import ContextVar

from msgspec import Struct


class Observation(Struct):
    received_bytes: int = 0
    database_seconds: float = 0
    """All that was waited for the database: for a connection, for statements, for whether the catalog has changed."""
    strategies: list[object] = []
    """Of a search, in the order in which they were tried; more than one where the first found too little."""
    candidates: int = 0
    """Vectors that graphs were asked for, at most; what else was measured is not known here."""
    matches: int | None = None
    """Estimated of a filter."""

    def waited_for_database(self, since: float) -> None:
        self.database_seconds += time.perf_counter() - since


current: ContextVar[Observation | None] = ContextVar("observation", default=None)
"""Of the request whose task this is; None in the background and on the command line."""


def waited_for_database(since: float) -> None:
    """`since` is of time.perf_counter."""
    if (observation := current.get()) is not None:
        observation.waited_for_database(since)
