"""Whether this server can serve, and whether it should be asked to: all that its endpoints answer is kept here."""

import asyncio
from typing import Any, Protocol

NOT_KNOWN = "not known yet"
CHECKS = ("database", "migrations", "extension", "key_encryption_key", "workers")

# So often in a row the contrary must be seen before it is told.
FAILURES, SUCCESSES = 3, 2

# So long nobody may have been heard before the server is taken for dead: a worker starts within some seconds.
SILENT_SECONDS = 60


class Supervised(Protocol):
    """The worker processes, as whoever begins and ends them sees them."""

    is_draining: bool
    deaths: int
    """How often one has ended and was begun again."""

    @property
    def up(self) -> tuple[int, int]:
        """How many serve, of how many."""

    @property
    def silent_seconds(self) -> float:
        """Since the last sign of life of any worker; 0 before there are any."""


class Check:
    """Steady once it has been well: one slow answer changes nothing, and no balancer sends clients back and forth."""

    def __init__(self) -> None:
        self.problem: str | None = NOT_KNOWN
        self._has_been_well = False
        self._contrary = 0

    def see(self, problem: str | None) -> None:
        is_contrary = (problem is None) != (self.problem is None)
        self._contrary = self._contrary + 1 if is_contrary else 0
        if not is_contrary or not self._has_been_well or self._contrary >= (SUCCESSES if problem is None else FAILURES):
            self.problem, self._contrary = problem, 0
        self._has_been_well = self._has_been_well or problem is None


class Health:
    def __init__(self, workers: Supervised) -> None:
        self._workers = workers
        self._checks = {name: Check() for name in CHECKS}
        self.started = asyncio.Event()
        """When it was ready for the first time."""

    def see(self, check: str, problem: str | None) -> None:
        self._checks[check].see(problem)
        if self.is_ready:
            self.started.set()

    @property
    def is_alive(self) -> bool:
        """Never asks the database: a restart of this server would mend nothing there."""
        return self._workers.is_draining or self._workers.silent_seconds < SILENT_SECONDS

    @property
    def has_started(self) -> bool:
        return self.started.is_set()

    @property
    def is_ready(self) -> bool:
        return not self._workers.is_draining and all(check.problem is None for check in self._checks.values())

    @property
    def report(self) -> dict[str, Any]:
        """Names and fixed words only: whoever comes to the port may read them."""
        checks = {name: check.problem or "ok" for name, check in self._checks.items()}
        shutdown = "draining" if self._workers.is_draining else "ok"
        return {"ready": self.is_ready, "checks": {**checks, "shutdown": shutdown}}
