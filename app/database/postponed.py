"""Indexes that a background task leaves alone for a while, so that one which fails keeps no other from its turn."""

import time

import psycopg
import structlog

from app.database.build_failures import reason
from app.database.catalog import Index
from app.database.connection import Connection

RETRY_SECONDS = 60

log = structlog.get_logger()


class Postponed:
    def __init__(self) -> None:
        self._until: dict[int, float] = {}

    def __contains__(self, index_id: int) -> bool:
        return time.monotonic() < self._until.get(index_id, 0)

    def put_off(self, index: Index, seconds: float = RETRY_SECONDS) -> None:
        self._until[index.id] = time.monotonic() + seconds

    def put_off_for(self, error: psycopg.Error, connection: Connection, index: Index, event: str) -> None:
        """And told in the log; raised again where the connection has gone, with which no index can be looked at."""
        if connection.closed:
            raise error
        log.warning(event, index=str(index.arn), reason=reason(error))
        self.put_off(index)

    def forget_all_but(self, index_ids: set[int]) -> None:
        self._until = {i: moment for i, moment in self._until.items() if i in index_ids}
