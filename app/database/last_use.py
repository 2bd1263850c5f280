"""When each access key was last used: noted in memory, and written down once a minute."""

import asyncio
from contextlib import suppress
from datetime import datetime

import structlog

from app.database.access_keys import note_last_use
from app.database.engine import Database
from app.errors import S3VectorsError

INTERVAL_SECONDS = 60

log = structlog.get_logger()


class LastUse:
    def __init__(self, database: Database) -> None:
        self._database = database
        self._used: dict[str, datetime] = {}
        self.stopping = asyncio.Event()

    def note(self, access_key_id: str, time: datetime) -> None:
        self._used[access_key_id] = time

    def stop(self) -> None:
        """Ends `run` behind a last write."""
        self.stopping.set()

    async def run(self) -> None:
        is_last = False
        while not is_last:
            with suppress(TimeoutError):
                is_last = await asyncio.wait_for(self.stopping.wait(), INTERVAL_SECONDS)
            await self.write()

    async def write(self) -> None:
        """What could not be written is written with the next."""
        used, self._used = self._used, {}
        if not used:
            return
        try:
            async with self._database.transaction() as connection:
                await note_last_use(connection, used)
        except S3VectorsError as error:
            self._used = used | self._used
            log.warning("last_use_not_written", error=type(error).__name__)
