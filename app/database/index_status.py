"""How indexes stand: what they hold, what their graphs and range indexes are doing, and whom a build waits for."""

from collections.abc import Sequence
from datetime import datetime
from typing import Any

import sqlalchemy as sa
from msgspec import Struct
from sqlalchemy.dialects.postgresql import ARRAY

from app.arns import Account
from app.database import catalog
from app.database.catalog import Index, hnsw_graphs, range_indexes, vector_buckets, vector_indexes
from app.database.code_status import CodesStatus, codes_of
from app.database.connection import Connection
from app.database.graphs import count_vectors, uncovered
from app.database.statements import compiled
from app.database.text_status import TextSearchStatus, text_searches_of

_PROGRESS_COLUMNS = "datname", "index_relid", "phase", "blocks_done", "blocks_total", "current_locker_pid"


class Locker(Struct, frozen=True):
    """A session whose transaction must end before a build goes on."""

    pid: int
    application_name: str
    state: str
    transaction_start: datetime


class Progress(Struct, frozen=True):
    """Of a CREATE INDEX CONCURRENTLY, as `pg_stat_progress_create_index` has it."""

    phase: str
    per_cent: int | None
    waits_for: Locker | None


class GraphStatus(Struct, frozen=True):
    id: int
    first_position: int
    end_position: int
    vectors: int | None
    """When it was built."""
    ef_construction: int
    state: str
    bytes: int | None
    creation_time: datetime
    completion_time: datetime | None
    attempts: int
    retry_time: datetime | None
    error: str | None
    progress: Progress | None


class RangeIndexStatus(Struct, frozen=True):
    id: int
    key: str
    value_type: str
    state: str
    bytes: int | None
    creation_time: datetime
    last_used_time: datetime
    attempts: int
    retry_time: datetime | None
    error: str | None
    progress: Progress | None


class IndexStatus(Struct, frozen=True):
    index: Index
    vectors: int
    tail: int
    """The vectors that no graph holds yet."""
    table_bytes: int
    graphs: list[GraphStatus]
    codes: list[CodesStatus]
    range_indexes: list[RangeIndexStatus]
    text_searches: list[TextSearchStatus]

    @property
    def graph_bytes(self) -> int:
        return sum(graph.bytes or 0 for graph in self.graphs)


class BucketRow(Struct, frozen=True):
    account_id: str
    vector_bucket_name: str
    sse_type: str
    default_index_mode: str
    has_policy: bool


async def buckets_of(connection: Connection, account: Account) -> list[BucketRow]:
    c = vector_buckets.c
    has_policy = c.policy.is_not(None).label("has_policy")
    chosen = sa.select(c.account_id, c.vector_bucket_name, c.sse_type, c.default_index_mode, has_policy)
    chosen = chosen.where(c.account_id == account.account_id, c.deletion_time.is_(None))
    rows = await connection.run(compiled(chosen.order_by(c.vector_bucket_name)))
    return [BucketRow(*row) for row in rows]


async def database_bytes(connection: Connection) -> int:
    [(size,)] = await connection.run(compiled(sa.select(sa.func.pg_database_size(sa.func.current_database()))))
    return int(size)


async def indexes_of(connection: Connection, account: Account) -> list[Index]:
    names = vector_buckets.c.vector_bucket_name, vector_indexes.c.index_name
    chosen = catalog.all_indexes().where(vector_buckets.c.account_id == account.account_id).order_by(None)
    rows = await connection.run(compiled(chosen.order_by(*names)))
    return [catalog.index_of_row(row, account.region) for row in rows]


async def status_of(connection: Connection, indexes: Sequence[Index], *, exactly: bool) -> list[IndexStatus]:
    """Vectors are estimated from the table's size unless they are counted exactly, which reads an index of it."""
    ids = [index.id for index in indexes]
    sizes = {row.id: row for row in await connection.run(compiled(_sizes(ids)))}
    graphs = await connection.run(compiled(_with_progress(hnsw_graphs, "hnsw", hnsw_graphs.c.first_position, ids)))
    ranges = await connection.run(compiled(_with_progress(range_indexes, "range", range_indexes.c.key, ids)))
    codes, texts = await codes_of(connection, ids), await text_searches_of(connection, ids)
    found = []
    for index in indexes:
        size = sizes[index.id]
        vectors = await count(connection, index) if exactly else size.vectors
        found.append(
            IndexStatus(
                index=index,
                vectors=vectors,
                tail=await count_tail(connection, index) if index.graphs else vectors,
                table_bytes=size.table_bytes,
                graphs=[_of_row(GraphStatus, row) for row in graphs if row.vector_index_id == index.id],
                codes=codes.get(index.id, []),
                range_indexes=[_of_row(RangeIndexStatus, row) for row in ranges if row.vector_index_id == index.id],
                text_searches=texts.get(index.id, []),
            )
        )
    return found


