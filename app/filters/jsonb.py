"""Expressions on jsonb in which keys and values are bound parameters."""

import json
from collections.abc import Collection
from typing import Any, TypeAlias

import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import ARRAY, JSONB
from sqlalchemy.types import UserDefinedType

Condition: TypeAlias = sa.ColumnElement[bool]
Metadata: TypeAlias = sa.ColumnElement[Any]

IS_NUMBER: sa.ColumnElement[str] = sa.literal_column("'number'")
IS_STRING: sa.ColumnElement[str] = sa.literal_column("'string'")
IS_LIST: sa.ColumnElement[str] = sa.literal_column("'array'")


class _AsPassed(UserDefinedType[str]):
    """Text that SQL does not cast: with a cast around the key, no query would match the expression of an index."""

    cache_ok = True


def member(metadata: Metadata, key: str) -> sa.ColumnElement[Any]:
    return metadata.op("->", return_type=JSONB())(sa.literal(key, _AsPassed()))


def text_of_member(metadata: Metadata, key: str) -> sa.ColumnElement[str]:
    return metadata.op("->>", return_type=sa.Text())(sa.literal(key, _AsPassed()))


def constant(value: Any) -> sa.ColumnElement[Any]:
    return sa.cast(sa.literal(json.dumps(value), sa.Text), JSONB)


def constants(values: Collection[Any]) -> sa.ColumnElement[Any]:
    """An array of them; as texts, of which PostgreSQL makes constants: one parameter however many values there are."""
    return sa.cast(sa.literal([json.dumps(value) for value in values], ARRAY(sa.Text)), ARRAY(JSONB))
