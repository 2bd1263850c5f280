"""Reads go by what is kept while PostgreSQL is asked whether it still holds."""

from collections.abc import AsyncIterator, Callable
from types import SimpleNamespace
from typing import Any

import msgspec
import psycopg
import pytest
from litestar import HttpMethod

import app.database.catalog_cache
from app.access_keys import AccessKey
from app.asgi import Message
from app.audit import Event
from app.authorization import Caller, authorize
from app.constraints import Input
from app.database.catalog_cache import CatalogCache
from app.database.engine import Database
from app.database.last_use import LastUse
from app.database.strategy import Exact
from app.envelope import KeyEncryptionKeys
from app.errors import NotFoundException
from app.observation import Observation, current
from app.operation import operation
from app.policy.principals import root_user
from app.request_context import Peer
from app.server import Server
from app.shapes import Output
from app.signer import SignedBy, Signer
from app.sigv4 import Authorization, Credential, SignedRequest

ROOT = AccessKey("ROOT", "secret", root_user("000000000000"))
REQUEST = SignedRequest("POST", b"/CountTurns", b"", ())
CLAIM = Authorization(Credential("ROOT", "", "", "", ""), (), "", "", None, None)
CHANGE = "UPDATE s3_vectors.catalog_generation SET {} = {} + 1"


class CountTurnsInput(Input, frozen=True):
    pass


class CountTurnsOutput(Output):
    turn: int


@pytest.fixture
async def database(copied_database: Callable[[], str]) -> AsyncIterator[Database]:
    database = Database(copied_database(), pool_size=1, statement_timeout_seconds=30)
    await database.open()
    yield database
    await database.close()


@pytest.fixture
async def cache(database: Database) -> AsyncIterator[CatalogCache]:
    cache = CatalogCache(database, KeyEncryptionKeys(lambda: [bytes(32)]), ROOT)
    await cache.refresh()
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(app.database.catalog_cache, "SETTLED_SECONDS", 0)
        yield cache
    await cache.close()


def signer(database: Database, cache: CatalogCache) -> Signer:
    signed = SignedBy(REQUEST, CLAIM, "", ROOT, cache.generation, cache.ask())
    return Signer(signed, Peer(None, secure=False), Event(), "us-east-1", cache, LastUse(database))


async def answer(function: Any, signer: Signer, *, only_reads: bool = True) -> Any:
    """Of an operation, which gets an empty body."""
    sent: list[Message] = []

    async def receive() -> Message:
        return {"type": "http.request", "body": memoryview(b"{}"), "more_body": False}

    async def send(message: Message) -> None:
        sent.append(message)

    handler = operation(HttpMethod.POST, "/CountTurns", only_reads=only_reads)(function)
    state = {"signer": signer, "resource_arn": None}
    litestar = SimpleNamespace(state=SimpleNamespace(server=None))
    await handler.fn({"state": state, "query_string": b"", "litestar_app": litestar}, receive, send)
    return msgspec.json.decode(sent[-1]["body"])["turn"]


class Turns:
    """An operation that changes the catalog in some of its turns, as another server might meanwhile."""

    def __init__(self, url: str, *changes: str, fails: bool = False) -> None:
        self.url = url
        self.changes = list(changes)
        self.fails = fails
        self.number = 0

    @property
    def function(self) -> Any:
        async def count_turns(
            data: CountTurnsInput,  # noqa: ARG001 - the input names the operation
            caller: Caller,
            server: Server,  # noqa: ARG001
        ) -> CountTurnsOutput:
            self.number += 1
            await authorize(caller, "CountTurns", caller.home)
            if (observation := current.get()) is not None:
                observation.strategies.append(Exact("to be counted"))
            if self.changes:
                with psycopg.connect(self.url) as connection:
                    connection.execute(self.changes.pop(0).encode())
                await caller.cache.refresh()  # for another request that has come meanwhile
                if self.fails:
                    raise NotFoundException("as of before")
            return CountTurnsOutput(turn=self.number)

        return count_turns


@pytest.mark.parametrize("first", ["answer", "error"])
@pytest.mark.parametrize("column", ["access", "indexes"])
async def test_what_was_read_by_what_holds_no_longer_is_told_to_nobody(
    database: Database, cache: CatalogCache, column: str, first: str
) -> None:
    turns = Turns(database.url, CHANGE.format(column, column), fails=first == "error")
    signed = signer(database, cache)
    token = current.set(observation := Observation())
    try:
        assert await answer(turns.function, signed) == 2
    finally:
        current.reset(token)
    assert signed.event.resources == ["*"]
    assert len(observation.strategies) == 1


async def test_what_still_holds_is_read_once(database: Database, cache: CatalogCache) -> None:
    turns = Turns(database.url)
    assert await answer(turns.function, signer(database, cache)) == 1
    turns = Turns(database.url, "SELECT 1", fails=True)
    with pytest.raises(NotFoundException, match="as of before"):
        await answer(turns.function, signer(database, cache))
    assert turns.number == 1


async def test_a_change_before_it_was_signed_counts(database: Database, cache: CatalogCache) -> None:
    with psycopg.connect(database.url) as connection:
        connection.execute(CHANGE.format("access", "access").encode())
    assert await answer(Turns(database.url).function, signer(database, cache)) == 2


async def test_what_has_just_changed_is_confirmed_first(
    database: Database, cache: CatalogCache, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As while vectors are put, when each change would make a search of each worker again."""
    monkeypatch.setattr(app.database.catalog_cache, "SETTLED_SECONDS", 60)
    with psycopg.connect(database.url) as connection:
        connection.execute(CHANGE.format("indexes", "indexes").encode())
    assert await answer(Turns(database.url).function, signer(database, cache)) == 1


async def test_as_long_as_nothing_is_known_callers_are_confirmed_first(database: Database) -> None:
    unread = CatalogCache(database, KeyEncryptionKeys(lambda: [bytes(32)]), ROOT)
    assert await answer(Turns(database.url).function, signer(database, unread)) == 1
    await unread.close()


async def test_whoever_may_write_is_confirmed_before_he_begins(database: Database, cache: CatalogCache) -> None:
    with psycopg.connect(database.url) as connection:
        connection.execute(CHANGE.format("access", "access").encode())
    assert await answer(Turns(database.url).function, signer(database, cache), only_reads=False) == 1
