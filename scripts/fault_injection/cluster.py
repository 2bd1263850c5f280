"""A PostgreSQL cluster on a port of 127.0.0.1, which may be killed, frozen, copied and started again."""

import fcntl
import os
import secrets
import signal
import subprocess
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, Self

import psycopg
from msgspec import Struct

from app.database.embedded import initdb
from app.database.embedded_binaries import binaries
from app.database.embedded_process import end, last_words, spawn
from app.unprivileged import unprivileged_user
from scripts.testbed.api import HOST
from scripts.testbed.errors import ScriptError
from scripts.testbed.ports import free_port
from scripts.testbed.processes import Process

SUPERUSER = DATABASE = "pgs3vectors"
START_SECONDS = 60
END_SECONDS = 30
POLL_SECONDS = 0.02

# Small, so that many clusters fit one machine; nothing of it touches durability.
SMALL = {
    "shared_buffers": "64MB",
    "maintenance_work_mem": "64MB",
    "max_connections": "60",
    "jit": "off",
    "min_wal_size": "32MB",
    "max_wal_size": "128MB",
}


class ClusterError(ScriptError):
    """PostgreSQL did not do what an experiment needs."""


class Storage(Struct, frozen=True):
    """Where the cluster keeps what, if not beside its log."""

    data: Path | None = None
    wal: Path | None = None


TOGETHER = Storage()


