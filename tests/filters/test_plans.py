import re
from typing import Any

import pytest
from sqlalchemy import Connection, text

from app.database.statements import compiled
from app.filters.compile import MAX_COMPARED
from tests.filters.documents import FORMS, selections

ROWS = 5_000

BY_GIN = [
    {"genre": "g1"},
    {"genre": {"$in": ["g1", "g2", 5]}},
    {"genre": {"$in": [f"g{i}" for i in range(MAX_COMPARED + 1)]}},
    {"$and": [{"genre": "g1"}, {"year": 1959}]},
    {"$or": [{"genre": "g1"}, {"year": {"$in": [1959, 1960]}}]},
    {"$and": [{"genre": "g1"}, {"$or": [{"year": 1959}, {"title": {"$startsWith": "So"}}]}]},
    {"$and": [{"genre": "g1"}, {"genre": {"$nin": [f"g{i}" for i in range(MAX_COMPARED + 1)]}}]},
]

BY_RANGE_INDEX: list[tuple[dict[str, Any], str]] = [
    ({"year": {"$lt": 3}}, ""),
    ({"year": {"$gt": 67}}, ""),
    ({"year": {"$gte": 7, "$lt": 9}}, ">= '7'::jsonb) AND (CASE"),
    ({"$and": [{"year": {"$gte": 7}}, {"genre": {"$ne": "g1"}}, {"year": {"$lt": 9}}]}, ">= '7'::jsonb) AND (CASE"),
    ({"$and": [{"genre": "g1"}, {"year": {"$gte": 7, "$lt": 9}}]}, ""),
    ({"$or": [{"genre": "g1"}, {"year": {"$gte": 7, "$lt": 9}}]}, "on gin"),
    ({'q"': {"$gt": 0}}, ""),
    ({"genre": {"$startsWith": "g77"}}, "< 'g78'::text"),
    ({"$and": [{"genre": {"$startsWith": "g7"}}, {"size": {"$gt": 5}}]}, "< 'g8'::text"),
    ({"$and": [{"genre": {"$startsWith": "g7"}}, {"year": {"$lt": 3}}]}, ""),
    ({"$or": [{"genre": {"$startsWith": "g77"}}, {"year": 5}]}, "on gin"),
]

ANSWERED: list[dict[str, Any]] = [
    {"genre": "g1"},
    {"genre": {"$in": [f"g{i}" for i in range(30)]}},
    {"genre": {"$startsWith": "g77"}},
    {"year": 7},
    {"year": {"$in": [7, 8.5]}},
    {"year": {"$gt": 67}},
    {"year": {"$gte": 7, "$lt": 9}},
    {"$and": [{"genre": {"$in": ["g1", "g2"]}}, {"year": {"$gte": 7, "$lt": 9}}]},
]

NOT_ANSWERED: list[dict[str, Any]] = [
    {"genre": ""},
    {"genre": "g" * 64},
    {"genre": {"$startsWith": "g" * 65}},
    {"genre": {"$in": ["g1", 7]}},
    {"year": True},
    {"size": 7},
    {"$or": [{"genre": "g1"}, {"year": 7}]},
]

BY_NONE = [
    {"genre": {"$ne": "g1"}},
    {"genre": {"$exists": True}},
    {"genre": {"$startsWith": "g1"}},
    {"size": {"$gt": 5}},
    {"$or": [{"genre": "g1"}, {"size": {"$gt": 5}}]},
    {"genre": {"$nin": [f"g{i}" for i in range(MAX_COMPARED + 1)]}},
]


@pytest.fixture(scope="module")
def large(connection: Connection) -> Connection:
    connection.execute(text("ALTER TABLE documents ALTER COLUMN metadata SET STATISTICS 1000"))
    connection.execute(
        text(
            "INSERT INTO documents SELECT i,"
            " jsonb_build_object('genre', 'g' || i % 100, 'year', i % 70, 'size', hashint4(i))"
            f" FROM generate_series(0, {ROWS - 1}) i"
        )
    )
    connection.execute(text("ANALYZE documents"))
    return connection


@pytest.mark.parametrize("document", BY_GIN, ids=str)
def test_gin_serves_equalities(large: Connection, document: dict[str, Any]) -> None:
    plan = explain(large, document, "served by GIN")
    assert "Bitmap Index Scan on gin" in plan, plan
    assert "Seq Scan" not in plan, plan


