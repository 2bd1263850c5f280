"""Several things at once, in threads: clients wait for sockets most of the time, which needs no processes."""

import time
from collections.abc import Callable, Sequence
from threading import Event, Thread
from typing import Any, Generic, TypeVar

from scripts.testbed.errors import ScriptError

Result = TypeVar("Result")
Job = Callable[[Event], Result]
"""Ends early when the event is set."""

POLL_SECONDS = 0.1
ENDING_SECONDS = 180


class StillRunning(ScriptError):
    """A thread did not end although it was told to."""


class _Running(Generic[Result]):
    """A daemon, so that an interrupted benchmark never waits for a socket."""

    def __init__(self, job: Job[Result], stopping: Event) -> None:
        self.result: Result
        self.error: BaseException | None = None
        self._thread = Thread(target=self._run, args=(job, stopping), daemon=True)
        self._thread.start()

    def _run(self, job: Job[Result], stopping: Event) -> None:
        try:
            self.result = job(stopping)
        except BaseException as error:  # noqa: BLE001 - raised again by whoever waits
            self.error = error

    def has_ended(self, within: float = 0) -> bool:
        """Says so as soon as it has."""
        self._thread.join(within)
        return not self._thread.is_alive()


def side_by_side(jobs: Sequence[Job[Result]], beside: Sequence[Job[Any]] = ()) -> tuple[list[Result], list[Any]]:
    """The results of both; what runs beside is told to stop when the last job has ended, and all when one fails."""
    jobs_stop, beside_stop = Event(), Event()
    others = [_Running(job, beside_stop) for job in beside]
    running = [_Running(job, jobs_stop) for job in jobs]
    try:
        while not all(job.has_ended(POLL_SECONDS) for job in running):
            if any(job.error for job in (*running, *others)):
                break
    finally:
        jobs_stop.set()
        beside_stop.set()
    deadline = time.monotonic() + ENDING_SECONDS
    ended = [job.has_ended(max(0, deadline - time.monotonic())) for job in (*running, *others)]
    for job in (*running, *others):
        if job.error:
            raise job.error
    if not all(ended):
        raise StillRunning(f"A client did not end within {ENDING_SECONDS} s.")
    return [job.result for job in running], [job.result for job in others]
