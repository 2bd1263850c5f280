"""The table of the fixture `connection`, and filters that run on it."""

from collections.abc import Callable, Sequence
from typing import Any

import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import JSONB

from app.filters.compile import compile_estimate, compile_filter, compile_parts, compile_row_filter
from app.filters.jsonb import Condition
from app.filters.nodes import Node, RangeKey
from app.filters.parse import parse_filter

documents = sa.table("documents", sa.column("id", sa.Integer), sa.column("metadata", JSONB))
_METADATA = documents.c.metadata

# Of these keys the table has range indexes.
RANGED_KEYS = [
    *(RangeKey(key, "number") for key in ("a", 'q"', "year")),
    *(RangeKey(key, "string") for key in ("a", 'q"', "genre")),
]

# A row is in one of several conditions at most.
FORMS: dict[str, Callable[[Node], list[Condition]]] = {
    "served by GIN": lambda node: [compile_filter(node, _METADATA)],
    "served by range indexes": lambda node: [compile_filter(node, _METADATA, RANGED_KEYS)],
    "answered by range indexes": lambda node: compile_parts(node, _METADATA, RANGED_KEYS),
    "row by row": lambda node: [compile_row_filter(node, _METADATA)],
    "for estimates": lambda node: [compile_estimate(node, _METADATA)],
}


def fill(connection: sa.Connection, rows: Sequence[dict[str, Any]]) -> None:
    connection.execute(sa.delete(documents))
    connection.execute(sa.insert(documents), [{"id": i, "metadata": row} for i, row in enumerate(rows)])


def selections(document: dict[str, Any], form: str) -> list[sa.Select[Any]]:
    selected = sa.select(sa.literal(form).label("form"), documents.c.id)
    return [selected.where(condition) for condition in FORMS[form](parse_filter(document, ()))]


def chosen(connection: sa.Connection, document: dict[str, Any]) -> list[int]:
    """By all forms, which agree."""
    found: dict[str, list[int]] = {form: [] for form in FORMS}
    selected = [selection for form in FORMS for selection in selections(document, form)]
    for form, row in connection.execute(sa.union_all(*selected)):
        found[form].append(row)
    [expected, *others] = map(sorted, found.values())
    assert others == [expected] * len(others), found
    return expected
