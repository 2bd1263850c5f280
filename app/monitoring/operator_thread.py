"""The operator's port, served by a thread of the process that supervises the workers, with an event loop of its own.

So it answers whatever the workers are doing, of all of them together, and while they drain.
"""

import asyncio
import socket
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from threading import Thread
from typing import Any

import uvicorn
import uvloop
from prometheus_client import CollectorRegistry
from prometheus_client.multiprocess import MultiProcessCollector

from app.background import lasting
from app.database.engine import Database
from app.envelope import KeyEncryptionKeys
from app.http_protocol import KEEP_ALIVE_SECONDS, HttpProtocol
from app.logs import server_logs
from app.monitoring.database_metrics import DatabaseMetrics
from app.monitoring.health import Health, Supervised
from app.monitoring.readiness import Readiness
from app.monitoring.recall_sampling import RecallSampling
from app.monitoring.server_metrics import ServerMetrics
from app.settings import Settings

STATEMENT_SECONDS = 5
MAX_CONNECTIONS = 100
END_SECONDS = 5


class OperatorThread:
    def __init__(self, settings: Settings, database_url: str, workers: Supervised, metrics_folder: Path) -> None:
        self._settings = settings
        self._health = Health(workers)
        # A connection for each of those who look.
        self._database = Database(database_url, pool_size=3, statement_timeout_seconds=STATEMENT_SECONDS)
        self._readiness = Readiness(self._health, workers, self._database)
        self._database_metrics = DatabaseMetrics(self._database, per_index=settings.metrics_per_index)
        self._recall_sampling = RecallSampling(self._database, settings)
        self._registry = CollectorRegistry()
        MultiProcessCollector(self._registry, str(metrics_folder))  # type: ignore[no-untyped-call]
        for collector in (ServerMetrics(self._health, workers), self._database_metrics, self._recall_sampling):
            self._registry.register(collector)
        self._server: uvicorn.Server | None = None
        self._is_stopped = False

    def give_keys(self, keys: KeyEncryptionKeys) -> None:
        """As soon as there are any: the first start makes one."""
        self._readiness.keys = keys

    @contextmanager
    def serving(self, listener: socket.socket | None) -> Iterator[None]:
        """Without a socket, nothing."""
        if listener is None:
            yield
            return
        thread = Thread(target=self._run, args=(listener,), name="operator", daemon=True)
        thread.start()
        try:
            yield
        finally:
            self._stop()
            thread.join(END_SECONDS)
            listener.close()

    def _run(self, listener: socket.socket) -> None:
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            runner.run(self._live(listener))

    async def _live(self, listener: socket.socket) -> None:
        async with self._looking():
            await lasting(self._serve, listener)

    async def _serve(self, listener: socket.socket) -> None:
        """Until it is stopped; the socket stays open for another attempt."""
        # Importing late: in the thread, so that the start does not wait for it.
        from app.monitoring.endpoints import create_app  # noqa: PLC0415

        self._server = uvicorn.Server(self._config(create_app(self._health, self._registry)))
        if not self._is_stopped:
            await self._server.serve([listener.dup()])

    def _stop(self) -> None:
        """From another thread, at whatever moment: either this or `_serve` sees what the other has done."""
        self._is_stopped = True
        if self._server is not None:
            self._server.should_exit = True

    def _config(self, application: Any) -> uvicorn.Config:
        return uvicorn.Config(
            application,
            interface="asgi3",
            http=HttpProtocol,
            ws="none",
            lifespan="off",
            log_config=server_logs(self._settings.log_format),
            access_log=False,
            proxy_headers=False,
            server_header=False,
            limit_concurrency=MAX_CONNECTIONS,
            timeout_keep_alive=KEEP_ALIVE_SECONDS,
            timeout_graceful_shutdown=1,
        )

    @asynccontextmanager
    async def _looking(self) -> AsyncIterator[None]:
        await self._database.pool.open()
        tasks = [
            asyncio.create_task(lasting(self._readiness.run)),
            asyncio.create_task(lasting(self._read_statistics)),
            asyncio.create_task(lasting(self._sample_recall)),
        ]
        try:
            yield
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.wait(tasks)
            await self._database.close()

    async def _read_statistics(self) -> None:
        """Once there is a catalog to be read."""
        await self._health.started.wait()
        await self._database_metrics.run()

    async def _sample_recall(self) -> None:
        await self._health.started.wait()
        await self._recall_sampling.run()
