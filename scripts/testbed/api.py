"""Requests as they lie on the wire, signed before the clock starts, over sockets that are kept open.

Clients share the cores with what they measure, so they do as little as they can: a request is bytes to send, an answer
bytes to receive.  A signature holds for 15 minutes, and each scenario signs its own.
"""

import socket
from base64 import b64encode
from typing import Any, Self

import msgspec
from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials
from msgspec import Struct

from scripts.testbed.errors import ScriptError

REGION = "us-east-1"
HOST = "127.0.0.1"
TIMEOUT_SECONDS = 120
RECEIVE_BYTES = 64 * 1024
CLOSED = "The server closed the connection."

Body = bytes | bytearray


class ApiError(ScriptError):
    """An answer other than 200, or none."""


class RootCredentials(Struct, frozen=True):
    """As environment variables give them to the server: with the key that seals what it stores."""

    access_key_id: str
    secret_access_key: str
    key_encryption_key: bytes

    @property
    def settings(self) -> dict[str, str]:
        return {
            "ROOT_ACCESS_KEY_ID": self.access_key_id,
            "ROOT_SECRET_ACCESS_KEY": self.secret_access_key,
            "KEY_ENCRYPTION_KEY": b64encode(self.key_encryption_key).decode(),
        }


class Connection:
    def __init__(self, port: int) -> None:
        self._socket = socket.create_connection((HOST, port), timeout=TIMEOUT_SECONDS)
        self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    def exchange(self, request: bytes) -> Body:
        """The body of the answer."""
        try:
            head, body = self._answer(request)
        except OSError as error:
            raise ApiError(f"The server does not answer: {error}") from error
        if not head.startswith(b"HTTP/1.1 200 "):
            raise ApiError(f"{head.splitlines()[0].decode()}: {body[:500].decode(errors='replace')}")
        return body

    def _answer(self, request: bytes) -> tuple[bytes, Body]:
        self._socket.sendall(request)
        head, received = self._head()
        length = _content_length(head)
        return head, received if len(received) == length else self._rest(received, length)

    def _head(self) -> tuple[bytes, bytes]:
        received = b""
        while (end := received.find(b"\r\n\r\n")) < 0:
            received += self._receive()
        return received[:end], received[end + 4 :]

    def _rest(self, received: bytes, length: int) -> bytearray:
        """In its place at once: copying the megabytes of a page takes as long as receiving them."""
        body = bytearray(length)
        body[: len(received)] = received
        rest = memoryview(body)[len(received) :]
        while rest:
            if not (count := self._socket.recv_into(rest)):
                raise ApiError(CLOSED)
            rest = rest[count:]
        return body

    def _receive(self) -> bytes:
        if not (received := self._socket.recv(RECEIVE_BYTES)):
            raise ApiError(CLOSED)
        return received

    def close(self) -> None:
        self._socket.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def _content_length(head: bytes) -> int:
    name = b"\r\ncontent-length:"
    start = head.lower().find(name)
    if start < 0:
        raise ApiError("An answer without Content-Length.")
    return int(head[start + len(name) :].split(b"\r\n", 1)[0])


class Api(Struct, frozen=True):
    port: int
    credentials: RootCredentials

    def connect(self) -> Connection:
        return Connection(self.port)

    def request(self, operation: str, body: bytes) -> bytes:
        signed = AWSRequest(
            "POST", f"http://{HOST}:{self.port}/{operation}", {"Content-Type": "application/json"}, body
        )
        key = Credentials(self.credentials.access_key_id, self.credentials.secret_access_key)
        SigV4Auth(key, "s3vectors", REGION).add_auth(signed)
        headers = {"Host": f"{HOST}:{self.port}", **dict(signed.headers.items()), "Content-Length": str(len(body))}
        lines = [f"POST /{operation} HTTP/1.1", *(f"{name}: {value}" for name, value in headers.items())]
        return "\r\n".join(lines).encode() + b"\r\n\r\n" + body

    def call(self, operation: str, **members: Any) -> Any:
        """For what no clock watches; None is left out."""
        given = {name: value for name, value in members.items() if value is not None}
        with self.connect() as connection:
            return msgspec.json.decode(connection.exchange(self.request(operation, msgspec.json.encode(given))))
