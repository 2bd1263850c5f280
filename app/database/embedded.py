"""Our own PostgreSQL: created on first start, a direct child of this process, gone when this process is gone."""

import fcntl
import os
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path
from typing import IO, Any, Self
from urllib.parse import quote

import psycopg
import structlog

from app.database.embedded_binaries import EmbeddedError, binaries
from app.database.embedded_process import end, last_words, spawn
from app.database.embedded_tuning import tuned
from app.unprivileged import closed_folder, unprivileged_user

NAME = "pgs3vectors"  # of the superuser and of the database
LONGEST_SOCKET_PATH = 100  # the kernel takes 107 bytes, macOS 103
PROGRESS_SECONDS = 10

log = structlog.get_logger()


class EmbeddedPostgres:
    """Start it from a thread that lives as long as the server, since on Linux PostgreSQL stops with that thread."""

    def __init__(self, data_dir: Path, settings: dict[str, str] | None = None) -> None:
        self.data_dir = data_dir.absolute()
        self.cluster = self.data_dir / "pgdata"
        self.socket_dir = self.data_dir / "socket"
        self.password_file = self.data_dir / "postgres-password"
        self.log_file = self.data_dir / "postgres.log"
        self.settings = settings or {}
        self.port = 5432
        self._locks: list[IO[bytes]] = []
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        return self.url_of(NAME)

    def url_of(self, database: str) -> str:
        password = quote(self.password_file.read_text(), safe="")
        if self._socket_fits:
            host = quote(str(self.socket_dir), safe="")
            return f"postgresql://{NAME}:{password}@/{database}?host={host}&port={self.port}"
        return f"postgresql://{NAME}:{password}@127.0.0.1:{self.port}/{database}"

    def running_url(self) -> str | None:
        """Of the PostgreSQL that another process runs on this data directory; None where none is ready."""
        status = self._postmaster_status()
        if len(status) < 8 or status[7].strip() != "ready" or not self._is_locked():
            return None
        self.port = int(status[3])
        return self.url

    def _is_locked(self) -> bool:
        """A file that a killed PostgreSQL left behind says that it is ready; its lock went with it."""
        with (self.data_dir / "postgres.lock").open("ab") as file:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                return True
        return False

    @property
    def _socket_fits(self) -> bool:
        return len(os.fsencode(self.socket_dir / f".s.PGSQL.{self.port}")) <= LONGEST_SOCKET_PATH

    def start(self) -> None:
        try:
            self._start()
        except PermissionError as error:
            self.stop()
            raise EmbeddedError(f"No permission for {error.filename}: who owns {self.data_dir}?") from error
        except BaseException:
            self.stop()
            raise

    def _start(self) -> None:
        self._prepare_data_dir()
        self._lock("lock", self._fail_because_locked)
        self._running = self._lock("postgres.lock", self._wait_for_predecessor)
        self._bin = binaries(self.data_dir, self._user)
        if not self.cluster.exists():
            self._create_cluster()
        self._launch()
        self._wait_until_ready()
        self._create_database()

    def _prepare_data_dir(self) -> None:
        self.data_dir.mkdir(parents=True, exist_ok=True, mode=0o711)
        self._user = unprivileged_user(self.cluster, self.data_dir)
        if self._user and (folder := closed_folder(self.data_dir, self._user)):
            raise EmbeddedError(
                f"PostgreSQL refuses to run as root and would run as {self._user.name}, who may not enter {folder}; "
                "choose another --data-dir, for instance /var/lib/pgs3vectors."
            )

    def _lock(self, name: str, when_taken: Any) -> int:
        file = (self.data_dir / name).open("ab")
        self._locks.append(file)
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            when_taken(file)
        return file.fileno()

    def _fail_because_locked(self, _: IO[bytes]) -> None:
        raise EmbeddedError(
            f"Another pgs3vectors server runs on {self.data_dir}; stop it or choose another --data-dir."
        )

    def _wait_for_predecessor(self, file: IO[bytes]) -> None:
        """PostgreSQL and all its children inherit this lock, so it is free when the last of them is gone."""
        log.info("waiting for the previous PostgreSQL to finish", data_dir=str(self.data_dir))
        if sys.platform != "linux" and (status := self._postmaster_status()):
            with suppress(ProcessLookupError):  # elsewhere nothing told it that its launcher died
                os.kill(int(status[0]), signal.SIGINT)
        fcntl.flock(file, fcntl.LOCK_EX)

    def _create_cluster(self) -> None:
        """Renamed when complete, so that a cluster which exists is whole."""
        log.info("creating the database cluster", path=str(self.cluster))
        if not self.password_file.exists():
            self._write_password()
        new = self.cluster.with_suffix(".new")
        shutil.rmtree(new, ignore_errors=True)
        self._make_private(new)
        command = initdb(self._bin, new, self.password_file, NAME)
        command += ["--no-sync"] if self.settings.get("fsync") == "off" else []
        if self._spawn(command, signal.SIGKILL).wait() != 0:
            raise EmbeddedError(f"initdb failed: {last_words(self.log_file)}")
        new.rename(self.cluster)
        self._sync_data_dir()

    def _write_password(self) -> None:
        """Never seen half written: a cluster made with half a password could not be opened again."""
        new = self.password_file.with_suffix(".new")
        new.unlink(missing_ok=True)
        new.touch(mode=0o600)
        new.write_text(secrets.token_urlsafe(32))
        self._give_away(new)
        new.rename(self.password_file)

    def _make_private(self, folder: Path) -> None:
        folder.mkdir(mode=0o700, exist_ok=True)
        self._give_away(folder)

    def _give_away(self, path: Path) -> None:
        if self._user:
            os.chown(path, self._user.uid, self._user.gid)

    def _sync_data_dir(self) -> None:
        folder = os.open(self.data_dir, os.O_RDONLY)
        os.fsync(folder)
        os.close(folder)

    def _launch(self) -> None:
        if not self.password_file.exists():
            raise EmbeddedError(f"{self.password_file} is missing; put it back from your backup of {self.data_dir}.")
        self._make_private(self.socket_dir)
        if not self._socket_fits:
            self.port = free_port()
        where = {
            "port": str(self.port),
            "listen_addresses": "" if self._socket_fits else "127.0.0.1",
            "unix_socket_directories": str(self.socket_dir) if self._socket_fits else "",
        }
        settings = tuned() | self.settings | where
        options = [part for name, value in settings.items() for part in ("-c", f"{name}={value}")]
        self._process = self._spawn([self._bin / "postgres", "-D", self.cluster, *options], signal.SIGINT)

    def _spawn(self, command: list[str | Path], end_by: signal.Signals) -> subprocess.Popen[bytes]:
        return spawn(command, end_by, user=self._user, log_file=self.log_file, lock=self._running)

    def _wait_until_ready(self) -> None:
        """As long as it takes: recovery after a crash may take minutes, and giving up would only start it again."""
        assert self._process is not None  # noqa: S101
        next_report = time.monotonic() + PROGRESS_SECONDS
        while not self._is_ready():
            if self._process.poll() is not None:
                raise EmbeddedError(f"PostgreSQL did not start: {last_words(self.log_file)} (see {self.log_file})")
            if time.monotonic() > next_report:
                log.info("waiting for PostgreSQL", last_line=last_words(self.log_file))
                next_report += PROGRESS_SECONDS
            time.sleep(0.02)

    def _is_ready(self) -> bool:
        status = self._postmaster_status()
        return len(status) > 7 and status[0] == str(self.pid) and status[7].strip() == "ready"

    def _postmaster_status(self) -> list[str]:
        try:
            return (self.cluster / "postmaster.pid").read_text().splitlines()
        except FileNotFoundError:
            return []

    def _create_database(self) -> None:
        with psycopg.connect(self.url_of("postgres"), autocommit=True) as connection:
            if connection.execute("SELECT FROM pg_database WHERE datname = %s", [NAME]).fetchone() is None:
                connection.execute(f"CREATE DATABASE {NAME}")

    @property
    def pid(self) -> int | None:
        return self._process.pid if self._process else None

    def wait(self) -> int:
        """Returns when PostgreSQL has ended, whoever ended it."""
        return self._process.wait() if self._process else 0

    def stop(self) -> None:
        if self._process is not None:
            end(self._process)
        self._process = None
        while self._locks:
            self._locks.pop().close()

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()


def initdb(programs: Path, cluster: Path, password_file: Path, superuser: str) -> list[str | Path]:
    """The builtin provider sorts alike on every machine; the C library is only asked for what it always has."""
    command: list[str | Path] = [
        programs / "initdb",
        f"--pgdata={cluster}",
        f"--username={superuser}",
        f"--pwfile={password_file}",
    ]
    command += ["--auth=scram-sha-256", "--encoding=UTF8", "--data-checksums"]
    return [*command, "--locale-provider=builtin", "--builtin-locale=C.UTF-8", "--locale=C"]


def free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])
