"""How large the tables of indexes are, and what PostgreSQL counts of them: for metrics, one row a table.

Whatever the number of vectors, but some 50 us a table and nearly as much a searchable key: sizes are asked of the file
system.
"""

from typing import Any

import sqlalchemy as sa
from msgspec import Struct

from app.database.catalog import (
    hnsw_graphs,
    range_indexes,
    text_search_configurations,
    vector_buckets,
    vector_codes,
    vector_indexes,
)
from app.database.code_status import code_bytes
from app.database.connection import Connection
from app.database.index_status import estimated_vectors, pg_class, table_oid
from app.database.statements import compiled
from app.database.text_status import text_bytes

_PG_INDEX_COLUMNS = "indexrelid", "indrelid", "indisvalid"


class TableStatistics(Struct, frozen=True):
    id: int
    account_id: str
    vector_bucket_name: str
    index_name: str
    is_deleted: bool
    """Its table is still to be dropped."""
    vectors: int
    """Estimated."""
    vectors_in_graphs: int
    """When they were built."""
    dead_rows: int
    rows_scanned: int
    """Read one behind the other, since PostgreSQL's statistics began."""
    rows_fetched: int
    """By way of an index."""
    table_bytes: int
    graph_bytes: int
    other_index_bytes: int
    code_bytes: int
    text_bytes: int
    """Of the tables of its texts, with their indexes."""
    invalid_indexes: int


class Builds(Struct, frozen=True):
    kind: str
    state: str
    number: int


class Statistics(Struct, frozen=True):
    vector_buckets: int
    tables: list[TableStatistics]
    builds: list[Builds]


async def read_statistics(connection: Connection) -> Statistics:
    """Raises psycopg.Error where it takes longer than the session allows."""
    [(buckets,)] = await connection.run(_BUCKETS)
    tables = [TableStatistics(*row) for row in await connection.run(_TABLES)]
    builds = [Builds(*row) for row in await connection.run(_BUILDS)]
    return Statistics(buckets, tables, builds)


def _of_indexes(pg_index: sa.TableClause) -> sa.FromClause:
    """All that belongs to the indexes of one table; its HNSW graphs are told from the others by their names."""
    names = sa.table("pg_class", sa.column("oid"), sa.column("relname"), schema="pg_catalog").alias("named")
    is_graph = names.c.relname.startswith("hnsw", autoescape=True)
    size = sa.func.pg_relation_size(pg_index.c.indexrelid)
    return (
        sa.select(
            sa.func.sum(size).filter(is_graph).label("graph_bytes"),
            sa.func.sum(size).filter(~is_graph).label("other_bytes"),
            sa.func.sum(sa.func.pg_stat_get_tuples_fetched(pg_index.c.indexrelid)).label("rows_fetched"),
            sa.func.count().filter(~pg_index.c.indisvalid).label("invalid"),
        )
        .join(names, names.c.oid == pg_index.c.indexrelid)
        .where(pg_index.c.indrelid == pg_class.c.oid)
        .lateral("of_indexes")
    )


def _tables() -> sa.Select[Any]:
    of_indexes = _of_indexes(sa.table("pg_index", *map(sa.column, _PG_INDEX_COLUMNS), schema="pg_catalog"))
    of_graphs = (
        sa.select(sa.func.sum(hnsw_graphs.c.vectors))
        .where(hnsw_graphs.c.vector_index_id == vector_indexes.c.id, hnsw_graphs.c.state == "ready")
        .scalar_subquery()
    )
    of_codes = (
        sa.select(sa.func.sum(code_bytes()))
        .where(vector_codes.c.vector_index_id == vector_indexes.c.id)
        .scalar_subquery()
    )
    of_texts = (
        sa.select(sa.func.sum(text_bytes()))
        .where(text_search_configurations.c.vector_index_id == vector_indexes.c.id)
        .scalar_subquery()
    )
    oid = pg_class.c.oid
    numbers = (
        estimated_vectors(),
        of_graphs,
        sa.func.pg_stat_get_dead_tuples(oid),
        sa.func.pg_stat_get_tuples_returned(oid),
        sa.func.pg_stat_get_tuples_fetched(oid) + sa.func.coalesce(of_indexes.c.rows_fetched, 0),
        sa.func.pg_table_size(oid),
        of_indexes.c.graph_bytes,
        of_indexes.c.other_bytes,
        of_codes,
        of_texts,
        of_indexes.c.invalid,
    )
    return (
        sa.select(
            vector_indexes.c.id,
            vector_buckets.c.account_id,
            vector_buckets.c.vector_bucket_name,
            vector_indexes.c.index_name,
            vector_indexes.c.deletion_time.is_not(None),
            *(sa.cast(sa.func.coalesce(number, 0), sa.BigInteger) for number in numbers),
        )
        .select_from(vector_indexes)
        .join(vector_buckets)
        .join(pg_class, oid == table_oid())
        .join(of_indexes, sa.true())
    )


def _builds() -> sa.CompoundSelect[Any]:
    of_kinds = [
        _by_state("graph", hnsw_graphs.c.state),
        _by_state("range_index", range_indexes.c.state),
        _by_state("text_search", _state_of_text_search()).select_from(text_search_configurations).join(vector_indexes),
    ]
    return sa.union_all(*of_kinds)


def _by_state(kind: str, state: sa.ColumnElement[Any]) -> sa.Select[Any]:
    return sa.select(sa.literal_column(f"'{kind}'").label("kind"), state, sa.func.count()).group_by(state)


def _state_of_text_search() -> sa.ColumnElement[Any]:
    """In the words of graphs; in the catalog, a backfill that has failed is still "building"."""
    c = text_search_configurations.c
    is_gone = sa.or_(c.state == "deleted", vector_indexes.c.deletion_time.is_not(None))
    words = {"retired": is_gone, "ready": c.state == "active", "failed": c.error.is_not(None)}
    return sa.case(*((condition, sa.literal_column(f"'{word}'")) for word, condition in words.items()), else_=c.state)


_BUCKETS = compiled(sa.select(sa.func.count()).where(vector_buckets.c.deletion_time.is_(None)))
_TABLES = compiled(_tables())
_BUILDS = compiled(_builds())
