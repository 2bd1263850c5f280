"""Filters of each kind that match about the wanted shares of the rows, found in the metadata itself."""

from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from itertools import product
from math import inf, log
from typing import Any, Literal, get_args

import numpy as np
from msgspec import Struct

from scripts.benchmarks.datasets import Mask, Metadata
from scripts.benchmarks.predicates import Condition, matches

Kind = Literal["equality", "equality in a list", "$in", "range", "and", "or"]

SHARES = (0.0005, 0.01, 0.1, 0.5, 0.99)
# Parts of and/or: enough that two of them come near to each share.
PART_SHARES = (0.0005, 0.002, 0.01, 0.03, 0.1, 0.2, 0.3, 0.5, 0.7, 0.9, 0.99, 0.999)

MAX_IN_VALUES = 98  # with a range of two bounds beside it, no more than an index of mode ENHANCED takes
# Farther off than so many times as many rows, or so many times as many of the other rows, is another share.
MATCHES_WITHIN, OTHERS_WITHIN = 2, 4


class ChosenFilter(Struct, frozen=True):
    kind: Kind
    wanted: float
    condition: Condition
    mask: Mask
    """Which rows match, by the predicates."""

    @property
    def matches(self) -> int:
        return _count(self.mask)

    @property
    def share(self) -> float:
        return self.matches / len(self.mask)


def choose_filters(metadata: Sequence[Metadata], non_filterable: Iterable[str], seed: int) -> list[ChosenFilter]:
    """By kinds in their order; a share to which the data has nothing near is left out."""
    choice = _Choice(metadata, frozenset(non_filterable), seed)
    chosen = [choice.nearest(kind, share) for kind in get_args(Kind) for share in SHARES]
    return [found for found in chosen if found is not None]


class _Choice:
    def __init__(self, metadata: Sequence[Metadata], non_filterable: frozenset[str], seed: int) -> None:
        self._metadata = metadata
        self._random = np.random.default_rng(seed)
        self._scalars: dict[str, dict[str | bool, list[int]]] = defaultdict(lambda: defaultdict(list))
        self._elements: dict[str, dict[str, list[int]]] = defaultdict(lambda: defaultdict(list))
        numbers: dict[str, list[float]] = defaultdict(list)
        for row, document in enumerate(metadata):
            for key, value in document.items():
                if key not in non_filterable:
                    self._enter(row, key, value, numbers)
        self._numbers = {key: np.sort(np.array(values)) for key, values in numbers.items()}
        self._parts: dict[Kind, list[ChosenFilter]] = {}

    def _enter(self, row: int, key: str, value: Any, numbers: dict[str, list[float]]) -> None:
        match value:
            case str() | bool():
                self._scalars[key][value].append(row)
            case int() | float():
                numbers[key].append(value)
            case list():
                for element in {element for element in value if isinstance(element, str)}:
                    self._elements[key][element].append(row)

    def nearest(self, kind: Kind, share: float) -> ChosenFilter | None:
        wanted = share * len(self._metadata)
        candidates = self._candidates(kind, wanted)
        distance, condition = min(((self._off(n, wanted), c) for c, n in candidates), default=(inf, {}), key=_first)
        if distance > 1:
            return None
        mask = np.fromiter((matches(condition, document) for document in self._metadata), bool, len(self._metadata))
        return ChosenFilter(kind, share, condition, mask)

    def _off(self, found: int, wanted: float) -> float:
        """How far, where 1 is the most that will do; few rows are judged by those that match, most by the others."""
        rows = len(self._metadata)
        by_matches = abs(log((found + 0.5) / (wanted + 0.5))) / log(MATCHES_WITHIN)
        by_others = abs(log((rows - found + 0.5) / (rows - wanted + 0.5))) / log(OTHERS_WITHIN)
        return max(by_matches, by_others)

    def _candidates(self, kind: Kind, wanted: float) -> Iterator[tuple[Condition, int]]:
        match kind:
            case "equality":
                yield from _equalities(self._scalars)
            case "equality in a list":
                yield from _equalities(self._elements)
            case "$in":
                yield from self._memberships(wanted)
            case "range":
                yield from self._ranges(round(wanted))
            case "and":
                for one, other in product(self._part("equality") + self._part("$in"), self._part("range")):
                    yield {"$and": [one.condition, other.condition]}, _count(one.mask & other.mask)
            case "or":
                for one, other in product(self._part("equality"), self._part("equality in a list")):
                    yield {"$or": [one.condition, other.condition]}, _count(one.mask | other.mask)

    def _memberships(self, wanted: float) -> Iterator[tuple[Condition, int]]:
        """Values in a random order, each taken if it brings the matches nearer."""
        for key, values in self._scalars.items():
            known, matched = list(values), 0
            chosen: list[str | bool] = []
            for value in (known[place] for place in self._random.permutation(len(known))):
                more = matched + len(values[value])
                if len(chosen) < MAX_IN_VALUES and self._off(more, wanted) < self._off(matched, wanted):
                    chosen.append(value)
                    matched = more
            if len(chosen) > 1:
                yield {key: {"$in": chosen}}, matched

    def _ranges(self, wanted: int) -> Iterator[tuple[Condition, int]]:
        for key, numbers in self._numbers.items():
            if 0 < wanted < len(numbers):
                first = int(self._random.integers(len(numbers) - wanted))
                low, high = numbers[first].item(), numbers[first + wanted].item()
                found = np.searchsorted(numbers, high) - np.searchsorted(numbers, low)
                yield {key: {"$gte": low, "$lt": high}}, int(found)

    def _part(self, kind: Kind) -> list[ChosenFilter]:
        if kind not in self._parts:
            found = [self.nearest(kind, share) for share in PART_SHARES]
            self._parts[kind] = [part for part in found if part is not None]
        return self._parts[kind]


def _count(mask: Mask) -> int:
    return int(np.count_nonzero(mask))


def _equalities(values: dict[str, dict[Any, list[int]]]) -> Iterator[tuple[Condition, int]]:
    for key, rows in values.items():
        for value, matching in rows.items():
            yield {key: {"$eq": value}}, len(matching)


def _first(pair: tuple[float, Condition]) -> float:
    return pair[0]
