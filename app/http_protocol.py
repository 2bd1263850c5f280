"""HTTP/1.1 on a socket: uvicorn's parser, with bounds that cut off whoever is slow or never comes to the point.

What it refuses never was a request: no operation, no signature, but an error in the form of the API all the same.
"""

from asyncio import TimerHandle, Transport
from http import HTTPStatus
from typing import Any
from uuid import uuid4

from uvicorn.protocols.http.httptools_impl import STATUS_LINE, HttpToolsProtocol

from app.limits import MAX_HEADER_BYTES
from app.monitoring.metrics import CUT_OFF, REFUSED

# For a request line and its headers to arrive, and for an answer to be taken; bodies have a deadline in `app.wire`.
HEADER_DEADLINE_SECONDS = 30
WRITE_DEADLINE_SECONDS = 60
# For what is left of a body whose request has been answered.
REST_DEADLINE_SECONDS = 60
# For a request that was sent when the server began to stop.
LAST_REQUEST_SECONDS = 1
# Longer than clients keep an idle connection, so that it is they who close it and no request is on its way then.
KEEP_ALIVE_SECONDS = 75
# Where the parser stops; `app.wire` counts what a request may have, and has a better answer.
MAX_HEAD_BYTES = 4 * MAX_HEADER_BYTES


class Deadline:
    """Nothing is said when it is over, to a client that has not asked or does not listen."""

    def __init__(self, protocol: "HttpProtocol", seconds: float) -> None:
        self._protocol = protocol
        self._seconds = seconds
        self._timer: TimerHandle | None = None

    def begin(self) -> None:
        self.end()
        self._timer = self._protocol.loop.call_later(self._seconds, self._cut_off)

    def end(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _cut_off(self) -> None:
        CUT_OFF.inc()
        self._protocol.transport.abort()


class HttpProtocol(HttpToolsProtocol):
    """One connection."""

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self._in_head = False
        self._head_bytes = 0
        self._in_message = False
        self._draining = False
        self._head = Deadline(self, HEADER_DEADLINE_SECONDS)
        self._writing = Deadline(self, WRITE_DEADLINE_SECONDS)
        self._rest = Deadline(self, REST_DEADLINE_SECONDS)

    def connection_made(self, transport: Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self._head.begin()

    def connection_lost(self, exc: Exception | None) -> None:
        self._head.end()
        self._writing.end()
        self._rest.end()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        super().data_received(data)
        if self._in_head:
            self._head_bytes += len(data)
            if self._head_bytes > MAX_HEAD_BYTES:
                self._refuse(HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE, "Request headers exceed max allowed size")

    def on_message_begin(self) -> None:
        super().on_message_begin()
        self._in_head, self._head_bytes = True, 0
        self._in_message = True
        self._head.begin()

    def on_headers_complete(self) -> None:
        self._in_head = False
        self._head.end()
        super().on_headers_complete()
        if self._draining and self.cycle is not None:
            self.cycle.keep_alive = False

    def on_message_complete(self) -> None:
        super().on_message_complete()
        self._in_message = False
        self._rest.end()
        if self.cycle.response_complete:  # what came behind the answer has ended the deadline of idle connections
            self._unset_keepalive_if_required()
            self.timeout_keep_alive_task = self.loop.call_later(
                self.timeout_keep_alive, self.timeout_keep_alive_handler
            )

    def on_response_complete(self) -> None:
        super().on_response_complete()
        if self._in_message:
            self._rest.begin()

    def shutdown(self) -> None:
        """What is on its way to an idle connection is still answered: its client does not know yet."""
        self._draining = True
        if self._is_idle:
            self.loop.call_later(LAST_REQUEST_SECONDS, self._close_if_idle)
        elif self.cycle is not None:
            self.cycle.keep_alive = False

    @property
    def _is_idle(self) -> bool:
        return not self._in_message and (self.cycle is None or self.cycle.response_complete)

    def _close_if_idle(self) -> None:
        if self._is_idle:
            self.transport.close()

    def pause_writing(self) -> None:
        super().pause_writing()
        self._writing.begin()

    def resume_writing(self) -> None:
        self._writing.end()
        super().resume_writing()

    def send_400_response(self, msg: str) -> None:
        """What the parser refuses: among much else, a length beside chunks, or two lengths."""
        self._refuse(HTTPStatus.BAD_REQUEST, msg)

    def _refuse(self, status: HTTPStatus, message: str) -> None:
        REFUSED.inc()
        body = b'{"message":"%b"}' % message.encode()
        headers = [
            *self.server_state.default_headers,
            (b"content-type", b"application/json"),
            (b"content-length", str(len(body)).encode()),
            (b"connection", b"close"),
            (b"x-amzn-errortype", b"SerializationException"),
            (b"x-amzn-requestid", str(uuid4()).encode()),
        ]
        lines = (b"%b: %b\r\n" % header for header in headers)
        self.transport.write(b"".join([STATUS_LINE[status], *lines, b"\r\n", body]))
        self.transport.close()
