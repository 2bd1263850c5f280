"""The background task that gives indexes their graphs: one builder in a cluster, and one build at a time.

Its advisory lock belongs to its connection, so that another worker takes over when this one ends.  A build that fails
or is interrupted leaves an invalid HNSW index, which no search uses; it is dropped and built again.
"""

import asyncio
import time
from collections import deque
from typing import assert_never

import psycopg
import structlog
from pgvector.psycopg import register_vector_async

from app.database import bulk_load, catalog, graph_catalog, range_indexes
from app.database.advisory_locks import has_lock
from app.database.build_failures import reason
from app.database.catalog import Index
from app.database.concurrent_indexes import analyze
from app.database.connection import Connection
from app.database.graph_growth import ABSORBED_PER_SECOND, Absorb, Build, Forget, Step, Survey, next_step
from app.database.graphs import absorb, count_vectors, create_graph, end_of, graph_bytes
from app.database.postponed import Postponed
from app.database.range_indexes import RangeUse
from app.database.statements import compiled

log = structlog.get_logger()

INTERVAL_SECONDS = 2
RESTING_SECONDS = 10
SETTLED_SECONDS = 60
ABSORB_BATCH = 50
MIN_BUILD_KB = 64 * 1024
LOCK = 0x5333_5647  # "S3VG"

# No build is too long, and waiting for the transactions that were there before it is part of one.
_SESSION = "-c jit=off -c statement_timeout=0 -c lock_timeout=0 -c application_name=pgs3vectors-builder"


class GraphBuilding:
    """And of range indexes, which are built by the same builder."""

    def __init__(self, url: str, region: str, range_use: RangeUse) -> None:
        self._url = url
        self._region = region
        self._range_use = range_use
        self._written: dict[int, deque[tuple[float, int]]] = {}
        self._settled: dict[int, tuple[int, float]] = {}
        self._postponed = Postponed()
        self._loaded: set[int] = set()

    async def run(self) -> None:
        """Until it is cancelled."""
        while True:
            try:
                async with await builder_connection(self._url) as connection:
                    await self._wait_for_lock(connection)
                    await self._build(connection)
            except psycopg.Error as error:
                log.warning("builder_interrupted", error=reason(error))
            await asyncio.sleep(INTERVAL_SECONDS)

    async def _wait_for_lock(self, connection: Connection) -> None:
        while not await has_lock(connection, LOCK):
            await self._range_use.write(connection)
            await asyncio.sleep(INTERVAL_SECONDS)

    async def _build(self, connection: Connection) -> None:
        await graph_catalog.recover(connection)
        await range_indexes.recover(connection)
        while True:
            started = time.monotonic()
            await self._range_use.write(connection)
            if not await self.round(connection):
                # So many indexes that looking at them takes long are looked at less often.
                await asyncio.sleep(max(INTERVAL_SECONDS, 10 * (time.monotonic() - started)))

    async def round(self, connection: Connection) -> bool:
        """One look at every index, and one step for each that needs one; whether there was any."""
        steps = 0
        positions = await graph_catalog.last_positions(connection)
        waiting = await graph_catalog.waiting_for_retry(connection)
        loading = await bulk_load.claimed(connection)
        rows = await connection.run(compiled(catalog.all_indexes()))
        self._forget_all_but({row.id for row in rows})
        for row in rows:
            index = catalog.index_of_row(row, self._region)
            last = positions.get(index.id, 0)
            if self._is_being_loaded(index.id, last, loading):
                continue
            rate = self._written_per_second(index.id, last)
            if self._is_settled(index.id, last) or index.id in self._postponed or index.id in waiting:
                continue
            step = await self._look(connection, index, last, rate)
            steps += step is not None
            if step is None and rate == 0:
                self._settled[index.id] = last, time.monotonic()
        await graph_catalog.drop_retired(connection)
        steps += await range_indexes.build_wanted(connection)
        return steps > 0

    async def _look(self, connection: Connection, index: Index, last: int, rate: float) -> Step:
        """The step that was taken; an index that cannot be looked at keeps no other from its graph."""
        try:
            step = next_step(await survey(connection, index, last, rate))
            await take(connection, index, step)
        except psycopg.errors.UndefinedTable:  # deleted meanwhile
            return None
        except psycopg.Error as error:
            self._postponed.put_off_for(error, connection, index, "building_failed")
            return None
        return step

    def _forget_all_but(self, index_ids: set[int]) -> None:
        self._written = {i: seen for i, seen in self._written.items() if i in index_ids}
        self._settled = {i: seen for i, seen in self._settled.items() if i in index_ids}
        self._postponed.forget_all_but(index_ids)
        self._loaded &= index_ids

    def _is_being_loaded(self, index_id: int, last: int, loading: set[int]) -> bool:
        """Behind a bulk load nothing is awaited: the graph that is built then is the final one."""
        if bulk_load.claimed_as(index_id) in loading:
            self._loaded.add(index_id)
            return True
        if index_id in self._loaded:
            self._loaded.remove(index_id)
            self._written[index_id] = deque([(time.monotonic() - RESTING_SECONDS, last)])
        return False

    def _is_settled(self, index_id: int, last: int) -> bool:
        """Nothing was to do, and nothing has been written since; deletions are looked for once in a while."""
        position, moment = self._settled.get(index_id, (-1, 0.0))
        return position == last and time.monotonic() < moment + SETTLED_SECONDS

    def _written_per_second(self, index_id: int, last: int) -> float:
        """Over the last ten seconds; infinite before they are over."""
        now = time.monotonic()
        seen = self._written.setdefault(index_id, deque())
        seen.append((now, last))
        while len(seen) > 2 and seen[1][0] <= now - RESTING_SECONDS:
            seen.popleft()
        elapsed = now - seen[0][0]
        return (last - seen[0][1]) / elapsed if elapsed >= RESTING_SECONDS else float("inf")


