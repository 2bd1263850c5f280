"""The targets of the benchmark, each written once, and the figures that are held against them."""

from typing import Literal

from msgspec import Struct


class Target(Struct, frozen=True):
    sign: Literal[">=", "<="]
    number: float

    def is_met_by(self, value: float) -> bool:
        return value >= self.number if self.sign == ">=" else value <= self.number


def at_least(number: float) -> Target:
    return Target(">=", number)


def at_most(number: float) -> Target:
    return Target("<=", number)


NONE_AT_ALL = at_most(0)

RECALL_AT_10 = at_least(0.98)
RECALL_AT_100 = at_least(0.97)

HTTP_TO_SQL = at_least(0.65)
HTTP_BEHIND_SQL_MS = at_most(1.0)

FILTERED_TO_UNFILTERED = at_most(3)
TOP_100_TO_TOP_10 = at_most(3)

LOADED_PER_SECOND = at_least(2_500)
LOADING_TO_IDLE = at_most(5)
IMPORT_TO_RAW = at_most(1.5)
UPSERTED_PER_SECOND = at_least(1_500)

BM25_MS = at_most(15)
HYBRID_BEHIND_BOTH_MS = at_most(2)
SEARCHABLE_PUTS_TO_PLAIN = at_least(0.5)
BM25_ERROR = at_most(1e-4)

DISTANCE_ERROR = at_most(1e-5)
SEGMENTS_TO_SEQUENTIAL = at_least(3)
GROWN_TO_SMALL = at_most(2.5)

IDLE_WORKER_MIB = at_most(150)
BUSY_WORKER_MIB = at_most(400)


class Figure(Struct, frozen=True):
    """One row of the table; without a value it could not be measured, and `note` says why."""

    scenario: str
    what: str
    value: float | None
    unit: str = ""
    target: Target | None = None
    note: str = ""
    limit: str = ""
    """What kept it from its target although nothing of ours was left to gain, where the target allows for that."""

    @property
    def verdict(self) -> Literal["", "met", "missed", "at its limit", "not measured"]:
        if self.value is None:
            return "not measured"
        if self.target is None:
            return ""
        if self.target.is_met_by(self.value):
            return "met"
        return "at its limit" if self.limit else "missed"
