"""How many rows a filter matches, by PostgreSQL's estimate: it decides how a search runs, and may be seconds old."""

import time
from hashlib import blake2b
from typing import TypeVar

import psycopg
import sqlalchemy as sa
import structlog

from app.database.catalog import Index
from app.database.connection import Connection
from app.database.range_indexes import RangeUse
from app.database.statements import Statement, compiled_once
from app.database.strategy import MANY, filter_first_up_to
from app.database.vector_table import table_of
from app.filters.compile import compile_estimate, value_keys
from app.filters.jsonpath import jsonpath
from app.filters.nodes import And, In, Node, NotIn, Or
from app.limits import MAX_QUERY_PAGE

T = TypeVar("T")

log = structlog.get_logger()

LIFETIME_SECONDS = 10
MAX_KEPT = 10_000

# The planner tries each value on each of its 1,000 samples: 0.3 ms for one value, 2.7 ms for 32, 60 ms for 1,024.
MAX_VALUES = 32


class Selectivity:
    def __init__(self, range_use: RangeUse | None = None) -> None:
        self._kept: dict[tuple[int, bytes], tuple[float, int]] = {}
        self._range_use = range_use

    def note(self, index: Index, node: Node, matches: int) -> None:
        """Of a search for the nearest: so many rows are worth an index of the values that they share."""
        vectors = sum(graph.vectors for graph in index.graphs)
        if self._range_use and MANY <= matches <= filter_first_up_to(vectors, MAX_QUERY_PAGE, are_values_indexed=True):
            self._range_use.note(index.id, value_keys(node))

    async def matches(self, connection: Connection, index: Index, node: Node) -> int:
        """0, which makes the search an exact one, where there is no estimate."""
        # Of the text, in which 1 is not true; a digest of it, because it may be as long as the request.
        place = index.id, blake2b(jsonpath(node).encode(), digest_size=16).digest()
        if (known := self._kept.get(place)) and known[0] > time.monotonic():
            return known[1]
        estimated = await estimate(connection, index, node)
        if estimated is None:
            return 0
        if len(self._kept) >= MAX_KEPT:
            self._kept.clear()
        self._kept[place] = time.monotonic() + LIFETIME_SECONDS, estimated
        return estimated


async def estimate(connection: Connection, index: Index, node: Node) -> int | None:
    """On an autocommit connection, because a statement that fails would end a transaction; None when it does."""
    sampled, factor = sample(node)
    try:
        [(explained,)] = await connection.run(explain(index, sampled), prepare=False)
    except psycopg.Error as error:
        log.warning("estimate_failed", index_id=index.id, error=type(error).__name__, sqlstate=error.sqlstate)
        return None
    rows: int = explained[0]["Plan"]["Plan Rows"]
    return round(rows * factor)


def explain(index: Index, node: Node) -> Statement:
    table = table_of(index)
    counted = compiled_once(sa.select().select_from(table).where(compile_estimate(node, table.c.metadata)))
    return Statement(f"EXPLAIN (FORMAT JSON) {counted.text}", counted.values)


def sample(node: Node) -> tuple[Node, float]:
    """The filter with some of what its long lists hold, and how many times as many rows match it with all of that.

    Too many rather than too few where a list is one condition of several, or narrows what matches.
    """
    match node:
        case And(operands):
            parts = [sample(operand) for operand in _some(operands)]
            return And(tuple(part for part, _ in parts)), max(factor for _, factor in parts)
        case Or(operands):
            parts = [sample(operand) for operand in _some(operands)]
            return Or(tuple(part for part, _ in parts)), max(factor for _, factor in parts) * len(operands) / len(parts)
        case In(key, values):
            return In(key, _some(values)), len(values) / len(_some(values))
        case NotIn(key, values):
            return NotIn(key, _some(values)), 1.0
        case _:
            return node, 1.0


def _some(values: tuple[T, ...]) -> tuple[T, ...]:
    return values[:: -(-len(values) // MAX_VALUES)]
