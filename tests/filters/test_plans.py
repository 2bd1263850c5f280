from typing import Any

import pytest
from psycopg.types.json import Jsonb
from sqlalchemy import Connection, text

from tests.filters.documents import selection

SERVED = [
    {"genre": "jazz"},
    {"genre": {"$in": ["jazz", "folk", 5]}},
    {"$and": [{"genre": "jazz"}, {"year": 1959}]},
    {"$or": [{"genre": "jazz"}, {"year": {"$in": [1959, 1960]}}]},
]


@pytest.fixture(scope="module")
def large(connection: Connection) -> Connection:
    connection.execute(
        text(
            "INSERT INTO documents SELECT i, jsonb_build_object('genre', 'g' || i % 100, 'year', i % 70)"
            " FROM generate_series(1, 5000) i"
        )
    )
    connection.execute(text("ANALYZE documents"))
    return connection


@pytest.mark.parametrize("document", SERVED, ids=str)
def test_gin_serves_equality(large: Connection, document: dict[str, Any]) -> None:
    plan = explain(large, document)
    assert "Bitmap Index Scan on gin" in plan, plan
    assert "Seq Scan" not in plan, plan


def explain(connection: Connection, document: dict[str, Any]) -> str:
    statement = selection(document).compile(connection)
    parameters = {name: [Jsonb(item) for item in value] for name, value in statement.params.items()}
    return "\n".join(connection.exec_driver_sql(f"EXPLAIN {statement}", parameters).scalars())
