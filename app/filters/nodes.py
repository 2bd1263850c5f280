"""The filter language: what a condition on metadata can say, once its JSON has been checked."""

from typing import Literal, TypeAlias

from msgspec import Struct

Number: TypeAlias = int | float
Scalar: TypeAlias = str | int | float | bool


class And(Struct, frozen=True):
    operands: tuple["Node", ...]


class Or(Struct, frozen=True):
    operands: tuple["Node", ...]


class Equals(Struct, frozen=True):
    key: str
    value: Scalar


class NotEquals(Struct, frozen=True):
    key: str
    value: Scalar


class Compare(Struct, frozen=True):
    key: str
    sign: Literal["<", "<=", ">", ">="]
    bound: Number


class In(Struct, frozen=True):
    key: str
    values: tuple[Scalar, ...]


class NotIn(Struct, frozen=True):
    key: str
    values: tuple[Scalar, ...]


class Exists(Struct, frozen=True):
    key: str
    present: bool


class StartsWith(Struct, frozen=True):
    key: str
    prefix: str


Node: TypeAlias = And | Or | Equals | NotEquals | Compare | In | NotIn | Exists | StartsWith
