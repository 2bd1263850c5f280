"""How large requests leave room for the others: of memory, of the GIL, and of the event loop."""

import asyncio
import threading
import time
from collections import deque
from collections.abc import AsyncIterator, Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractAsyncContextManager, asynccontextmanager, nullcontext
from typing import TypeVar

from app.limits import LARGE_BODY_BYTES, MAX_BUSY_BYTES

T = TypeVar("T")

# How long others are kept waiting at a stretch.  A small request needs the GIL some twenty times, and Python takes it
# away every 5 ms only: whoever decodes in another thread must give it up, for as long as a thread needs to wake up.
STRIDE_SECONDS = 0.0005
PAUSE_SECONDS = 0.00005

# One thread: bodies are decoded one at a time, in the order in which they came.
_thread = ThreadPoolExecutor(1, thread_name_prefix="large bodies")
_stride = threading.local()


async def decoded(decode: Callable[[memoryview], T], body: memoryview) -> T:
    """Small bodies here and now, for them another thread would cost more than it saves."""
    if len(body) < LARGE_BODY_BYTES:
        return decode(body)
    return await asyncio.get_running_loop().run_in_executor(_thread, _decoded_in_strides, decode, body)


def _decoded_in_strides(decode: Callable[[memoryview], T], body: memoryview) -> T:
    _stride.end = time.perf_counter() + STRIDE_SECONDS
    return decode(body)


def let_others_pass() -> None:
    """To be called now and then by what decodes; it does nothing outside the thread of large bodies."""
    end = getattr(_stride, "end", None)
    if end is not None and time.perf_counter() >= end:
        time.sleep(PAUSE_SECONDS)
        _stride.end = time.perf_counter() + STRIDE_SECONDS


async def in_strides(items: Iterable[T]) -> AsyncIterator[T]:
    """All of them, with other requests in between where they take long."""
    end = time.perf_counter() + STRIDE_SECONDS
    for item in items:
        yield item
        if time.perf_counter() >= end:
            await asyncio.sleep(0)
            end = time.perf_counter() + STRIDE_SECONDS


class Room:
    """Who finds too little of it waits, and nobody overtakes; what is larger than all of it is let in alone."""

    def __init__(self, size: int) -> None:
        self._size = self._free = size
        self._queue: deque[tuple[int, asyncio.Future[None]]] = deque()

    @property
    def is_empty(self) -> bool:
        return self._free == self._size and not self._queue

    @asynccontextmanager
    async def of(self, size: int) -> AsyncIterator[None]:
        taken = await self.enter(size)
        try:
            yield
        finally:
            self.leave(taken)

    async def enter(self, size: int) -> int:
        """What has been taken, for `leave`."""
        size = min(size, self._size)
        turn = asyncio.get_running_loop().create_future()
        self._queue.append((size, turn))
        self._admit()
        try:
            await turn
        except BaseException:
            # Who is cancelled while waiting has taken nothing, unless the turn came at the same moment.
            self.leave(0 if turn.cancelled() else size)
            raise
        return size

    def leave(self, taken: int) -> None:
        self._free += taken
        self._admit()

    def _admit(self) -> None:
        while self._queue and (self._queue[0][1].cancelled() or self._queue[0][0] <= self._free):
            size, turn = self._queue.popleft()
            if not turn.cancelled():
                self._free -= size
                turn.set_result(None)


_room = Room(MAX_BUSY_BYTES)


def room_for(body_bytes: int) -> AbstractAsyncContextManager[None]:
    """Of the worker's memory, for as long as a request with such a body is worked on; small ones need not ask."""
    return nullcontext() if body_bytes < LARGE_BODY_BYTES else _room.of(body_bytes)
