"""Vectors from a file, into an index that is there or a new one."""

import asyncio
from pathlib import Path

import psycopg
from msgspec import Struct
from msgspec.structs import replace

from app.arns import IndexArn
from app.cli.connection import Catalog
from app.cli.output import CommandError
from app.cli.transfer.files import ColumnOptions, open_file
from app.cli.transfer.loading import Loaded, Loading, LoadOptions, check_all
from app.cli.transfer.progress import note
from app.cli.transfer.target import IndexOptions, ensure_bucket, find_index, make_index, new_index, rules_of, short
from app.database.build_failures import reason
from app.database.bulk_load import claim, loading_connection
from app.database.catalog import Index
from app.database.connection import Connection
from app.database.creation import NewIndex
from app.database.transfers import Transfer, progress_of
from app.database.vector_table import Outdated
from app.interchange.batches import Source
from app.interchange.fingerprint import fingerprint
from app.kms import record_cipher


class ChosenFile(Struct, frozen=True):
    path: Path
    columns: ColumnOptions
    wanted: IndexOptions
    """Of the index that it goes to."""


async def import_file(catalog: Catalog, file: ChosenFile, arn: IndexArn, options: LoadOptions) -> tuple[Index, Loaded]:
    source = open_file(file.path, file.columns)
    peer = f"{fingerprint(file.path)} {file.columns} {options.skip_invalid}"
    target = await find_index(catalog, arn, file.wanted) or new_index(arn, source, file.wanted)
    return await FileImport(catalog, source, peer, options).run(target)


class FileImport(Struct, frozen=True):
    catalog: Catalog
    source: Source
    peer: str
    """The file, in its state and as it is read."""
    options: LoadOptions

    async def run(self, target: Index | NewIndex) -> tuple[Index, Loaded]:
        """A new index is not made before all rows are checked."""
        async with await loading_connection(self.catalog.database.url) as connection:
            progress = None
            if isinstance(target, Index) and not self.options.restart:
                progress = await progress_of(connection, Transfer(target.id, self.peer))
            if progress is None and not self.options.skip_invalid:
                await check_all(self.source, rules_of(target))
            index = target if isinstance(target, Index) else await self._made(target)
            if not await claim(connection, index):
                raise CommandError(f"Another import into {short(index.arn)} is running.")
            return index, await self._load(connection, index, Loaded(**(progress or {})))

    async def _made(self, new: NewIndex) -> Index:
        bucket = await ensure_bucket(self.catalog, new.arn.bucket)
        return await make_index(self.catalog, replace(new, encryption=bucket.encryption))

    async def _load(self, connection: Connection, index: Index, done: Loaded) -> Loaded:
        cipher = await record_cipher(self.catalog, index)
        loading = Loading(connection, index, rules_of(index), cipher, skip_invalid=self.options.skip_invalid)
        if done.rows:
            note(f"Going on behind row {done.rows}, where this import was interrupted.")
        try:
            return await loading.load_all(self.source, Transfer(index.id, self.peer), done)
        except asyncio.CancelledError:
            note(f"Interrupted behind row {done.rows}; the same command goes on there.")
            raise
        except psycopg.Error as error:
            raise CommandError(f"{reason(error)}; {done.rows} rows are in, the same command goes on behind.") from error
        except Outdated as error:
            message = "What is searched for text has changed"
            raise CommandError(f"{message}; {done.rows} rows are in, the same command goes on.") from error
