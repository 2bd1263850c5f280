"""`pgs3vectors serve`: the database, then the HTTP workers; both end with this process."""

import multiprocessing
import os
import signal
import socket
import sys
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from threading import Event, Thread
from typing import Annotated

import psycopg
import structlog
from cyclopts import Parameter
from granian import Granian
from granian.constants import Interfaces
from granian.log import LogLevels
from msgspec import structs

from app.cli.announcement import announce
from app.credentials import root_credentials
from app.database.embedded import EmbeddedPostgres
from app.database.embedded_binaries import EmbeddedError
from app.database.floors import check_versions
from app.database.migrations import migrate
from app.logs import configure_logs, granian_logs
from app.settings import Settings, variable

DRAIN_SECONDS = 30
HANDED_DOWN = ("database_url", "data_dir", "root_access_key_id", "root_secret_access_key")

log = structlog.get_logger()


class PortTaken(Exception):
    """Said before anything is started, since granian would share the port with the other server."""


def serve(
    *,
    host: str | None = None,
    port: int | None = None,
    data_dir: Path | None = None,
    workers: int | None = None,
) -> None:
    """Serve the API, with a PostgreSQL of its own unless PGS3VECTORS_DATABASE_URL names one.

    Options override the environment variables of the same name.
    """
    options = {"host": host, "port": port, "data_dir": data_dir, "workers": workers}
    given = {variable(name): str(value) for name, value in options.items() if value is not None}
    settings = Settings.from_environment(os.environ | given)
    configure_logs(settings)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))  # until granian has its own handler
    check_port(settings)
    with database(settings) as url:
        prepare(url)
        credentials = root_credentials(settings)
