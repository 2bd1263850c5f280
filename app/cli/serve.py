"""`pgs3vectors serve`: the database, then the HTTP workers; both end with this process."""

import asyncio
import os
import signal
import socket
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from threading import Event, Thread

import structlog

from app.cli.announcement import announce_when_ready
from app.cli.connection import catalog_at, prepare_database
from app.cli.workers import Workers
from app.credentials import Credentials, credentials_file, root_credentials
from app.database.embedded import EmbeddedPostgres
from app.database.embedded_binaries import EmbeddedError
from app.envelope import KeyEncryptionKeys
from app.logs import configure_logs
from app.monitoring.operator_thread import OperatorThread
from app.settings import InvalidSetting, Settings, variable
from app.shared_folder import shared_folder
from app.tracing import check_installed

log = structlog.get_logger()

KEEPALIVE = {socket.TCP_KEEPIDLE: 30, socket.TCP_KEEPINTVL: 10, socket.TCP_KEEPCNT: 3}


class PortTaken(Exception):
    """Said before anything starts."""


def serve(
    *, host: str | None = None, port: int | None = None, data_dir: Path | None = None, workers: int | None = None
) -> None:
    """Serve the API, with a PostgreSQL of its own unless PGS3VECTORS_DATABASE_URL names one.

    Options override the environment variables PGS3VECTORS_HOST, _PORT, _DATA_DIR and _WORKERS.
    """
    export(host=host, port=port, data_dir=data_dir, workers=workers)
    settings = Settings.from_environment(os.environ)
    check_installed(settings)
    configure_logs(settings)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))  # until the workers are supervised
    with listening(settings) as (listener, operators), shared_folder() as counted, database(settings) as url:
        processes = Workers(listener, settings.workers, settings.drain_delay_seconds, counted)
        operator = OperatorThread(settings, url, processes, counted)
        with operator.serving(operators):
            prepare_database(url)
            operator.give_keys(asyncio.run(prepare_catalog(url, settings)))
            created = prepare_credentials(settings)
            export(database_url=url, data_dir=settings.data_dir)
            announce_when_ready(settings, listener.getsockname()[0], created, lambda: processes.up[0] > 0)
            processes.supervise()


def export(**values: object) -> None:
    """Workers are processes of their own and read their settings from the environment."""
    os.environ.update({variable(name): str(value) for name, value in values.items() if value is not None})


@contextmanager
def listening(settings: Settings) -> Iterator[tuple[socket.socket, socket.socket | None]]:
    """A socket for the workers and one for the operator, bound but not yet open to connections."""
    with listener_at(settings.host, settings.port, "host") as listener:
        if settings.operator_address is None:
            yield listener, None
        else:
            with listener_at(*settings.operator_address, "operator_host") as operators:
                yield listener, operators


def listener_at(host: str, port: int, setting: str) -> socket.socket:
    try:
        family, *_, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        return bound(family, address)
    except socket.gaierror:
        raise InvalidSetting(f"{variable(setting)} must be an address to listen on.") from None
    except OSError as error:
        reason = os.strerror(error.errno or 0)
        raise PortTaken(f"Cannot listen on {host} port {port}: {reason}.") from None


def bound(family: int, address: tuple[object, ...]) -> socket.socket:
    listener = socket.socket(family)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    # Handed on to the connections that it accepts: a client that has vanished is noticed in a minute.
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    for option, value in KEEPALIVE.items():
        listener.setsockopt(socket.IPPROTO_TCP, option, value)
    if family == socket.AF_INET6:
        listener.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
    try:
        listener.bind(address)
    except OSError:
        listener.close()
        raise
    return listener


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


async def prepare_catalog(url: str, settings: Settings) -> KeyEncryptionKeys:
    """Whatever its keys cannot open is told here, before anybody is served."""
    async with catalog_at(url, settings) as catalog:
        return catalog.keys


def prepare_credentials(settings: Settings) -> Credentials | None:
    """They are returned only when they were made now."""
    known = bool(settings.root_access_key_id) or credentials_file(settings).exists()
    credentials = root_credentials(settings)
    export(root_access_key_id=credentials.access_key_id, root_secret_access_key=credentials.secret_access_key)
    return None if known else credentials
