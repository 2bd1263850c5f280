"""Statements that SQLAlchemy builds and psycopg runs: compiled once where they are asked again and again.

Every parameter goes out in binary: of a batch of 500 vectors, psycopg needs 3 ms to write the binary form and 150 ms
for the text.
"""

import re
from collections.abc import Callable, Sequence
from functools import lru_cache
from string import Template
from typing import Any, NamedTuple

import sqlalchemy as sa
from msgspec import Struct
from sqlalchemy.dialects.postgresql import psycopg

_DIALECT = psycopg.dialect()  # type: ignore[no-untyped-call]
# With its key, what is kept takes four times its text: 8 MiB at most.
MAX_KEPT, MAX_KEPT_CHARACTERS = 512, 4_096

_kept: dict[Any, "_Form"] = {}
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
        text = _in_binary(text, name)
        if value is not None:
            values[name] = _processor(compilation.binds[name])(value)
    return Statement(text, values)


def compiled_once(statement: sa.ClauseElement) -> Statement:
    """As `compiled`, once for all statements that differ in their values alone; every parameter has one."""
    key: Any = statement._generate_cache_key()  # noqa: SLF001 - as SQLAlchemy's own connections keep what they compile
    form = _kept.get(key.key) or _kept_form(key.key, _form(statement, key.bindparams))
    bound = zip(form.names, form.processors, key.bindparams, strict=True)
    return Statement(form.text, {name: process(parameter.value) for name, process, parameter in bound})


class _Form(NamedTuple):
    """The text, and for each parameter of the key its name and what makes a value of it."""

    text: str
    names: Sequence[str]
    """One that stands in several places comes as often."""
    processors: Sequence[Callable[[Any], Any]]


def _form(statement: sa.ClauseElement, parameters: Sequence[sa.BindParameter[Any]]) -> _Form:
    compilation: Any = statement.compile(dialect=_DIALECT)
    text, names = str(compilation), [compilation.bind_names[parameter] for parameter in parameters]
    for name in names:
        text = _in_binary(text, name)
    return _Form(text, names, [*map(_processor, parameters)])


def _kept_form(key: Any, form: _Form) -> _Form:
    """What was kept first makes room."""
    if len(form.text) <= MAX_KEPT_CHARACTERS:
        if len(_kept) >= MAX_KEPT:
            del _kept[next(iter(_kept))]
        _kept[key] = form
    return form


def _in_binary(text: str, name: str) -> str:
    return text.replace(f"%({name})s", f"%({name})b")


def _processor(bound: Any) -> Callable[[Any], Any]:
    process: Callable[[Any], Any] | None = bound.type.dialect_impl(_DIALECT).bind_processor(_DIALECT)
    return process or _as_it_is


def _as_it_is(value: Any) -> Any:
    return value


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
