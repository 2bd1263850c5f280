"""The pool of connections, which after one has broken trusts none of the others unasked."""

import asyncio

from psycopg_pool import AsyncConnectionPool

from app.database.connection import Connection

# How long a request waits for a connection, and how long one is tried to be made until the next request begins anew: of
# five minutes, as by default, psycopg would wait for two between its last attempts.
WAIT_SECONDS = 10
WAITING_PER_CONNECTION = 20


class Pool(AsyncConnectionPool[Connection]):
    _checking: asyncio.Task[None] | None = None

    async def putconn(self, conn: Connection) -> None:
        broken = conn.closed
        await super().putconn(conn)
        if broken:
            conn._pool = None  # noqa: SLF001 - psycopg forgets it only of those that it keeps
            await self._check_the_others()

    async def _check_the_others(self) -> None:
        """Or each of them would cost a request, after a restart of PostgreSQL; none is lent while they are asked."""
        if self._checking is None or self._checking.done():
            self._checking = asyncio.create_task(self.check())
            await asyncio.sleep(0)  # takes them out
