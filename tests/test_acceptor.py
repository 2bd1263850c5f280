"""Connections go to the worker that has fewest."""

import asyncio
import errno
import socket
from collections.abc import AsyncIterator, Iterator
from typing import Any

import pytest

from app import acceptor
from app.acceptor import Acceptor, Connections
from app.cli.serve import bound
from app.shared_folder import SharedNumbers

NEVER = 3_600


class Greeting(asyncio.Protocol):
    """Says whose it is."""

    def __init__(self, place: int, connections: Connections) -> None:
        self._place = place
        self._connections = connections

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._connections.add(self)
        transport.write(str(self._place).encode())

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002 - asyncio's signature
        self._connections.discard(self)


class ScarceSocket(socket.socket):
    """Of a process that has no descriptor left, at first."""

    refused = 0

    def dup(self) -> "ScarceSocket":
        return self

    def accept(self) -> tuple[socket.socket, Any]:
        if not self.refused:
            self.refused += 1
            raise OSError(errno.EMFILE, "Too many open files")
        return super().accept()


@pytest.fixture
def listener() -> Iterator[socket.socket]:
    with bound(socket.AF_INET, ("127.0.0.1", 0)) as listener:
        yield listener


class Workers:
    """Two, of one process."""

    def __init__(self, listener: socket.socket) -> None:
        self.listener = listener
        self.numbers: SharedNumbers = memoryview(bytearray(16)).cast("d")
        self._clients: list[tuple[int, socket.socket]] = []
        self._acceptors: list[Acceptor] = []

    def begin(self, place: int) -> None:
        connections = Connections(self.numbers, place)
        self._acceptors.append(Acceptor(self.listener.dup(), connections, lambda: Greeting(place, connections)))

    async def connect(self) -> int:
        """To whom."""
        loop, client = asyncio.get_running_loop(), socket.socket()
        client.setblocking(False)
        await loop.sock_connect(client, self.listener.getsockname())
        try:
            owner = int(await loop.sock_recv(client, 1))
        except asyncio.CancelledError:
            client.close()
            raise
        self._clients.append((owner, client))
        return owner

    async def disconnect(self, *owners: int) -> None:
        """All that they have, until they have noticed."""
        for owner, client in self._clients:
            if owner in owners:
                client.close()
        while any(self.numbers[owner] for owner in owners):  # noqa: ASYNC110 - sockets have no event
            await asyncio.sleep(0.001)

    async def end(self) -> None:
        for begun in self._acceptors:
            await begun.close()
        await self.disconnect(0, 1)


@pytest.fixture
async def workers(listener: socket.socket) -> AsyncIterator[Workers]:
    workers = Workers(listener)
    yield workers
    await workers.end()


async def test_each_of_two_workers_gets_every_other_connection(
    workers: Workers, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(acceptor, "PAUSE_SECONDS", 0.05)
    workers.begin(0)
    workers.begin(1)
    assert sorted([await workers.connect() for _ in range(8)]) == [0] * 4 + [1] * 4
    assert list(workers.numbers) == [4, 4]
    await workers.disconnect(1)
    assert [await workers.connect() for _ in range(4)] == [1] * 4


async def test_who_has_more_takes_what_the_others_leave_but_only_then(
    workers: Workers, monkeypatch: pytest.MonkeyPatch
) -> None:
    """They may be busy, or dead."""
    workers.begin(0)
    assert [await workers.connect() for _ in range(3)] == [0] * 3
    monkeypatch.setattr(acceptor, "PAUSE_SECONDS", NEVER)
    waiting = asyncio.create_task(workers.connect())
    await asyncio.wait([waiting], timeout=0.05)
    assert not waiting.done()
    workers.begin(1)
    assert await waiting == 1


async def test_a_worker_begins_with_none_whatever_its_predecessor_had(workers: Workers) -> None:
    workers.numbers[1] = 7
    workers.begin(1)
    assert list(workers.numbers) == [0, 0]


async def test_without_a_descriptor_it_goes_on_a_moment_later(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(acceptor, "SCARCE_SECONDS", 0.01)
    with ScarceSocket() as listener:
        listener.bind(("127.0.0.1", 0))
        workers = Workers(listener)
        workers.begin(0)
        assert await workers.connect() == 0
        await workers.end()
    assert listener.refused == 1


async def test_nobody_connects_to_one_that_is_closed(listener: socket.socket) -> None:
    address, workers = listener.getsockname(), Workers(listener)
    workers.begin(0)
    await workers.connect()
    await workers.end()
    listener.close()
    with pytest.raises(ConnectionRefusedError), socket.create_connection(address):
        pass
