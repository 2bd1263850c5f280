"""Indexes for keys that are often filtered by range, by prefix, or for values that many rows have.

Made in the background:

    CREATE INDEX CONCURRENTLY range_42_7 ON vectors.index_42
        ((CASE jsonb_typeof(metadata -> 'year')
            WHEN 'number' THEN metadata -> 'year' WHEN 'array' THEN 'true'::jsonb END));
    CREATE INDEX CONCURRENTLY range_42_8 ON vectors.index_42
        ((CASE jsonb_typeof(metadata -> 'title')
            WHEN 'string' THEN nullif(left(metadata ->> 'title', 64), '') WHEN 'array' THEN '' END COLLATE "C"));

Rows of `s3_vectors.range_indexes` say which there are; whoever deletes one of them has the index dropped.

    wanted -> building -> ready -> (dropped, once it is not used and another key is wanted)
              building -> failed -> building ...
    wanted -> (forgotten, where most values are lists)
"""

import time
from collections import deque
from collections.abc import Iterable
from datetime import timedelta
from typing import Any

import psycopg
import sqlalchemy as sa
import structlog
from sqlalchemy.dialects.postgresql import ARRAY, JSONB, insert
from sqlalchemy.dialects.postgresql.psycopg import dialect

from app.database.build_failures import INTERRUPTED, reason, retry_time
from app.database.catalog import range_indexes, vector_indexes
from app.database.concurrent_indexes import analyze, drop_index, is_valid
from app.database.connection import Connection
from app.database.statements import compiled
from app.filters.jsonb import IS_LIST, member
from app.filters.nodes import RangeKey
from app.filters.range_conditions import range_value

log = structlog.get_logger()

USES, WITHIN_SECONDS = 3, 600
MAX_COUNTED = 10_000

# What was asked for: of which vector index, which key and type of values.
Use = tuple[int, RangeKey]

MAX_RANGE_INDEXES = 8
UNUSED = timedelta(hours=1)
# A smaller table is read as fast as an index of it.
MIN_TABLE_BYTES = 1024 * 1024

_LOOKED_AT: sa.ColumnElement[int] = sa.literal_column("1000")

_C = range_indexes.c
_DIALECT = dialect()  # type: ignore[no-untyped-call]


class RangeUse:
    """What this worker has seen, noted in memory; `write` tells the others now and then."""

    def __init__(self) -> None:
        self._moments: dict[Use, deque[float]] = {}
        self._used: set[Use] = set()

    def note(self, index_id: int, keys: Iterable[RangeKey]) -> None:
        for key in keys:
            if len(self._moments) >= MAX_COUNTED:
                self._moments.clear()
                self._used.clear()
            self._moments.setdefault((index_id, key), deque(maxlen=USES)).append(time.monotonic())
            self._used.add((index_id, key))

    async def write(self, connection: Connection) -> None:
        """What could not be written is written with the next."""
        used, self._used = self._used, set()
        if not used:
            return
        try:
            await note_uses(connection, used)
            await want(connection, {use for use in used if self._is_often(use)})
        except psycopg.Error:
            self._used |= used
            raise

    def _is_often(self, use: Use) -> bool:
        moments = self._moments.get(use, deque())
        return len(moments) == USES and moments[-1] - moments[0] <= WITHIN_SECONDS


async def note_uses(connection: Connection, uses: set[Use]) -> None:
    asked = _as_rows(uses)
    statement = sa.update(range_indexes).values(last_used_time=sa.func.now()).where(_is(asked))
    await connection.run(compiled(statement))


