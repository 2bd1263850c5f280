"""`pgs3vectors serve`: the database, then the HTTP workers; both end with this process."""

import asyncio
import multiprocessing
import os
import signal
import socket
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from threading import Event, Thread

import structlog
from granian.constants import Interfaces
from granian.log import LogLevels
from granian.server import MPServer as Granian  # what granian.Granian is where Python has a GIL

from app.cli.announcement import announce_when_ready
from app.cli.connection import catalog_at, prepare_database
from app.credentials import Credentials, credentials_file, root_credentials
from app.database.embedded import EmbeddedPostgres
from app.database.embedded_binaries import EmbeddedError
from app.logs import configure_logs, granian_logs
from app.settings import InvalidSetting, Settings, variable
from app.worker import load_application

DRAIN_SECONDS = 30

log = structlog.get_logger()


class PortTaken(Exception):
    """Said before anything starts, since granian would share the port with the other server without a word."""


def serve(
    *, host: str | None = None, port: int | None = None, data_dir: Path | None = None, workers: int | None = None
) -> None:
    """Serve the API, with a PostgreSQL of its own unless PGS3VECTORS_DATABASE_URL names one.

    Options override the environment variables PGS3VECTORS_HOST, _PORT, _DATA_DIR and _WORKERS.
    """
    export(host=host, port=port, data_dir=data_dir, workers=workers)
    settings = Settings.from_environment(os.environ)
    configure_logs(settings)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))  # until granian has its own
    address = free_address(settings)
    with database(settings) as url:
        prepare_database(url)
        asyncio.run(prepare_catalog(url, settings))
        created = prepare_credentials(settings)
        export(database_url=url, data_dir=settings.data_dir)
        announce_when_ready(settings, address, created)
        http_server(settings, address).serve(target_loader=load_application, wrap_loader=False)


def export(**values: object) -> None:
    """Workers are processes of their own and read their settings from the environment."""
    os.environ.update({variable(name): str(value) for name, value in values.items() if value is not None})


def free_address(settings: Settings) -> str:
    try:
        family, *_, address = socket.getaddrinfo(settings.host, settings.port, type=socket.SOCK_STREAM)[0]
        socket.create_server(address[:2], family=family).close()
    except socket.gaierror:
        raise InvalidSetting(f"{variable('host')} must be an address to listen on.") from None
    except OSError as error:
        raise PortTaken(
            f"Cannot listen on {settings.host} port {settings.port}: {os.strerror(error.errno or 0)}."
        ) from None
    return str(address[0])


@contextmanager
def database(settings: Settings) -> Iterator[str]:
    if settings.database_url is not None:
        yield settings.database_url
        return
    with EmbeddedPostgres(settings.data_dir) as postgres:
        stopping = Event()
        Thread(target=stop_without, args=(postgres, stopping), daemon=True).start()
        try:
            yield postgres.url
        finally:
            died = stopping.is_set()
            stopping.set()
    if died:
        raise EmbeddedError(f"PostgreSQL ended by itself; its log is {postgres.log_file}.")


def stop_without(postgres: EmbeddedPostgres, stopping: Event) -> None:
    """Without its database the server had better end, so that whoever supervises it starts both again."""
    postgres.wait()
    if not stopping.is_set():
        stopping.set()
        os.kill(os.getpid(), signal.SIGTERM)


async def prepare_catalog(url: str, settings: Settings) -> None:
    """Whatever its keys cannot open is told here, before anybody is served."""
    async with catalog_at(url, settings):
        pass


def prepare_credentials(settings: Settings) -> Credentials | None:
    """They are returned only when they were made now."""
    known = bool(settings.root_access_key_id) or credentials_file(settings).exists()
    credentials = root_credentials(settings)
    export(root_access_key_id=credentials.access_key_id, root_secret_access_key=credentials.secret_access_key)
    return None if known else credentials


def http_server(settings: Settings, address: str) -> Granian:
    multiprocessing.set_start_method("spawn", force=True)  # a fork would inherit PostgreSQL's lock files
    return Granian(
        target="app.main:application",
        interface=Interfaces.ASGI,
        address=address,
        port=settings.port,
        workers=settings.workers,
        workers_kill_timeout=DRAIN_SECONDS,
        respawn_failed_workers=True,
        websockets=False,
        log_level=LogLevels.warning,
        log_dictconfig=granian_logs(settings.log_format),
    )
