"""What is measured: PostgreSQL with production settings and the real `pgs3vectors serve`, gone when the run ends."""

import os
import secrets
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from urllib.parse import urlsplit

import psycopg
from msgspec import Struct
from psycopg import sql

from app.access_keys import new_secret
from app.database.embedded import EmbeddedPostgres
from app.envelope import new_key
from app.parent_death import die_with_parent
from app.settings import variable
from scripts.benchmarks.api import HOST, REGION, Api, ApiError, RootCredentials
from scripts.benchmarks.errors import BenchError
from scripts.benchmarks.processes import Process, postgres_of, workers_of

ROOT = Path(__file__).parents[2]
START_SECONDS = 120
END_SECONDS = 60
LAST_WORDS = 10


class ServerError(BenchError):
    """`pgs3vectors serve` did not do what the benchmark needs."""


class Server(Struct, frozen=True):
    api: Api
    process: Process
    log: Path

    @property
    def workers(self) -> list[Process]:
        return workers_of(self.process.pid)

    @property
    def last_words(self) -> list[str]:
        return self.log.read_text(errors="replace").splitlines()[-LAST_WORDS:]


class Deployment(Struct, frozen=True):
    """One database, on which further servers may run beside the first."""

    folder: Path
    database_url: str
    credentials: RootCredentials
    settings: dict[str, str]
    server: Server

    def connect(self) -> psycopg.Connection:
        """As an expert would: without the compiler, which costs more than any search."""
        return psycopg.connect(self.database_url, autocommit=True, options="-c jit=off")

    @property
    def postgres(self) -> list[Process]:
        with self.connect() as connection:
            return postgres_of(connection.info.backend_pid)

    @contextmanager
    def another_server(self, **settings: str) -> Iterator[Server]:
        """With other settings."""
        with _served(self.folder, self.database_url, self.credentials, self.settings | settings) as server:
            yield server


@contextmanager
def open_folder() -> Iterator[Path]:
    """PostgreSQL does not run as root: the user it runs as must get through."""
    with tempfile.TemporaryDirectory(prefix="pgs3vectors-bench-") as folder:
        Path(folder).chmod(0o711)
        yield Path(folder)


@contextmanager
def deployed(folder: Path, database_url: str | None, workers: int | None) -> Iterator[Deployment]:
    with _new_database(database_url) if database_url else _own_postgres(folder) as url:
        credentials = RootCredentials("BENCHROOT", new_secret(), new_key())
        settings = {"WORKERS": str(workers)} if workers else {}
        with _served(folder, url, credentials, settings) as server:
            yield Deployment(folder, url, credentials, settings, server)


@contextmanager
def _own_postgres(folder: Path) -> Iterator[str]:
    with EmbeddedPostgres(folder / "postgres") as postgres:
        yield postgres.url


@contextmanager
def _new_database(url: str) -> Iterator[str]:
    """Of its own in a PostgreSQL that belongs to others, and dropped at the end."""
    name = f"pgs3vectors_bench_{secrets.token_hex(4)}"
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute(sql.SQL("CREATE DATABASE {}").format(sql.Identifier(name)))
        try:
            yield urlsplit(url)._replace(path=f"/{name}").geturl()
        finally:
            connection.execute(sql.SQL("DROP DATABASE {} WITH (FORCE)").format(sql.Identifier(name)))


@contextmanager
def _served(
    folder: Path, database_url: str, credentials: RootCredentials, settings: dict[str, str]
) -> Iterator[Server]:
    port = _free_port()
    data_dir = folder / f"server-{port}"
    given = {**credentials.settings, "OPERATOR_PORT": "off", **settings}
    given |= {"DATABASE_URL": database_url, "DATA_DIR": str(data_dir), "HOST": HOST, "PORT": str(port)}
    log = folder / f"server-{port}.log"
    with log.open("wb") as output:
        process = subprocess.Popen(
            [sys.executable, "-m", "app.cli", "serve"],
            env=_environment(given | {"REGION": REGION}),
            cwd=ROOT,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,  # control-C is for the benchmark, which then ends the server
            preexec_fn=partial(die_with_parent, os.getpid(), signal.SIGTERM),  # noqa: PLW1509 - no lock is taken in it
        )
    try:
        api = Api(port, credentials)
        _wait_until_it_answers(api, process, log)
        yield Server(api, Process(process.pid), log)
    finally:
        _end(process)


def _environment(settings: dict[str, str]) -> dict[str, str]:
    """Without the developer's own settings."""
    inherited = {name: value for name, value in os.environ.items() if not name.startswith(variable(""))}
    return inherited | {"PYTHONPATH": str(ROOT)} | {variable(name): value for name, value in settings.items()}


def _wait_until_it_answers(api: Api, process: subprocess.Popen[bytes], log: Path) -> None:
    deadline = time.monotonic() + START_SECONDS
    while process.poll() is None and time.monotonic() < deadline:
        try:
            api.call("ListVectorBuckets")
        except ConnectionRefusedError:
            time.sleep(0.1)
        except ApiError as error:
            raise ServerError(f"The server does not answer as it should: {error}") from error
        else:
            return
    lines = log.read_text(errors="replace").splitlines() or ["it printed nothing"]
    raise ServerError(f"The server did not start: {lines[-1]}")


def _end(process: subprocess.Popen[bytes]) -> None:
    process.terminate()
    try:
        process.wait(END_SECONDS)
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def _free_port() -> int:
    with socket.socket() as listener:
        listener.bind((HOST, 0))
        return int(listener.getsockname()[1])
