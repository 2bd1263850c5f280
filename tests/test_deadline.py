import asyncio
from collections.abc import Callable, Iterator
from typing import Any

import psycopg
import pytest

from app.asgi import Application, Receive, Scope, Send
from app.deadline import Deadline
from app.errors import RequestTimeoutException
from app.settings import Settings
from tests.server_process import running
from tests.signed import Reply, SignedClient

# The builder of graphs may wait as long as it likes.
WAITING = (
    "SELECT FROM pg_locks JOIN pg_stat_activity USING (pid)"
    " WHERE NOT granted AND relation = %s::regclass AND application_name <> 'pgs3vectors-builder'"
)
INDEX = {"vectorBucketName": "media", "indexName": "movies"}


async def nothing(*_: object) -> None: ...


async def ever(_: Scope, __: Receive, ___: Send) -> None:
    await asyncio.sleep(3600)


async def obstinate(_: Scope, __: Receive, ___: Send) -> None:
    """As a statement that PostgreSQL does not give up."""
    try:
        await asyncio.sleep(3600)
    finally:
        await asyncio.sleep(3600)


async def of_its_own(_: Scope, __: Receive, ___: Send) -> None:
    raise TimeoutError


@pytest.mark.parametrize("stations", [ever, obstinate])
async def test_what_takes_too_long_is_a_request_that_timed_out(stations: Application) -> None:
    with pytest.raises(RequestTimeoutException):
        await Deadline(stations, 0.01, 0.01)({}, nothing, nothing)  # type: ignore[arg-type]


async def test_what_does_not_is_as_it_is() -> None:
    await Deadline(nothing, 60)({}, nothing, nothing)  # type: ignore[arg-type]
    with pytest.raises(TimeoutError):
        await Deadline(of_its_own, 60)({}, nothing, nothing)  # type: ignore[arg-type]


@pytest.fixture(scope="module")
def database(copied_database: Callable[[], str]) -> str:
    return copied_database()


@pytest.fixture(scope="module")
def impatient(database: str, settings: Settings, tmp_path_factory: pytest.TempPathFactory) -> Iterator[SignedClient]:
    """A server whose requests have two seconds."""
    with running(
        "--data-dir",
        str(tmp_path_factory.mktemp("impatient") / "data"),
        "--workers",
        "1",
        DATABASE_URL=database,
        REQUEST_TIMEOUT_SECONDS="2",
        ROOT_ACCESS_KEY_ID=settings.root_access_key_id,
        ROOT_SECRET_ACCESS_KEY=settings.root_secret_access_key,
    ) as server:
        server.wait_until_ready()
        client = SignedClient(server.endpoint, settings)
        client.post("/CreateVectorBucket", {"vectorBucketName": "media"})
        client.post("/CreateIndex", INDEX | {"dataType": "float32", "dimension": 1, "distanceMetric": "cosine"})
        yield client


def assert_timed_out(reply: Reply) -> None:
    assert (reply.status, reply.type) == (408, "RequestTimeoutException")
    assert reply.headers["connection"] == "close"
    assert {"date", "x-amzn-requestid"} <= reply.headers.keys()
    assert reply.json == {"message": "The request timed out"}


def test_a_body_that_does_not_come_is_a_request_that_timed_out(impatient: SignedClient) -> None:
    assert_timed_out(impatient.send("POST", "/ListIndexes", headers={"Content-Length": "2"}))


@pytest.mark.parametrize(
    ("path", "members"),
    [
        ("/GetVectors", {"keys": ["a"]}),
        ("/QueryVectors", {"queryVector": {"float32": [1.0]}, "topK": 1}),
        ("/PutVectors", {"vectors": [{"key": "a", "data": {"float32": [1.0]}}]}),
        ("/DeleteVectors", {"keys": ["a"]}),
    ],
)
def test_what_postgresql_keeps_too_long_is_ended_there(
    impatient: SignedClient, database: str, path: str, members: dict[str, Any]
) -> None:
    with psycopg.connect(database) as connection:
        row = connection.execute("SELECT id FROM s3_vectors.vector_indexes").fetchone()
        assert row
        connection.execute(f"LOCK vectors.index_{row[0]}".encode())
        assert_timed_out(impatient.post(path, INDEX | members))
        assert connection.execute(WAITING, [f"vectors.index_{row[0]}"]).rowcount == 0
        connection.rollback()
    assert impatient.post(path, INDEX | members).status == 200
