"""The numbers that every change of the catalog raises: what was read under them holds while they stand.

One small read for each request, instead of all that it needs to know; NOTIFY would come too late, or not at all.
"""

import asyncio
from typing import NamedTuple

import psycopg

from app.database.engine import translated

TIMEOUT_SECONDS = 10
_SELECT = "SELECT access, indexes FROM s3_vectors.catalog_generation"


class Generation(NamedTuple):
    """A later one is greater; a new connection may be to another server, or to one restored from a backup."""

    connection: int
    access: int
    indexes: int


class Generations:
    """Reads over a connection of its own: no queue for the pool stands between a revocation and its effect."""

    def __init__(self, url: str) -> None:
        self._url = url
        self._connection: psycopg.AsyncConnection[tuple[int, int]] | None = None
        self._connections = 0
        self._reading = asyncio.Lock()
        self._followers: list[asyncio.Future[Generation | None]] | None = None

    async def read(self) -> Generation:
        """At least as new as this call: who comes while a read waits to begin shares it, but not one that has begun."""
        while self._followers is not None:
            follower: asyncio.Future[Generation | None] = asyncio.get_running_loop().create_future()
            self._followers.append(follower)
            if (shared := await follower) is not None:
                return shared
        return await self._lead()

    async def _lead(self) -> Generation:
        """Reads for all that have come until it begins; if it is cancelled, one of them leads instead."""
        followers: list[asyncio.Future[Generation | None]] = []
        self._followers, generation, failure = followers, None, None
        try:
            with translated():
                generation = await self._read()
        except Exception as error:
            failure = error
            raise
        finally:
            if self._followers is followers:
                self._followers = None
            for follower in followers:
                if not follower.done():
                    follower.set_exception(failure) if failure else follower.set_result(generation)
        return generation

    async def close(self) -> None:
        if self._connection is not None:
            await self._connection.close()

    async def _read(self) -> Generation:
        async with self._reading:
            self._followers = None  # who comes from now on needs a later read
            try:
                async with asyncio.timeout(TIMEOUT_SECONDS):
                    try:
                        return await self._select()
                    except psycopg.OperationalError:  # PostgreSQL has been restarted, say
                        return await self._select()
            except TimeoutError as error:
                raise psycopg.OperationalError("The generation of the catalog could not be read in time") from error

    async def _select(self) -> Generation:
        if self._connection is None:
            self._connection = await psycopg.AsyncConnection.connect(self._url, autocommit=True, prepare_threshold=0)
            self._connections += 1
        connection, self._connection = self._connection, None  # back again only if nothing went wrong
        try:
            row = await (await connection.execute(_SELECT, binary=True)).fetchone()
        except BaseException:
            await connection.close()
            raise
        self._connection = connection
        if row is None:
            raise psycopg.OperationalError("s3_vectors.catalog_generation is empty")
        return Generation(self._connections, *row)
