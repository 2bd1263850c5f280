"""What is broken: a PostgreSQL of our own, and servers on it."""

import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import psycopg
from msgspec import Struct

from app.access_keys import new_secret
from app.envelope import new_key
from scripts.fault_injection.cluster import TOGETHER, Cluster, Storage, created
from scripts.fault_injection.load import create_index
from scripts.testbed.api import Api, RootCredentials
from scripts.testbed.server import Server

POLL_SECONDS = 0.05


class Deployment(Struct, frozen=True):
    folder: Path
    cluster: Cluster
    credentials: RootCredentials
    settings: Mapping[str, str]
    server: Server

    @property
    def api(self) -> Api:
        return self.server.api

    def table(self, index: str) -> str:
        with self.cluster.connect() as connection:
            row = connection.execute(
                "SELECT id FROM s3_vectors.vector_indexes WHERE index_name = %s AND deletion_time IS NULL", [index]
            ).fetchone()
        return f"vectors.index_{row[0]}" if row else ""

    @contextmanager
    def locked(self, index: str) -> Iterator[psycopg.Connection]:
        """Against everybody: what needs the table waits."""
        with psycopg.connect(self.cluster.url()) as connection:
            connection.execute(f"LOCK TABLE {self.table(index)} IN ACCESS EXCLUSIVE MODE".encode())
            yield connection

    def waiting(self) -> int:
        """How many backends wait for a lock."""
        with self.cluster.connect() as connection:
            row = connection.execute("SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock'").fetchone()
        return row[0] if row else 0

    def others(self) -> int:
        """How many connections others have to the database."""
        with self.cluster.connect() as connection:
            row = connection.execute(
                "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()"
            ).fetchone()
        return row[0] if row else 0

    def another_server(self, cluster: Cluster | None = None) -> Server:
        """With the same keys, not started; on the same cluster or a copy of it."""
        return Server(self.folder, (cluster or self.cluster).url(), self.credentials, self.settings)


@contextmanager
def deployed(  # noqa: PLR0913 - each experiment breaks another part of it
    folder: Path,
    settings: Mapping[str, str] | None = None,
    *,
    postgres: Mapping[str, str] | None = None,
    storage: Storage = TOGETHER,
    database_url: Callable[[Cluster], str] = Cluster.url,
    environment: Mapping[str, str] | None = None,
) -> Iterator[Deployment]:
    """With an empty index of batches; `database_url` leads the server past something, to the same cluster."""
    credentials = RootCredentials("FAULTSROOT", new_secret(), new_key())
    given = {"LOG_LEVEL": "warning", "LOG_FORMAT": "json", **(settings or {})}
    with created(folder / "postgres", postgres, storage) as cluster:
        server = Server(folder, database_url(cluster), credentials, given, environment=environment)
        with server:
            create_index(server.api)
            yield Deployment(folder, cluster, credentials, given, server)


def until(reached: Callable[[], bool], within: float) -> bool:
    """Whether it came to that in time."""
    deadline = time.monotonic() + within
    while not reached():
        if time.monotonic() > deadline:
            return False
        time.sleep(POLL_SECONDS)
    return True
