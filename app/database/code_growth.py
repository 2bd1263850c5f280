"""What the codes of an index need next: decided from a few numbers, done by `coding`."""

from typing import TypeAlias

from msgspec import Struct

from app.database.catalog import Codes
from app.database.graph_growth import exact_vectors

# Thresholds are taken anew when there are so many times as many codes.
GROWN = 4
# Codes of what has gone are left behind when there are so many for each vector.
WORN = 2
# A share of the vectors that are always measured is worth being added.
ADDED_FROM = 4


class Tail(Struct, frozen=True):
    """What lies behind the graphs."""

    first: int
    end: int
    """Behind the last position that has been given."""
    vectors: int


class Begin(Struct, frozen=True, tag=True):
    """Codes with thresholds of their own, in the place of those that are there."""

    first: int
    end: int
    vectors: int


class Add(Struct, frozen=True, tag=True):
    end: int


class Retire(Struct, frozen=True, tag=True):
    """Graphs hold all that have codes, or too few are left."""


Step: TypeAlias = Begin | Add | Retire | None


def next_step(dimension: int, codes: Codes | None, tail: Tail) -> Step:
    few = exact_vectors(dimension)
    if codes is None:
        return Begin(tail.first, tail.end, tail.vectors) if tail.vectors > few else None
    if tail.vectors <= few // 2:
        return Retire()
    if codes.first < tail.first or _is_outgrown(codes, few) or codes.number > WORN * tail.vectors:
        return Begin(tail.first, tail.end, tail.vectors)
    return Add(tail.end) if tail.end - codes.end > few // ADDED_FROM else None


def _is_outgrown(codes: Codes, few: int) -> bool:
    return codes.number > GROWN * max(few, codes.number_at_first)