async def count(connection: Connection, index: Index) -> int:
    return await count_vectors(connection, index, (0, None))


async def count_tail(connection: Connection, index: Index) -> int:
    return sum([await count_vectors(connection, index, positions) for positions in uncovered(index.graphs)])


def _sizes(ids: list[int]) -> sa.Select[Any]:
    return (
        sa.select(
            vector_indexes.c.id,
            estimated_vectors().label("vectors"),
            sa.func.coalesce(sa.func.pg_table_size(pg_class.c.oid), 0).label("table_bytes"),
        )
        .outerjoin(pg_class, pg_class.c.oid == table_oid())
        .where(vector_indexes.c.id == _any(ids))
    )


pg_class = sa.table("pg_class", *map(sa.column, ("oid", "reltuples", "relpages")), schema="pg_catalog")


def table_oid() -> sa.ColumnElement[Any]:
    """Of the table of an index, for a join of `pg_class`."""
    return sa.func.to_regclass(sa.func.format("vectors.index_%s", vector_indexes.c.id))


def estimated_vectors() -> sa.ColumnElement[int]:
    """Rows a page, as they were when last counted, times the pages of now, which is how the planner estimates too."""
    pages = sa.func.pg_relation_size(pg_class.c.oid) / sa.cast(sa.func.current_setting("block_size"), sa.Integer)
    by_pages = pg_class.c.reltuples / pg_class.c.relpages * pages
    by_statistics = sa.func.pg_stat_get_live_tuples(pg_class.c.oid)
    vectors = sa.case((sa.and_(pg_class.c.reltuples > 0, pg_class.c.relpages > 0), by_pages), else_=by_statistics)
    return sa.cast(sa.func.coalesce(vectors, 0), sa.BigInteger)


def _with_progress(of: sa.Table, prefix: str, order: sa.ColumnElement[Any], ids: list[int]) -> sa.Select[Any]:
    """The rows of a table of the catalog, each with the size of what it stands for and how far its making is."""
    making = _view("pg_stat_progress_create_index", *_PROGRESS_COLUMNS)
    locker = _view("pg_stat_activity", "pid", "application_name", "state", "xact_start")
    made = sa.func.to_regclass(sa.func.format(f"vectors.{prefix}_%s_%s", of.c.vector_index_id, of.c.id))
    is_its = sa.and_(making.c.index_relid == made, making.c.datname == sa.func.current_database())
    share = making.c.blocks_done / sa.func.nullif(making.c.blocks_total, 0)
    percentage = sa.cast(sa.func.floor(share * 100), sa.Integer)
    return (
        sa.select(of, sa.func.pg_relation_size(made).label("bytes"), making.c.phase, percentage.label("per_cent"))
        .add_columns(locker.c.pid, locker.c.application_name, locker.c.state.label("locker_state"), locker.c.xact_start)
        .outerjoin(making, is_its)
        .outerjoin(locker, locker.c.pid == making.c.current_locker_pid)
        .where(of.c.vector_index_id == _any(ids))
        .order_by(of.c.vector_index_id, order, of.c.id)
    )


def _view(name: str, *columns: str) -> sa.TableClause:
    return sa.table(name, *map(sa.column, columns), schema="pg_catalog")


def _any(ids: list[int]) -> sa.ColumnElement[Any]:
    return sa.any_(sa.literal(ids, ARRAY(sa.BigInteger)))


def _of_row(kind: Any, row: Any) -> Any:
    values = {name: getattr(row, name) for name in kind.__struct_fields__ if name != "progress"}
    return kind(**values, progress=_progress(row))


def _progress(row: Any) -> Progress | None:
    if row.phase is None:
        return None
    waits_for = None
    if row.pid is not None and row.xact_start is not None:
        waits_for = Locker(row.pid, row.application_name, row.locker_state, row.xact_start)
    return Progress(row.phase, row.per_cent, waits_for)
