"""The numbers that every change of the catalog raises: what was read under them holds while they stand.

One small read for each request, instead of all that it needs to know; NOTIFY would come too late, or not at all.
"""

import asyncio
from typing import NamedTuple

import psycopg

from app.database.prepared_read import PreparedRead, Row

TIMEOUT_SECONDS = 5  # for a read; and, if that fails, for another over a new connection
_SELECT = "SELECT access, indexes FROM s3_vectors.catalog_generation"


class Generation(NamedTuple):
    """A new connection may be to another server; numbers that are lower are those of a catalog that was restored."""

    connection: int
    access: int
    indexes: int


class Generations:
    """Reads over a connection of its own: no queue for the pool stands between a revocation and its effect."""

    def __init__(self, url: str) -> None:
        self._url = url
        self.newest = Generation(0, 0, 0)
        """Of all answers so far; reads follow each other, but whoever awaited one may look at it late."""
        self._read: PreparedRead | None = None
        self._connections = 0
        self._reading: list[asyncio.Future[Generation]] = []
        """Who waits for the answer to the read that is under way; nobody while there is none."""
        self._next: list[asyncio.Future[Generation]] = []
        self._beginning: asyncio.Handle | None = None
        self._reconnection: asyncio.Task[None] | None = None

    def ask(self) -> asyncio.Future[Generation]:
        """Sent when the task that asks waits for something: a search is on its way by then, and need not wait for this.

        At least as new as this call: who comes while a read waits to begin shares it, but not one that has begun.
        Raises psycopg.Error when it is awaited.
        """
        loop = asyncio.get_running_loop()
        asked: asyncio.Future[Generation] = loop.create_future()
        self._next.append(asked)
        if not self._reading and len(self._next) == 1:
            self._beginning = loop.call_soon(self._begin)
        return asked

    async def close(self) -> None:
        if self._beginning is not None:
            self._beginning.cancel()
        if self._reconnection is not None:
            await self._reconnection
        if self._read is not None:
            self._read.close()

    def _begin(self) -> None:
        self._reading, self._next = self._next, []
        if self._read is None:
            self._reconnect()
        else:
            self._read.ask().add_done_callback(self._end)

    def _end(self, answer: asyncio.Future[Row]) -> None:
        if answer.exception() is None:
            self._settle(answer.result())
        else:  # PostgreSQL has been restarted, say
            self._reconnect()

    def _reconnect(self) -> None:
        self._read, self._reconnection = None, asyncio.create_task(self._read_anew())

    async def _read_anew(self) -> None:
        try:
            async with asyncio.timeout(TIMEOUT_SECONDS):
                self._read = await PreparedRead.connect(self._url, _SELECT, TIMEOUT_SECONDS)
            self._connections += 1
            self._settle(await self._read.ask())
        except (psycopg.Error, TimeoutError) as error:
            self._settle(
                error if isinstance(error, psycopg.Error) else psycopg.OperationalError("No connection in time")
            )

    def _settle(self, outcome: Row | psycopg.Error) -> None:
        reading, self._reading = self._reading, []
        if not isinstance(outcome, psycopg.Error):
            self.newest = Generation(self._connections, *outcome)
        for asked in reading:
            if asked.done():  # its request was cancelled
                continue
            if isinstance(outcome, psycopg.Error):
                asked.set_exception(outcome)
                asked.exception()  # a request that was refused does not look at it
            else:
                asked.set_result(self.newest)
        if self._next:
            self._begin()
