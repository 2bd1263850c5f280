"""The station that ends what takes too long: a request has so many seconds, from its headers to its answer."""

import asyncio

from msgspec import Struct

from app.asgi import Application, Receive, Scope, Send
from app.errors import RequestTimeoutException

# In which PostgreSQL is asked to give up a statement, and does: psycopg would wait for ten seconds for one that stands
# still.
GIVING_UP_SECONDS = 2


class Deadline(Struct, frozen=True):
    """Whatever the request waits for is cancelled; a COMMIT is not, and a write may have been made."""

    stations: Application
    seconds: float
    giving_up_seconds: float = GIVING_UP_SECONDS

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            # The second time, what has not ended yet is cancelled once more, and psycopg lets the connection go.
            async with (
                asyncio.timeout(self.seconds + self.giving_up_seconds),
                asyncio.timeout(self.seconds) as deadline,
            ):
                await self.stations(scope, receive, send)
        except TimeoutError as error:
            if not deadline.expired():
                raise
            raise RequestTimeoutException("The request timed out") from error
