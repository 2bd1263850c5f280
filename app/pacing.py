"""Writes give way to searches: while anybody searches they take turns, each for as long as a rate asks for.

Writers that are never kept waiting fill all cores, and a search among them takes twice its time.  Workers know of each
other's searches and turns by files in the folder that they share.
"""

import asyncio
import fcntl
import os
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from app.monitoring.metrics import PACED_SECONDS
from app.shared_folder import SharedNumbers

# After a search, the next is expected for so long.
SEARCHING_SECONDS = 1
# Whoever has waited for so long writes all the same; how many write at once is bounded in any case (`HeavySlots`).
WAIT_SECONDS = 5
POLL_SECONDS = 0.005


class Turn:
    """To write, of one worker at a time; if that dies, it is another's."""

    def __init__(self, file: Path) -> None:
        self._descriptor = os.open(file, os.O_RDWR | os.O_CREAT, 0o600)
        self._is_ours = False

    def take(self) -> bool:
        """Whether nobody else has it."""
        if self._is_ours:
            return False
        try:
            fcntl.flock(self._descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        self._is_ours = True
        return True

    def give_back(self) -> None:
        fcntl.flock(self._descriptor, fcntl.LOCK_UN)
        self._is_ours = False


class Pacing:
    """There is a turn for every two cores, so that one of them is left to searches."""

    def __init__(self, folder: Path, last_search: SharedNumbers, vectors_per_second: int, cores: int) -> None:
        """So many in all turns together; 0 is as many as come.

        A search is known by the monotonic clock, of which all processes have the same.
        """
        turns = max(1, cores // 2)
        self._seconds_per_vector = turns / vectors_per_second if vectors_per_second else 0
        self._turns = [Turn(folder / f"turn-{i}") for i in range(turns)] if vectors_per_second else []
        self._queue = asyncio.Lock()
        self._last_search = last_search

    def note_search(self) -> None:
        self._last_search[0] = time.monotonic()

    @property
    def _is_searched(self) -> bool:
        return time.monotonic() < self._last_search[0] + SEARCHING_SECONDS

    @asynccontextmanager
    async def writing(self, vectors: int) -> AsyncIterator[None]:
        """Whoever has written is answered at once, and the next waits until the turn is over."""
        turn = await self._turn() if self._turns and self._is_searched else None
        started = time.monotonic()
        try:
            yield
        finally:
            if turn is not None:
                left = vectors * self._seconds_per_vector - (time.monotonic() - started)
                asyncio.get_running_loop().call_later(max(0, left), turn.give_back)

    async def _turn(self) -> Turn | None:
        """In the order in which they came to this worker; None where it is no longer needed, or takes too long."""
        started = time.perf_counter()
        try:
            async with asyncio.timeout(WAIT_SECONDS), self._queue:
                while self._is_searched:
                    if turn := next((turn for turn in self._turns if turn.take()), None):
                        return turn
                    await asyncio.sleep(POLL_SECONDS)
        except TimeoutError:
            pass
        finally:
            PACED_SECONDS.inc(time.perf_counter() - started)
        return None