class Cluster:
    def __init__(self, folder: Path, settings: Mapping[str, str] | None = None, storage: Storage = TOGETHER) -> None:
        self.folder = folder
        self.data = (storage.data or folder) / "pgdata"
        self.wal = storage.wal and storage.wal / "pg_wal"
        self.log = folder / "postgres.log"
        self.port = free_port()
        self.settings = {**SMALL, **(settings or {})}
        self.password = secrets.token_urlsafe(16)
        folder.mkdir(parents=True, exist_ok=True, mode=0o711)
        self._user = unprivileged_user(self.data, folder)
        self.programs = binaries(folder.parent, self._user)
        self._process: subprocess.Popen[bytes] | None = None

    def url(self, port: int | None = None, database: str = DATABASE) -> str:
        return f"postgresql://{SUPERUSER}:{self.password}@{HOST}:{port or self.port}/{database}"

    def connect(self, database: str = DATABASE, **options: Any) -> psycopg.Connection:
        return psycopg.connect(self.url(database=database), autocommit=True, **options)

    def terminate_backends(self, pids: Sequence[int]) -> None:
        with self.connect() as connection:
            connection.execute("SELECT pg_terminate_backend(pid) FROM unnest(%s) AS pid", [pids])

    def kill_backends(self, pids: Sequence[int]) -> None:
        """As the out-of-memory killer does: PostgreSQL restarts itself."""
        for pid in pids:
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)

    def create(self) -> None:
        password = self.folder / "password"
        password.touch(mode=0o600)
        password.write_text(self.password)
        self.own(password, self.folder, self.data.parent, *([self.wal.parent] if self.wal else []))
        wal = [f"--waldir={self.wal}"] if self.wal else []
        self.run(*initdb(self.programs, self.data, password, SUPERUSER), *wal)
        self.start()
        with self.connect("postgres") as connection:
            connection.execute(f"CREATE DATABASE {DATABASE}".encode())

    def copy(self, other: "Cluster", *options: str) -> None:
        """Make it by a base backup of another that runs."""
        self.password = other.password
        self.own(self.folder, self.data.parent)
        self.run("pg_basebackup", *other.where, f"--pgdata={self.data}", "--checkpoint=fast", *options)

    def dump(self, other: "Cluster", file: Path) -> None:
        """Of another."""
        self.run("pg_dump", *other.where, "--format=custom", f"--file={file}", DATABASE, PGPASSWORD=other.password)

    def restore(self, file: Path) -> None:
        self.run("pg_restore", *self.where, f"--dbname={DATABASE}", "--exit-on-error", file)

    def own(self, *paths: Path) -> None:
        """PostgreSQL refuses to run as root; what it needs is handed to the user as whom it runs."""
        for path in paths:
            if self._user:
                os.chown(path, self._user.uid, self._user.gid)

    def start(self) -> None:
        """Returns when it takes connections, as a standby too."""
        where = {"port": str(self.port), "listen_addresses": HOST, "unix_socket_directories": ""}
        options = [part for name, value in (self.settings | where).items() for part in ("-c", f"{name}={value}")]
        self._process = self._spawn(self.programs / "postgres", "-D", self.data, *options)
        deadline = time.monotonic() + START_SECONDS
        while not self.answers():
            if self._process.poll() is not None or time.monotonic() > deadline:
                raise ClusterError(f"PostgreSQL did not start: {last_words(self.log)}")
            time.sleep(POLL_SECONDS)

    def answers(self) -> bool:
        try:
            self.connect("postgres", connect_timeout=2).close()
        except psycopg.OperationalError:
            return False
        return True

    def run(self, program: str | Path, *arguments: str | Path, **environment: str) -> None:
        """One of PostgreSQL's own programs, to its end."""
        done = subprocess.run(  # noqa: S603 - the commands are ours
            [self.programs / program, *arguments],
            cwd=self.folder,
            env=os.environ | {"PGPASSWORD": self.password, "LC_ALL": "C"} | environment,
            capture_output=True,
            text=True,
            check=False,
            user=self._user.uid if self._user else None,
            group=self._user.gid if self._user else None,
            extra_groups=[] if self._user else None,
        )
        if done.returncode:
            raise ClusterError(f"{Path(program).name} failed: {done.stderr[-500:]}")

    def set(self, **settings: str) -> None:
        """For all sessions from now on."""
        with self.connect() as connection:
            for name, value in settings.items():
                connection.execute(f"ALTER SYSTEM SET {name} = '{value}'".encode())
            connection.execute("SELECT pg_reload_conf()")

    @property
    def where(self) -> list[str]:
        """Options that lead PostgreSQL's programs here."""
        return ["--host", HOST, "--port", str(self.port), "--username", SUPERUSER]

    @property
    def processes(self) -> list[Process]:
        """The postmaster first."""
        if self._process is None or self._process.poll() is not None:
            return []
        postmaster = Process(self._process.pid)
        return [postmaster, *postmaster.children(recursive=True)]

    def wait(self, within: float) -> int | None:
        """The postmaster's exit code; None while it runs."""
        if self._process is None:
            return 0
        try:
            return self._process.wait(within)
        except subprocess.TimeoutExpired:
            return None

    def kill(self) -> None:
        """As kill -9 of the postmaster does; its children end when they notice."""
        self._end(signal.SIGKILL)

    def stop_immediately(self) -> None:
        self._end(signal.SIGQUIT)

    def stop(self) -> None:
        if self._process is not None:
            end(self._process)
            self._wait_for_children()
        self._process = None

    def close(self) -> None:
        if self.wait(0) is None:
            self._end(signal.SIGQUIT)

    def freeze(self) -> None:
        """The postmaster first, so that nobody is born meanwhile."""
        for process in self.processes:
            process.suspend()

    def thaw(self) -> None:
        for process in reversed(self.processes):
            process.resume()

    def kill_frozen(self) -> None:
        for process in self.processes:
            process.kill()
        self.wait(END_SECONDS)
        self._wait_for_children()

    def _end(self, by: signal.Signals) -> None:
        assert self._process is not None  # noqa: S101 - it was started
        self._process.send_signal(by)
        self._process.wait(END_SECONDS)
        self._wait_for_children()

    def _wait_for_children(self) -> None:
        """No new postmaster starts beside them."""
        deadline = time.monotonic() + END_SECONDS
        while time.monotonic() < deadline:
            with suppress(BlockingIOError), self._locked():
                return
            time.sleep(POLL_SECONDS)
        raise ClusterError("A process of PostgreSQL did not end.")

    @contextmanager
    def _locked(self) -> Iterator[int]:
        """All processes of the cluster inherit the lock, so that it is free when the last of them has ended."""
        with (self.folder / "lock").open("ab") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            yield lock.fileno()

    def _spawn(self, *command: str | Path) -> subprocess.Popen[bytes]:
        with self._locked() as lock:
            return spawn(list(command), signal.SIGINT, user=self._user, log_file=self.log, lock=lock)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


@contextmanager
def created(folder: Path, settings: Mapping[str, str] | None = None, storage: Storage = TOGETHER) -> Iterator[Cluster]:
    with Cluster(folder, settings, storage) as cluster:
        cluster.create()
        yield cluster
