"""Exact or approximate: which of the two ways a search takes, decided by us and never by the planner.

A walk through the graph throws away what a filter refuses, so the fewer vectors match the longer it gets; filtering
first and measuring every match gets longer the more match.  Measured on 63,666 x 384, milliseconds:

    matches          32    629   6,240  10,148  31,828  63,029
    exact           0.6    2.1     7.0    14.8    60.5    70.0
    approximate                    7.6     7.0     4.2     3.6

They meet near sqrt(400 x vectors) + 500 matches.  Those that share a value gather among the vectors, which makes the
walk longer, and where range indexes know them all they are measured in less: they meet near sqrt(900 x vectors) + 500.

    matches of values        1,470   1,971   4,223   6,711   6,802   8,004
    exact, by GIN              2.8     4.5     6.3    10.4    11.9    13.4
    exact, by a range index    3.1     4.2     5.7     9.1     9.1    10.0
    approximate               21.9    25.5    17.6     9.4    11.5     8.6

For more than a page a walk costs far more, with topK and with the share that a filter refuses; the two beside each
other on a machine that was also busy otherwise:

    topK                             200    500  1,000  1,500  2,000  5,000  10,000
    exact                             47     61     60     64     63     85      98
    approximate                       13     27     41     53     70    149     223
    exact, 35,033 matches             90     93     83            84     89
    approximate                       30     46     70           110    182
    exact, 25,696 matches             53     53     57            51     58
    approximate                       23     50     65            93    209
    exact, 6,958 matches              17     19     21            22     23
    approximate                       82    139    199           277    551

They meet where the square of the matches, unfiltered of all vectors, is 14 to 35 times topK x vectors.
"""

from collections.abc import Sequence
from math import ceil, log2, sqrt
from typing import TypeAlias

from msgspec import Struct

from app.database.catalog import Graph
from app.database.graphs import is_draft
from app.limits import MAX_QUERY_PAGE

MAX_EF_SEARCH = 1_000
MIN_EF_SEARCH = 40
# With fewer matches, GIN is as fast as a range index that needs no look at the rows.
MANY = 1_000
# What is measured by its code takes a fraction of the time of a vector; finding a vector by its position takes longer.
MEASURED_BY_CODE = 8
# Times the candidates of a search without a filter: more of them cost time, and recall no longer grows.
MOST_MORE = 1.75


class Exact(Struct, frozen=True, tag=True):
    why: str
    many: bool = False
    """Whether so many match that a statement pays which takes longer to plan."""


class Approximate(Struct, frozen=True, tag=True):
    ef_search: int
    iterative: bool = False
    """Whether the walk goes on until it has found enough, past what is refused or was deleted."""
    candidates: int = 0
    """How many of the nearest by their codes are measured; 0 where all that have a code are."""


Strategy: TypeAlias = Exact | Approximate


def ef_search(top_k: int, recall_target: float) -> int:
    """On real queries 1 - recall@k was 2.8 / ef_search for k = 10 and 4.9 / ef_search for k = 100.

    With m = 16 and ef_construction = 400; what is more here is margin.
    """
    by_target: float = 3.2 * (top_k / 10) ** 0.2 / (1 - recall_target)
    return round(min(MAX_EF_SEARCH, max(MIN_EF_SEARCH, by_target, 2 * top_k)))


def goes_on(top_k: int) -> bool:
    """Whether a walk must find more than the candidates that it may have at once."""
    return 2 * top_k > MAX_EF_SEARCH


def filter_first_up_to(vectors: int, top_k: int, *, are_values_indexed: bool = False) -> int:
    per_vector = 900 if are_values_indexed else 400
    if top_k > MAX_QUERY_PAGE:
        per_vector = 30 * top_k
    return round(sqrt(per_vector * vectors)) + 500


def choose(  # noqa: PLR0913 - all that it depends on
    graphs: Sequence[Graph],
    matches: int | None,
    top_k: int,
    recall_target: float,
    *,
    coded: int = 0,
    are_values_indexed: bool = False,
) -> Strategy:
    """`matches` is None where nothing is filtered; `coded` vectors have a code and are in no graph."""
    vectors = coded + sum(graph.vectors for graph in graphs)
    if not vectors:
        return Exact("no graph has been built: the index is small, or its graph is on the way")
    # A draft of twice the candidates finds about what a good graph does.
    wanted = ef_search(top_k, recall_target) * (2 if any(map(is_draft, graphs)) else 1)
    line = filter_first_up_to(vectors, top_k, are_values_indexed=are_values_indexed)
    if matches is None:
        if top_k > MAX_QUERY_PAGE and vectors <= line:
            return Exact(f"so many are wanted that up to {line} vectors are all measured")
        is_last = goes_on(top_k) or not graphs
        return Approximate(min(MAX_EF_SEARCH, wanted), is_last, candidates(coded, wanted, top_k))
    if matches <= line:
        return Exact(f"the filter is first: at most {line} matches", many=matches >= MANY)
    # Of the candidates only those that match are of use, and recall falls with them.
    times = max(1.0, vectors / matches)
    more = round(min(MAX_EF_SEARCH, wanted * min(MOST_MORE, times)))
    return Approximate(more, iterative=True, candidates=candidates(coded, wanted, top_k, times))


def candidates(coded: int, ef_search: int, top_k: int, times: float = 1.0) -> int:
    """Three for four that a graph would be asked for, and a dozen for each that is wanted.

    On real queries 120 by their codes held 0.99 of the nearest ten, 160 of a graph 0.985.

    Where a filter refuses some of them, `times` as many or up to twice that, so that few texts of statements are made.
    All are measured where that takes no longer.
    """
    wanted = max(ef_search * 3 // 4, 12 * top_k) << ceil(log2(times))
    return wanted if wanted * MEASURED_BY_CODE <= coded else 0


def more_thorough(strategy: Approximate) -> Strategy:
    """What to do when it has found too few.

    Without a filter that happens only where most of what is near was deleted: nobody else need pay for a walk that can
    go on, which costs PostgreSQL a fifth more.
    """
    if strategy.iterative:
        return Exact("the graphs have too few")
    return Approximate(strategy.ef_search, iterative=True)
