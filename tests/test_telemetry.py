import gc
import weakref
from collections.abc import Iterator
from typing import Any

import pytest

from app.asgi import Message, Receive, Scope, Send
from app.audit_log import NoAuditLog
from app.errors import SerializationException
from app.request_log import RequestLog
from app.slow_queries import SlowQueries
from app.telemetry import Telemetry
from app.telling import Telling

QUIET = RequestLog(is_on=False, as_json=True)


class Body:
    """What a request of 20 MiB would hold."""


async def no_message() -> Message:
    raise AssertionError


@pytest.fixture
def uncollected() -> Iterator[None]:
    gc.disable()
    yield
    gc.enable()


@pytest.mark.usefixtures("uncollected")
async def test_a_refused_request_is_forgotten_without_the_garbage_collector() -> None:
    """It may be long until that comes, and whoever knows the id of a key may send 20 MiB before he is refused."""
    bodies: list[weakref.ref[Body]] = []
    sent: list[Any] = []

    async def refuse(scope: Scope, _receive: Receive, _send: Send) -> None:
        body, event = Body(), scope["state"]["event"]
        bodies.append(weakref.ref(body))
        try:
            int(f"{body} of {event}")
        except ValueError as error:
            raise SerializationException from error

    async def send(message: Message) -> None:
        sent.append(message)

    scope = {"type": "http", "method": "POST", "raw_path": b"/PutVectors", "headers": []}
    await Telemetry(refuse, "us-east-1", NoAuditLog(), Telling(QUIET, SlowQueries(0), None))(scope, no_message, send)
    del scope
    assert [message.get("status") for message in sent] == [400, None]
    assert [body() for body in bodies] == [None]
