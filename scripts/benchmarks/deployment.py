"""What is measured: PostgreSQL with production settings and the real `pgs3vectors serve`, gone when the run ends."""

import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import urlsplit

import psycopg
from msgspec import Struct
from psycopg import sql

from app.access_keys import new_secret
from app.database.embedded import EmbeddedPostgres
from app.envelope import new_key
from scripts.testbed.api import RootCredentials
from scripts.testbed.processes import Process, postgres_of
from scripts.testbed.server import Server


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
        with Server(self.folder, self.database_url, self.credentials, self.settings | settings) as server:
            yield server


@contextmanager
def deployed(folder: Path, database_url: str | None, workers: int | None) -> Iterator[Deployment]:
    with _new_database(database_url) if database_url else _own_postgres(folder) as url:
        credentials = RootCredentials("BENCHROOT", new_secret(), new_key())
        settings = {"WORKERS": str(workers)} if workers else {}
        with Server(folder, url, credentials, settings) as server:
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
