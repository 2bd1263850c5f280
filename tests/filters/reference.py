"""What filters mean, told a second time: no nodes, no SQL, only JSON against JSON."""

import json
import operator
from collections.abc import Callable
from decimal import Decimal
from typing import Any

Elements = list[Any]


def matches(document: dict[str, Any], metadata: dict[str, Any]) -> bool:
    [(key, value)] = document.items()
    match key:
        case "$and":
            return all(matches(operand, metadata) for operand in value)
        case "$or":
            return any(matches(operand, metadata) for operand in value)
    stored = metadata.get(key, [])
    elements = stored if isinstance(stored, list) else [stored]
    tests = value if isinstance(value, dict) else {"$eq": value}
    return all(HOLDS[name](elements, operand) for name, operand in tests.items())


def constraints(document: dict[str, Any]) -> int:
    [(key, value)] = document.items()
    if key in {"$and", "$or"}:
        return sum(map(constraints, value))
    operands = value.values() if isinstance(value, dict) else [value]
    return sum(len(operand) if isinstance(operand, list) else 1 for operand in operands)


def same(left: Any, right: Any) -> bool:
    return comparable(left) == comparable(right)


def ordered(compare: Callable[[Decimal, Decimal], bool]) -> Callable[[Elements, Any], bool]:
    return lambda elements, bound: any(compare(decimal(e), decimal(bound)) for e in elements if is_number(e))


def comparable(value: Any) -> tuple[bool, Any]:
    return is_number(value), decimal(value) if is_number(value) else json.dumps(value)


def is_number(value: Any) -> bool:
    return not isinstance(value, str | bool)


def decimal(value: float) -> Decimal:
    """JSON numbers are decimal: 1e23 is ten to the 23rd, which no binary float is."""
    return Decimal(json.dumps(value))


HOLDS: dict[str, Callable[[Elements, Any], bool]] = {
    "$eq": lambda elements, value: any(same(e, value) for e in elements),
    "$ne": lambda elements, value: not any(same(e, value) for e in elements),
    "$in": lambda elements, values: any(same(e, value) for e in elements for value in values),
    "$nin": lambda elements, values: not any(same(e, value) for e in elements for value in values),
    "$gt": ordered(operator.gt),
    "$gte": ordered(operator.ge),
    "$lt": ordered(operator.lt),
    "$lte": ordered(operator.le),
    "$exists": lambda elements, present: (elements != []) is present,
    "$startsWith": lambda elements, prefix: any(isinstance(e, str) and e.startswith(prefix) for e in elements),
}
