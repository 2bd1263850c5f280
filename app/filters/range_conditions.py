"""Conditions on the expression of a range index (`app/database/range_indexes.py`), one for each key and type of values.

Of a number, or of a string that is short enough, the index holds the value itself: what such a condition finds needs no
look at the row.  In place of every list it holds one value, and whoever finds that has to look.
"""

import sys
from functools import lru_cache
from typing import Any

import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import ARRAY, JSONB

from app.filters.jsonb import (
    IS_LIST,
    IS_NUMBER,
    IS_STRING,
    Condition,
    Metadata,
    constant,
    constants,
    member,
    text_of_member,
)
from app.filters.nodes import In, Node, Range, RangeKey, StartsWith

# Of a string in a range index: what is longer is told apart by the predicate behind it.
MAX_INDEXED_CHARACTERS = 64

# In a range index, every list.  Behind all numbers, as jsonb is ordered; in place of the empty
# string, which begins with no prefix that a range index serves.
_LIST = sa.literal_column("'true'::jsonb", JSONB)
_LIST_OF_STRINGS = sa.literal_column("''", sa.Text)

# No text has them.
_FIRST_SURROGATE, _AFTER_SURROGATES = 0xD800, 0xE000


@lru_cache(maxsize=256)
def range_value(metadata: Metadata, of: RangeKey) -> sa.ColumnElement[Any]:
    """The expression of a range index: numbers are themselves, or strings by their beginning; lists are alike.

    So whatever a row holds, its entry is small: one of more than 2,704 bytes would refuse the row.
    """
    value = member(metadata, of.key)
    kind = sa.func.jsonb_typeof(value)
    if of.value_type == "number":
        return sa.case((IS_NUMBER, value), (IS_LIST, _LIST), value=kind)
    length: sa.ColumnElement[int] = sa.literal_column(str(MAX_INDEXED_CHARACTERS))
    beginning = sa.func.left(text_of_member(metadata, of.key), length, type_=sa.Text)
    beginning = sa.func.nullif(beginning, _LIST_OF_STRINGS, type_=sa.Text)
    # By code points, as a prefix is compared, whatever the collation of the database.
    return sa.collate(sa.case((IS_STRING, beginning), (IS_LIST, _LIST_OF_STRINGS), value=kind), "C")


def answering(node: Node) -> RangeKey | None:
    """The range index that would have the last word on all rows but those with a list."""
    match node:
        case Range(key):
            return RangeKey(key, "number")
        case StartsWith(key, prefix) if 0 < len(prefix) <= MAX_INDEXED_CHARACTERS:
            return RangeKey(key, "string")
        case In(key, values) if all(isinstance(value, int | float) and not isinstance(value, bool) for value in values):
            return RangeKey(key, "number")
        # One of 64 characters may be the beginning of another.
        case In(key, values) if all(isinstance(v, str) and 0 < len(v) < MAX_INDEXED_CHARACTERS for v in values):
            return RangeKey(key, "string")
        case _:
            return None


@lru_cache(maxsize=256)
def is_list(metadata: Metadata, of: RangeKey) -> Condition:
    return range_value(metadata, of).bool_op("=")(_LIST if of.value_type == "number" else _LIST_OF_STRINGS)


def is_in_range(metadata: Metadata, node: Node) -> Condition:
    """Of rows without a list, those that a node finds; more of them where the index is not `answering`."""
    match node:
        case Range():
            return _is_between(metadata, node)
        case StartsWith():
            return _begins_so(metadata, node)
        case In():
            return _is_any(metadata, node)
    raise AssertionError(node)


def _is_between(metadata: Metadata, node: Range) -> Condition:
    value = range_value(metadata, RangeKey(node.key, "number"))
    kept = [value.bool_op(bound.sign)(constant(bound.number)) for bound in node.bounds]
    if not any(bound.sign.startswith("<") for bound in node.bounds):
        kept.append(value.bool_op("<")(_LIST))
    return sa.and_(*kept)


def _begins_so(metadata: Metadata, node: StartsWith) -> Condition:
    value = range_value(metadata, RangeKey(node.key, "string"))
    first = node.prefix[:MAX_INDEXED_CHARACTERS]
    kept = [value.bool_op(">=")(sa.literal(first, sa.Text))]
    if end := successor(first):
        kept.append(value.bool_op("<")(sa.literal(end, sa.Text)))
    return sa.and_(*kept)


def _is_any(metadata: Metadata, node: In) -> Condition:
    if all(isinstance(value, str) for value in node.values):
        texts = sa.cast(sa.literal([*node.values], ARRAY(sa.Text)), ARRAY(sa.Text))
        return range_value(metadata, RangeKey(node.key, "string")).bool_op("=")(sa.any_(texts))
    return range_value(metadata, RangeKey(node.key, "number")).bool_op("=")(sa.any_(constants(node.values)))


def successor(prefix: str) -> str:
    """The least text, by code points, behind all that begin so; empty where there is none."""
    kept = prefix.rstrip(chr(sys.maxunicode))
    if not kept:
        return ""
    following = ord(kept[-1]) + 1
    return kept[:-1] + chr(_AFTER_SURROGATES if following == _FIRST_SURROGATE else following)
