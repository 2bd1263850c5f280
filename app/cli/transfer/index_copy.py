"""All vectors of an index at another endpoint into one here: segments side by side, each page checked and committed."""

import asyncio
from collections.abc import Iterator
from typing import Any

import numpy as np
import psycopg
from msgspec import Struct
from pgvector import Vector

from app.cli.connection import Catalog
from app.cli.output import CommandError
from app.cli.transfer.loading import MOST_FAULTS, Loaded, LoadOptions, ahead
from app.cli.transfer.progress import note, step
from app.cli.transfer.target import rules_of, short
from app.database import bulk_load
from app.database.build_failures import reason
from app.database.catalog import Index
from app.database.concurrent_indexes import analyze
from app.database.connection import Connection
from app.database.transfers import Transfer, forget, forget_others, progress_of
from app.database.vector_table import Outdated, StoredVector, stored_vector
from app.interchange.checking import Fault, check
from app.interchange.endpoint import Endpoint
from app.interchange.listing_pages import Page, Segments
from app.kms import record_cipher
from app.record_cipher import RecordCipher


class Prepared(Struct, frozen=True):
    page: Page
    vectors: list[StoredVector]
    faults: list[Fault]


class IndexCopy:
    """Segments are read side by side; what each has given is noted with what was written of it."""

    def __init__(
        self, catalog: Catalog, endpoint: Endpoint, of_index: dict[str, str], index: Index, options: LoadOptions
    ) -> None:
        self._catalog = catalog
        self._endpoint = endpoint
        self._of_index = of_index
        self._index = index
        self._options = options

    async def run(self, peer: str, segments: int) -> Loaded:
        name, transfer = short(self._index.arn), Transfer(self._index.id, peer)
        async with await bulk_load.loading_connection(self._catalog.database.url) as connection:
            if not await bulk_load.claim(connection, self._index):
                raise CommandError(f"Another import into {name} is running.")
            noted = None if self._options.restart else await progress_of(connection, transfer)
            tokens: list[str | None] = noted["tokens"] if noted else [""] * segments
            done = Loaded(noted["rows"], noted["skipped"]) if noted else Loaded()
            if noted:
                note(f"{name}: going on behind {done.rows} vectors, where this import was interrupted.")
            try:
                await self._load(connection, transfer, tokens, done)
            except asyncio.CancelledError:
                note(f"{name}: interrupted behind {done.rows} vectors; the same command goes on there.")
                raise
            except psycopg.Error as error:
                raise CommandError(f"{reason(error)}; {done.rows} vectors are in, the same command goes on.") from error
            except Outdated as error:
                message = "What is searched for text has changed"
                raise CommandError(f"{message}; {done.rows} vectors are in, the same command goes on.") from error
        return done

    async def _load(self, connection: Connection, transfer: Transfer, tokens: list[str | None], done: Loaded) -> None:
        await forget_others(connection, transfer)
        prepared = self._prepared(tokens, await record_cipher(self._catalog, self._index))
        with step(f"Copying {short(self._index.arn)}", None) as bar:
            async for part in ahead(prepared):
                if part.faults and not self._options.skip_invalid:
                    raise CommandError(f"{short(self._index.arn)}: {told(part.faults[0])}.")
                tokens[part.page.segment] = part.page.next_token
                rows, skipped = done.rows + part.page.batch.size, done.skipped + len(part.faults)
                progress: Any = {"tokens": tokens, "rows": rows, "skipped": skipped}
                await bulk_load.load(connection, self._index, part.vectors, transfer, progress)
                done.rows, done.skipped = rows, skipped
                done.faults += part.faults[: MOST_FAULTS - len(done.faults)]
                bar.complete(done.rows, f"Copying {short(self._index.arn)}: {done.rows:,} vectors")
        await connection.run(analyze(self._index.id), prepare=False)
        await forget(connection, transfer)

    def _prepared(self, tokens: list[str | None], cipher: RecordCipher | None) -> Iterator[Prepared]:
        rules = rules_of(self._index)
        for page in Segments(self._endpoint, self._of_index, list(tokens)).pages():
            valid, faults = check(page.batch, rules)
            vectors = [
                stored_vector(
                    self._index, v.key, Vector(np.ascontiguousarray(v.vector)), (v.filterable, v.non_filterable), cipher
                )
                for v in valid
            ]
            yield Prepared(page, vectors, faults)


def told(fault: Fault) -> str:
    """Rows have no numbers at an endpoint."""
    return f"key {fault.shown_key}: {fault.reason}"
