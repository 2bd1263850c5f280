"""The operator's port, served by a thread of the process that supervises the workers, with an event loop of its own.

So it answers whatever the workers are doing, of all of them together, and while they drain.
"""

import asyncio
import socket
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager, suppress
from pathlib import Path
from threading import Thread
from typing import Any

import uvicorn
from prometheus_client import CollectorRegistry
from prometheus_client.multiprocess import MultiProcessCollector

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

    def give_keys(self, keys: KeyEncryptionKeys) -> None:
        """As soon as there are any: the first start makes one."""
        self._readiness.keys = keys

    @contextmanager
    def serving(self, listener: socket.socket | None) -> Iterator[None]:
        """Without a socket, nothing."""
        if listener is None:
            yield
            return
        server = uvicorn.Server(self._config())
        thread = Thread(target=server.run, args=([listener],), name="operator", daemon=True)
        thread.start()
        try:
            yield
        finally:
            server.should_exit = True
            thread.join(END_SECONDS)

    def _config(self) -> uvicorn.Config:
        return uvicorn.Config(
            self._application,
            factory=True,
            interface="asgi3",
            loop="uvloop",
            http=HttpProtocol,
            ws="none",
            lifespan="on",
            log_config=server_logs(self._settings.log_format),
            access_log=False,
            proxy_headers=False,
            server_header=False,
            limit_concurrency=MAX_CONNECTIONS,
            timeout_keep_alive=KEEP_ALIVE_SECONDS,
            timeout_graceful_shutdown=1,
        )

    def _application(self) -> Any:
        """Importing late: in the thread, so that the start does not wait for it."""
        from app.monitoring.endpoints import create_app  # noqa: PLC0415

        return create_app(self._health, self._registry, self._looking)

    @asynccontextmanager
    async def _looking(self, _: Any) -> AsyncIterator[None]:
        await self._database.pool.open()
        tasks = [asyncio.create_task(task) for task in (self._readiness.run(), self._read_metrics())]
        try:
            yield
        finally:
            for task in tasks:
                task.cancel()
            with suppress(asyncio.CancelledError):
                await asyncio.gather(*tasks)
            await self._database.close()

    async def _read_metrics(self) -> None:
        """Once there is a catalog to be read."""
        await self._health.started.wait()
        await asyncio.gather(self._database_metrics.run(), self._recall_sampling.run())
