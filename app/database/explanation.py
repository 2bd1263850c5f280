"""What a search does, told by the code that does it."""

import re
from typing import Any

import msgspec
from msgspec import Struct
from pgvector import Vector

from app.database.connection import Connection
from app.database.nearest import Search, statement_by, strategy_of
from app.database.selectivity import Selectivity
from app.database.statements import Statement, numbered
from app.database.strategy import Strategy

# In a plan constants are written out, vectors several times.
_VECTOR = re.compile(r"'\[((?:[-+.\de]+,){2})[-+.\de,]+\]'")


class Explanation(Struct, frozen=True):
    strategy: Strategy
    matches: int | None
    """PostgreSQL's estimate; None where nothing is filtered."""
    sql: str
    parameters: dict[str, Any]
    plan: Any
    """Lines, or what EXPLAIN has for JSON."""


async def explanation_of(connection: Connection, search: Search, *, analyze: bool, as_json: bool) -> Explanation:
    """`analyze` runs the statement too, so that the plan has times and buffers."""
    selectivity = Selectivity()
    strategy = await strategy_of(connection, search, selectivity)
    matches = None
    if search.filter is not None:
        matches = await selectivity.matches(connection, search.index, search.filter)
    statement = await statement_by(connection, search, strategy)
    options = ["SETTINGS", *(["ANALYZE", "BUFFERS"] if analyze else []), *(["FORMAT JSON"] if as_json else [])]
    explaining = Statement(f"EXPLAIN ({', '.join(options)}) {statement.text}", statement.values)
    rows = await connection.run(explaining, search.query, prepare=False)
    plan = rows[0][0] if as_json else [row[0] for row in rows]
    sql, parameters = with_places(Statement(statement.text, {**statement.values, **search.query}))
    shown = {place: _shown(value) for place, value in parameters.items()}
    return Explanation(strategy, matches, sql, shown, _with_short_vectors(plan))


def with_places(statement: Statement) -> tuple[str, dict[str, Any]]:
    """The text as PostgreSQL's logs and statistics show it, with $1, $2, ..., and the values by these."""
    sql, names = numbered(statement.text)
    return sql.decode(), {f"${place}": statement.values[name] for place, name in enumerate(names, 1)}


def _shown(value: Any) -> Any:
    if isinstance(value, Vector):
        numbers = value.to_list()
        return f"[{', '.join(f'{number:.6g}' for number in numbers[:2])}, ...], {len(numbers)} numbers"
    return value


def _with_short_vectors(plan: Any) -> Any:
    return msgspec.json.decode(_VECTOR.sub(r"'[\1...]'", msgspec.json.encode(plan).decode()))
