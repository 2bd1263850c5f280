"""The pool, transactions, and the only place where an SQLSTATE becomes an error of the API."""

import asyncio
import re
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager, contextmanager, nullcontext
from typing import Any

import psycopg
import sqlalchemy as sa
import sqlalchemy.exc
import structlog
from pgvector.psycopg import register_vector_async
from psycopg import errors
from psycopg_pool import PoolTimeout, TooManyRequests
from sqlalchemy import NullPool
from sqlalchemy.ext.asyncio import AsyncConnection, create_async_engine

from app.database.catalog import INDEX_NOT_FOUND, vector_indexes
from app.database.connection import Connection
from app.database.heavy_slots import HeavySlots
from app.database.link import linked
from app.database.pool import WAIT_SECONDS, WAITING_PER_CONNECTION, Pool
from app.database.statements import compiled
from app.errors import (
    ConflictException,
    InternalServerException,
    NotFoundException,
    RequestTimeoutException,
    S3VectorsError,
    ServiceUnavailableException,
    ValidationException,
)
from app.monitoring.metrics import DATABASE_ERRORS
from app.observation import waited_for_database

log = structlog.get_logger()

# SQLSTATE or its beginning: classes 08 connection, 22 data, 53 resources, 57P shutdown, and single states.  The
# others are our own faults: 500.
_ANSWERS: tuple[tuple[tuple[str, ...], type[S3VectorsError], str], ...] = (
    (("23505",), ConflictException, "The resource already exists"),
    (("57014", "25P03", "25P04"), RequestTimeoutException, "The request timed out"),
    # Safe to send again, and SDKs do.
    (
        ("08", "53", "57P", "25006", "40001", "40P01", "55P03"),
        ServiceUnavailableException,
        "Currently unable to handle the request",
    ),
    # Never seen: what PostgreSQL cannot hold is refused before.
    (("22",), ValidationException, "The request holds a value that cannot be stored"),
)
_CORRUPTION = ("XX001", "XX002")

# jit costs more than it gives.
# Where an index gives the order, the planner does not sort: so a graph is walked whenever `nearest` asks for one.
# While vectors are put, it takes a tail for far longer than it is, and would start two processes for each search.
_SESSION = (
    "-c jit=off -c enable_sort=off -c max_parallel_workers_per_gather=0"
    " -c lock_timeout=5s -c statement_timeout={timeout}s -c idle_in_transaction_session_timeout={timeout}s"
)
_TRANSACTION_TIMEOUT_SINCE = 170000  # versions of PostgreSQL that know it

_AT_ONCE: AbstractAsyncContextManager[None] = nullcontext()

_INDEX_TABLE = re.compile(r"\bvectors\.index_(\d+)\b")


