"""Statements that SQLAlchemy builds and psycopg runs: compiled once where they are asked again and again.

Every parameter goes out in binary: of a batch of 500 vectors, psycopg needs 3 ms to write the binary form and 150 ms
for the text.
"""

import re
from functools import lru_cache
from string import Template
from typing import Any

import sqlalchemy as sa
from msgspec import Struct
from sqlalchemy.dialects.postgresql import psycopg

_DIALECT = psycopg.dialect()  # type: ignore[no-untyped-call]
_PARAMETER = re.compile(r"%\((\w+)\)b")
_PLACEHOLDER = re.compile(r"%\((\w+)\)b|%%")


class Statement(Struct, frozen=True):
    text: str
    values: dict[str, Any]
    """Of the parameters that are known already."""


def written(sql: str, **numbers: float) -> Statement:
    """SQL that reads better than what SQLAlchemy would be told; `$name` stands for a number, say of a table."""
    return Statement(Template(sql).substitute(numbers), {})


def compiled(statement: sa.ClauseElement) -> Statement:
    """Of a condition as well, to stand in another statement."""
    compilation: Any = statement.compile(dialect=_DIALECT)
    text, values = str(compilation), {}
    for name, value in (compilation.params or {}).items():  # DDL has none
        text = text.replace(f"%({name})s", f"%({name})b")
        if value is not None:
            process = compilation.binds[name].type.dialect_impl(_DIALECT).bind_processor(_DIALECT)
            values[name] = process(value) if process else value
    return Statement(text, values)


def renamed(statement: Statement, prefix: str) -> Statement:
    """With other names of its parameters, to stand beside one that was compiled apart."""
    values = {prefix + name: value for name, value in statement.values.items()}
    return Statement(_PARAMETER.sub(rf"%({prefix}\1)b", statement.text), values)


@lru_cache(maxsize=512)
def numbered(text: str) -> tuple[bytes, tuple[str, ...]]:
    """As PostgreSQL takes it, with parameters $1, $2, ...; and their names in this order."""
    places: dict[str, str] = {}

    def place(match: re.Match[str]) -> str:
        name = match[1]
        return "%" if name is None else places.setdefault(name, f"${len(places) + 1}")

    return _PLACEHOLDER.sub(place, text).encode(), tuple(places)
