"""The real server with its operator's port."""

import json
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from scripts.testbed.ports import free_port
from tests.identities import client
from tests.monitoring.figures import Figures, scraped
from tests.server_process import ServerProcess, running


class OperatedServer:
    def __init__(self, process: ServerProcess, port: int) -> None:
        self.process = process
        self.url = f"http://127.0.0.1:{port}"

    @property
    def client(self) -> Any:
        """The root user's."""
        return client(self.process.endpoint, **ROOT)

    @property
    def figures(self) -> Figures:
        return scraped(self.url)

    def ask(self, path: str) -> tuple[int, Any]:
        try:
            with urllib.request.urlopen(self.url + path, timeout=10) as answer:  # noqa: S310 - our own server
                return answer.status, json.load(answer)
        except urllib.error.HTTPError as error:
            with error:
                return error.code, json.load(error)

    def wait_until(self, path: str, expected: int) -> Any:
        """Of a server that has said that it is there."""
        while (answer := self.ask(path))[0] != expected:
            time.sleep(0.05)
        return answer[1]

    def wait_for(self, name: str) -> Figures:
        """A scrape that has it: what the database holds is read once the server is ready."""
        while not (figures := self.figures).has(name):
            time.sleep(0.05)
        return figures


ROOT = {"aws_access_key_id": "AKIAIOSFODNN7EXAMPLE", "aws_secret_access_key": "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLE"}


@contextmanager
def operated(data_dir: Path, database_url: str, **settings: str) -> Iterator[OperatedServer]:
    port = free_port()
    settings |= {
        "DATABASE_URL": database_url,
        "OPERATOR_PORT": str(port),
        "ROOT_ACCESS_KEY_ID": ROOT["aws_access_key_id"],
        "ROOT_SECRET_ACCESS_KEY": ROOT["aws_secret_access_key"],
    }
    with running("--data-dir", str(data_dir), "--workers", "2", **settings) as process:
        assert f"Health and metrics: http://127.0.0.1:{port}/readyz" in process.wait_until_ready()
        yield OperatedServer(process, port)
