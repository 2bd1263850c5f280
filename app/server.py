"""What the stations and operations work with, made once per worker."""

import asyncio
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress

from app.audit_log import open_audit_log
from app.background import lasting
from app.credentials import root_access_key
from app.database import catalog
from app.database.catalog_cache import CatalogCache
from app.database.coding import Coding
from app.database.deletion import Deletion
from app.database.engine import Database
from app.database.graph_building import GraphBuilding
from app.database.last_use import LastUse
from app.database.range_indexes import RangeUse
from app.database.selectivity import Selectivity
from app.database.text_backfill import TextBackfill
from app.key_encryption_key import key_encryption_keys
from app.monitoring.worker_gauges import tell_gauges
from app.pacing import Pacing
from app.page_tokens import PageTokens
from app.settings import Settings
from app.shared_folder import folder_of_workers, shared_numbers
from app.tracing import open_tracing


class Server:
    """Complete within `running`; before, nothing but the settings has been read."""

    page_tokens: PageTokens

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.database = Database(
            settings.database_url or "",
            pool_size=settings.pool_size,
            statement_timeout_seconds=settings.statement_timeout_seconds,
        )
        self.keys = key_encryption_keys(settings)
        self.cache = CatalogCache(self.database, self.keys, root_access_key(settings))
        self.audit_log = open_audit_log(settings.audit_log, settings.data_dir)
        self.tracing = open_tracing(settings)
        self.last_use = LastUse(self.database)
        self.deletion = Deletion(self.database)
        self.pacing = Pacing(
            folder_of_workers(),
            shared_numbers("last-search", 1),
            settings.write_rate_beside_searches,
            os.cpu_count() or 1,
        )
        self.range_use = RangeUse()
        self.selectivity = Selectivity(self.range_use)
        self.graph_building = GraphBuilding(self.database.url, settings.region, self.range_use)
        self.coding = Coding(self.database.url, settings.region)
        self.text_backfill = TextBackfill(self.database, self.cache, settings.region)

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        await self.database.open()
        async with self.database.transaction() as connection:
            self.page_tokens = PageTokens(await catalog.page_token_key(connection))
        background = [
            asyncio.create_task(lasting(self.deletion.run, stopping=self.deletion.stopping)),
            asyncio.create_task(lasting(self.last_use.run, stopping=self.last_use.stopping)),
        ]
        # A graph may take hours, and is begun again by whoever builds next.
        cancelled = [
            asyncio.create_task(lasting(self.graph_building.run)),
            asyncio.create_task(lasting(self.coding.run)),
            asyncio.create_task(lasting(self.text_backfill.run)),
            asyncio.create_task(lasting(tell_gauges, self.database.pool)),
        ]
        try:
            yield
        finally:
            for task in cancelled:
                task.cancel()
                with suppress(asyncio.CancelledError):
                    await task
            self.deletion.stop()
            self.last_use.stop()
            await asyncio.gather(*background)
            await self.cache.close()
            await self.database.close()
            self.audit_log.close()
            if self.tracing is not None:
                await asyncio.to_thread(self.tracing.close)
