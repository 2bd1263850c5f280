"""What is told of answered requests: log lines and spans, a moment later, many at once; nobody waits for it.

What that needs has left the processor's caches since the last request: fetching it anew took a twelfth of a worker's
time for a search, and once is enough for all that were answered meanwhile.
"""

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import structlog
from msgspec import Struct

from app.asgi import Scope
from app.audit import Event
from app.limits import LARGE_BODY_BYTES
from app.observation import Observation, Wait
from app.request_log import RequestLog, line_of
from app.slow_queries import SlowQueries
from app.tracing import Tracing

LATER_SECONDS = 0.05
# As many as are told of in a millisecond or two.
MAX_KEPT = 64

log = structlog.get_logger()


class Answered(Struct, frozen=True):
    event: Event
    observation: Observation
    scope: Scope

    @property
    def is_large(self) -> bool:
        """The event holds what was asked and answered, which must be gone when its room is given to others."""
        return self.observation.received_bytes + self.observation.sent_bytes >= LARGE_BODY_BYTES


class Telling:
    def __init__(self, request_log: RequestLog, slow_queries: SlowQueries, tracing: Tracing | None) -> None:
        self._request_log = request_log
        self._slow_queries = slow_queries
        self._tracing = tracing
        self._kept: list[Answered] = []
        self._timer: asyncio.TimerHandle | None = None

    def observation(self) -> Observation:
        """Of a request that begins now, for as much as will be told of it."""
        waits: list[Wait] | None = None if self._tracing is None else []
        return Observation(started=time.perf_counter(), slow_seconds=self._slow_queries.seconds, waits=waits)

    def add(self, answered: Answered) -> None:
        self._kept.append(answered)
        if answered.is_large or len(self._kept) >= MAX_KEPT:
            self.tell_all()
        elif self._timer is None:
            self._timer = asyncio.get_running_loop().call_later(LATER_SECONDS, self.tell_all)

    def tell_all(self) -> None:
        """In the order in which they were answered."""
        if self._timer is not None:
            self._timer.cancel()
        kept, self._kept, self._timer = self._kept, [], None
        for answered in kept:
            try:
                self._tell(answered.event, answered.observation, answered.scope)
            except Exception:
                log.exception("request_not_told", id=answered.event.request_id)

    def _tell(self, event: Event, observation: Observation, scope: Scope) -> None:
        if self._request_log.is_on:
            self._request_log.write(line_of(event, observation, scope))
        self._slow_queries.tell(event, observation)
        if self._tracing is not None:
            self._tracing.tell(event, observation, scope)

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        try:
            yield
        finally:
            self.tell_all()
