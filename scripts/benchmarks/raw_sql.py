"""The search that an expert would write by hand, on the table and the HNSW indexes that the server has made.

Each index is asked through its own expression and, where it is partial, under its own condition; rows that no index
holds are measured.  The candidates, twice as many as wanted because the operand is lossy, are ordered by the exact
distance.
"""

import re
from collections.abc import Callable
from typing import Any

import psycopg
from msgspec import Struct
from pgvector import Vector
from pgvector.psycopg import register_vector
from psycopg.rows import class_row

from scripts.benchmarks.datasets import Metric, Vectors
from scripts.benchmarks.ground_truth import Found
from scripts.benchmarks.vector_index import VectorIndex

OPERATORS: dict[Metric, str] = {"cosine": "<=>", "euclidean": "<->"}
CANDIDATES = 2
MAX_EF_SEARCH = 1_000


class HnswIndex(Struct, frozen=True):
    operand: str
    """Of the column `embedding`."""
    condition: str | None

    def ordered_by(self, operator: str) -> str:
        """Both sides of the operator have the same form, or the index is not used."""
        of_query = re.sub(r"\bembedding\b", "%(query)s::vector", self.operand)
        return f"{self.operand} {operator} {of_query}"


def hnsw_indexes(connection: psycopg.Connection, table: str) -> list[HnswIndex]:
    with connection.cursor(row_factory=class_row(HnswIndex)) as cursor:
        return cursor.execute(_HNSW_INDEXES, [table]).fetchall()


_HNSW_INDEXES = """
SELECT pg_get_indexdef(indexrelid, 1, true) AS operand, pg_get_expr(indpred, indrelid) AS condition
FROM pg_index JOIN pg_class ON pg_class.oid = indexrelid JOIN pg_am ON pg_am.oid = relam
WHERE indrelid = %s::regclass AND amname = 'hnsw' AND indisvalid
ORDER BY indexrelid
"""


def search_statement(connection: psycopg.Connection, table: str, metric: Metric, top_k: int) -> str:
    """With the parameter `query`; LIMIT is a literal, which the planner must know."""
    indexes = hnsw_indexes(connection, table)
    parts = [_through(index, table, metric, top_k) for index in indexes]
    outside = " AND ".join(f"NOT ({index.condition})" for index in indexes if index.condition)
    whole = any(index.condition is None for index in indexes)
    if not indexes or (not whole and _any_row(connection, table, outside)):
        parts.append(_measured(table, metric, top_k, outside))
    candidates = " UNION ALL ".join(f"({part})" for part in parts)
    return f"SELECT key, distance FROM ({candidates}) AS candidates ORDER BY distance, key LIMIT {top_k}"  # noqa: S608


def _through(index: HnswIndex, table: str, metric: Metric, top_k: int) -> str:
    condition = f"WHERE {index.condition}" if index.condition else ""
    return (
        f"SELECT key, {_distance(metric)} AS distance FROM {table} {condition} "  # noqa: S608 - names are the server's
        f"ORDER BY {index.ordered_by(OPERATORS[metric])} LIMIT {CANDIDATES * top_k}"
    )


def _measured(table: str, metric: Metric, top_k: int, outside: str) -> str:
    condition = f"WHERE {outside}" if outside else ""
    return f"SELECT key, {_distance(metric)} AS distance FROM {table} {condition} ORDER BY distance LIMIT {top_k}"  # noqa: S608


def _distance(metric: Metric) -> str:
    distance = f"embedding {OPERATORS[metric]} %(query)s::vector"
    return f"({distance}) ^ 2" if metric == "euclidean" else distance


def _any_row(connection: psycopg.Connection, table: str, condition: str) -> bool:
    row = connection.execute(f"SELECT EXISTS (SELECT FROM {table} WHERE {condition})").fetchone()  # noqa: S608
    return bool(row and row[0])


def sql_searching(
    connect: Callable[[], psycopg.Connection], index: VectorIndex, top_k: int, ef_search: int
) -> Callable[[], "SqlSearch"]:
    """Makes clients, each with a connection of its own."""
    data = index.dataset
    with connect() as connection:
        statement = search_statement(connection, index.table, data.metric, top_k)
    return lambda: SqlSearch(connect(), statement, data.queries, ef_search)


class SqlSearch:
    """Prepared, and binary both ways."""

    def __init__(self, connection: psycopg.Connection, statement: str, queries: Vectors, ef_search: int) -> None:
        register_vector(connection)
        # The planner does not count what it costs to fetch long vectors, and would rather sort them than use HNSW.
        connection.execute("SET enable_sort = off")
        connection.execute("SELECT set_config('hnsw.ef_search', %s, false)", [str(ef_search)])
        self._connection = connection
        self._cursor = connection.cursor(binary=True)
        self._statement = statement
        self._queries = [{"query": Vector(query)} for query in queries]

    def ask(self, query: int) -> list[Any]:
        return self._cursor.execute(self._statement, self._queries[query], prepare=True).fetchall()

    def found(self, answer: list[Any]) -> list[Found]:
        return [Found(key, distance) for key, distance in answer]

    def close(self) -> None:
        self._connection.close()
