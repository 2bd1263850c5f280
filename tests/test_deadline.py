import asyncio

import pytest

from app.asgi import Receive, Scope, Send
from app.deadline import Deadline
from app.errors import RequestTimeoutException


async def nothing(*_: object) -> None: ...


async def ever(_: Scope, __: Receive, ___: Send) -> None:
    await asyncio.sleep(3600)


async def of_its_own(_: Scope, __: Receive, ___: Send) -> None:
    raise TimeoutError


async def test_what_takes_too_long_is_a_request_that_timed_out() -> None:
    with pytest.raises(RequestTimeoutException):
        await Deadline(ever, 0.01)({}, nothing, nothing)  # type: ignore[arg-type]


async def test_what_does_not_is_as_it_is() -> None:
    await Deadline(nothing, 60)({}, nothing, nothing)  # type: ignore[arg-type]
    with pytest.raises(TimeoutError):
        await Deadline(of_its_own, 60)({}, nothing, nothing)  # type: ignore[arg-type]
