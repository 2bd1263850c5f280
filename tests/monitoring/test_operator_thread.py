"""The operator's port of the real server."""

import errno
import json
import os
import signal
import socket
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from app import background
from app.monitoring.operator_thread import OperatorThread
from app.settings import Settings
from tests.cli.test_serve import only_line, status
from tests.cli.test_workers import two_workers
from tests.monitoring.operated_server import OperatedServer, operated
from tests.monitoring.test_health import Fleet
from tests.server_process import running


@pytest.fixture
def server(data_dir: Path, own_database_url: str) -> Iterator[OperatedServer]:
    with operated(data_dir, own_database_url) as server:
        yield server


def test_a_server_says_that_it_is_ready_and_when_it_drains_before_it_stops(
    data_dir: Path, own_database_url: str
) -> None:
    checks = ("database", "migrations", "extension", "key_encryption_key", "workers", "shutdown")
    well = dict.fromkeys(checks, "ok")
    with operated(data_dir, own_database_url, DRAIN_DELAY_SECONDS="3600") as server:
        assert server.wait_until("/readyz", 200) == {"ready": True, "checks": well}
        assert server.ask("/startupz") == (200, {"started": True})
        assert server.ask("/livez") == (200, {"alive": True})
        server.process.process.send_signal(signal.SIGTERM)
        assert server.wait_until("/readyz", 503) == {"ready": False, "checks": well | {"shutdown": "draining"}}
        assert server.ask("/livez") == (200, {"alive": True})
        assert server.ask("/startupz") == (200, {"started": True})
        assert status(server.process.endpoint) == 403  # clients are served as before
        assert server.process.terminate() == 0  # at once, by another signal


def test_a_worker_that_dies_and_is_replaced_leaves_the_server_ready(server: OperatedServer) -> None:
    server.wait_until("/readyz", 200)
    first = two_workers(server.process, set())
    os.kill(min(first), signal.SIGKILL)
    while len(two_workers(server.process, {min(first)})) < 2:
        assert server.ask("/readyz")[0] == 200
    assert server.ask("/readyz")[0] == 200


def test_what_the_port_does_not_have_is_not_found_and_needs_no_signature(server: OperatedServer) -> None:
    assert server.ask("/ListVectorBuckets")[0] == 404
    assert server.ask("/../readyz")[0] == 404


def test_the_port_of_the_operator_may_be_off(data_dir: Path, own_database_url: str) -> None:
    with running("--data-dir", str(data_dir), DATABASE_URL=own_database_url, OPERATOR_PORT="off") as process:
        assert "Health" not in process.wait_until_ready()
        connections = psutil.Process(process.process.pid).net_connections()
        assert {c.laddr.port for c in connections if c.status == psutil.CONN_LISTEN} == {process.port}


def test_a_taken_port_of_the_operator_is_told_before_anything_starts(data_dir: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        expected = f"pgs3vectors: Cannot listen on 127.0.0.1 port {port}: Address already in use.\n"
        assert only_line(OPERATOR_PORT=port, DATA_DIR=str(data_dir)) == expected
    assert not data_dir.exists()


class ScarceSocket(socket.socket):
    """Of a process that has no file descriptor left, once."""

    attempts = 0

    def dup(self) -> "ScarceSocket":
        self.attempts += 1
        if self.attempts == 1:
            raise OSError(errno.EMFILE, os.strerror(errno.EMFILE))
        return super().dup()


def test_a_port_that_could_not_be_served_is_served_later(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(background, "FIRST_PAUSE_SECONDS", 0)
    operator = OperatorThread(Settings(), "postgresql://nobody@127.0.0.1:1/nothing", Fleet(), tmp_path)
    listener = ScarceSocket()
    listener.bind(("127.0.0.1", 0))
    listener.listen()
    url = f"http://127.0.0.1:{listener.getsockname()[1]}/livez"
    with operator.serving(listener), urllib.request.urlopen(url, timeout=60) as answer:
        assert json.load(answer) == {"alive": True}
    assert listener.attempts == 2
    with pytest.raises(urllib.error.URLError, match="Connection refused"):
        urllib.request.urlopen(url, timeout=60)
