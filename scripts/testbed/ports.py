"""Ports for servers that are started a moment later, by several processes beside each other."""

import atexit
import errno
import secrets
import socket

from scripts.testbed.api import HOST

# Below those that Linux gives to clients (net.ipv4.ip_local_port_range), one of whom might take it meanwhile.
PORTS = range(10_000, 32_768)


def free_port() -> int:
    """Nobody listens there, and no other process is given it by this function as long as this one lives."""
    while True:
        port = secrets.choice(PORTS)  # to meet others seldom, though tests seed `random`
        if _is_reserved(port) and _is_free(port):
            return port


def _is_reserved(port: int) -> bool:
    """For us now: an abstract name belongs to one socket, and goes with its process."""
    reservation = socket.socket(socket.AF_UNIX)
    if not _binds(reservation, f"\0pgs3vectors-port-{port}"):
        reservation.close()
        return False
    atexit.register(reservation.close)
    return True


def _is_free(port: int) -> bool:
    with socket.socket() as listener:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        return _binds(listener, (HOST, port))


def _binds(to: socket.socket, address: str | tuple[str, int]) -> bool:
    try:
        to.bind(address)
    except OSError as error:
        if error.errno != errno.EADDRINUSE:
            raise
        return False
    return True
