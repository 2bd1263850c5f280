"""Who takes a connection: of all workers, one that has fewest.

A kernel that draws lots among sockets gives two workers six and two of eight connections as often as four each, and
ListVectors by eight readers takes an eighth longer then.
"""

import asyncio
import socket
from collections.abc import Callable
from typing import Any

import structlog
import uvicorn

from app.shared_folder import SharedNumbers

BACKLOG = 2_048
# For others, who have fewer connections but may be busy, to take one.
PAUSE_SECONDS = 0.002
# Until there is a descriptor again, say.
SCARCE_SECONDS = 1

log = structlog.get_logger()

Protocol = Callable[[], asyncio.Protocol]


class Connections(set[Any]):
    """Of this worker, and from the moment on at which they are taken: all workers know how many."""

    def __init__(self, numbers: SharedNumbers, place: int) -> None:
        super().__init__()
        self._numbers = numbers
        self._place = place
        numbers[place] = 0  # also of a predecessor who died

    def begin(self) -> None:
        self._numbers[self._place] += 1

    def end(self) -> None:
        self._numbers[self._place] -= 1

    def discard(self, connection: object) -> None:
        if connection in self:
            super().discard(connection)
            self.end()

    @property
    def are_fewest(self) -> bool:
        return self._numbers[self._place] <= min(self._numbers)


class Acceptor:
    """Of a worker, on the socket that is all workers': whoever has more than another leaves it to him for a moment."""

    def __init__(self, listener: socket.socket, connections: Connections, protocol: Protocol) -> None:
        """Within the event loop."""
        self._loop = asyncio.get_running_loop()
        self._listener = listener
        self._connections = connections
        self._protocol = protocol
        self._beginning: set[asyncio.Task[None]] = set()
        self._pause: asyncio.TimerHandle | None = None
        self._has_paused = False
        listener.setblocking(False)
        listener.listen(BACKLOG)
        self._loop.add_reader(listener, self._ready)

    async def close(self) -> None:
        """What has been taken is a connection when this returns."""
        if self._pause is None:
            self._loop.remove_reader(self._listener)
        else:
            self._pause.cancel()
        self._listener.close()
        await asyncio.gather(*self._beginning)

    def _ready(self) -> None:
        if self._connections.are_fewest or self._has_paused:
            self._has_paused = False
            self._accept()
        else:
            self._has_paused = True
            self._rest(PAUSE_SECONDS)

    def _rest(self, seconds: float) -> None:
        self._loop.remove_reader(self._listener)
        self._pause = self._loop.call_later(seconds, self._go_on)

    def _go_on(self) -> None:
        self._pause = None
        self._loop.add_reader(self._listener, self._ready)

    def _accept(self) -> None:
        try:
            accepted, _ = self._listener.accept()
        except (BlockingIOError, InterruptedError, ConnectionAbortedError):  # another was faster, or it has gone
            return
        except OSError as error:
            log.error("cannot_accept", error=error.strerror)  # noqa: TRY400 - there is nothing more in the trace
            self._rest(SCARCE_SECONDS)
            return
        self._connections.begin()
        task = self._loop.create_task(self._begin(accepted))
        self._beginning.add(task)
        task.add_done_callback(self._beginning.discard)

    async def _begin(self, accepted: socket.socket) -> None:
        try:
            await self._loop.connect_accepted_socket(self._protocol, accepted)
        except OSError:  # it has gone
            accepted.close()
            self._connections.end()


class BalancedServer(uvicorn.Server):
    """uvicorn, which takes its connections as the others let it."""

    def __init__(self, config: uvicorn.Config, listener: socket.socket, numbers: SharedNumbers, place: int) -> None:
        super().__init__(config)
        self._listener = listener
        self.server_state.connections = self._connections = Connections(numbers, place)

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:  # noqa: ARG002 - uvicorn's signature
        """Raises SystemExit where the application does not start."""
        await super().startup(sockets=[])
        self._acceptor = Acceptor(self._listener, self._connections, self._connection)

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        await self._acceptor.close()
        await super().shutdown(sockets)

    def _connection(self) -> asyncio.Protocol:
        protocol: Any = self.config.http_protocol_class
        made: asyncio.Protocol = protocol(
            config=self.config, server_state=self.server_state, app_state=self.lifespan.state
        )
        return made
