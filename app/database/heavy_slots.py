"""Connections that statements which take long may hold at once: the others are left to those that do not."""

import asyncio

from app.database.pool import WAIT_SECONDS, WAITING_PER_CONNECTION
from app.errors import ServiceUnavailableException


class HeavySlots:
    """A quarter of a pool is not for them; who waits too long, or finds too many waiting, is told to come again."""

    def __init__(self, pool_size: int) -> None:
        self._slots = asyncio.Semaphore(pool_size - pool_size // 4)
        self._max_waiting = pool_size * WAITING_PER_CONNECTION
        self._waiting = 0

    async def __aenter__(self) -> None:
        if not self._slots.locked():
            await self._slots.acquire()
            return
        if self._waiting >= self._max_waiting:
            raise _unavailable()
        self._waiting += 1
        try:
            async with asyncio.timeout(WAIT_SECONDS):
                await self._slots.acquire()
        except TimeoutError:
            raise _unavailable() from None
        finally:
            self._waiting -= 1

    async def __aexit__(self, *_: object) -> None:
        self._slots.release()


def _unavailable() -> ServiceUnavailableException:
    return ServiceUnavailableException("Currently unable to handle the request")