async def want(connection: Connection, uses: set[Use]) -> None:
    """No more wait for an index than it may have; of the rest, who still asks when there is room will be heard."""
    asked = _as_rows(uses)
    others = sa.select(sa.func.count()).where(_C.vector_index_id == asked.c.vector_index_id).scalar_subquery()
    in_order = asked.c.key, asked.c.value_type
    place = sa.func.row_number().over(partition_by=asked.c.vector_index_id, order_by=in_order)
    known = sa.exists().where(_is(asked))
    new = (
        sa.select(asked, (others + place).label("place"))
        .join(vector_indexes, vector_indexes.c.id == asked.c.vector_index_id)
        .where(vector_indexes.c.deletion_time.is_(None), ~known)
        .subquery("new")
    )
    names = "vector_index_id", "key", "value_type"
    chosen = sa.select(*(new.c[name] for name in names), sa.literal_column("'wanted'"))
    chosen = chosen.where(new.c.place <= 2 * MAX_RANGE_INDEXES)
    statement = insert(range_indexes).from_select([*names, "state"], chosen)
    await connection.run(compiled(statement.on_conflict_do_nothing()))


def _is(asked: Any) -> sa.ColumnElement[bool]:
    return sa.and_(*(_C[name] == asked.c[name] for name in ("vector_index_id", "key", "value_type")))


def _as_rows(uses: set[Use]) -> Any:
    rows = [(index_id, *of) for index_id, of in uses]
    ids, keys, types = ([row[place] for row in rows] for place in range(3))
    unnested = sa.func.unnest(
        sa.cast(sa.literal(ids, ARRAY(sa.BigInteger)), ARRAY(sa.BigInteger)),
        sa.cast(sa.literal(keys, ARRAY(sa.Text)), ARRAY(sa.Text)),
        sa.cast(sa.literal(types, ARRAY(sa.Text)), ARRAY(sa.Text)),
    )
    return unnested.table_valued("vector_index_id", "key", "value_type", name="asked").render_derived()


async def recover(connection: Connection) -> None:
    """Before the first `build_wanted` of a builder, of which there is one in a cluster.

    An earlier one may have been interrupted, and people may have dropped an index or deleted a row.
    """
    for row in await connection.run(compiled(sa.select(_C.id, _C.attempts).where(_C.state == "building"))):
        await _fail(connection, row.id, INTERRUPTED)
    lost = sa.update(range_indexes).where(_C.state == "ready", ~is_valid(_NAME)).values(state="wanted")
    await connection.run(compiled(lost))
    pg_indexes = sa.table("pg_indexes", sa.column("schemaname"), sa.column("indexname"), schema="pg_catalog")
    named = pg_indexes.c.schemaname == "vectors", pg_indexes.c.indexname.regexp_match("^range_[0-9]+_[0-9]+$")
    kept = sa.exists().where(pg_indexes.c.indexname == _NAME, _C.state == "ready")
    for row in await connection.run(compiled(sa.select(pg_indexes.c.indexname).where(*named, ~kept))):
        await _drop(connection, row.indexname)


async def build_wanted(connection: Connection, limit: int = MAX_RANGE_INDEXES) -> int:
    """Beside reads and writes, one index after the other, and how many; `limit` is for each vector index."""
    built = 0
    unused = sa.delete(range_indexes).where(_C.state == "wanted", _C.last_used_time < sa.func.now() - UNUSED)
    await connection.run(compiled(unused))
    table = sa.func.to_regclass(sa.func.format("vectors.index_%s", _C.vector_index_id))
    due = sa.or_(_C.state == "wanted", sa.and_(_C.state == "failed", _C.retry_time <= sa.func.now()))
    statement = sa.select(_C.id, _C.vector_index_id, _C.key, _C.value_type, _C.state)
    statement = statement.where(due, sa.func.pg_relation_size(table) >= MIN_TABLE_BYTES)
    for row in await connection.run(compiled(statement.order_by(_C.last_used_time.desc()))):
        if not await _is_worth_building(connection, row):
            await connection.run(compiled(sa.delete(range_indexes).where(_C.id == row.id)))
        elif row.state == "failed" or await _has_room(connection, row.vector_index_id, limit):
            await build(connection, row)
            built += 1
    return built


