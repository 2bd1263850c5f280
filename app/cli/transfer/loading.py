"""Two passes over a source: all of it is checked before anything is written, and then loaded, with its progress.

While PostgreSQL takes one batch in, a thread reads, checks and encodes the next.
"""

import asyncio
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass
from typing import Annotated, TypeVar

import numpy as np
from cyclopts import Parameter
from msgspec import Struct
from pgvector import Vector

from app.cli.output import CommandError
from app.cli.transfer.progress import step
from app.database import bulk_load
from app.database.catalog import Index
from app.database.concurrent_indexes import analyze
from app.database.connection import Connection
from app.database.transfers import Transfer, forget, forget_others
from app.database.vector_table import StoredVector, stored_vector
from app.interchange.batches import Source
from app.interchange.checking import CheckedVector, Fault, Rules, check
from app.record_cipher import RecordCipher

T = TypeVar("T")

# Who has so many rows to mend will not read about more.
MOST_FAULTS = 1_000


@Parameter(name="*")
@dataclass(frozen=True)
class LoadOptions:
    """Of every import, wherever it is from."""

    skip_invalid: Annotated[
        bool, Parameter(negative="", help="Leave out and list the rows that break a rule, instead of writing nothing.")
    ] = False
    restart: Annotated[bool, Parameter(negative="", help="Begin anew, even where an import was interrupted.")] = False
    wait: Annotated[
        bool, Parameter(negative="--no-wait", help="Until the graphs are built; without a server they are built here.")
    ] = True


ALL_OR_NOTHING = LoadOptions()


class Loaded(Struct):
    rows: int = 0
    """Those of an earlier run that was interrupted are among them, also in what was skipped."""
    skipped: int = 0
    faults: list[Fault] = []
    """The first of those of this run."""


async def check_all(source: Source, rules: Rules) -> None:
    """Raises CommandError where a row breaks a rule."""

    def checked() -> Iterator[tuple[int, list[Fault]]]:
        for batch in source.batches():
            yield batch.size, check(batch, rules)[1]

    faults: list[Fault] = []
    with step("Checking", source.total) as bar:
        async for size, found in ahead(checked()):
            faults += found
            bar.advance(size)
            if len(faults) >= MOST_FAULTS:
                break
    if faults:
        raise CommandError(f"{source.name}, {faults[0]}; nothing was written{_and_others(len(faults) - 1)}.")


def _and_others(others: int) -> str:
    if others == 0:
        return ", and --skip-invalid leaves such rows out"
    number = f"{others} more rows are" if others > 1 else "1 more row is"
    at_least = "at least " if others + 1 >= MOST_FAULTS else ""
    return f", and {at_least}{number} invalid; --skip-invalid leaves such rows out"


class Loading:
    """Of one source into one index, which nobody else loads meanwhile."""

    def __init__(
        self, connection: Connection, index: Index, rules: Rules, cipher: RecordCipher | None, *, skip_invalid: bool
    ) -> None:
        self._connection = connection
        self._index = index
        self._rules = rules
        self._cipher = cipher
        self._skip_invalid = skip_invalid

    async def load_all(self, source: Source, transfer: Transfer, done: Loaded) -> Loaded:
        """Behind what is done; every batch is committed with the progress, so that nothing is lost or done twice."""
        await forget_others(self._connection, transfer)
        with step("Loading", source.total, done.rows if source.unit == "rows" else 0) as bar:
            async for size, end_row, vectors, faults in ahead(self._prepared(source, done.rows)):
                if faults and not self._skip_invalid:
                    raise CommandError(f"{source.name} has changed since it was checked: {faults[0]}.")
                skipped = done.skipped + len(faults)
                progress = {"rows": end_row - 1, "skipped": skipped}
                await bulk_load.load(self._connection, self._index, vectors, transfer, progress)
                done.rows, done.skipped = end_row - 1, skipped
                done.faults += faults[: MOST_FAULTS - len(done.faults)]
                bar.advance(size)
        await self._connection.run(analyze(self._index.id), prepare=False)
        await forget(self._connection, transfer)
        return done

    def _prepared(self, source: Source, after: int) -> Iterator[tuple[int, int, list[StoredVector], list[Fault]]]:
        for batch in source.batches(after):
            checked, faults = check(batch, self._rules)
            yield batch.size, batch.end_row, [self._stored(vector) for vector in checked], faults

    def _stored(self, vector: CheckedVector) -> StoredVector:
        embedding = Vector(np.ascontiguousarray(vector.vector))
        return stored_vector(
            self._index, vector.key, embedding, (vector.filterable, vector.non_filterable), self._cipher
        )


async def ahead(items: Iterator[T]) -> AsyncIterator[T]:
    """Each is made in a thread while the one before is being used."""
    coming = asyncio.ensure_future(asyncio.to_thread(next, items, None))
    while (item := await coming) is not None:
        coming = asyncio.ensure_future(asyncio.to_thread(next, items, None))
        yield item
