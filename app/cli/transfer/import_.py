"""`pgs3vectors import`: vectors from a file, past the API and by its rules."""

import asyncio
import sys
from pathlib import Path
from typing import Annotated

import psycopg
from cyclopts import Parameter
from msgspec import Struct
from msgspec.structs import replace

from app.cli.connection import Catalog, opened_catalog
from app.cli.iam.owners import OfAccount
from app.cli.index.status import Report
from app.cli.output import CommandError, Json, say, show, show_one, write_json
from app.cli.transfer.files import USUAL_COLUMNS, ColumnOptions, open_file
from app.cli.transfer.graphs import completed
from app.cli.transfer.loading import Loaded, Loading, check_all
from app.cli.transfer.target import (
    AS_IT_IS,
    IndexOptions,
    arn_named,
    ensure_bucket,
    find_index,
    home_of,
    make_index,
    new_index,
    rules_of,
    short,
)
from app.database.build_failures import reason
from app.database.bulk_load import claim, loading_connection
from app.database.catalog import Index
from app.database.connection import Connection
from app.database.creation import NewIndex
from app.database.graph_building import is_locked
from app.database.index_status import IndexStatus, status_of
from app.database.transfers import Transfer, progress_of
from app.interchange.batches import Source
from app.interchange.fingerprint import fingerprint
from app.kms import record_cipher

File = Annotated[Path, Parameter(name="--file", help="Parquet, JSON lines or .npz, by its suffix.")]
Name = Annotated[str, Parameter(name="--index", help="As bucket/index.")]
SkipInvalid = Annotated[
    bool, Parameter(negative="", help="Leave out and list the rows that break a rule; without it nothing is written.")
]
Restart = Annotated[bool, Parameter(negative="", help="Begin anew, even where an import was interrupted.")]
Wait = Annotated[
    bool, Parameter(negative="--no-wait", help="Until the graphs are built; without a server they are built here.")
]


async def import_(  # noqa: PLR0913 - the options of a command
    file: File,
    name: Name,
    *,
    index: IndexOptions = AS_IT_IS,
    columns: ColumnOptions = USUAL_COLUMNS,
    skip_invalid: SkipInvalid = False,
    restart: Restart = False,
    wait: Wait = True,
    account: OfAccount = None,
    json: Json = False,
) -> None:
    """Load vectors from a file into an index, by the rules of PutVectors.

    All rows are checked before the first is written.  An import that was interrupted, however, goes on where it was
    when the same command is given again.
    """
    source = open_file(file, columns)
    peer = f"{fingerprint(file)} {columns} {skip_invalid}"
    async with opened_catalog(draws=True) as catalog:
        arn = arn_named(await home_of(catalog, account), name)
        target = await find_index(catalog, arn, index) or new_index(arn, source, index)
        loaded_index, loaded = await Import(catalog, source, peer, skip_invalid, restart).run(target)
        status = await status_behind(catalog, loaded_index, wait=wait)
        async with catalog.database.connection() as connection:
            is_built = await is_locked(connection)
    report(status, loaded, is_built=is_built, json=json)


class Import(Struct, frozen=True):
    catalog: Catalog
    source: Source
    peer: str
    """The file, in its state and as it is read."""
    skip_invalid: bool
    restart: bool

    async def run(self, target: Index | NewIndex) -> tuple[Index, Loaded]:
        """A new index is not made before all rows are checked."""
        async with await loading_connection(self.catalog.database.url) as connection:
            progress = None
            if isinstance(target, Index) and not self.restart:
                progress = await progress_of(connection, Transfer(target.id, self.peer))
            if progress is None and not self.skip_invalid:
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
        loading = Loading(connection, index, rules_of(index), cipher, skip_invalid=self.skip_invalid)
        if done.rows:
            note(f"Going on behind row {done.rows}, where this import was interrupted.")
        try:
            return await loading.load_all(self.source, Transfer(index.id, self.peer), done)
        except asyncio.CancelledError:
            note(f"Interrupted behind row {done.rows}; the same command goes on there.")
            raise
        except psycopg.Error as error:
            raise CommandError(f"{reason(error)}; {done.rows} rows are in, the same command goes on behind.") from error


async def status_behind(catalog: Catalog, index: Index, *, wait: bool) -> IndexStatus:
    status = await completed(catalog, index) if wait else None
    async with catalog.database.connection() as connection:
        [counted] = await status_of(connection, [status.index if status else index], exactly=True)
    return counted


def report(status: IndexStatus, loaded: Loaded, *, is_built: bool, json: bool) -> None:
    graphs = Report(0, is_built=is_built, is_counted=True).graph_state(status)
    row = {
        "index": short(status.index.arn),
        "rows": loaded.rows,
        "skipped": loaded.skipped,
        "vectors": status.vectors,
        "graphs": graphs,
    }
    if json:
        write_json(row | {"faults": loaded.faults})
        return
    if loaded.faults:
        show([{"row": f.row, "key": f.shown_key, "reason": f.reason} for f in loaded.faults], json=False)
        say("")
    show_one(row, json=False)


def note(line: str) -> None:
    sys.stderr.write(f"{line}\n")