@pytest.mark.parametrize(("document", "also"), BY_RANGE_INDEX, ids=str)
def test_range_indexes_serve_ranges(large: Connection, document: dict[str, Any], also: str) -> None:
    plan = explain(large, document, "served by range indexes")
    assert "Bitmap Index Scan on range_" in plan, plan
    assert "Seq Scan" not in plan, plan
    assert also in plan, plan


@pytest.mark.parametrize("document", ANSWERED, ids=str)
def test_what_range_indexes_answer_is_not_asked_of_the_row(large: Connection, document: dict[str, Any]) -> None:
    of_scalars, of_lists = plans(large, document, "answered by range indexes")
    assert "Index Scan on range_" in of_scalars, of_scalars
    assert "Index Scan" in of_lists, of_lists
    for asked_of_rows in "@@", "@>", "Filter", "gin":
        assert asked_of_rows not in of_scalars, of_scalars


@pytest.mark.parametrize("document", NOT_ANSWERED, ids=str)
def test_other_filters_are_one_condition(large: Connection, document: dict[str, Any]) -> None:
    assert plans(large, document, "answered by range indexes") == plans(large, document, "served by range indexes")


@pytest.mark.parametrize("document", BY_NONE, ids=str)
def test_gin_is_not_read_as_a_whole(large: Connection, document: dict[str, Any]) -> None:
    """As PostgreSQL would for a predicate without an equality that must hold."""
    assert "Index" not in explain(large, document, "served by GIN")


@pytest.mark.parametrize("document", [*BY_GIN, *BY_NONE, *(document for document, _ in BY_RANGE_INDEX)], ids=str)
def test_no_index_is_for_conditions_row_by_row(large: Connection, document: dict[str, Any]) -> None:
    plan = explain(large, document, "row by row")
    assert "Index" not in plan, plan
    assert f"rows={ROWS // 2} " in plan, plan


@pytest.mark.parametrize(
    ("form", "line"), [("for estimates", ""), ("served by range indexes", "BitmapOr")], ids=["by samples", "by index"]
)
@pytest.mark.parametrize(
    ("document", "matching"),
    [
        ({"year": {"$lt": 7}}, ROWS // 10),
        ({"year": {"$gte": 7, "$lt": 42}}, ROWS // 2),
        ({"year": {"$gte": 0}}, ROWS),
        ({"year": {"$gt": 70}}, 0),
        ({"genre": {"$startsWith": "g7"}}, ROWS * 11 // 100),
        ({"genre": {"$startsWith": "h"}}, 0),
    ],
    ids=str,
)
def test_estimates_are_near_the_truth(
    large: Connection, document: dict[str, Any], matching: int, form: str, line: str
) -> None:
    assert abs(estimated(explain(large, document, form), line) - matching) <= ROWS // 50


@pytest.mark.parametrize("form", FORMS)
def test_conditions_of_what_belongs_together_are_estimated_together(large: Connection, form: str) -> None:
    """Of the forms, only that for estimates knows that all rows of a genre are of every tenth."""
    document = {
        "$and": [{"genre": {"$in": [f"g{i}" for i in range(0, 100, 10)]}}, {"year": {"$in": list(range(0, 70, 10))}}]
    }
    estimate = estimated(explain(large, document, form))
    assert (abs(estimate - ROWS // 10) <= ROWS // 50) is (form == "for estimates")


def estimated(plan: str, line: str = "") -> int:
    return int(re.findall(rf"{line}.* rows=(\d+) ", plan)[0])


def explain(connection: Connection, document: dict[str, Any], form: str) -> str:
    """By psycopg, unprepared and with binary parameters, as searches run."""
    return "\n".join(plans(connection, document, form))


def plans(connection: Connection, document: dict[str, Any], form: str) -> list[str]:
    """Of each condition."""
    driver = connection.connection.driver_connection
    assert driver is not None
    found = []
    with driver.cursor(binary=True) as cursor:
        for statement in map(compiled, selections(document, form)):
            cursor.execute(f"EXPLAIN {statement.text}", statement.values, prepare=False)
            found.append("\n".join(row[0] for row in cursor.fetchall()))
    return found
