"""The background task that gives the vectors of long tails their codes, within a second or so of their writing.

One coder in a cluster: its advisory lock belongs to its connection, so that another worker takes over when this one
ends.  It needs no more than seconds for anything, and so it is not the builder, whose graphs take minutes.

A search takes every position before the end of the codes for known.  So whoever had been given one of them must have
ended when its codes are made, and every writer is waited for that had locked the table by then.
"""

import asyncio
import time
from typing import assert_never

import numpy as np
import psycopg
import structlog
from msgspec import Struct
from pgvector.psycopg import register_vector_async

from app.database import catalog, code_catalog, graph_catalog
from app.database.advisory_locks import has_lock
from app.database.build_failures import reason
from app.database.catalog import Index
from app.database.code_growth import Add, Begin, Retire, Step, Tail, next_step
from app.database.codes import planes_of, sampled, thresholds_of
from app.database.connection import Connection
from app.database.graph_growth import MIN_CODED_DIMENSION
from app.database.graphs import count_vectors, end_of
from app.database.postponed import Postponed
from app.database.statements import compiled
from app.database.writers import writers_of

log = structlog.get_logger()

INTERVAL_SECONDS = 0.5
LOOKING_SHARE = 10
COUNTED_SECONDS, SETTLED_SECONDS = 5, 60
SAMPLE = 1_000
# Of an index whose writers take longer, the codes wait: others have some too.
WRITERS_SECONDS, WRITERS_POLL_SECONDS, POSTPONED_SECONDS = 1, 0.05, 5
LOCK = 0x5333_5643  # "S3VC"

# A table that is still read is dropped another time.  A million vectors take some ten seconds.
_SESSION = "-c jit=off -c statement_timeout=600s -c lock_timeout=300ms -c application_name=pgs3vectors-coder"


class Counted(Struct, frozen=True):
    """A tail whose vectors were counted; since then it has grown by one for each position at most."""

    tail: Tail
    moment: float

    def grown_to(self, first: int, end: int) -> Tail | None:
        """None where it must be counted again: deletions show no other way."""
        seconds = COUNTED_SECONDS if end > self.tail.end else SETTLED_SECONDS
        if first != self.tail.first or time.monotonic() > self.moment + seconds:
            return None
        return Tail(first, end, self.tail.vectors + end - self.tail.end)


