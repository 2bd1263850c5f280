"""Filter JSON to nodes; AWS refuses whatever its grammar does not know, and does not say why."""

import re
import sys
from collections.abc import Callable, Collection, Mapping
from typing import Any

from app.errors import ValidationException
from app.filters.nodes import And, Bound, Exists, In, Node, NotIn, Number, Or, Range, Scalar, StartsWith
from app.filters.simplify import simplify
from app.index_modes import IndexMode
from app.limits import MAX_CLASSIC_FILTER_CONSTRAINTS, MAX_FILTER_CONSTRAINTS, MAX_FILTER_DEPTH

INVALID = "Invalid filter"
NON_FILTERABLE = "Invalid use of non-filterable metadata in filter"
TOO_MANY = "The filter has more than {} constraints, of which each value that it compares is one"

MAX_CONSTRAINTS = {
    IndexMode.ENHANCED: MAX_FILTER_CONSTRAINTS,
    IndexMode.CLASSIC: MAX_CLASSIC_FILTER_CONSTRAINTS,
}

# JSON can escape them, jsonb cannot hold them.
_UNSTORABLE = re.compile("[\0\ud800-\udfff]")


def parse_filter(document: Any, non_filterable_keys: Collection[str], mode: IndexMode = IndexMode.ENHANCED) -> Node:
    """Simplified, so that whoever has a filter has it in its simplest form."""
    return simplify(_Parser(non_filterable_keys, mode).condition(document, depth=1))


class _Parser:
    """Counts while it reads, so that an oversized filter is refused before it has been read."""

    def __init__(self, non_filterable_keys: Collection[str], mode: IndexMode) -> None:
        self._non_filterable_keys = non_filterable_keys
        self._tests = _TESTS if mode is IndexMode.ENHANCED else _CLASSIC_TESTS
        self._max_constraints = MAX_CONSTRAINTS[mode]
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
        if operator not in self._tests:
            raise ValidationException.at("filter", INVALID)
        self._constraints += len(operand) if isinstance(operand, list) else 1
        if self._constraints > self._max_constraints:
            raise ValidationException.at("filter", TOO_MANY.format(self._max_constraints))
        return self._tests[operator](key, operand)


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
_CLASSIC_TESTS = {operator: test for operator, test in _TESTS.items() if operator != "$startsWith"}


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
