"""What a process does for as long as it lives: an exception that nobody foresaw ends an attempt, and another is begun.

A builder, say, that met one unreadable row would otherwise have built nothing more until the server was restarted.
"""

import asyncio
import time
from collections.abc import Awaitable, Callable
from contextlib import suppress
from traceback import walk_tb
from types import CodeType
from typing import TypeVarTuple

import structlog
from msgspec import Struct

log = structlog.get_logger()

FIRST_PAUSE_SECONDS, LAST_PAUSE_SECONDS = 1, 60

Arguments = TypeVarTuple("Arguments")
Origin = tuple[type[Exception], *tuple[tuple[CodeType, int], ...]]


async def lasting(
    run: Callable[[*Arguments], Awaitable[None]], *arguments: *Arguments, stopping: asyncio.Event | None = None
) -> None:
    """Until it ends by itself or is cancelled.

    `stopping` ends pauses too: behind it `run` is begun once more at most, for what it does last.
    """
    stopping = stopping or asyncio.Event()
    attempts = Attempts(run.__qualname__)
    while True:
        begun = time.monotonic()
        try:
            await run(*arguments)
        except Exception as error:
            if is_cancelled():  # and broke something on its way out
                raise asyncio.CancelledError from error
            attempts.fail(error, time.monotonic() - begun)
        else:
            return
        if stopping.is_set():
            return
        with suppress(TimeoutError):
            await asyncio.wait_for(stopping.wait(), attempts.pause_seconds)


def is_cancelled() -> bool:
    task = asyncio.current_task()
    return task is not None and task.cancelling() > 0


class Attempts(Struct):
    """Of one task: how long to wait behind the last, and which exception the log has seen."""

    task: str
    pause_seconds: float = 0
    _told: Origin | None = None

    def fail(self, error: Exception, seconds: float) -> None:
        """An exception from the same place as the one before is told without its traceback."""
        self.pause_seconds = next_pause(self.pause_seconds, seconds)
        before, self._told = self._told, origin(error)
        log.error(
            "task_failed",
            task=self.task,
            error=type(error).__name__,
            again_in_seconds=self.pause_seconds,
            exc_info=error if self._told != before else None,
        )


def next_pause(before: float, seconds: float) -> float:
    """Twice the one before; the first again where the attempt between them went well for some time."""
    if seconds > LAST_PAUSE_SECONDS:
        return FIRST_PAUSE_SECONDS
    return min(max(FIRST_PAUSE_SECONDS, 2 * before), LAST_PAUSE_SECONDS)


def origin(error: Exception) -> Origin:
    return type(error), *((frame.f_code, line) for frame, line in walk_tb(error.__traceback__))
