"""Graphs for one index now: by the server that builds in this database, and by this process where there is none."""

import asyncio
from collections.abc import Callable

from app.database import catalog, graph_catalog
from app.database.advisory_locks import has_lock
from app.database.catalog import Index, vector_indexes
from app.database.connection import Connection
from app.database.engine import Database
from app.database.graph_building import LOCK, builder_connection, survey, take
from app.database.graph_growth import Build, next_step
from app.database.index_status import IndexStatus, status_of
from app.database.statements import compiled
from app.errors import NotFoundException

POLL_SECONDS = 0.2


async def complete_graphs(database: Database, index: Index, watch: Callable[[IndexStatus], None]) -> IndexStatus:
    """Until nothing is left to build, or a build has failed; `watch` is told meanwhile how the index stands."""
    async with await builder_connection(database.url) as connection:
        completion = asyncio.create_task(_Completion(connection, index).run())
        try:
            while not (await asyncio.wait([completion], timeout=POLL_SECONDS))[0]:
                watch(await _status(database, index))
            await completion
        finally:
            completion.cancel()
    return await _status(database, index)


async def _status(database: Database, index: Index) -> IndexStatus:
    async with database.connection() as connection:
        current = await _current(connection, index)
        [status] = await status_of(connection, [current], exactly=False)
        return status


class _Completion:
    """What is built is final: who asks for it now has no more to write."""

    def __init__(self, connection: Connection, index: Index) -> None:
        self._connection = connection
        self._index = index
        self._is_builder = False

    async def run(self) -> None:
        while True:
            index = await _current(self._connection, self._index)
            last = (await graph_catalog.last_positions(self._connection)).get(index.id, 0)
            step = next_step(await survey(self._connection, index, last, 0))
            if not isinstance(step, Build):
                return
            if await self._becomes_builder():
                await take(self._connection, index, step)
                await graph_catalog.drop_retired(self._connection)
                if await self._has_failed():
                    return
            elif not await self._is_built(index):
                return

    async def _becomes_builder(self) -> bool:
        if not self._is_builder and await has_lock(self._connection, LOCK):
            self._is_builder = True
            await graph_catalog.recover(self._connection)
        return self._is_builder

    async def _is_built(self, index: Index) -> bool:
        """By the other builder, as long as there is one; false where it has failed."""
        while (await _current(self._connection, index)).graphs == index.graphs:
            if await self._has_failed():
                return False
            if await self._becomes_builder():
                break
            await asyncio.sleep(POLL_SECONDS)
        return True

    async def _has_failed(self) -> bool:
        return self._index.id in await graph_catalog.waiting_for_retry(self._connection)


async def _current(connection: Connection, index: Index) -> Index:
    for row in await connection.run(compiled(catalog.all_indexes().where(vector_indexes.c.id == index.id))):
        return catalog.index_of_row(row, index.arn.account.region)
    raise NotFoundException(catalog.INDEX_NOT_FOUND)
