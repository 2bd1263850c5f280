"""Nodes to a condition on a jsonb column, in which keys and values are only ever bound parameters.

Three conditions with one meaning, for three uses:

- `compile_filter` for searches that filter first: GIN serves its equalities, a range index its ranges;
- `compile_row_filter` for a walk through HNSW: the cheapest for one row, and nothing that the planner could serve;
- `compile_estimate` for the planner's estimate of how many rows match.

Where it can be, a condition is one predicate of jsonpath.  For 63,666 rows that took 28 ms, and `metadata -> 'key' = v`
38 ms; a range 40 ms, and the comparison of jsonb 58 ms.
"""

import json
from collections.abc import Collection
from typing import Any

import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import ARRAY, JSONB, JSONPATH
from sqlalchemy.types import UserDefinedType

from app.filters.jsonpath import jsonpath
from app.filters.nodes import And, Exists, In, Node, NotIn, Or, Range, Scalar, StartsWith
from app.filters.simplify import simplify

Condition = sa.ColumnElement[bool]
Metadata = sa.ColumnElement[Any]

# PostgreSQL looks more constants than that up in a hash table: 120 values take as long as one.
MAX_COMPARED = 8

_IS_NUMBER: sa.ColumnElement[str] = sa.literal_column("'number'")
_IS_LIST: sa.ColumnElement[str] = sa.literal_column("'array'")

# In a range index, every list.  Behind all numbers, as jsonb is ordered.
_LIST = sa.literal_column("'true'::jsonb", JSONB)


class _AsPassed(UserDefinedType[str]):
    """Text that SQL does not cast: with a cast around the key, no query would match the expression of an index."""

    cache_ok = True


def compile_filter(node: Node, metadata: Metadata, ranged_keys: Collection[str] = ()) -> Condition:
    """`ranged_keys` have range indexes; without one, the form that they serve is only slower."""
    return _IndexForm(metadata, ranged_keys).condition(simplify(node))


def compile_row_filter(node: Node, metadata: Metadata) -> Condition:
    """Within `coalesce` nothing matches an index, and half of the rows is what the planner expects to match."""
    return sa.func.coalesce(_RowForm(metadata).condition(simplify(node)), sa.false())


def compile_estimate(node: Node, metadata: Metadata) -> Condition:
    """The planner tries a constant predicate on its sample of the column, all of the filter at once.

    So what belongs together in the rows counts together, and 1,000 rows cost 0.25 ms, and 0.08 ms for each value.
    """
    return metadata.bool_op("@@")(_path(simplify(node)))


def range_value(metadata: Metadata, key: str) -> sa.ColumnElement[Any]:
    """The expression of a range index: numbers are themselves, lists are alike, and nothing else is there.

    So whatever a row holds, its entry is small: one of more than 2,704 bytes would refuse the row.
    """
    value = _value(metadata, key)
    return sa.case((_IS_NUMBER, value), (_IS_LIST, _LIST), value=sa.func.jsonb_typeof(value))


class _RowForm:
    ranged_keys: Collection[str] = ()

    def __init__(self, metadata: Metadata) -> None:
        self.metadata = metadata

    def condition(self, node: Node) -> Condition:
        if self._is_plain(node):
            return self.plain(node)
        match node:
            case And(operands):
                return sa.and_(*self._parts(And, operands))
            case Or(operands):
                return sa.or_(*self._parts(Or, operands))
            case In(key, values):
                return self.long_list(key, values)
            case NotIn(key, values):
                return sa.not_(_holds_any(self.metadata, key, values))
            case Range():
                return _in_range(self.metadata, node)
            case Exists() | StartsWith():
                raise AssertionError(node)

    def plain(self, node: Node) -> Condition:
        return self.metadata.bool_op("@@")(_path(node))

    def long_list(self, key: str, values: Collection[Scalar]) -> Condition:
        return _holds_any(self.metadata, key, values)

    def _is_plain(self, node: Node) -> bool:
        """Whether one jsonpath says it best."""
        match node:
            case And(operands) | Or(operands):
                return all(map(self._is_plain, operands))
            case In(_, values) | NotIn(_, values):
                return len(values) <= MAX_COMPARED
            case Range(key):
                return key not in self.ranged_keys
            case _:
                return True

    def _parts(self, kind: type[And | Or], operands: tuple[Node, ...]) -> list[Condition]:
        plain = tuple(operand for operand in operands if self._is_plain(operand))
        rest = [self.condition(operand) for operand in operands if not self._is_plain(operand)]
        return [self.plain(kind(plain) if len(plain) > 1 else plain[0]), *rest] if plain else rest


