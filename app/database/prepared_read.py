"""One statement without parameters, asked again and again over a connection of its own.

libpq is called directly, because psycopg registers a socket anew for each statement: 15 us instead of 71 for a read
that every request waits for.
"""

import asyncio
from typing import Self

import psycopg
from psycopg import pq

_NAME = b"read"
_BINARY = 1

Row = tuple[int, ...]


class PreparedRead:
    """Answers one question at a time, each with one row of bigint; broken for good by the first failure."""

    def __init__(self, connection: psycopg.AsyncConnection[Row], timeout_seconds: float) -> None:
        self._connection = connection
        self._socket = connection.fileno()
        self._timeout_seconds = timeout_seconds
        self._broken = False
        self._answer: asyncio.Future[Row] | None = None
        self._deadline: asyncio.TimerHandle | None = None
        asyncio.get_running_loop().add_reader(self._socket, self._receive)

    @classmethod
    async def connect(cls, url: str, select: str, timeout_seconds: float) -> Self:
        """Raises psycopg.Error."""
        connection: psycopg.AsyncConnection[Row] = await psycopg.AsyncConnection.connect(url, autocommit=True)
        try:
            await connection.execute(f"PREPARE {_NAME.decode()} AS {select}".encode())
        except BaseException:
            await connection.close()
            raise
        return cls(connection, timeout_seconds)

    def ask(self) -> "asyncio.Future[Row]":
        """Sent when this returns; the future fails with psycopg.OperationalError."""
        loop = asyncio.get_running_loop()
        self._answer = answer = loop.create_future()
        self._deadline = loop.call_later(self._timeout_seconds, self._break, "There was no answer in time")
        try:
            self._connection.pgconn.send_query_prepared(_NAME, None, result_format=_BINARY)
            self._connection.pgconn.flush()
        except psycopg.OperationalError as error:
            self._break(str(error))
        return answer

    def close(self) -> None:
        self._break("The connection was closed")

    def _receive(self) -> None:
        pgconn = self._connection.pgconn
        try:
            pgconn.consume_input()
            while not pgconn.is_busy() and (result := pgconn.get_result()):
                self._settle(result)
        except psycopg.OperationalError as error:
            self._break(str(error))

    def _settle(self, result: pq.abc.PGresult) -> None:
        if result.status != pq.ExecStatus.TUPLES_OK or result.ntuples != 1:
            raise psycopg.OperationalError(result.error_message.decode(errors="replace") or "No row")
        values = (result.get_value(0, column) or b"" for column in range(result.nfields))
        row = tuple(int.from_bytes(value, "big", signed=True) for value in values)
        if answer := self._taken():
            answer.set_result(row)

    def _break(self, why: str) -> None:
        """Also of a connection that broke while nobody asked: whoever asks then must be told."""
        if not self._broken:
            self._broken = True
            asyncio.get_running_loop().remove_reader(self._socket)
            self._connection.pgconn.finish()
        if answer := self._taken():
            answer.set_exception(psycopg.OperationalError(why))

    def _taken(self) -> "asyncio.Future[Row] | None":
        """Who waits for an answer, if anybody still does; nobody does after this."""
        if self._deadline is not None:
            self._deadline.cancel()
        answer, self._answer = self._answer, None
        return None if answer is None or answer.done() else answer
