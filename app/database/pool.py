"""The pool of connections: it lends the one that came back last, and after one has broken trusts none unasked."""

import asyncio
import time

from psycopg.pq import TransactionStatus
from psycopg_pool import AsyncConnectionPool

from app.database.connection import Connection

# How long a request waits for a connection, and how long one is tried to be made until the next request begins anew: of
# five minutes, as by default, psycopg would wait for two between its last attempts.
WAIT_SECONDS = 10
WAITING_PER_CONNECTION = 20


class Pool(AsyncConnectionPool[Connection]):
    _checking: asyncio.Task[None] | None = None

    def lend(self) -> Connection | None:
        """The one that came back last, whose backend still has much in the processor's caches; None to wait for one.

        psycopg lends what was not used for longest, by way of thirty functions that mostly have nothing to do.
        """
        if self._closed or not self._pool:
            return None
        connection = self._pool.pop()
        connection._pool = self  # noqa: SLF001
        self._nconns_min = min(self._nconns_min, len(self._pool))
        self._stats[self._REQUESTS_NUM] += 1
        return connection

    def take_back(self, connection: Connection) -> bool:
        """Whether there was nothing else to do: nobody waits for it, and it is as good as it was."""
        if self._closed or self._waiting or not self._is_good(connection):
            return False
        connection._pool = None  # noqa: SLF001
        self._pool.append(connection)
        return True

    def _is_good(self, connection: Connection) -> bool:
        is_ours = connection._pool is self  # noqa: SLF001
        is_idle = connection.pgconn.transaction_status == TransactionStatus.IDLE
        is_fresh = connection._expire_at > time.monotonic() and connection._created_at > self._drained_at  # noqa: SLF001
        return is_ours and is_idle and is_fresh

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
