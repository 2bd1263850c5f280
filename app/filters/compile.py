"""Nodes to a condition on a jsonb column, in which keys and values are only ever bound parameters."""

import json
from typing import Any, assert_never

import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import ARRAY, JSONB, JSONPATH

from app.filters.nodes import And, Compare, Equals, Exists, In, Node, NotEquals, NotIn, Or, Scalar, StartsWith

Condition = sa.ColumnElement[bool]


def compile_filter(node: Node, metadata: sa.ColumnElement[Any]) -> Condition:  # noqa: PLR0911 - one return per node
    match node:
        case And(operands):
            return sa.and_(*(compile_filter(operand, metadata) for operand in operands))
        case Or(operands):
            return sa.or_(*(compile_filter(operand, metadata) for operand in operands))
        case Equals(key, value):
            return _holds_any(metadata, key, value)
        case NotEquals(key, value):
            return sa.not_(_holds_any(metadata, key, value))
        case In(key, values):
            return _holds_any(metadata, key, *values)
        case NotIn(key, values):
            return sa.not_(_holds_any(metadata, key, *values))
        case Exists(key, present):
            exists = sa.func.jsonb_exists(metadata, key, type_=sa.Boolean)
            return exists if present else sa.not_(exists)
        case Compare(key, sign, bound):
            return _matches(metadata, f"$.{json.dumps(key)} {sign} {json.dumps(bound)}")
        case StartsWith(key, prefix):
            return _matches(metadata, f"$.{json.dumps(key)} starts with {json.dumps(prefix)}")
        case _:
            assert_never(node)


def _holds_any(metadata: sa.ColumnElement[Any], key: str, *values: Scalar) -> Condition:
    """A list holds each of its elements.

    Containment is typed, so 5 is not "5", and at the top level GIN serves it.  Two documents a value, because a list
    does not contain the document of a scalar, nor the reverse; one array for all, because the statement then has one
    parameter and one text however many values there are.
    """
    documents = [document for value in values for document in ({key: value}, {key: [value]})]
    return metadata.bool_op("@>")(sa.any_(sa.literal(documents, ARRAY(JSONB))))


def _matches(metadata: sa.ColumnElement[Any], path: str) -> Condition:
    """Lax paths look into lists; on a wrong type `@@` is NULL, which is no match, as long as nothing negates it.

    Every JSON string and number is a literal of jsonpath with the same meaning.
    """
    return metadata.bool_op("@@")(sa.cast(sa.literal(path, sa.Text), JSONPATH))
