"""The slow-query log: what PostgreSQL was asked, by whom, and why it was searched so; without vectors."""

import time
from math import inf
from typing import Any

import structlog
from msgspec import to_builtins
from pgvector import Vector

from app.audit import Event
from app.database.explanation import with_places
from app.database.statements import Statement
from app.observation import Observation, SlowStatement

# So many lines at once, and then one a second: what is slow is often slow for everybody.
BURST, PER_SECOND = 10, 1.0

MAX_SQL = 10_000
MAX_PARAMETERS = 50
MAX_TEXT = 200

log = structlog.get_logger()


class SlowQueries:
    """`seconds` is from when on a statement is slow; infinite where the operator has turned it off."""

    def __init__(self, milliseconds: int) -> None:
        self.seconds = milliseconds / 1000 or inf
        self._lines, self._refilled = float(BURST), time.monotonic()
        self._left_out = 0

    def tell(self, event: Event, observation: Observation) -> None:
        """Lines that come too fast are left out and counted, and the next says how many."""
        if observation.slowest is None:
            return
        if not self._may_tell():
            self._left_out += 1
            return
        left_out, self._left_out = self._left_out, 0
        fields = fields_of(event, observation, observation.slowest)
        log.warning("slow_query", **fields, **({"left_out_before": left_out} if left_out else {}))

    def _may_tell(self) -> bool:
        now = time.monotonic()
        self._lines, self._refilled = min(BURST, self._lines + (now - self._refilled) * PER_SECOND), now
        if self._lines < 1:
            return False
        self._lines -= 1
        return True


def fields_of(event: Event, observation: Observation, slowest: SlowStatement) -> dict[str, Any]:
    """With the process id under which PostgreSQL's own log and views have the statement."""
    sql, parameters = with_places(Statement(slowest.text, dict(slowest.values)))
    shown = {place: shortened(value) for place, value in list(parameters.items())[:MAX_PARAMETERS]}
    fields = {
        "id": event.request_id,
        "operation": event.name,
        "principal": event.principal.arn if event.principal else "",
        "resources": event.resources,
        "ms": round(slowest.seconds * 1000, 2),
        "request_ms": round(observation.seconds * 1000, 2),
        "backend_pid": slowest.backend_pid,
        "strategies": [to_builtins(strategy) for strategy in observation.strategies],
        "estimated_matches": observation.matches,
        "sql": sql[:MAX_SQL],
        "parameters": shown,
    }
    left_out = len(parameters) - len(shown)
    return fields | ({"parameters_left_out": left_out} if left_out else {})


def shortened(value: Any) -> Any:
    """Nothing of a vector or a batch, and the beginning of a text."""
    match value:
        case Vector():
            return f"{value.dimensions()} numbers"
        case list() | tuple():
            return f"{len(value)} values"
        case bytes():
            return f"{len(value)} bytes"
        case str() if len(value) > MAX_TEXT:
            return f"{value[:MAX_TEXT]}..., {len(value)} characters"
        case _:
            return value
