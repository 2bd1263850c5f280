"""The filter language: what a condition on metadata can say, once its JSON has been checked.

A list has each of its elements: every condition asks for any of them.
"""

from typing import Literal, NamedTuple, TypeAlias

from msgspec import Struct

Number: TypeAlias = int | float
Scalar: TypeAlias = str | int | float | bool


class And(Struct, frozen=True):
    operands: tuple["Node", ...]


class Or(Struct, frozen=True):
    operands: tuple["Node", ...]


class In(Struct, frozen=True):
    """`$in`, and `$eq` of one value."""

    key: str
    values: tuple[Scalar, ...]


class NotIn(Struct, frozen=True):
    """`$nin`, and `$ne` of one value; a missing key matches."""

    key: str
    values: tuple[Scalar, ...]


class Bound(Struct, frozen=True):
    sign: Literal["<", "<=", ">", ">="]
    number: Number


class Range(Struct, frozen=True):
    """Of a list, each bound may be kept by another element."""

    key: str
    bounds: tuple[Bound, ...]


class Exists(Struct, frozen=True):
    key: str
    present: bool


class StartsWith(Struct, frozen=True):
    key: str
    prefix: str


Node: TypeAlias = And | Or | In | NotIn | Range | Exists | StartsWith


class RangeKey(NamedTuple):
    """What a range index is of: the numbers of a key, or its strings."""

    key: str
    value_type: Literal["number", "string"]


def range_keys(node: Node) -> frozenset[RangeKey]:
    """A prefix is a range of strings; the empty one is no narrower than all of them."""
    match node:
        case And(operands) | Or(operands):
            return frozenset().union(*map(range_keys, operands))
        case Range(key):
            return frozenset({RangeKey(key, "number")})
        case StartsWith(key, prefix) if prefix:
            return frozenset({RangeKey(key, "string")})
        case _:
            return frozenset()
