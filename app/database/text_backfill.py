"""The background task that makes keys searchable that were added to an index with vectors, and tidies up behind it.

A row of s3_vectors.text_search_configurations in the state "building" is all that a backfill is: a chunk of vectors
after the other, each in a transaction of its own that also says how far it has come, so that any worker goes on where
another ended.  The advisory lock of a transaction leaves a chunk to one worker at a time.

Who knew nothing of the key when it wrote must have ended before the first chunk is read; `vector_table.upsert` sees to
it that nobody else writes without knowing.
"""

import asyncio
from contextlib import suppress
from typing import Any

import msgspec
import psycopg
import sqlalchemy as sa
import structlog
from msgspec import Struct

from app.database import catalog, inverted_index, text_searches
from app.database.build_failures import reason, retry_time
from app.database.catalog import Index, TextSearch
from app.database.catalog import text_search_configurations as configurations
from app.database.catalog_cache import CatalogCache
from app.database.connection import Connection
from app.database.engine import Database
from app.database.inverted_index import Document
from app.database.statements import compiled, written
from app.database.writers import writers_of
from app.envelope import Unopenable
from app.errors import S3VectorsError
from app.kms import record_cipher
from app.record_cipher import RecordCipher

log = structlog.get_logger()

INTERVAL_SECONDS = 2
WAIT_FOR_WRITERS_SECONDS = 0.1
CHUNK = 500
FEW_STATISTICS = 50
_LOCK = 0x5333_5654  # "S3VT"


class Due(Struct, frozen=True):
    index: Index
    search: TextSearch
    built_up_to: str


class TextBackfill:
    def __init__(self, database: Database, cache: CatalogCache, region: str) -> None:
        self._database = database
        self._cache = cache
        self._region = region
        self._wake = asyncio.Event()
        self._awaited: dict[int, set[str]] = {}
        """Transactions that a backfill waits for, until there are none."""

    def wake(self) -> None:
        self._wake.set()

    async def run(self) -> None:
        """Until it is cancelled."""
        renewed = False
        while True:
            self._wake.clear()
            try:
                if not renewed:
                    await self.renew()
                    renewed = True
                busy = await self.round()
            except S3VectorsError as error:
                log.warning("text_backfill_interrupted", error=type(error).__name__)
                busy = False
            with suppress(TimeoutError):
                await asyncio.wait_for(self._wake.wait(), self._pause(busy=busy))

    def _pause(self, *, busy: bool) -> float:
        if busy:
            return 0
        return WAIT_FOR_WRITERS_SECONDS if any(self._awaited.values()) else INTERVAL_SECONDS

    async def renew(self) -> None:
        """What an older version of this server has analyzed; by whichever worker is first."""
        async with self._database.transaction() as connection:
            index_ids = await text_searches.outdated(connection)
        for index_id in index_ids:
            async with self._database.transaction() as connection:
                await text_searches.renew(connection, index_id, self._region)
            log.info("text_search_renewed", index_id=index_id)

    async def round(self) -> bool:
        """A chunk for each key that is not searchable yet; whether there was any."""
        async with self._database.connection(heavy=True) as connection:
            await connection.run(_FOLD)
            due = await self._due(connection)
            self._awaited = {i: w for i, w in self._awaited.items() if i in {d.search.id for d in due}}
            progress = [await self._step(connection, step) for step in due]
        return any(progress)

    async def _due(self, connection: Connection) -> list[Due]:
        c = configurations.c
        waiting = sa.select(c.vector_index_id, c.id, c.built_up_to).where(
            c.state == "building", sa.or_(c.retry_time.is_(None), c.retry_time <= sa.func.now())
        )
        rows = await connection.run(compiled(waiting.order_by(c.id)))
        if not rows:
            return []
        of_rows = await connection.run(compiled(catalog.indexes_by_id({row.vector_index_id for row in rows})))
        found = [catalog.index_of_row(row, self._region) for row in of_rows]
        searches = {search.id: (index, search) for index in found for search in index.text_searches}
        return [Due(*searches[row.id], row.built_up_to or "") for row in rows if row.id in searches]

    async def _step(self, connection: Connection, due: Due) -> bool:
        try:
            if not due.built_up_to and await self._older_writers(connection, due):
                return False
            # What is sealed can be read with the KMS key only.
            cipher = await record_cipher(self._cache, due.index)
            async with connection.transaction_or_part():
                if not await _claimed(connection, due.search):
                    return False
                last = await index_chunk(connection, due, cipher)
            if last is None:
                await _finish(connection, due)
        except (psycopg.Error, S3VectorsError, Unopenable) as error:
            why = reason(error) if isinstance(error, psycopg.Error) else f"{type(error).__name__}: {error}"
            log.warning("text_backfill_failed", index=str(due.index.arn), key=due.search.metadata_key, reason=why)
            attempts = configurations.c.attempts + 1
            await _set(connection, due.search, attempts=attempts, error=why, retry_time=retry_time(attempts))
            return False
        return True

    async def _older_writers(self, connection: Connection, due: Due) -> bool:
        now = await writers_of(connection, due.index.id)
        self._awaited[due.search.id] = now & self._awaited.get(due.search.id, now)
        return bool(self._awaited[due.search.id])


