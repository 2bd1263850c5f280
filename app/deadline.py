"""The station that ends what takes too long: a request has so many seconds, from its headers to its answer."""

import asyncio

from msgspec import Struct

from app.asgi import Application, Receive, Scope, Send
from app.errors import RequestTimeoutException


class Deadline(Struct, frozen=True):
    """Whatever the request waits for is cancelled; a COMMIT is not, and a write may have been made."""

    stations: Application
    seconds: float

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            async with asyncio.timeout(self.seconds) as deadline:
                await self.stations(scope, receive, send)
        except TimeoutError as error:
            if not deadline.expired():
                raise
            raise RequestTimeoutException("The request timed out") from error
