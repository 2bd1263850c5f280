"""Workers that die and servers that stop, as their clients see it."""

import os
import signal
import socket
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.cli.test_serve import children_of, status
from tests.server_process import ServerProcess, running

HEAD = b"POST /ListVectorBuckets HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\n"


@pytest.fixture
def server(data_dir: Path, own_database_url: str) -> Iterator[ServerProcess]:
    with running("--data-dir", str(data_dir), "--workers", "2", DATABASE_URL=own_database_url) as server:
        server.wait_until_ready()
        yield server


def workers_of(server: ServerProcess) -> set[int]:
    children = children_of(server.process.pid)
    return {child for child in children if "spawn_main" in command_of(child)}


def command_of(pid: int) -> str:
    """Nothing of one that has just ended."""
    try:
        return Path(f"/proc/{pid}/cmdline").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return ""


def two_workers(server: ServerProcess, but: set[int]) -> set[int]:
    while len(workers := workers_of(server) - but) < 2:
        time.sleep(0.05)
    return workers


def test_a_worker_that_dies_is_replaced_and_its_connections_wait(server: ServerProcess) -> None:
    first = two_workers(server, set())
    os.kill(min(first), signal.SIGKILL)
    assert [status(server.endpoint) for _ in range(30)] == [403] * 30
    assert len(two_workers(server, {min(first)})) == 2


def test_what_was_asked_before_the_end_is_answered(server: ServerProcess) -> None:
    two_workers(server, set())
    connections = [socket.create_connection(("127.0.0.1", server.port), timeout=60) for _ in range(8)]
    for connection in connections:
        connection.sendall(HEAD)
    server.process.send_signal(signal.SIGTERM)
    for connection in connections:
        connection.sendall(b"\r\n{}")
        assert connection.recv(12) == b"HTTP/1.1 403"
        connection.close()
    assert server.process.wait(60) == 0