async def build(connection: Connection, row: Any) -> None:
    """Whatever happens, filters stay right, and the reason of a failure is kept."""
    name = range_name(row.vector_index_id, row.id)
    await _set(connection, row.id, state="building", attempts=_C.attempts + 1)
    log.info("range_index_building", index_id=row.vector_index_id, key=row.key)
    try:
        await _create(connection, name, row)
        # Without statistics of the expression the planner would take every range for a third of the rows.
        await connection.run(analyze(row.vector_index_id), prepare=False)
    except psycopg.Error as error:
        log.warning("range_index_failed", index_id=row.vector_index_id, key=row.key, reason=reason(error))
        await _drop(connection, name)
        await _fail(connection, row.id, reason(error))
        return
    await _set(connection, row.id, state="ready", attempts=0, error=sa.null(), retry_time=sa.null())
    log.info("range_index_ready", index_id=row.vector_index_id, key=row.key)


async def remove(connection: Connection, vector_index_id: int, range_index_id: int) -> None:
    """The row first: an index without one is dropped by the next builder, if not here."""
    await connection.run(compiled(sa.delete(range_indexes).where(_C.id == range_index_id)))
    await _drop(connection, range_name(vector_index_id, range_index_id))


def range_name(vector_index_id: int, range_index_id: int) -> str:
    return f"range_{vector_index_id}_{range_index_id}"


_NAME = sa.func.format("range_%s_%s", _C.vector_index_id, _C.id)


async def _create(connection: Connection, name: str, row: Any) -> None:
    """A key is text of a user: psycopg writes it as a literal, since DDL has no parameters.

    Not a partial index, whatever it would save: the planner takes no statistics from those.
    """
    of = RangeKey(row.key, row.value_type)
    value = range_value(sa.column("metadata", JSONB), of).compile(dialect=_DIALECT)
    statement = f"CREATE INDEX CONCURRENTLY {name} ON vectors.index_{row.vector_index_id} (({value}))"
    await psycopg.AsyncClientCursor(connection).execute(statement.encode(), value.params)


async def _drop(connection: Connection, name: str) -> None:
    await connection.run(drop_index(name), prepare=False)


async def _is_worth_building(connection: Connection, row: Any) -> bool:
    """Not where most of the oldest values are lists: whatever is asked, all of those would have to be looked at."""
    table = sa.table(f"index_{row.vector_index_id}", sa.column("metadata", JSONB), schema="vectors")
    kind = sa.func.jsonb_typeof(member(table.c.metadata, row.key)).label("kind")
    oldest = sa.select(kind).order_by(sa.literal_column("position")).limit(_LOOKED_AT).subquery()
    lists = sa.func.count().filter(oldest.c.kind == IS_LIST)
    try:
        [(most_are_lists,)] = await connection.run(compiled(sa.select(2 * lists > sa.func.count(oldest.c.kind))))
    except psycopg.errors.UndefinedTable:  # deleted meanwhile
        return False
    return not most_are_lists


async def _has_room(connection: Connection, vector_index_id: int, limit: int) -> bool:
    """Makes room, if need be, by the index that has not been used for the longest time."""
    built = sa.select(_C.id, _C.last_used_time < sa.func.now() - UNUSED)
    built = built.where(_C.vector_index_id == vector_index_id, _C.state != "wanted").order_by(_C.last_used_time)
    rows = await connection.run(compiled(built))
    if len(rows) < limit:
        return True
    [(oldest, is_unused), *_] = rows
    if is_unused:
        await remove(connection, vector_index_id, oldest)
    return bool(is_unused)


async def _fail(connection: Connection, range_index_id: int, why: str) -> None:
    await _set(connection, range_index_id, state="failed", error=why, retry_time=retry_time(_C.attempts))


async def _set(connection: Connection, range_index_id: int, **values: Any) -> None:
    await connection.run(compiled(sa.update(range_indexes).where(_C.id == range_index_id).values(values)))
