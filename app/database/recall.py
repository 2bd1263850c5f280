"""Recall measured: how many of the nearest the graphs find, of those that exact search finds."""

import time
from collections.abc import Callable, Sequence
from functools import partial
from math import sqrt
from statistics import fmean, median, stdev
from typing import Any

from msgspec import Struct
from msgspec.structs import replace

from app.database.connection import Connection
from app.database.nearest import Search, nearest_by, strategy_by
from app.database.strategy import (
    MAX_EF_SEARCH,
    MIN_EF_SEARCH,
    Approximate,
    Exact,
    Strategy,
    candidates,
    goes_on,
)

# Of the ef_search in force.
FACTORS = (0.5, 1, 1.25, 1.5, 2, 3)
# Standard errors: what is measured of 100 samples lies so near to the truth for 95 of them.
MARGIN = 2
# So many times at most the gap is narrowed between an ef_search that misses the target and one that reaches it.
NARROWINGS = 4
NARROW = 1.2

Advance = Callable[[], None]
"""Called once a search."""


class Measured(Struct, frozen=True):
    ef_search: int
    recall: float
    margin: float
    p50_ms: float


class Recall(Struct, frozen=True):
    exact_p50_ms: float
    in_force: Measured
    measured: list[Measured]
    """In the order of their ef_search; that in force is one of them."""

    def misses(self, target: float) -> bool:
        """By more than chance explains."""
        return self.in_force.recall + self.in_force.margin < target

    def more(self, target: float) -> Measured | None:
        """With the smallest ef_search above that in force, of those tried, that reaches a recall."""
        greater = (m for m in self.measured if m.ef_search > self.in_force.ef_search)
        return next((m for m in greater if m.recall >= target), None)


class Truth(Struct, frozen=True):
    """What exact search finds: so many, and none farther than that."""

    number: int
    distance: float

    def recall(self, rows: Sequence[Any]) -> float:
        """Vectors at the same distance are equally right."""
        found = sum(row.distance <= self.distance for row in rows)
        return min(1.0, found / self.number) if self.number else 1.0


def most_searches(queries: int, ef_search: int) -> int:
    return queries * (2 + len(ladder(ef_search)) + NARROWINGS)


def ladder(ef_search: int) -> list[int]:
    """Values around the one in force, and the greatest."""
    rungs = {min(MAX_EF_SEARCH, max(MIN_EF_SEARCH, round(ef_search * factor))) for factor in FACTORS}
    return sorted(rungs | {MAX_EF_SEARCH})


async def recall_of(
    connection: Connection, searches: Sequence[Search], ef_search: int, target: float, advance: Advance
) -> Recall:
    """With `ef_search` in force; what would reach the target is looked for where that misses it."""
    truths, times = [], []
    for search in searches:
        truth, milliseconds = await _truth(connection, search)
        truths.append(truth)
        times.append(milliseconds)
        advance()
    measure = partial(_measure, connection, searches, truths, advance)
    await measure(ef_search)  # what is not in memory yet is read by searches that do not count
    measured = [await measure(rung) for rung in ladder(ef_search)]
    recall = Recall(round(median(times), 3), next(m for m in measured if m.ef_search == ef_search), measured)
    for _ in range(NARROWINGS):
        if (between := _between(recall, target)) is None:
            break
        measured = sorted([*recall.measured, await measure(between)], key=lambda m: m.ef_search)
        recall = replace(recall, measured=measured)
    return recall


def _between(recall: Recall, target: float) -> int | None:
    """The middle of the gap between what misses the target and what reaches it; None once that is narrow."""
    more = recall.more(target)
    if more is None or not recall.misses(target):
        return None
    less = max(m.ef_search for m in recall.measured if m.ef_search < more.ef_search)
    return round(sqrt(less * more.ef_search)) if more.ef_search > less * NARROW else None


async def _measure(
    connection: Connection, searches: Sequence[Search], truths: Sequence[Truth], advance: Advance, ef_search: int
) -> Measured:
    recalls, times = [], []
    for search, truth in zip(searches, truths, strict=True):
        rows, milliseconds = await _timed(connection, search, _walking(search, ef_search))
        recalls.append(truth.recall(rows))
        times.append(milliseconds)
        advance()
    margin = MARGIN * stdev(recalls) / len(recalls) ** 0.5 if len(recalls) > 1 else 1.0
    return Measured(ef_search, round(fmean(recalls), 6), round(margin, 6), round(median(times), 3))


def _walking(search: Search, ef_search: int) -> Approximate:
    iterative = search.filter is not None or goes_on(search.top_k)
    return Approximate(ef_search, iterative, candidates(search.coded, ef_search, search.top_k))


async def recall_in_force(connection: Connection, search: Search) -> float:
    """Of one search without a filter, as it is run for clients."""
    truth, _ = await _truth(connection, search)
    strategy = strategy_by(search, None)
    return truth.recall(await nearest_by(connection, search, strategy))


async def _truth(connection: Connection, search: Search) -> tuple[Truth, float]:
    rows, milliseconds = await _timed(connection, search, Exact("it is the truth"))
    return Truth(len(rows), rows[-1].distance if rows else 0), milliseconds


async def _timed(connection: Connection, search: Search, strategy: Strategy) -> tuple[list[Any], float]:
    started = time.perf_counter()
    rows = await nearest_by(connection, search, strategy)
    return rows, 1000 * (time.perf_counter() - started)


def target_for(search: Search, matches: int | None, ef_search: int) -> float | None:
    """The smallest recall target, in thousandths, with which such searches have at least that ef_search."""
    for thousandths in range(500, 1000):
        strategy = strategy_by(replace(search, recall_target=thousandths / 1000), matches)
        if isinstance(strategy, Approximate) and strategy.ef_search >= ef_search:
            return thousandths / 1000
    return None
