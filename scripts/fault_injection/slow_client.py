"""Clients that send or read a little at a time, on raw sockets, and whether the server still holds them."""

import select
import socket
from collections.abc import Callable
from contextlib import suppress

import psutil

from scripts.testbed.api import HOST, Api
from scripts.testbed.server import Server

LITTLE = 4096


class SlowClient:
    def __init__(self, api: Api) -> None:
        self._socket = socket.socket()
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, LITTLE)
        self._socket.connect((HOST, api.port))
        self.port: int = self._socket.getsockname()[1]
        self._rest = b""

    def send(self, beginning: bytes, rest: bytes = b"") -> None:
        """The rest is for `trickle`."""
        self._socket.sendall(beginning)
        self._rest = rest

    def trickle(self) -> None:
        """One byte more, if anybody takes it and there is any."""
        byte, self._rest = self._rest[:1], self._rest[1:]
        with suppress(OSError):
            self._socket.send(byte, socket.MSG_DONTWAIT)

    def heard(self) -> bytes:
        """What the server had sent before it left."""
        heard = b""
        with suppress(OSError):
            while select.select([self._socket], [], [], 0)[0] and (data := self._socket.recv(LITTLE)):
                heard += data
        return heard

    def close(self) -> None:
        self._socket.close()


def held(server: Server) -> set[int]:
    """Ports of the clients that the server's processes are connected with."""
    ports: set[int] = set()
    for process in [server.process, *server.workers]:
        with suppress(psutil.Error):
            ports |= {c.raddr.port for c in process.net_connections("tcp") if c.raddr and c.laddr.port == server.port}
    return ports


Beginning = Callable[[SlowClient], None]