class Database:
    """One psycopg pool; SQLAlchemy builds the statements and borrows its connections from it."""

    def __init__(self, url: str, *, pool_size: int, statement_timeout_seconds: int) -> None:
        self.url = linked(url)
        self._statement_timeout_seconds = statement_timeout_seconds
        self._heavy_slots = HeavySlots(pool_size)
        self.pool = Pool(
            self.url,
            connection_class=Connection,
            kwargs={
                "options": _SESSION.format(timeout=statement_timeout_seconds),
                "fallback_application_name": "pgs3vectors",
            },
            min_size=1,
            max_size=pool_size,
            max_waiting=pool_size * WAITING_PER_CONNECTION,
            timeout=WAIT_SECONDS,
            reconnect_timeout=WAIT_SECONDS,
            open=False,
            configure=self._configure,
        )
        self._engine = create_async_engine(
            "postgresql+psycopg://",
            async_creator=self._lent,
            poolclass=NullPool,
            use_native_hstore=False,
            hide_parameters=True,  # tracebacks go into the log
        )

    async def _lent(self, *, autocommit: bool = False) -> Connection:
        connection = self.pool.lend() or await self.pool.getconn()
        try:
            if connection.autocommit != autocommit:
                await connection.set_autocommit(autocommit)
        except BaseException:
            await self._return(connection)
            raise
        return connection

    async def _return(self, connection: Connection) -> None:
        """Even if the request is cancelled at this moment, or the pool would be poorer by one."""
        if not self.pool.take_back(connection):
            await asyncio.shield(self.pool.putconn(connection))

    async def _configure(self, connection: Connection) -> None:
        await register_vector_async(connection)
        if connection.info.server_version >= _TRANSACTION_TIMEOUT_SINCE:
            await connection.execute(f"SET transaction_timeout = '{2 * self._statement_timeout_seconds}s'".encode())
        await connection.commit()

    async def open(self) -> None:
        await self.pool.open(wait=True, timeout=30)

    async def close(self) -> None:
        await self._engine.dispose()
        await self.pool.close()

    @asynccontextmanager
    async def transaction(self) -> AsyncIterator[AsyncConnection]:
        """Commits when the block ends well; every failure of the database leaves it as an error of the API."""
        started = time.perf_counter()
        try:
            with translated():
                async with self._engine.begin() as connection:
                    try:
                        yield connection
                    except sqlalchemy.exc.DBAPIError as error:
                        if isinstance(error.orig, errors.ReadOnlySqlTransaction):
                            _give_up((await connection.get_raw_connection()).driver_connection)
                        raise
        finally:
            waited_for_database(started, "transaction")

    @asynccontextmanager
    async def connection(self, *, heavy: bool = False) -> AsyncIterator[Connection]:
        """For single statements, each of which is a transaction; failures as of `transaction`.

        `heavy` are those that may take long: they leave some connections to the others.
        """
        async with self._heavy_slots if heavy else _AT_ONCE:
            with translated():
                started = time.perf_counter()
                try:
                    connection = await self._lent(autocommit=True)
                finally:
                    waited_for_database(started, "pool")
                try:
                    yield connection
                except errors.UndefinedTable as error:
                    if await _is_deleted(connection, error):
                        raise NotFoundException(INDEX_NOT_FOUND) from error
                    raise
                except errors.ReadOnlySqlTransaction:
                    _give_up(connection)
                    raise
                finally:
                    await self._return(connection)


def _give_up(connection: Any) -> None:
    """To a server that is a standby now; the pool makes another, which finds the primary."""
    connection.pgconn.finish()


async def _is_deleted(connection: Connection, error: errors.UndefinedTable) -> bool:
    """Whether the table was dropped between the look-up in the catalog and its use, or is missing."""
    found = _INDEX_TABLE.search(error.diag.message_primary or "")
    if found is None:
        return False
    c = vector_indexes.c
    live = sa.select(c.id).where(c.id == int(found[1]), c.deletion_time.is_(None))
    return not await connection.run(compiled(live))


@contextmanager
def translated() -> Iterator[None]:
    try:
        yield
    except sqlalchemy.exc.DBAPIError as error:
        raise _answer_to(error.orig) from error
    except psycopg.Error as error:
        raise _answer_to(error) from error


def _answer_to(error: BaseException | None) -> S3VectorsError:
    DATABASE_ERRORS.labels(_class_of(error)).inc()
    # Without a state the server said nothing: the connection broke, or none was free in time.
    state = getattr(error, "sqlstate", None) or ("08000" if isinstance(error, psycopg.OperationalError) else "")
    answer, message = next(
        ((answer, message) for states, answer, message in _ANSWERS if state.startswith(states)),
        (InternalServerException, "Internal server error"),
    )
    if answer in (InternalServerException, ValidationException):
        say = log.critical if state in _CORRUPTION else log.error
        say("database_error", sqlstate=state, error=type(error).__name__, detail=_detail(error))
    return answer(message)


def _detail(error: BaseException | None) -> str:
    """The first line; of data not even that, since it repeats what the user sent."""
    return "" if isinstance(error, psycopg.DataError) else str(error).partition("\n")[0]


def _class_of(error: BaseException | None) -> str:
    """Of its SQLSTATE; a connection that broke has told none."""
    if isinstance(error, TooManyRequests | PoolTimeout):
        return "pool"
    return (getattr(error, "sqlstate", None) or "08")[:2]
