"""Filter JSON to nodes; AWS refuses whatever its grammar does not know, and never says why."""

import re
import sys
from collections.abc import Callable, Collection, Mapping
from typing import Any

from app.errors import ValidationException
from app.filters.nodes import And, Bound, Exists, In, Node, NotIn, Number, Or, Range, Scalar, StartsWith
from app.limits import MAX_FILTER_CONSTRAINTS, MAX_FILTER_DEPTH

INVALID = "Invalid filter"
NON_FILTERABLE = "Invalid use of non-filterable metadata in filter"

# JSON can escape them, jsonb cannot hold them.
_UNSTORABLE = re.compile("[\0\ud800-\udfff]")


def parse_filter(document: Any, non_filterable_keys: Collection[str]) -> Node:
    return _Parser(non_filterable_keys).condition(document, depth=1)


class _Parser:
    """Counts while it reads, so that an oversized filter is refused before it has been read."""

    def __init__(self, non_filterable_keys: Collection[str]) -> None:
        self._non_filterable_keys = non_filterable_keys
        self._constraints = 0

    def condition(self, document: Any, depth: int) -> Node:
        if not isinstance(document, dict) or len(document) != 1 or depth > MAX_FILTER_DEPTH:
            raise ValidationException.at("filter", INVALID)
        [(key, value)] = document.items()
        match key:
            case "$and":
                return And(self._operands(value, depth))
            case "$or":
                return Or(self._operands(value, depth))
            case _:
                return self._field(key, value)

    def _operands(self, documents: Any, depth: int) -> tuple[Node, ...]:
        return tuple(self.condition(document, depth + 1) for document in _non_empty_list(documents))

    def _field(self, key: str, value: Any) -> Node:
        if key.startswith("$"):
            raise ValidationException.at("filter", INVALID)
        if key in self._non_filterable_keys:
            raise ValidationException.at("filter", NON_FILTERABLE)
        tests = value if isinstance(value, dict) else {"$eq": value}
        nodes = tuple(self._test(_text(key), operator, operand) for operator, operand in tests.items())
        match nodes:
            case ():
                raise ValidationException.at("filter", INVALID)
            case (node,):
                return node
            case _:
                return And(nodes)

    def _test(self, key: str, operator: str, operand: Any) -> Node:
        self._constraints += len(operand) if isinstance(operand, list) else 1
        if operator not in _TESTS or self._constraints > MAX_FILTER_CONSTRAINTS:
            raise ValidationException.at("filter", INVALID)
        return _TESTS[operator](key, operand)


_TESTS: Mapping[str, Callable[[str, Any], Node]] = {
    "$eq": lambda key, operand: In(key, (_scalar(operand),)),
    "$ne": lambda key, operand: NotIn(key, (_scalar(operand),)),
    "$gt": lambda key, operand: Range(key, (Bound(">", _number(operand)),)),
    "$gte": lambda key, operand: Range(key, (Bound(">=", _number(operand)),)),
    "$lt": lambda key, operand: Range(key, (Bound("<", _number(operand)),)),
    "$lte": lambda key, operand: Range(key, (Bound("<=", _number(operand)),)),
    "$in": lambda key, operand: In(key, _scalars(operand)),
    "$nin": lambda key, operand: NotIn(key, _scalars(operand)),
    "$exists": lambda key, operand: Exists(key, _boolean(operand)),
    "$startsWith": lambda key, operand: StartsWith(key, _text(operand)),
}


def _scalars(values: Any) -> tuple[Scalar, ...]:
    return tuple(_scalar(value) for value in _non_empty_list(values))


def _scalar(value: Any) -> Scalar:
    match value:
        case bool():
            return value
        case str():
            return _text(value)
        case _:
            return _number(value)


def _text(value: Any) -> str:
    if not isinstance(value, str) or _UNSTORABLE.search(value):
        raise ValidationException.at("filter", INVALID)
    return value


def _number(value: Any) -> Number:
    """Written so that NaN fails it as well."""
    if isinstance(value, bool) or not isinstance(value, int | float) or not abs(value) <= sys.float_info.max:
        raise ValidationException.at("filter", INVALID)
    return value


def _boolean(value: Any) -> bool:
    if not isinstance(value, bool):
        raise ValidationException.at("filter", INVALID)
    return value


def _non_empty_list(value: Any) -> list[Any]:
    if not isinstance(value, list) or not value:
        raise ValidationException.at("filter", INVALID)
    return value
