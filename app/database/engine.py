"""The pool, transactions, and the only place where an SQLSTATE becomes an error of the API."""

import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager

import psycopg
import sqlalchemy.exc
import structlog
from pgvector.psycopg import register_vector_async
from psycopg_pool import AsyncConnectionPool, PoolTimeout, TooManyRequests
from sqlalchemy import NullPool
from sqlalchemy.ext.asyncio import AsyncConnection, create_async_engine

from app.database.connection import Connection
from app.errors import (
    ConflictException,
    InternalServerException,
    NotFoundException,
    RequestTimeoutException,
    S3VectorsError,
    ServiceUnavailableException,
    TooManyRequestsException,
)
from app.monitoring.metrics import DATABASE_ERRORS
from app.observation import waited_for_database

log = structlog.get_logger()

# SQLSTATE or its beginning: classes 08 connection, 53 resources, 57P shutdown, and single states.
_ANSWERS: tuple[tuple[tuple[str, ...], type[S3VectorsError], str], ...] = (
    (("23505",), ConflictException, "The resource already exists"),
    # Dropped between the look-up in the catalog and its use.
    (("42P01",), NotFoundException, "The specified index could not be found"),
    (("57014", "25P03", "25P04"), RequestTimeoutException, "The request timed out"),
    # Safe to send again, and SDKs do.
    (
        ("08", "53", "57P", "25006", "40001", "40P01", "55P03"),
        ServiceUnavailableException,
        "Currently unable to handle the request",
    ),
)

# jit costs more than it gives.
# Where an index gives the order, the planner does not sort: so a graph is walked whenever `nearest` asks for one.
_SESSION = "-c jit=off -c enable_sort=off -c lock_timeout=5s -c statement_timeout={timeout}s"


class Database:
    """One psycopg pool; SQLAlchemy builds the statements and borrows its connections from it."""

    def __init__(self, url: str, *, pool_size: int, statement_timeout_seconds: int) -> None:
        self.url = url
        self.pool: AsyncConnectionPool[Connection] = AsyncConnectionPool(
            url,
            connection_class=Connection,
            kwargs={"options": _SESSION.format(timeout=statement_timeout_seconds)},
            min_size=1,
            max_size=pool_size,
            max_waiting=pool_size * 20,
            timeout=10,
            open=False,
            configure=_configure,
            close_returns=True,
        )
        self._engine = create_async_engine(
            "postgresql+psycopg://", async_creator=self._lent, poolclass=NullPool, use_native_hstore=False
        )

    async def _lent(self, *, autocommit: bool = False) -> Connection:
        connection = await self.pool.getconn()
        if connection.autocommit != autocommit:
            await connection.set_autocommit(autocommit)
        return connection

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
                    yield connection
        finally:
            waited_for_database(started)

    @asynccontextmanager
    async def connection(self) -> AsyncIterator[Connection]:
        """For single statements, each of which is a transaction; failures as of `transaction`."""
        with translated():
            started = time.perf_counter()
            try:
                connection = await self._lent(autocommit=True)
            finally:
                waited_for_database(started)
            try:
                yield connection
            finally:
                await self.pool.putconn(connection)


async def _configure(connection: Connection) -> None:
    await register_vector_async(connection)
    await connection.commit()


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
    if isinstance(error, TooManyRequests):
        return TooManyRequestsException("Too many requests")
    # Without a state the server said nothing: the connection broke, or none was free in time.
    state = getattr(error, "sqlstate", None) or ("08000" if isinstance(error, psycopg.OperationalError) else "")
    for states, answer, message in _ANSWERS:
        if state.startswith(states):
            return answer(message)
    log.error("database_error", sqlstate=state, error=type(error).__name__, detail=str(error).splitlines()[:1])
    return InternalServerException("Internal server error")


def _class_of(error: BaseException | None) -> str:
    """Of its SQLSTATE; a connection that broke has told none."""
    if isinstance(error, TooManyRequests | PoolTimeout):
        return "pool"
    return (getattr(error, "sqlstate", None) or "08")[:2]
