"""Nodes to a predicate of jsonpath: one expression that PostgreSQL evaluates in one go, for `metadata @@ predicate`.

Lax paths look into lists.  A comparison with another type is unknown and `@@` then NULL, which is no match, as long as
nothing negates it; `exists` is never unknown.  Every JSON string and number is a literal of jsonpath with the same
meaning, and a key written as one cannot be anything else.
"""

import json
from collections.abc import Iterable
from typing import assert_never

from app.filters.nodes import And, Exists, In, Node, NotIn, Or, Range, Scalar, StartsWith


def jsonpath(node: Node) -> str:  # noqa: PLR0911 - one return per node
    match node:
        case And(operands):
            return " && ".join(f"({jsonpath(operand)})" for operand in operands)
        case Or(operands):
            return " || ".join(f"({jsonpath(operand)})" for operand in operands)
        case In(key, (value,)):
            return f"{_member(key)} == {json.dumps(value)}"
        case In(key, values):
            return _holds_any(key, values)
        case NotIn(key, values):
            return f"!{_holds_any(key, values)}"
        case Range(key, bounds):
            return " && ".join(f"{_member(key)} {bound.sign} {json.dumps(bound.number)}" for bound in bounds)
        case Exists(key, present):
            return f"{'' if present else '!'}exists({_member(key)})"
        case StartsWith(key, prefix):
            return f"{_member(key)} starts with {json.dumps(prefix)}"
        case _:
            assert_never(node)


def _member(key: str) -> str:
    return f"$.{json.dumps(key)}"


def _holds_any(key: str, values: Iterable[Scalar]) -> str:
    """One look at the member, however many values there are."""
    return f"exists({_member(key)} ? ({' || '.join(f'@ == {json.dumps(value)}' for value in values)}))"
