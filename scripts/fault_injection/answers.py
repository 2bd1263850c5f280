"""What a client may get: an answer of the service model, or none at all; everything else is a finding."""

import http.client
import socket
import time
from typing import Any, Self

import botocore.session
import msgspec
from msgspec import Struct

from scripts.testbed.api import HOST, Api

MODEL = botocore.session.get_session().get_service_model("s3vectors")

# What a client is told when something that is not its fault keeps a request from being served.
UNAVAILABLE = frozenset({"ServiceUnavailableException", "TooManyRequestsException", "RequestTimeoutException"})
REFUSED = "InvalidSignatureException"
# Any operation of AWS may give them, and no model names them.
COMMON = {REFUSED: 403}
RETRIED_LATER = (429, 503)


class NoAnswer(Exception):
    """The connection was refused, cut, or silent for too long: the outcome is unknown."""


class Answer(Struct, frozen=True):
    operation: str
    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def type(self) -> str:
        """Empty for success."""
        return self.headers.get("x-amzn-errortype", "")

    @property
    def members(self) -> Any:
        return msgspec.json.decode(self.body)

    @property
    def fault(self) -> str | None:
        """In which way it is none of the model; whether it was to be expected is the experiment's business."""
        if "x-amzn-requestid" not in self.headers:
            return "no request id"
        if self.headers.get("content-type") != "application/json":
            return "no JSON"
        try:
            members = msgspec.json.decode(self.body, type=dict[str, Any])
        except msgspec.MsgspecError:
            return "no JSON object"
        return None if self.status == 200 else self._error_fault(members)

    def _error_fault(self, members: dict[str, Any]) -> str | None:
        if self.status != modelled_errors(self.operation).get(self.type):
            return "not in the model of this operation"
        if not isinstance(members.get("message"), str):
            return "no message"
        if self.status in RETRIED_LATER and not self.headers.keys() >= {"retry-after", "x-amz-retry-after"}:
            return "does not say when to retry"
        return None

    def __str__(self) -> str:
        return f"{self.operation}: {self.status} {self.type} {self.body[:200].decode(errors='replace')}".rstrip()


def modelled_errors(operation: str) -> dict[str, int]:
    shapes = MODEL.operation_model(operation).error_shapes
    return COMMON | {shape.name: shape.metadata.get("error", {}).get("httpStatusCode", 400) for shape in shapes}


class Client:
    """One connection that is kept while it lasts; whoever gets no answer decides whether to ask again."""

    def __init__(self, api: Api, patience: float = 60) -> None:
        self._api = api
        self._patience = patience
        self._socket: socket.socket | None = None
        self.sent_at: float | None = None
        """When the last request was sent whole; None if it never was."""

    def ask(self, operation: str, **members: Any) -> Answer:
        return self.send(operation, self._api.request(operation, msgspec.json.encode(members)))

    def send(self, operation: str, request: bytes) -> Answer:
        """Raises NoAnswer."""
        self.sent_at = None
        try:
            connection = self._connected()
            connection.sendall(request)
            self.sent_at = time.monotonic()
            return self._receive(operation, connection)
        except (OSError, http.client.HTTPException) as error:
            self.close()
            raise NoAnswer(f"{type(error).__name__}: {error}") from error

    def _connected(self) -> socket.socket:
        if self._socket is None:
            self._socket = socket.create_connection((HOST, self._api.port), timeout=self._patience)
            self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        return self._socket

    def _receive(self, operation: str, connection: socket.socket) -> Answer:
        with http.client.HTTPResponse(connection, method="POST") as response:
            response.begin()
            headers = {name.lower(): value for name, value in response.getheaders()}
            answer = Answer(operation, response.status, headers, response.read())
            if response.will_close:
                self.close()
        return answer

    def close(self) -> None:
        if self._socket is not None:
            self._socket.close()
        self._socket = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
