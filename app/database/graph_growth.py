"""What the graphs of an index need next: decided from a few numbers, done by `graph_building`.

A new vector is in the tail, which every search measures exactly.  A tail that outgrows that gets a graph of its own,
together with those graphs before it that are not much larger: so a vector is built into few graphs, and a search walks
through few.  A short tail is absorbed by the last graph, vector by vector.  When writes have come to rest, everything
becomes one good graph.
"""

from typing import TypeAlias

from msgspec import Struct

from app.database.catalog import Graph
from app.database.graphs import DRAFT_EF_CONSTRUCTION, FINAL_EF_CONSTRUCTION, is_draft, uncovered

# What a search measures exactly in about the time of a walk through a graph.
EXACT_BYTES = 8 * 1024 * 1024
MIN_EXACT_VECTORS, MAX_EXACT_VECTORS = 1_000, 20_000

# A tail of so many times the exact vectors is built into a graph; absorbing it would take longer.
LONG_TAIL = 2
# While vectors are put faster than they are absorbed, a build takes the processors that writes and searches want, and
# codes tell which are worth being measured: of the first number in about the time of LONG_TAIL.  So a tail may be as
# long as what comes in a minute, in which most loads are over.
MIN_CODED, MAX_CODED, CODED_SECONDS = 65_536, 262_144, 60
# Of fewer dimensions a vector is measured in about the time that its code is.
MIN_CODED_DIMENSION = 128
# Graphs up to so many times as large as what is built behind them become part of it.
MERGED_UP_TO = 4
# What a single connection absorbs in a second; a tail that grows faster is left until it rests or is long.
ABSORBED_PER_SECOND = 200
RESTING_PER_SECOND = 20


class Survey(Struct, frozen=True):
    """An index as the builder finds it."""

    dimension: int
    graphs: tuple[Graph, ...]
    alive: tuple[int, ...]
    """The vectors that each graph still has; the rest was replaced or deleted."""
    tail: int
    """Vectors behind the graphs and before `end`; what is written meanwhile is left to the next look."""
    end: int
    """Behind the last position that had been given."""
    written_per_second: float
    """Infinite until there is something to compare with."""

    @property
    def resting(self) -> bool:
        return self.written_per_second <= RESTING_PER_SECOND


class Build(Struct, frozen=True, tag=True):
    """One graph over the positions from `first` up to, not including, `end`, in the place of those that are there."""

    first: int
    end: int
    ef_construction: int


class Absorb(Struct, frozen=True, tag=True):
    """The tail goes into the last graph."""


class Forget(Struct, frozen=True, tag=True):
    """The index has become so small that it needs no graph."""


Step: TypeAlias = Build | Absorb | Forget | None


def exact_vectors(dimension: int) -> int:
    """How many vectors are measured rather than given a graph."""
    return max(MIN_EXACT_VECTORS, min(MAX_EXACT_VECTORS, EXACT_BYTES // (4 * dimension)))


def next_step(survey: Survey) -> Step:
    few, vectors = exact_vectors(survey.dimension), sum(survey.alive) + survey.tail
    if vectors <= few // 2 and survey.graphs and survey.resting:
        return Forget()
    if survey.tail > _longest(survey, few):
        return Build(_first(survey), survey.end, FINAL_EF_CONSTRUCTION if survey.resting else DRAFT_EF_CONSTRUCTION)
    if survey.resting and _worn(survey):
        return Build(0, survey.end, FINAL_EF_CONSTRUCTION)
    if survey.graphs and survey.tail and survey.written_per_second <= ABSORBED_PER_SECOND:
        return Absorb()
    return None


def _longest(survey: Survey, few: int) -> int:
    if survey.dimension >= MIN_CODED_DIMENSION and survey.written_per_second > ABSORBED_PER_SECOND:
        return round(min(MAX_CODED, max(MIN_CODED, survey.written_per_second * CODED_SECONDS)))
    return few * LONG_TAIL if survey.graphs else few


def _first(survey: Survey) -> int:
    """From where on a new graph replaces old ones."""
    kept, size = len(survey.graphs), survey.tail
    while kept:
        alive, graph = survey.alive[kept - 1], survey.graphs[kept - 1]
        if alive > size * MERGED_UP_TO and alive * 2 > graph.vectors:
            break
        kept, size = kept - 1, size + alive
    return survey.graphs[kept - 1].end if kept else 0


def _worn(survey: Survey) -> bool:
    """Built in haste, with gaps, in pieces of some weight, or half of what it was."""
    if not survey.graphs:
        return False
    vectors = sum(survey.alive)
    return (
        any(map(is_draft, survey.graphs))
        or len(uncovered(survey.graphs)) > 1
        or (vectors - max(survey.alive)) * 10 > vectors
        or vectors * 2 < sum(graph.vectors for graph in survey.graphs)
    )
