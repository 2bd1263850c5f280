"""The real command `pgs3vectors serve` as a child process of a test."""

import os
import queue
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from threading import Thread
from typing import IO

from scripts.testbed.ports import free_port

ROOT = Path(__file__).parents[1]
START_SECONDS = 180  # on a machine that is busy otherwise


class ServerProcess:
    def __init__(self, *options: str, **settings: str) -> None:
        self.port = free_port()
        self.endpoint = f"http://127.0.0.1:{self.port}"
        self.process = subprocess.Popen(  # noqa: S603 - our own command
            [sys.executable, "-m", "app.cli", "serve", *options],
            env=environment(**{"PORT": str(self.port), "OPERATOR_PORT": "off", **settings}),
            cwd=ROOT,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        assert self.process.stdout
        self.lines = following(self.process.stdout)

    def wait_until_ready(self) -> str:
        """All that was printed until then."""
        return "".join(until(self.lines, "Try: "))

    def rest(self) -> str:
        """All that is printed until the end."""
        return "".join(iter(lambda: self.lines.get(timeout=START_SECONDS), ""))

    def terminate(self, by: signal.Signals = signal.SIGTERM) -> int:
        self.process.send_signal(by)
        return self.process.wait(60)


@contextmanager
def running(*options: str, **settings: str) -> Iterator[ServerProcess]:
    server = ServerProcess(*options, **settings)
    try:
        yield server
    finally:
        server.terminate()
        assert server.process.stdout
        server.process.stdout.close()


def environment(**settings: str) -> dict[str, str]:
    """Ours without the developer's own settings."""
    inherited = {name: value for name, value in os.environ.items() if not name.startswith("PGS3VECTORS_")}
    return inherited | {"PYTHONPATH": str(ROOT)} | {f"PGS3VECTORS_{name}": value for name, value in settings.items()}


def following(output: IO[str]) -> "queue.Queue[str]":
    """Read to the end by a thread, since a full pipe would stop the server; an empty line text is its end."""
    lines: queue.Queue[str] = queue.Queue()

    def read() -> None:
        for line in output:
            lines.put(line)
        lines.put("")

    Thread(target=read, daemon=True).start()
    return lines


def until(lines: "queue.Queue[str]", beginning: str) -> Iterator[str]:
    while True:
        line = lines.get(timeout=START_SECONDS)
        yield line
        if line.startswith(beginning) or not line:
            return
