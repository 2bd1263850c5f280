"""A request id on every answer; of every request figures, a log line, spans; an audit record of those that need it."""

import time

from msgspec import Struct

from app.asgi import Application, Message, Receive, Scope, Send, respond
from app.audit import Event, record
from app.audit_log import AuditLog
from app.monitoring.metrics import count_request, in_flight
from app.observation import current
from app.rendering import as_s3_vectors_error, render
from app.telling import Answered, Telling


class Telemetry(Struct, frozen=True):
    """The outermost station: what fails before Litestar is rendered here."""

    stations: Application
    region: str
    audit_log: AuditLog
    telling: Telling

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        event = Event(region=self.region)
        observation = self.telling.observation()
        scope.setdefault("state", {})["event"] = event

        async def counted() -> Message:
            message = await receive()
            observation.received_bytes += len(message.get("body", b""))
            return message

        async def send_with_id(message: Message) -> None:
            if message["type"] == "http.response.start":
                observation.status = message["status"]
                message["headers"] = [*message["headers"], (b"x-amzn-requestid", event.request_id.encode())]
            else:
                observation.sent_bytes += len(message.get("body", b""))
            await send(message)

        before = current.set(observation)
        in_flight.number += 1
        try:
            await self.stations(scope, counted, send_with_id)
        except Exception as error:  # noqa: BLE001 - the last station answers everything
            answer = render(as_s3_vectors_error(error), event)
            if observation.status == 0:
                headers = [(name.encode(), value.encode()) for name, value in answer.headers.items()]
                await respond(send_with_id, answer.status_code, headers, answer.body)
        finally:
            in_flight.number -= 1
            current.reset(before)
        observation.seconds = time.perf_counter() - observation.started
        count_request(event, observation)
        if event.is_recorded:
            self.audit_log.write(record(event))
        self.telling.add(Answered(event, observation, scope))
