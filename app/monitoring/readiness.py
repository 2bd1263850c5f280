"""All that a request needs, looked at every two seconds, however often somebody asks."""

import asyncio
import time

import structlog

from app.database.engine import Database
from app.database.floors import PGVECTOR, numbers
from app.database.migrations import newest_revision
from app.database.revision import State, state_of
from app.database.wrapped_keys import Sample, check_opening, samples
from app.envelope import KeyEncryptionKeys
from app.errors import S3VectorsError
from app.key_encryption_key import NoKeyEncryptionKey
from app.monitoring.health import Health, Supervised

INTERVAL_SECONDS = 2
STARTING_SECONDS = 0.2
READ_SECONDS = 5
KEYS_SECONDS = 10

log = structlog.get_logger()


class Readiness:
    keys: KeyEncryptionKeys | None = None
    """Once the catalog has been prepared with them."""

    def __init__(self, health: Health, workers: Supervised, database: Database) -> None:
        self._health = health
        self._workers = workers
        self._database = database
        self._newest = newest_revision()
        self._next_keys = 0.0

    async def run(self) -> None:
        """Until it is cancelled."""
        while True:
            try:
                await self.look()
            except Exception:
                log.exception("readiness_not_looked_at")
                self._health.see("database", "could not be looked at")
            await asyncio.sleep(INTERVAL_SECONDS if self._health.has_started else STARTING_SECONDS)

    async def look(self) -> None:
        """What cannot be asked keeps what was last known of it."""
        up, all_of_them = self._workers.up
        self._health.see("workers", None if up == all_of_them else f"{up} of {all_of_them} are up")
        try:
            state, wrapped = await self._read()
        except (S3VectorsError, TimeoutError):
            self._health.see("database", "unreachable")
            return
        self._health.see("database", None)
        self._health.see("migrations", None if state.revision == self._newest else "the catalog is of another version")
        self._health.see("extension", _problem_of_extension(state))
        if wrapped is not None and self.keys is not None:
            # In a thread, since the operator's command may be asked for a key that is not known yet.
            self._health.see("key_encryption_key", await asyncio.to_thread(_problem_of_keys, wrapped, self.keys))

    async def _read(self) -> tuple[State, list[Sample] | None]:
        """The wrapped keys now and then only, since their reading goes through all accounts."""
        async with asyncio.timeout(READ_SECONDS):
            async with self._database.connection() as connection:
                state = await state_of(connection)
            if self.keys is None or time.monotonic() < self._next_keys:
                return state, None
            async with self._database.transaction() as transaction:
                wrapped = await samples(transaction)
        self._next_keys = time.monotonic() + KEYS_SECONDS
        return state, wrapped


def _problem_of_extension(state: State) -> str | None:
    if state.pgvector is None:
        return "missing"
    return "too old" if numbers(state.pgvector) < PGVECTOR else None


def _problem_of_keys(wrapped: list[Sample], keys: KeyEncryptionKeys) -> str | None:
    try:
        check_opening(wrapped, keys)
    except NoKeyEncryptionKey:
        return "does not open what is there"
    return None
