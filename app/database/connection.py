"""A connection of the pool as the data plane uses it: one statement is one transaction, without BEGIN and COMMIT."""

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Mapping
from contextlib import asynccontextmanager, suppress
from typing import Any, NoReturn, TypeVar

import psycopg
from psycopg import errors
from psycopg.abc import PQGen
from psycopg.adapt import Transformer
from psycopg.pq import TransactionStatus

from app.database.extended_query import MAX_PREPARED, Answer, ExtendedQuery
from app.database.statements import Statement
from app.observation import ran_statement

T = TypeVar("T")

# For an answer to COMMIT, which no statement_timeout bounds while it waits for a synchronous standby.
COMMIT_SECONDS = 30
ATTEMPTS = 3
PAUSE_SECONDS = 0.05  # times the attempt

_UNKNOWN = object()  # unlike whatever a session is to be


class OutcomeUnknown(psycopg.OperationalError):
    """Of a write that may last or not; it must be told as neither done nor failed."""


class Connection(psycopg.AsyncConnection[Any]):
    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self.prepared_max = MAX_PREPARED
        self._extended_query = ExtendedQuery(self.pgconn)
        self._session: dict[str, object] = {}
        self._unreplicated = False
        self.add_notice_handler(self._note)

    async def run(
        self, statement: Statement, values: Mapping[str, Any] | None = None, *, prepare: bool = True
    ) -> list[Any]:
        """Rows as named tuples.

        A statement that is not prepared is planned for its values, as one with a filter must be: a cached plan took
        245 ms for a filter that a plan of its own answers in 5 ms.
        """
        return (await self._executed(statement, values, prepare=prepare)).rows

    async def count(self, statement: Statement, values: Mapping[str, Any]) -> int:
        """Of the rows that were written."""
        return (await self._executed(statement, values, prepare=True)).written

    async def _executed(self, statement: Statement, values: Mapping[str, Any] | None, *, prepare: bool) -> Answer:
        started, values = time.perf_counter(), {**statement.values, **(values or {})}
        try:
            async with self.lock:
                answer = await self.wait(self._asked(statement.text, values, prepare=prepare))
            if self._unreplicated:
                self._give_up("The write may not be on the standby")
            return answer
        finally:
            ran_statement(statement.text, values, started, self.pgconn.backend_pid)

    def _asked(self, text: str, values: Mapping[str, Any], *, prepare: bool) -> PQGen[Answer]:
        yield from self._start_query()
        return (yield from self._extended_query.ask(Transformer(self), text, values, prepare=prepare))

    def _deallocate(self, name: bytes | None) -> PQGen[None]:
        """All are let go, by psycopg but ours as well, when this connection has dropped or altered something."""
        if name is None:
            self._extended_query.forget()
        yield from super()._deallocate(name)

    async def again(self, write: Callable[[], Awaitable[T]]) -> T:
        """Where it was chosen to end a deadlock, which left nothing of it; in a transaction of others, they must."""
        attempts = ATTEMPTS if self._is_idle else 1
        for attempt in range(1, attempts):
            try:
                return await write()
            except (errors.DeadlockDetected, errors.SerializationFailure):
                # At once, it might take again what the others have waited for, and end in the same deadlock.
                await asyncio.sleep(attempt * PAUSE_SECONDS)
        return await write()

    @asynccontextmanager
    async def transaction_or_part(self) -> AsyncIterator[None]:
        """All that is done within, or nothing: a transaction, or a part of the one that has begun."""
        if not self._is_idle:
            yield
            return
        await self.execute("BEGIN")
        try:
            yield
        except BaseException:
            # A connection that has broken has nothing to take back, and must not hide that the task is cancelled.
            with suppress(psycopg.Error):
                await self.rollback()
            raise
        await self.commit()

    @property
    def _is_idle(self) -> bool:
        return self.pgconn.transaction_status == TransactionStatus.IDLE

    async def close(self) -> None:
        """Back to the pool that lent it, where SQLAlchemy closes it; psycopg forgets to return one that has broken."""
        pool = getattr(self, "_pool", None)
        if pool is None:
            await super().close()
            return
        await asyncio.shield(pool.putconn(self))

    async def commit(self) -> None:
        """Whoever is cancelled meanwhile stays until it is known what has come of it.

        Interrupting a COMMIT that waits for a standby would make PostgreSQL say that it is done.
        """
        await _to_its_end(self._commit())

    async def _commit(self) -> None:
        try:
            async with asyncio.timeout(COMMIT_SECONDS):
                await super().commit()
        except TimeoutError:
            self._give_up("There was no answer to COMMIT in time")
        if self._unreplicated:
            self._give_up("The transaction may not be on the standby")

    def _note(self, notice: errors.Diagnostic) -> None:
        """Somebody has cancelled the wait for the standby; known by the function, since the text is in any language."""
        self._unreplicated |= notice.source_function == "SyncRepWaitForLSN"

    def _give_up(self, why: str) -> NoReturn:
        """The pool makes another in its place."""
        self.pgconn.finish()
        raise OutcomeUnknown(why)

    async def use(self, **settings: int | str | None) -> None:
        """For all that this session does from now on; says so only when it is not what it does already.

        None is as the session began.
        """
        wanted = {name.replace("__", "."): None if value is None else str(value) for name, value in settings.items()}
        changed = {name: value for name, value in wanted.items() if self._session.get(name) != value}
        if changed:
            # Who is interrupted here knows neither the old nor the new one.
            self._session |= dict.fromkeys(changed, _UNKNOWN)
            calls = ", ".join("set_config(%s, %s, false)" for _ in changed)
            await self.execute(f"SELECT {calls}", [text for pair in changed.items() for text in pair])
            self._session |= changed


async def _to_its_end(work: Coroutine[Any, Any, None]) -> None:
    """However often whoever waits for it is cancelled."""
    task = asyncio.create_task(work)
    try:
        await asyncio.shield(task)
    except asyncio.CancelledError:
        while not task.done():
            with suppress(asyncio.CancelledError):
                await asyncio.wait([task])
        raise
