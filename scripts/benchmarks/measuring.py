"""Clients that ask one query after the other for some seconds, each as soon as it has its answer."""

import time
from collections.abc import Callable, Iterable, Sequence
from contextlib import AbstractContextManager, ExitStack, closing
from threading import Event
from typing import Any, Protocol

import numpy as np
from msgspec import Struct

from scripts.benchmarks.ground_truth import Found
from scripts.testbed.side_by_side import side_by_side

WARM_SECONDS = 0.5


class Client(Protocol):
    """Of one connection; what `ask` returns is read by `found` when the clock has stopped."""

    def ask(self, query: int) -> Any: ...

    def found(self, answer: Any) -> list[Found]: ...

    def close(self) -> None: ...


class Answer(Struct, frozen=True):
    query: int
    milliseconds: float
    found: list[Found]


class Measurement(Struct, frozen=True):
    answers: list[Answer]
    seconds: float

    @property
    def per_second(self) -> float:
        return len(self.answers) / self.seconds

    def percentile(self, percent: float) -> float:
        return percentile((answer.milliseconds for answer in self.answers), percent)

    @property
    def p50(self) -> float:
        return self.percentile(50)

    @property
    def found(self) -> list[tuple[int, list[Found]]]:
        """For `ground_truth.score`."""
        return [(answer.query, answer.found) for answer in self.answers]


def percentile(values: Iterable[float], percent: float) -> float:
    given = list(values)
    return float(np.percentile(given, percent)) if given else float("nan")


def measure(
    connect: Callable[[], Client], clients: int, queries: int, seconds: float, meter: AbstractContextManager[object]
) -> Measurement:
    """With connections of its own, which are warm when the clock starts and the meter is entered."""
    with ExitStack() as stack:
        connected = [stack.enter_context(closing(connect())) for _ in range(clients)]
        _run(connected, queries, WARM_SECONDS)
        with meter:
            started = time.perf_counter()
            asked = _run(connected, queries, seconds)
            elapsed = time.perf_counter() - started
        return _measurement(list(zip(connected, asked, strict=True)), elapsed)


def ask_each_once(client: Client, queries: Iterable[int], seconds: float = float("inf")) -> Measurement:
    """By one client, in the calling thread, until the time is up."""
    started = time.perf_counter()
    asked = [_timed(client, query) for query in queries if time.perf_counter() < started + seconds]
    return _measurement([(client, asked)], time.perf_counter() - started)


_Timed = tuple[int, float, Any]


def _run(clients: Sequence[Client], queries: int, seconds: float) -> list[list[_Timed]]:
    def asking(client: Client, first: int) -> Callable[[Event], list[_Timed]]:
        def ask(stopping: Event) -> list[_Timed]:
            asked, query, deadline = [], first, time.perf_counter() + seconds
            while time.perf_counter() < deadline and not stopping.is_set():
                asked.append(_timed(client, query % queries))
                query += len(clients)
            return asked

        return ask

    asked, _ = side_by_side([asking(client, first) for first, client in enumerate(clients)])
    return asked


def _timed(client: Client, query: int) -> _Timed:
    started = time.perf_counter()
    answer = client.ask(query)
    return query, (time.perf_counter() - started) * 1000, answer


def _measurement(asked: Sequence[tuple[Client, list[_Timed]]], seconds: float) -> Measurement:
    answers = [Answer(query, ms, client.found(answer)) for client, timed in asked for query, ms, answer in timed]
    return Measurement(answers, seconds)
