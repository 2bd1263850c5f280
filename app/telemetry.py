"""A request id on every answer; of every request a log line and figures, and an audit record of those that need one."""

import time

import structlog
from msgspec import Struct

from app.asgi import Application, Message, Receive, Scope, Send, respond
from app.audit import Event, record
from app.audit_log import AuditLog
from app.monitoring import metrics
from app.observation import Observation, current
from app.rendering import as_s3_vectors_error, render

log = structlog.get_logger()

MAX_LOGGED_PATH = 200


class Telemetry(Struct, frozen=True):
    """The outermost station: what fails before Litestar is rendered here."""

    stations: Application
    region: str
    audit_log: AuditLog

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        started, event, status = time.perf_counter(), Event(region=self.region), 0
        scope.setdefault("state", {})["event"] = event
        observation = Observation()
        before = current.set(observation)

        async def send_with_id(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                message["headers"] = [*message["headers"], (b"x-amzn-requestid", event.request_id.encode())]
            await send(message)

        metrics.in_flight.number += 1
        method, path = scope["method"], scope["raw_path"][:MAX_LOGGED_PATH].decode("latin-1")
        try:
            await self.stations(scope, receive, send_with_id)
        except Exception as error:  # noqa: BLE001 - the last station answers everything
            answer = render(as_s3_vectors_error(error), event)
            if status == 0:
                headers = [(name.encode(), value.encode()) for name, value in answer.headers.items()]
                await respond(send_with_id, answer.status_code, headers, answer.body)
        finally:
            metrics.in_flight.number -= 1
            current.reset(before)
        seconds = time.perf_counter() - started
        metrics.count_request(event, observation, status, seconds)
        milliseconds = round(seconds * 1000, 2)
        log.info("request", id=event.request_id, method=method, path=path, status=status, ms=milliseconds)
        if event.is_recorded:
            self.audit_log.write(record(event))