class Coding:
    def __init__(self, url: str, region: str) -> None:
        self._url = url
        self._region = region
        self._seen: dict[int, int] = {}
        """The last positions, as they were when they were looked at."""
        self._counted: dict[int, Counted] = {}
        self._coded: set[int] = set()
        self._postponed = Postponed()

    async def run(self) -> None:
        """Until it is cancelled."""
        while True:
            try:
                async with await coder_connection(self._url) as connection:
                    while not await has_lock(connection, LOCK):  # noqa: ASYNC110 - PostgreSQL has no event
                        await asyncio.sleep(INTERVAL_SECONDS)
                    await self._code(connection)
            except psycopg.Error as error:
                log.warning("coder_interrupted", error=reason(error))
            await asyncio.sleep(INTERVAL_SECONDS)

    async def _code(self, connection: Connection) -> None:
        while True:
            started = time.monotonic()
            steps = await self.round(connection)
            # So many indexes that looking at them takes long are looked at less often.
            looking = 0 if steps else time.monotonic() - started
            await asyncio.sleep(max(INTERVAL_SECONDS, LOOKING_SHARE * looking))

    async def round(self, connection: Connection) -> int:
        """One look at every index that has been written to or has codes; how many steps were taken."""
        await code_catalog.forget_lost(connection)
        positions = await graph_catalog.last_positions(connection)
        self._forget_all_but(set(positions))
        steps = 0
        due = {i for i, last in positions.items() if self._seen.get(i) != last or i in self._coded}
        due = {i for i in due if i not in self._postponed}
        for row in await connection.run(compiled(catalog.indexes_by_id(due))) if due else ():
            index = catalog.index_of_row(row, self._region)
            steps += await self._look(connection, index, positions[index.id])
        await code_catalog.drop_forgotten(connection)
        return steps

    def _forget_all_but(self, index_ids: set[int]) -> None:
        self._seen = {i: last for i, last in self._seen.items() if i in index_ids}
        self._counted = {i: counted for i, counted in self._counted.items() if i in index_ids}
        self._postponed.forget_all_but(index_ids)
        self._coded &= index_ids

    async def _look(self, connection: Connection, index: Index, last: int) -> bool:
        """Whether there was something to do, and it is done."""
        try:
            step = await self._step(connection, index, last + 1)
            if isinstance(step, Begin | Add) and not await older_writers_have_ended(connection, index):
                self._postponed.put_off(index, POSTPONED_SECONDS)
                return False
            is_done = await take(connection, index, step)
        except (psycopg.errors.UndefinedTable, psycopg.errors.ForeignKeyViolation):  # deleted meanwhile
            return False
        except psycopg.errors.LockNotAvailable:  # somebody has the table for himself
            self._postponed.put_off(index, POSTPONED_SECONDS)
            return False
        except psycopg.Error as error:
            self._postponed.put_off_for(error, connection, index, "coding_failed")
            return False
        if not is_done:
            self._postponed.put_off(index)
            return False
        self._seen[index.id] = last
        has_codes = step is not None or index.codes is not None
        (self._coded.add if has_codes and not isinstance(step, Retire) else self._coded.discard)(index.id)
        return step is not None

    async def _step(self, connection: Connection, index: Index, end: int) -> Step:
        if index.dimension < MIN_CODED_DIMENSION:
            return None
        step = next_step(index.dimension, index.codes, await self._tail(connection, index, end))
        if isinstance(step, Begin):  # so much work is not done for an estimate
            step = next_step(index.dimension, index.codes, await self._count(connection, index, end))
        return step

    async def _tail(self, connection: Connection, index: Index, end: int) -> Tail:
        counted = self._counted.get(index.id)
        tail = counted and counted.grown_to(end_of(index.graphs), end)
        return tail or await self._count(connection, index, end)

    async def _count(self, connection: Connection, index: Index, end: int) -> Tail:
        first = end_of(index.graphs)
        tail = Tail(first, end, await count_vectors(connection, index, (first, end)))
        self._counted[index.id] = Counted(tail, time.monotonic())
        return tail


async def coder_connection(url: str) -> Connection:
    connection = await Connection.connect(url, autocommit=True, options=_SESSION)
    await register_vector_async(connection)
    return connection


async def older_writers_have_ended(connection: Connection, index: Index) -> bool:
    """Whoever was writing when this was asked; false where some of them take too long."""
    older, deadline = await writers_of(connection, index.id), time.monotonic() + WRITERS_SECONDS
    while older and time.monotonic() < deadline:
        await asyncio.sleep(WRITERS_POLL_SECONDS)
        older &= await writers_of(connection, index.id)
    return not older


async def take(connection: Connection, index: Index, step: Step) -> bool:
    """Whether it could be done."""
    match step:
        case None:
            pass
        case Begin():
            return await begin(connection, index, step)
        case Add(end):
            assert index.codes is not None  # noqa: S101 - what there is none of is not added to
            await code_catalog.add(connection, index, index.codes, end)
        case Retire():
            await code_catalog.retire(connection, index)
            log.info("codes_retired", index=str(index.arn))
        case unknown:
            assert_never(unknown)
    return True


async def begin(connection: Connection, index: Index, step: Begin) -> bool:
    """Not where all have been deleted meanwhile, or are too large for a code."""
    positions, planes = (step.first, step.end), planes_of(index.dimension, index.distance_metric)
    sample = await connection.run(sampled(index, positions, max(1, step.vectors // SAMPLE)), prepare=False)
    if not sample:
        return False
    vectors = np.array([row.vector.to_numpy() for row in sample])
    thresholds = await asyncio.to_thread(thresholds_of, vectors, planes)
    number = await code_catalog.begin(connection, index, positions, thresholds)
    log.info("codes_begun", index=str(index.arn), positions=f"{step.first}-{step.end}", codes=number)
    return True