class _IndexForm(_RowForm):
    def __init__(self, metadata: Metadata, ranged_keys: Collection[str]) -> None:
        super().__init__(metadata)
        self.ranged_keys = ranged_keys

    def plain(self, node: Node) -> Condition:
        """GIN finds the rows for all equalities of the predicate in one scan.

        From a subquery, because for a constant the planner would go through its sample of the column again.  It then
        takes GIN whatever the predicate is, so nothing that GIN would read as a whole may come here.
        """
        if not _gin_serves(node):
            return sa.func.coalesce(super().plain(node), sa.false())
        return self.metadata.bool_op("@@")(sa.select(_path(node)).scalar_subquery())

    def long_list(self, key: str, values: Collection[Scalar]) -> Condition:
        """One look-up in GIN for each document; every row found is checked against one document after another.

        Two documents a value, because a list does not contain the document of a scalar, nor the reverse; lists last,
        because they are fewer.
        """
        documents = [{key: value} for value in values] + [{key: [value]} for value in values]
        array = sa.select(_json_array(documents)).scalar_subquery()
        return self.metadata.bool_op("@>")(sa.any_(sa.cast(array, ARRAY(JSONB))))


def _gin_serves(node: Node) -> bool:
    match node:
        case And(operands):
            return any(map(_gin_serves, operands))
        case Or(operands):
            return all(map(_gin_serves, operands))
        case _:
            return isinstance(node, In)


def _in_range(metadata: Metadata, node: Range) -> Condition:
    """Bounds of numbers beside each other make one range of the index; of lists it has the rows, to be looked into."""
    value = range_value(metadata, node.key)
    kept = [value.bool_op(bound.sign)(_json(bound.number)) for bound in node.bounds]
    if not any(bound.sign.startswith("<") for bound in node.bounds):
        kept.append(value.bool_op("<")(_LIST))
    elements = sa.func.coalesce(metadata.bool_op("@@")(_path(node)), sa.false())
    return sa.or_(sa.and_(*kept), sa.and_(value.bool_op("=")(_LIST), elements))


def _holds_any(metadata: Metadata, key: str, values: Collection[Scalar]) -> Condition:
    """By a hash table, for each element of a list as well; never NULL, so that it can be negated.

    Equality of jsonb is typed as containment is: 5 is 5.0, and not "5".
    """
    value, array = _value(metadata, key), _json_array(values)
    element = sa.func.jsonb_array_elements(value).table_valued(sa.column("value", JSONB), name="element")
    holds = sa.exists(sa.select(sa.literal_column("1")).where(element.c.value == sa.any_(array)))
    either = sa.case((_IS_LIST, holds), else_=value == sa.any_(array), value=sa.func.jsonb_typeof(value))
    return sa.func.coalesce(either, sa.false())


def _value(metadata: Metadata, key: str) -> sa.ColumnElement[Any]:
    return metadata.op("->", return_type=JSONB())(sa.literal(key, _AsPassed()))


def _path(node: Node) -> sa.ColumnElement[Any]:
    return sa.cast(sa.literal(jsonpath(node), sa.Text), JSONPATH)


def _json(value: Any) -> sa.ColumnElement[Any]:
    return sa.cast(sa.literal(json.dumps(value), sa.Text), JSONB)


def _json_array(values: Collection[Any]) -> sa.ColumnElement[Any]:
    """As texts, of which PostgreSQL makes constants: one parameter however many values there are."""
    return sa.cast(sa.literal([json.dumps(value) for value in values], ARRAY(sa.Text)), ARRAY(JSONB))
