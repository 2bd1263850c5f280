"""The worker processes: begun, begun again when they die, and ended together."""

import multiprocessing
import os
import signal
import socket
import time
from collections.abc import Iterable
from multiprocessing.connection import wait
from multiprocessing.process import BaseProcess
from types import FrameType

import structlog

from app.worker import DRAIN_SECONDS, run

# A fork would inherit the lock files of PostgreSQL.
_PROCESSES = multiprocessing.get_context("spawn")

# One that dies sooner is not begun again at once, so that what makes it die does not fill a core.
LIVELY_SECONDS = 1
KILL_SECONDS = DRAIN_SECONDS + 5

log = structlog.get_logger()


class Workers:
    """Each has a listening socket of its own, among which the kernel divides connections evenly.

    The sockets stay open here, so that connections wait while their worker is begun again.
    """

    def __init__(self, listeners: list[socket.socket]) -> None:
        self._listeners = listeners
        self._ending, self._end = os.pipe()

    def supervise(self) -> None:
        """Until SIGTERM or SIGINT; a second one waits for nothing.

        In the main thread, whose death would end the workers.
        """
        for ending in (signal.SIGTERM, signal.SIGINT):
            signal.signal(ending, self._stop)
        running = {self._begin(listener): listener for listener in self._listeners}
        while self._ending not in (ready := wait([self._ending, *(worker.sentinel for worker in running)])):
            for worker in [worker for worker in running if worker.sentinel in ready]:
                log.error("worker_died", pid=worker.pid, exit_code=worker.exitcode)
                listener = running.pop(worker)
                time.sleep(LIVELY_SECONDS)
                running[self._begin(listener)] = listener
        for listener in self._listeners:
            listener.close()  # the workers have the others, and close them at once: nobody connects who is not served
        os.read(self._ending, 1)
        end_all(running, self._ending)

    def _begin(self, listener: socket.socket) -> BaseProcess:
        worker = _PROCESSES.Process(target=run, args=(listener,))
        worker.start()
        return worker

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
