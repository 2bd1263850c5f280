"""Filters as conditions within statements: built and compiled once for a filter that is asked again, as most are.

SQLAlchemy takes half of a worker's time for a filtered search to do so.
"""

from collections.abc import Sequence
from enum import Enum, auto
from functools import lru_cache
from typing import assert_never

import sqlalchemy as sa
from msgspec import Struct

from app.database.catalog import Index
from app.database.statements import Statement, compiled_once, renamed
from app.database.vector_table import table_of
from app.filters.compile import compile_filter, compile_parts, compile_row_filter
from app.filters.jsonb import Condition
from app.filters.jsonpath import jsonpath
from app.filters.nodes import Node, RangeKey

FILTER: Condition = sa.literal_column("$filter$")
FILTERS: tuple[Condition, ...] = (FILTER, sa.literal_column("$rest$"))

MAX_KEPT = 512
# Of a filter as jsonpath; one that is longer is built each time.  What is kept takes 1 or 2 MiB, and 15 if all are
# alternatives of ranges, whose conditions are 60 times as long.
MAX_KEPT_CHARACTERS = 500


class Use(Enum):
    FIRST = auto()
    """What it matches is found first, by indexes."""
    PARTS = auto()
    """So too, where the answers of range indexes to two conditions are worth it."""
    ROW_BY_ROW = auto()
    """For rows that were found otherwise."""


class Spelled(Struct, frozen=True, eq=False):
    """Equal to another of the same spelling: to Python, nodes of 1 and of true are equal."""

    node: Node
    spelling: str

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Spelled) and self.spelling == other.spelling

    def __hash__(self) -> int:
        return hash(self.spelling)


def filtered(statement: Statement, conditions: Sequence[Statement]) -> Statement:
    """With the conditions in place of `FILTERS`: their own text has bound parameters and names of columns."""
    text, values = statement.text, dict(statement.values)
    for place, condition in zip(FILTERS, conditions, strict=False):
        text = text.replace(place.name, f"({condition.text})")
        values |= condition.values
    return Statement(text, values)


def conditions_of(index: Index, node: Node, use: Use) -> tuple[Statement, ...]:
    """Of which a row fulfils one at most."""
    spelled = Spelled(node, jsonpath(node))
    conditions = _kept if len(spelled.spelling) <= MAX_KEPT_CHARACTERS else _conditions
    return conditions(table_of(index), index.ranged_keys, spelled, use)


def _conditions(table: sa.Table, ranged_keys: frozenset[RangeKey], spelled: Spelled, use: Use) -> tuple[Statement, ...]:
    node, metadata = spelled.node, table.c.metadata
    match use:
        case Use.FIRST:
            conditions = [compile_filter(node, metadata, ranged_keys)]
        case Use.PARTS:
            conditions = compile_parts(node, metadata, ranged_keys)
        case Use.ROW_BY_ROW:
            conditions = [compile_row_filter(node, metadata)]
        case unknown:
            assert_never(unknown)
    return tuple(renamed(compiled_once(condition), f"filter_{number}_") for number, condition in enumerate(conditions))


_kept = lru_cache(maxsize=MAX_KEPT)(_conditions)
