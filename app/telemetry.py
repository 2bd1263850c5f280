"""A request id on every answer, and one log line for every request."""

import time
from uuid import uuid4

import structlog
from msgspec import Struct

from app.asgi import Application, Message, Receive, Scope, Send
from app.rendering import Answer, as_s3_vectors_error, render

log = structlog.get_logger()

MAX_LOGGED_PATH = 200


class Telemetry(Struct, frozen=True):
    """The outermost station: what fails before Litestar is rendered here."""

    stations: Application

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        started, request_id, status = time.perf_counter(), str(uuid4()), 0

        async def send_with_id(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                message["headers"] = [*message["headers"], (b"x-amzn-requestid", request_id.encode())]
            await send(message)

        method, path = scope["method"], scope["raw_path"][:MAX_LOGGED_PATH].decode("latin-1")
        try:
            await self.stations(scope, receive, send_with_id)
        except Exception as error:  # noqa: BLE001 - the last station answers everything
            answer = render(as_s3_vectors_error(error))
            if status == 0:
                await _send(answer, send_with_id)
        milliseconds = round((time.perf_counter() - started) * 1000, 2)
        log.info("request", id=request_id, method=method, path=path, status=status, ms=milliseconds)


async def _send(answer: Answer, send: Send) -> None:
    length = (b"content-length", str(len(answer.body)).encode())
    headers = [*((name.encode(), value.encode()) for name, value in answer.headers.items()), length]
    await send({"type": "http.response.start", "status": answer.status_code, "headers": headers})
    await send({"type": "http.response.body", "body": answer.body, "more_body": False})
