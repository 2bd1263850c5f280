"""What is observed of a request on its way, by stations that know nothing of each other: for metrics and logs."""

import sys
import time
from collections.abc import Mapping
from contextvars import ContextVar
from math import inf
from typing import Any

from msgspec import Struct


class SlowStatement(Struct, frozen=True):
    seconds: float
    text: str
    values: Mapping[str, Any]
    backend_pid: int


class Wait(Struct, frozen=True):
    """For the database; kept where requests are traced."""

    what: str
    since: float
    seconds: float
    text: str = ""
    """Of a statement."""
    error: str = ""


class Observation(Struct):
    slow_seconds: float = inf
    """From so long on a statement is kept for the slow-query log."""
    slowest: SlowStatement | None = None
    waits: list[Wait] | None = None
    """In the order in which they ended; None where nobody traces."""
    started: float = 0
    """By time.perf_counter, as all that follows."""
    status: int = 0
    """Of the answer; 0 as long as there is none."""
    seconds: float = 0
    received_bytes: int = 0
    sent_bytes: int = 0
    database_seconds: float = 0
    """All that was waited for the database: for a connection, for statements, for whether the catalog has changed."""
    strategies: list[object] = []
    """Of a search, in the order in which they were tried; more than one where the first found too little."""
    texts: int = 0
    """Keys that a search has ranked texts by."""
    candidates: int = 0
    """Vectors that graphs were asked for, at most; what else was measured is not known here."""
    matches: int | None = None
    """Estimated of a filter."""

    @property
    def strategy_names(self) -> list[str]:
        """Of what has been done to find vectors: texts come first."""
        names = [type(strategy).__name__.lower() for strategy in self.strategies]
        return ["bm25", *names] if self.texts else names


current: ContextVar[Observation | None] = ContextVar("observation", default=None)
"""Of the request whose task this is; None in the background and on the command line."""


def forget_search() -> None:
    """That is made again, since what it went by is no longer true."""
    if (observation := current.get()) is not None:
        observation.strategies, observation.texts, observation.candidates, observation.matches = [], 0, 0, None


def waited_for_database(since: float, what: str) -> None:
    """`since` is of time.perf_counter."""
    if (observation := current.get()) is None:
        return
    seconds = time.perf_counter() - since
    observation.database_seconds += seconds
    if observation.waits is not None:
        observation.waits.append(Wait(what, since, seconds, error=_failure()))


def ran_statement(text: str, values: Mapping[str, Any], since: float, backend_pid: int) -> None:
    """Whether it succeeded or was ended for taking too long."""
    if (observation := current.get()) is None:
        return
    seconds = time.perf_counter() - since
    observation.database_seconds += seconds
    if observation.waits is not None:
        observation.waits.append(Wait("statement", since, seconds, text, _failure()))
    if seconds >= observation.slow_seconds and (observation.slowest is None or seconds > observation.slowest.seconds):
        observation.slowest = SlowStatement(seconds, text, values, backend_pid)


def _failure() -> str:
    """Of what is told in a `finally`; by its type, since messages repeat what was sent."""
    return "" if (error := sys.exception()) is None else type(error).__name__
