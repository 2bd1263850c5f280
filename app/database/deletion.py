"""What is done in the background: dropping the tables of deleted indexes, and forgetting what has expired.

DeleteIndex only marks the row.  A DROP that waits for one reader blocks every reader behind it, so it gives up after
300 ms and is tried again; the advisory lock leaves the work to one worker at a time.
"""

import asyncio
from datetime import timedelta

import sqlalchemy as sa
import structlog
from sqlalchemy.ext.asyncio import AsyncConnection

from app.database.access_keys import forget_expired_keys
from app.database.catalog import text_search_configurations, vector_buckets, vector_codes, vector_indexes
from app.database.codes import drop_codes
from app.database.ddl import ddl
from app.database.engine import Database
from app.database.inverted_index import drop_inverted_index
from app.database.kms_keys import destroy_due_keys
from app.database.rankings import forget_expired_rankings
from app.database.views import drop_schema
from app.errors import S3VectorsError

log = structlog.get_logger()

INTERVAL_SECONDS = 30
FORGOTTEN_AFTER = timedelta(minutes=5)
_LOCK = 0x5333_5644  # "S3VD"


class Deletion:
    """Woken by each delete, and by itself from time to time for what other workers or an earlier run left."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._wake = asyncio.Event()
        self.stopping = asyncio.Event()

    def stop(self) -> None:
        """Ends `run` behind the transaction that it is in."""
        self.stopping.set()
        self._wake.set()

    def wake(self) -> None:
        self._wake.set()

    async def run(self) -> None:
        while not self.stopping.is_set():
            self._wake.clear()
            try:
                await self.drop_deleted()
            except S3VectorsError as error:
                log.warning("drop_failed", error=type(error).__name__)
            try:
                await asyncio.wait_for(self._wake.wait(), INTERVAL_SECONDS)
            except TimeoutError:
                continue

    async def drop_deleted(self) -> None:
        async with self._database.transaction() as connection:
            deleted = sa.select(vector_indexes.c.id).where(vector_indexes.c.deletion_time.is_not(None))
            ids = list(await connection.scalars(deleted))
        for index_id in ids:
            try:
                await self._drop_index(index_id)
            except S3VectorsError:
                log.info("drop_postponed", index_id=index_id)
        for search_id in await self._forgotten_text_searches():
            try:
                await self._drop_text_search(search_id)
            except S3VectorsError:
                log.info("drop_postponed", text_search_id=search_id)
        async with self._database.transaction() as connection:
            await _forget_buckets(connection)
        async with self._database.transaction() as connection:
            await destroy_due_keys(connection)
            await forget_expired_keys(connection)
        await self._forget_rankings()

    async def _drop_index(self, index_id: int) -> None:
        async with self._database.transaction() as connection:
            if not await connection.scalar(sa.select(sa.func.pg_try_advisory_xact_lock(_LOCK, index_id % 2**31))):
                return
            await _wait_briefly(connection)
            # Whoever makes codes for it, and so another table, has ended then or is refused.
            is_it = vector_indexes.c.id == index_id
            await connection.execute(sa.select(vector_indexes.c.id).where(is_it).with_for_update())
            of_index = text_search_configurations.c.vector_index_id == index_id
            for search_id in list(await connection.scalars(sa.select(text_search_configurations.c.id).where(of_index))):
                await drop_inverted_index(connection, search_id)
            # CASCADE takes the view for people with it, and whatever people have built upon that.
            drop = ddl("DROP TABLE IF EXISTS vectors.index_%(id)s CASCADE", id=index_id)
            await connection.execute(drop)
            of_index = vector_codes.c.vector_index_id == index_id
            for codes_id in list(await connection.scalars(sa.select(vector_codes.c.id).where(of_index))):
                await connection.execute(drop_codes(index_id, codes_id))
            await connection.execute(sa.delete(vector_indexes).where(is_it))

    async def _forgotten_text_searches(self) -> list[int]:
        """Whoever wrote or searched when they were deleted has ended since."""
        c = text_search_configurations.c
        forgotten = sa.select(c.id).where(c.state == "deleted", c.deletion_time < sa.func.now() - FORGOTTEN_AFTER)
        async with self._database.transaction() as connection:
            return list(await connection.scalars(forgotten))

    async def _drop_text_search(self, search_id: int) -> None:
        async with self._database.transaction() as connection:
            await _wait_briefly(connection)
            await drop_inverted_index(connection, search_id)
            configuration = text_search_configurations.c.id == search_id
            await connection.execute(sa.delete(text_search_configurations).where(configuration))

    async def _forget_rankings(self) -> None:
        """A few in a transaction, since each may have a hundred pages."""
        more = True
        while more and not self.stopping.is_set():
            async with self._database.transaction() as connection:
                more = await forget_expired_rankings(connection)


async def _wait_briefly(connection: AsyncConnection) -> None:
    """For the locks of what this transaction drops."""
    await connection.execute(sa.select(sa.func.set_config("lock_timeout", "300ms", sa.true())))


async def _forget_buckets(connection: AsyncConnection) -> None:
    """Deleted buckets go when the last of their tables has gone, and their schema with them."""
    empty = ~sa.exists().where(vector_indexes.c.vector_bucket_id == vector_buckets.c.id)
    gone = (
        sa.select(vector_buckets.c.id, vector_buckets.c.schema_name)
        .where(vector_buckets.c.deletion_time.is_not(None), empty)
        .with_for_update(skip_locked=True)
    )
    for bucket in list(await connection.execute(gone)):
        if bucket.schema_name:
            await drop_schema(connection, bucket.schema_name)
        await connection.execute(sa.delete(vector_buckets).where(vector_buckets.c.id == bucket.id))
