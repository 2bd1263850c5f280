"""The filter language in plain Python, written apart from the server's, which it judges.

A list has each of its elements: every condition asks for any of them.  A missing key has none.
"""

from collections.abc import Callable
from typing import Any

Condition = dict[str, Any]


def matches(condition: Condition, metadata: dict[str, Any]) -> bool:
    [(key, value)] = condition.items()
    if key == "$and":
        return all(matches(part, metadata) for part in value)
    if key == "$or":
        return any(matches(part, metadata) for part in value)
    tests = value if isinstance(value, dict) else {"$eq": value}
    elements = _elements(metadata, key)
    return all(TESTS[operator](elements, operand) for operator, operand in tests.items())


def _elements(metadata: dict[str, Any], key: str) -> list[Any]:
    if key not in metadata:
        return []
    value = metadata[key]
    return value if isinstance(value, list) else [value]


def _same(one: Any, other: Any) -> bool:
    """Python takes True for 1."""
    return one == other and isinstance(one, bool) == isinstance(other, bool)


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _any_number(elements: list[Any], test: Callable[[float], bool]) -> bool:
    return any(test(element) for element in elements if _is_number(element))


TESTS: dict[str, Callable[[list[Any], Any], bool]] = {
    "$eq": lambda elements, operand: any(_same(element, operand) for element in elements),
    "$ne": lambda elements, operand: not any(_same(element, operand) for element in elements),
    "$in": lambda elements, operand: any(_same(element, value) for element in elements for value in operand),
    "$nin": lambda elements, operand: not any(_same(element, value) for element in elements for value in operand),
    "$gt": lambda elements, operand: _any_number(elements, lambda number: number > operand),
    "$gte": lambda elements, operand: _any_number(elements, lambda number: number >= operand),
    "$lt": lambda elements, operand: _any_number(elements, lambda number: number < operand),
    "$lte": lambda elements, operand: _any_number(elements, lambda number: number <= operand),
    "$exists": lambda elements, operand: bool(elements) == operand,
}