# Every write adds a row, and every query for texts sums them up.  Whoever folds the same is not waited for.
_FOLD = written(
    """
    WITH many AS (
        SELECT text_search_configuration_id FROM s3_vectors.text_statistics
        GROUP BY text_search_configuration_id HAVING count(*) > $few
    ), folded AS (
        DELETE FROM s3_vectors.text_statistics WHERE ctid = ANY (ARRAY(
            SELECT text_statistics.ctid FROM s3_vectors.text_statistics
            JOIN many USING (text_search_configuration_id) FOR UPDATE OF text_statistics SKIP LOCKED
        ))
        RETURNING text_search_configuration_id, documents, length
    )
    INSERT INTO s3_vectors.text_statistics
    SELECT text_search_configuration_id, sum(documents), sum(length) FROM folded GROUP BY text_search_configuration_id
    """,
    few=FEW_STATISTICS,
)


async def _claimed(connection: Connection, search: TextSearch) -> bool:
    """For this transaction, and not if the search has been deleted or finished meanwhile."""
    statement = sa.select(sa.func.pg_try_advisory_xact_lock(_LOCK, search.id % 2**31).label("taken")).where(
        sa.exists().where(configurations.c.id == search.id, configurations.c.state == "building")
    )
    rows = await connection.run(compiled(statement), prepare=False)
    return bool(rows and rows[0].taken)


async def index_chunk(connection: Connection, due: Due, cipher: RecordCipher | None) -> str | None:
    """The last key of the chunk, None behind the last vector; writers of its vectors wait until it is committed."""
    values = {"after": due.built_up_to, "metadata_key": due.search.metadata_key}
    rows = await connection.run(written(_CHUNK, index=due.index.id, rows=CHUNK), values)
    documents = [d for row in rows if (d := _document(due, row, cipher))]
    await inverted_index.add(connection, due.search, documents)
    if len(rows) < CHUNK:
        return None
    await _set(connection, due.search, built_up_to=rows[-1].key, **_WELL)
    last: str = rows[-1].key
    return last


# What failed before is forgotten once it goes on: whoever looks is told of what fails now.
_WELL = {"attempts": 0, "error": sa.null(), "retry_time": sa.null()}

# Locked in the order of keys, as writers lock.
_CHUNK = """
    SELECT key, metadata -> %(metadata_key)b::text AS text, non_filterable_metadata FROM vectors.index_$index
    WHERE key > %(after)b::text COLLATE "C" ORDER BY key LIMIT $rows FOR SHARE
"""


def _document(due: Due, row: Any, cipher: RecordCipher | None) -> Document | None:
    if row.text is not None:
        return inverted_index.document(due.search, row.key, {due.search.metadata_key: row.text}, None)
    rest = row.non_filterable_metadata
    if cipher is not None:
        rest = msgspec.json.decode(cipher.unseal(row.key, rest))
    return inverted_index.document(due.search, row.key, rest, cipher)


async def _finish(connection: Connection, due: Due) -> None:
    """With what the planner must know, and readable without its heap."""
    try:
        for table in inverted_index.tables(due.search.id):
            await connection.execute(f"VACUUM (ANALYZE) {table.fullname}".encode())
    except psycopg.Error as error:  # autovacuum will come
        log.info("text_vacuum_postponed", key=due.search.metadata_key, reason=reason(error))
    await _set(connection, due.search, state="active", completion_time=sa.func.now(), **_WELL)
    log.info("text_search_active", index=str(due.index.arn), key=due.search.metadata_key)


async def _set(connection: Connection, search: TextSearch, **values: Any) -> None:
    is_building = configurations.c.id == search.id, configurations.c.state == "building"
    await connection.run(compiled(sa.update(configurations).where(*is_building).values(**values)), prepare=False)
