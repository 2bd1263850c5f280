"""A connection of the pool as the data plane uses it: one statement is one transaction, without BEGIN and COMMIT."""

import time
from collections.abc import Mapping
from typing import Any

import psycopg
from psycopg.rows import namedtuple_row

from app.database.statements import Statement
from app.observation import waited_for_database

# psycopg keeps as many prepared statements for each connection; PostgreSQL pays for each with some 20 KB.
PREPARED_STATEMENTS = 200


class Connection(psycopg.AsyncConnection[Any]):
    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self.prepared_max = PREPARED_STATEMENTS
        self._session: dict[str, str] = {}

    async def run(
        self, statement: Statement, values: Mapping[str, Any] | None = None, *, prepare: bool = True
    ) -> list[Any]:
        """Rows as named tuples.

        A statement that is not prepared is planned for its values, as one with a filter must be: a cached plan took
        245 ms for a filter that a plan of its own answers in 5 ms.
        """
        started = time.perf_counter()
        try:
            cursor = self.cursor(binary=True, row_factory=namedtuple_row)
            await cursor.execute(statement.text, {**statement.values, **(values or {})}, prepare=prepare)
            return await cursor.fetchall() if cursor.description else []
        finally:
            waited_for_database(started)

    async def use(self, **settings: int | str) -> None:
        """For all that this session does from now on; says so only when it is not what it does already."""
        wanted = {name.replace("__", "."): str(value) for name, value in settings.items()}
        changed = {name: value for name, value in wanted.items() if self._session.get(name) != value}
        if changed:
            calls = ", ".join("set_config(%s, %s, false)" for _ in changed)
            await self.execute(f"SELECT {calls}", [text for pair in changed.items() for text in pair])
            self._session |= changed