async def builder_connection(url: str) -> Connection:
    connection = await Connection.connect(url, autocommit=True, options=_SESSION)
    await register_vector_async(connection)
    # That a graph does not fit into memory, for one, and is built many times as slowly.
    connection.add_notice_handler(lambda notice: log.warning("builder_notice", notice=notice.message_primary))
    return connection


async def survey(connection: Connection, index: Index, last: int, written_per_second: float) -> Survey:
    alive = [await count_vectors(connection, index, (graph.first, graph.end)) for graph in index.graphs]
    tail = await count_vectors(connection, index, (end_of(index.graphs), last + 1))
    return Survey(index.dimension, index.graphs, tuple(alive), tail, last + 1, written_per_second)


async def take(connection: Connection, index: Index, step: Step) -> None:
    match step:
        case None:
            pass
        case Build():
            await build(connection, index, step)
        case Absorb():
            for _ in range(ABSORBED_PER_SECOND * INTERVAL_SECONDS // ABSORB_BATCH):
                await connection.run(absorb(index, index.graphs[-1], ABSORB_BATCH))
        case Forget():
            await graph_catalog.retire(connection, index)
        case unknown:
            assert_never(unknown)


async def build(connection: Connection, index: Index, step: Build) -> None:
    """Beside reads and writes; whatever happens, searches stay right, and the reason of a failure is kept."""
    vectors = await count_vectors(connection, index, (step.first, step.end))
    graph = await graph_catalog.begin(connection, index, step, vectors)
    started = time.monotonic()
    log.info("graph_building", index=str(index.arn), graph=graph.id, positions=f"{graph.first}-{graph.end}")
    try:
        await give_memory(connection, graph_bytes(vectors, index.dimension))
        await connection.run(create_graph(index, graph), prepare=False)
        await connection.run(analyze(index.id), prepare=False)
    except psycopg.Error as error:
        log.warning("graph_failed", index=str(index.arn), graph=graph.id, reason=reason(error))
        await graph_catalog.drop(connection, index.id, graph.id)
        await graph_catalog.fail(connection, graph.id, reason(error))
        return
    await graph_catalog.complete(connection, index, graph)
    log.info("graph_ready", index=str(index.arn), graph=graph.id, seconds=round(time.monotonic() - started, 1))


async def give_memory(connection: Connection, needed_bytes: int) -> None:
    """What a graph will need, and no more than the operator's maintenance_work_mem: parallel builds take it all."""
    allowed = "(SELECT reset_val::bigint FROM pg_settings WHERE name = 'maintenance_work_mem')"
    needed = max(MIN_BUILD_KB, needed_bytes // 1024)
    await connection.execute(
        f"SELECT set_config('maintenance_work_mem', least({allowed}, %s)::text, false)".encode(), [needed]
    )
