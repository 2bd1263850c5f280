"""All vectors of an index, as of one moment, into a file."""

import asyncio
import os
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np

from app.cli.connection import Catalog
from app.cli.output import CommandError
from app.cli.transfer.files import open_sink
from app.cli.transfer.progress import step
from app.database.catalog import Index
from app.database.exporting import Extent, snapshot
from app.database.vector_table import metadata_of, vector_data
from app.interchange.sinks import Rows, Sink
from app.kms import record_cipher
from app.record_cipher import RecordCipher


async def export_to_file(catalog: Catalog, index: Index, file: Path) -> Extent:
    """It is there when it is whole."""
    unfinished = file.with_name(f".{file.name}.unfinished")
    cipher = await record_cipher(catalog, index)
    try:
        async with snapshot(catalog.database.url, index) as source:
            extent = await source.extent()
            sink = open_sink(file, unfinished, index, extent)
            with step("Exporting", extent.rows) as bar:
                async for rows in source.rows(as_text=sink.takes_text):
                    await asyncio.to_thread(sink.write, converted(sink, rows, cipher))
                    bar.advance(len(rows))
            await asyncio.to_thread(sink.close)
        unfinished.replace(file)
    except OSError as error:
        raise CommandError(f"Cannot write {file}: {os.strerror(error.errno or 0)}.") from error
    finally:
        with suppress(OSError):
            unfinished.unlink(missing_ok=True)
    return extent


def converted(sink: Sink, rows: list[Any], cipher: RecordCipher | None) -> Rows:
    keys, metadata = [row.key for row in rows], [metadata_of(row, cipher) for row in rows]
    if sink.takes_text:
        return Rows(keys, [vector_data(row.data) for row in rows], metadata)
    return Rows(keys, np.stack([row.embedding.to_numpy() for row in rows]), metadata)
