"""What libpq is asked by ourselves, against what psycopg's cursors make of the same statements."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from pgvector import Vector
from psycopg import errors
from psycopg.types.json import Jsonb

import app.database.extended_query
from app.database.connection import Connection
from app.database.engine import Database
from app.database.statements import Statement, written

PREPARED = written(
    "SELECT statement FROM pg_prepared_statements WHERE name LIKE 'asked%%' AND statement LIKE '%%: %%' ORDER BY 1"
)


def selecting(number: int) -> Statement:
    return written("SELECT %(number)b::bigint AS number, 'case: $case'", case=number)


async def prepared(connection: Connection) -> int:
    return len(await connection.run(PREPARED, prepare=False))


@pytest.mark.parametrize("prepare", [True, False], ids=["prepared", "planned each time"])
@pytest.mark.parametrize(
    "value",
    [
        0,
        -1,
        2**15,
        2**31,
        2**63 - 1,
        1.5,
        float("inf"),
        "é % \U0001f600",
        "",
        b"\x00\xff",
        None,
        True,
        datetime(2026, 11, 28, tzinfo=UTC),
        timedelta(days=1, microseconds=1),
        [1, 2, 40_000],
        ["a", "b"],
        [],
        Jsonb({"a": [1, None]}),
        Vector([1.0, -0.5]),
    ],
    ids=repr,
)
async def test_values_go_out_and_come_back_as_through_a_cursor(
    database: Database, value: Any, *, prepare: bool
) -> None:
    statement = Statement("SELECT %(value)b AS value, 'x' AS value_2, %(value)b AS again", {"value": value})
    async with database.connection() as connection:
        for _ in range(2):
            [found] = await connection.run(statement, prepare=prepare)
            cursor = connection.cursor(binary=True)
            await cursor.execute(statement.text, statement.values, prepare=False)
            assert tuple(found) == await cursor.fetchone()
            assert found._fields == ("value", "value_2", "again")


async def test_columns_without_a_name_of_python_s_are_known_by_their_places(database: Database) -> None:
    async with database.connection() as connection:
        [row] = await connection.run(written("SELECT 1, 2 AS two"))
        assert (row[0], row.two) == (1, 2)


async def test_a_statement_that_gives_no_rows_gives_none(database: Database) -> None:
    async with database.connection() as connection:
        assert await connection.run(written("CREATE TEMPORARY TABLE kept (number int)")) == []
        insert = Statement("INSERT INTO kept SELECT generate_series(1, %(last)b::int)", {})
        assert await connection.count(insert, {"last": 3}) == 3
        assert await connection.run(written("SELECT FROM kept WHERE number > 3")) == []


async def test_a_statement_is_prepared_once_for_each_type_of_its_values(database: Database) -> None:
    async with database.connection() as connection:
        for number in (1, 2, 3):
            assert (await connection.run(selecting(1), {"number": number}))[0].number == number
        assert await prepared(connection) == 1
        assert (await connection.run(selecting(1), {"number": 2**40}))[0].number == 2**40
        assert await prepared(connection) == 2
        await connection.run(selecting(2), {"number": 1}, prepare=False)
        assert await prepared(connection) == 2


async def test_what_was_not_asked_for_longest_makes_room(database: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(app.database.extended_query, "MAX_PREPARED", 3)
    async with database.connection() as connection:
        for number in (1, 2, 3, 1, 4, 5):
            assert (await connection.run(selecting(number), {"number": number}))[0].number == number
        kept = await connection.run(PREPARED, prepare=False)
        assert [row.statement[-2] for row in kept] == ["1", "4", "5"]


async def test_what_psycopg_has_let_go_is_prepared_again(database: Database) -> None:
    """It does so when something was dropped, if it has prepared anything itself."""
    async with database.connection() as connection:
        await connection.run(selecting(1), {"number": 1})
        await connection.execute("SELECT 1", prepare=True)
        await connection.execute("CREATE TEMPORARY TABLE dropped ()")
        await connection.execute("DROP TABLE dropped")
        await connection.execute("SELECT 2")
        assert await prepared(connection) == 0
        assert (await connection.run(selecting(1), {"number": 1}))[0].number == 1
        assert await prepared(connection) == 1


@pytest.mark.parametrize("prepare", [True, False], ids=["prepared", "planned each time"])
async def test_a_failure_is_psycopg_s_own_and_leaves_the_connection_usable(
    database: Database, *, prepare: bool
) -> None:
    failing = Statement("SELECT 1 / %(by)b::int", {"by": 0})
    async with database.connection() as connection:
        for statement, error in (
            (failing, errors.DivisionByZero),
            (written("SELECT FROM nowhere"), errors.UndefinedTable),
        ):
            with pytest.raises(error) as raised:
                await connection.run(statement, prepare=prepare)
            assert raised.value.diag.message_primary
            assert (await connection.run(selecting(1), {"number": 1}))[0].number == 1


async def test_a_transaction_is_begun_where_there_is_to_be_one(database: Database) -> None:
    async with database.connection() as connection:
        await connection.set_autocommit(False)
        await connection.run(written("CREATE TEMPORARY TABLE undone ()"))
        await connection.rollback()
        with pytest.raises(errors.UndefinedTable):
            await connection.run(written("SELECT FROM undone"))
        await connection.rollback()
        await connection.set_autocommit(True)
