"""How a worker stands, written down every second: what goes up and down all the time is not worth more."""

import asyncio

from psycopg_pool import AsyncConnectionPool

from app.database.connection import Connection
from app.monitoring.metrics import (
    IN_FLIGHT,
    POOL_CONNECTIONS,
    POOL_ERRORS,
    POOL_MAX,
    POOL_REQUESTS,
    POOL_WAIT_SECONDS,
    POOL_WAITING,
    POOL_WAITS,
    in_flight,
)

INTERVAL_SECONDS = 1


async def tell_gauges(pool: AsyncConnectionPool[Connection]) -> None:
    """Until it is cancelled."""
    while True:
        IN_FLIGHT.set(in_flight.number)
        tell_pool(pool)
        await asyncio.sleep(INTERVAL_SECONDS)


def tell_pool(pool: AsyncConnectionPool[Connection]) -> None:
    """Of what psycopg counts, as much as has come since the last time."""
    stats = pool.pop_stats()
    size, idle = stats["pool_size"], stats["pool_available"]
    POOL_CONNECTIONS.labels("used").set(size - idle)
    POOL_CONNECTIONS.labels("idle").set(idle)
    POOL_MAX.set(stats["pool_max"])
    POOL_WAITING.set(stats["requests_waiting"])
    POOL_REQUESTS.inc(stats.get("requests_num", 0))
    POOL_WAITS.inc(stats.get("requests_queued", 0))
    POOL_WAIT_SECONDS.inc(stats.get("requests_wait_ms", 0) / 1000)
    POOL_ERRORS.inc(stats.get("requests_errors", 0))
