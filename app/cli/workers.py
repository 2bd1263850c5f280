"""The worker processes: begun, begun again when they die, and ended together."""

import multiprocessing
import os
import signal
import socket
import time
from collections.abc import Iterable
from contextlib import suppress
from math import inf
from multiprocessing.connection import wait
from multiprocessing.process import BaseProcess
from pathlib import Path
from types import FrameType

import structlog

from app.shared_folder import forget_what_was_in_flight, invite
from app.worker import DRAIN_SECONDS, run

# A fork would inherit the lock files of PostgreSQL.
_PROCESSES = multiprocessing.get_context("spawn")

# One that dies sooner is not begun again at once, so that what makes it die does not fill a core.
LIVELY_SECONDS = 1
KILL_SECONDS = DRAIN_SECONDS + 5
# Each tells every second that its event loop goes round; nothing that it does takes nearly as long.
SILENT_SECONDS = 15

log = structlog.get_logger()


class Worker:
    """A process that listens; its place stays when it dies, as does what it counted."""

    def __init__(self, place: int, listener: socket.socket, metrics_folder: Path) -> None:
        self._place = place
        self._listener = listener
        self._metrics_folder = metrics_folder
        self.begin()

    def begin(self) -> None:
        self.begins_at: float | None = None
        """Of one that has died, while the others go on."""
        self.last_sign = -inf
        invite(self._metrics_folder, self._place)
        self.signs, signal_end = _PROCESSES.Pipe(duplex=False)
        self.process: BaseProcess = _PROCESSES.Process(target=run, args=(self._listener, signal_end))
        self.process.start()
        signal_end.close()

    def hear(self) -> None:
        with suppress(EOFError, OSError):  # it is dying: the sentinel tells that
            self.signs.recv_bytes()
            self.last_sign = time.monotonic()

    def died(self) -> None:
        log.error("worker_died", pid=self.process.pid, exit_code=self.process.exitcode)
        self.signs.close()
        self.last_sign = -inf
        self.begins_at = time.monotonic() + LIVELY_SECONDS
        forget_what_was_in_flight(self._metrics_folder, self._place)

    @property
    def is_up(self) -> bool:
        return time.monotonic() - self.last_sign < SILENT_SECONDS


class Workers:
    """All listen on one socket, which stays open here: connections wait while nobody is there to take them."""

    def __init__(self, listener: socket.socket, number: int, drain_delay_seconds: float, metrics_folder: Path) -> None:
        self.is_draining = False
        self.deaths = 0
        self._metrics_folder = metrics_folder
        self._listener = listener
        self._number = number
        self._drain_delay_seconds = drain_delay_seconds
        self._workers: list[Worker] = []
        self._last_sign = inf
        self._ending, self._end = os.pipe()

    @property
    def up(self) -> tuple[int, int]:
        """How many serve, of how many."""
        return sum(worker.is_up for worker in self._workers), self._number

    @property
    def silent_seconds(self) -> float:
        """Since the last sign of life of any worker; 0 before there are any."""
        return max(0, time.monotonic() - self._last_sign)

    def supervise(self) -> None:
        """Until SIGTERM or SIGINT; a second one waits for nothing.

        In the main thread, whose death would end the workers.
        """
        for ending in (signal.SIGTERM, signal.SIGINT):
            signal.signal(ending, self._stop)
        self._workers = [Worker(place, self._listener, self._metrics_folder) for place in range(self._number)]
        self._last_sign = time.monotonic()
        self._watch(inf)
        self.is_draining = True
        self._workers = [worker for worker in self._workers if worker.begins_at is None]
        self._watch(self._drain_delay_seconds)  # served as before, while balancers see that this is to end
        self._listener.close()  # the workers have it too, and close it at once: nobody connects who is not served
        end_all([worker.process for worker in self._workers], self._ending)

    def _watch(self, seconds: float) -> None:
        """Until a signal comes, or the time is over; while draining, who has ended stays so."""
        end = time.monotonic() + seconds
        while self._workers and (left := end - time.monotonic()) > 0:
            alive = [worker for worker in self._workers if worker.begins_at is None]
            sources = [source for worker in alive for source in (worker.process.sentinel, worker.signs)]
            left = min(left, self._begin_again())
            ready = wait([self._ending, *sources], None if left == inf else left)
            if self._ending in ready:
                os.read(self._ending, 1)
                return
            for worker in alive:
                if worker.process.sentinel in ready:
                    self._lose(worker)
                elif worker.signs in ready:
                    worker.hear()
                    self._last_sign = worker.last_sign

    def _begin_again(self) -> float:
        """Those whose time has come; in how many seconds the next one's comes."""
        now, next_ = time.monotonic(), inf
        for worker in self._workers:
            if worker.begins_at is None:
                continue
            if worker.begins_at <= now:
                worker.begin()
                log.info("worker_begun_again", pid=worker.process.pid)
                next_ = 0  # which is to be listened to
            else:
                next_ = min(next_, worker.begins_at - now)
        return next_

    def _lose(self, worker: Worker) -> None:
        worker.died()
        self.deaths += 1
        if self.is_draining:
            self._workers.remove(worker)

    def _stop(self, _: int, __: FrameType | None) -> None:
        os.write(self._end, b".")


def end_all(workers: Iterable[BaseProcess], now: int) -> None:
    """Their requests are answered first; who takes too long is killed, and so are all when `now` can be read."""
    deadline, waiting = time.monotonic() + KILL_SECONDS, set(workers)
    for worker in waiting:
        worker.terminate()
    while waiting and (left := deadline - time.monotonic()) > 0:
        ready = wait([now, *(worker.sentinel for worker in waiting)], left)
        if now in ready:
            break
        waiting = {worker for worker in waiting if worker.sentinel not in ready}
    for worker in waiting:
        log.error("worker_killed", pid=worker.pid)
        worker.kill()
        worker.join()
