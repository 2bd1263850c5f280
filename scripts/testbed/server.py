"""The real `pgs3vectors serve` as a child process, which may be ended in any way and started again on its port."""

import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Self

from app.parent_death import die_with_parent
from app.settings import variable
from scripts.testbed.api import HOST, REGION, Api, ApiError, RootCredentials
from scripts.testbed.errors import ScriptError
from scripts.testbed.ports import free_port
from scripts.testbed.processes import Process, workers_of

ROOT = Path(__file__).parents[2]
START_SECONDS = 120
END_SECONDS = 60
LAST_WORDS = 10


class ServerError(ScriptError):
    """`pgs3vectors serve` did not do what its user needs."""


@contextmanager
def open_folder() -> Iterator[Path]:
    """PostgreSQL does not run as root: the user it runs as must get through."""
    with tempfile.TemporaryDirectory(prefix="pgs3vectors-") as folder:
        Path(folder).chmod(0o711)
        yield Path(folder)


class Server:
    """Start it from a thread that lives as long as it does, since on Linux it ends with that thread."""

    def __init__(
        self,
        folder: Path,
        database_url: str,
        credentials: RootCredentials,
        settings: Mapping[str, str],
        *,
        environment: Mapping[str, str] | None = None,
    ) -> None:
        self.port = free_port()
        self.api = Api(self.port, credentials)
        self.data_dir = folder / f"server-{self.port}"
        self.log = folder / f"server-{self.port}.log"
        where = {"DATA_DIR": str(self.data_dir), "HOST": HOST, "PORT": str(self.port), "REGION": REGION}
        self.settings = {**credentials.settings, **settings, "DATABASE_URL": database_url, **where}
        self._environment = dict(environment or {})
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def process(self) -> Process:
        return Process(self.popen.pid)

    @property
    def popen(self) -> subprocess.Popen[bytes]:
        if self._process is None:
            raise ServerError("The server was not started.")
        return self._process

    @property
    def workers(self) -> list[Process]:
        return workers_of(self.popen.pid)

    @property
    def last_words(self) -> list[str]:
        return self.log.read_text(errors="replace").splitlines()[-LAST_WORDS:] if self.log.exists() else []

    def start(self) -> None:
        self.spawn()
        self.wait_until_it_answers()

    def spawn(self) -> None:
        """What it prints comes behind what it has printed before."""
        with self.log.open("ab") as output:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "app.cli", "serve"],
                env=environment(self.settings) | self._environment,
                cwd=ROOT,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,  # control-C is for whoever started it, who then ends the server
                preexec_fn=partial(  # noqa: PLW1509 - no lock is taken in it
                    die_with_parent, os.getpid(), signal.SIGTERM
                ),
            )

    def command(self, *arguments: str) -> str:
        """What `pgs3vectors` prints with the settings of this server."""
        done = subprocess.run(  # noqa: S603 - our own command
            [sys.executable, "-m", "app.cli", *arguments],
            env=environment(self.settings),
            cwd=ROOT,
            capture_output=True,
            text=True,
            check=False,
        )
        if done.returncode:
            raise ServerError(f"pgs3vectors {arguments[0]} failed: {done.stderr.strip()[-500:]}")
        return done.stdout

    def wait_until_it_answers(self) -> None:
        deadline = time.monotonic() + START_SECONDS
        while self.popen.poll() is None and time.monotonic() < deadline:
            try:
                self.api.call("ListVectorBuckets")
            except ConnectionRefusedError:
                time.sleep(0.1)
            except ApiError as error:
                if not isinstance(error.__cause__, ConnectionError):  # it looks first whether its port is free
                    raise ServerError(f"The server does not answer as it should: {error}") from error
            else:
                return
        raise ServerError(f"The server did not start: {(self.last_words or ['it printed nothing'])[-1]}")

    def end(self) -> None:
        """As an operator would; what does not end in time is killed."""
        if self._process is None:
            return
        self._process.terminate()
        try:
            self._process.wait(END_SECONDS)
        except subprocess.TimeoutExpired:
            self.kill()

    def kill(self) -> None:
        """With its workers, at once."""
        os.killpg(self.popen.pid, signal.SIGKILL)
        self.popen.wait()

    def __enter__(self) -> Self:
        try:
            self.start()
        except BaseException:
            self.end()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self.end()


def environment(settings: Mapping[str, str]) -> dict[str, str]:
    """Without the developer's own settings; empty ones count as absent."""
    inherited = {name: value for name, value in os.environ.items() if not name.startswith(variable(""))}
    given = {"OPERATOR_PORT": "off", **settings}
    return inherited | {"PYTHONPATH": str(ROOT)} | {variable(name): value for name, value in given.items()}
