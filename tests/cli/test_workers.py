"""Workers that die and servers that stop, as their clients see it."""

import http.client
import os
import signal
import socket
import time
from collections.abc import Iterator
from pathlib import Path
from threading import Thread
from typing import Any

import psutil
import pytest

from app.cli.serve import KEEPALIVE, bound
from tests.cli.test_serve import children_of, status
from tests.server_process import ServerProcess, running, until

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


def test_workers_that_die_together_are_begun_again_together(server: ServerProcess) -> None:
    """And not one after the other, each after a pause."""
    for pid in two_workers(server, set()):
        os.kill(pid, signal.SIGKILL)
    told: list[str] = []
    while len(told) < 4:
        *_, line = until(server.lines, "20")
        told += [event for event in ("worker_died", "worker_begun_again") if event in line]
    assert told == ["worker_died", "worker_died", "worker_begun_again", "worker_begun_again"]
    assert status(server.endpoint) == 403


def test_connections_are_divided_evenly(server: ServerProcess) -> None:
    """But for those that a worker was too busy to take at once."""
    workers = [psutil.Process(worker) for worker in two_workers(server, set())]
    connections = []
    for number in range(1, 17):
        connections.append(socket.create_connection(("127.0.0.1", server.port), timeout=60))
        until_accepted(server, number)
    divided = [len(connections_to(server.port, worker)) for worker in workers]
    for connection in connections:
        connection.close()
    assert sum(divided) == 16
    assert min(divided) >= 6


def test_what_was_asked_before_the_end_is_answered(server: ServerProcess) -> None:
    two_workers(server, set())
    connections = [socket.create_connection(("127.0.0.1", server.port), timeout=60) for _ in range(8)]
    for connection in connections:
        connection.sendall(HEAD)
    until_accepted(server, len(connections))
    server.process.send_signal(signal.SIGTERM)
    for connection in connections:
        connection.sendall(b"\r\n{}")
        assert connection.recv(12) == b"HTTP/1.1 403"
        connection.close()
    assert server.process.wait(60) == 0


def test_an_idle_connection_is_answered_once_more(server: ServerProcess) -> None:
    """Whoever sends a request while the server begins to stop cannot know."""
    two_workers(server, set())
    connections = [http.client.HTTPConnection("127.0.0.1", server.port, timeout=60) for _ in range(8)]
    assert [ask(connection).getheader("connection") for connection in connections] == [None] * 8
    server.process.send_signal(signal.SIGTERM)
    until_refused(server.port)
    asked = [ask(connection).getheader("connection") for connection in connections]
    for connection in connections:
        connection.close()
    assert asked == ["close"] * 8
    assert server.process.wait(60) == 0


def ask(connection: http.client.HTTPConnection) -> http.client.HTTPResponse:
    connection.request("POST", "/ListVectorBuckets", b"{}")
    answer = connection.getresponse()
    answer.read()
    assert answer.status == 403
    return answer


def until_accepted(server: ServerProcess, number: int) -> None:
    """By a worker: what only the kernel has taken is reset when a listener closes."""
    workers = [psutil.Process(worker) for worker in workers_of(server)]
    while sum(len(connections_to(server.port, worker)) for worker in workers) < number:
        time.sleep(0.01)


def connections_to(port: int, worker: psutil.Process) -> list[Any]:
    return [
        it for it in worker.net_connections("tcp") if it.status == psutil.CONN_ESTABLISHED and it.laddr.port == port
    ]


def until_refused(port: int) -> None:
    """By all workers; who connects to one that is about to close may be reset."""
    while True:
        try:
            socket.create_connection(("127.0.0.1", port), timeout=60).close()
        except ConnectionRefusedError:
            return
        except ConnectionResetError:
            continue


def test_a_second_signal_waits_for_nothing(server: ServerProcess) -> None:
    two_workers(server, set())
    with socket.create_connection(("127.0.0.1", server.port), timeout=60) as connection:
        connection.sendall(HEAD)
        until_accepted(server, 1)
        server.process.send_signal(signal.SIGTERM)
        until_refused(server.port)
        server.process.send_signal(signal.SIGTERM)
        assert connection.recv(12) == b""
    assert server.process.wait(60) == 0
    assert "worker_killed" in server.rest()


def test_no_request_fails_while_the_server_stops(server: ServerProcess) -> None:
    """Clients that ask without a pause until the server is gone: each request that it took is answered."""
    two_workers(server, set())
    lost: list[Exception] = []
    answered: list[int] = []

    def ask_on() -> None:
        connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=60)
        try:
            while True:
                answer = ask(connection)
                answered.append(answer.status)
                if answer.getheader("connection") == "close":
                    return
        except Exception as error:  # noqa: BLE001 - whatever it was
            lost.append(error)

    clients = [Thread(target=ask_on) for _ in range(8)]
    for client in clients:
        client.start()
    while len(answered) < 200:
        time.sleep(0.01)
    server.process.send_signal(signal.SIGTERM)
    for client in clients:
        client.join()
    assert lost == []
    assert server.process.wait(60) == 0


def test_a_client_that_has_vanished_is_noticed() -> None:
    """What the listener is told holds for all that it accepts."""
    with bound(socket.AF_INET, ("127.0.0.1", 0)) as listener:
        listener.listen()
        with socket.create_connection(listener.getsockname()) as _, listener.accept()[0] as accepted:
            assert accepted.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE) == 1
            assert {option: accepted.getsockopt(socket.IPPROTO_TCP, option) for option in KEEPALIVE} == KEEPALIVE
