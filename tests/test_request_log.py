import json
import socket
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest

from app.asgi import Scope
from app.audit import Event
from app.database.strategy import Approximate, Exact
from app.errors import NotFoundException
from app.observation import Observation
from app.request_log import Line, line_of, readable
from tests.conftest import open_directory
from tests.identities import client
from tests.monitoring.operated_server import ROOT
from tests.server_process import ServerProcess, running, until

MOVIES = {"vectorBucketName": "media", "indexName": "movies"}
HOSTILE = ["\r\nforged", "\x1b[2J", "\x00", "\x7f", "\x9b31m", "\xa0", "\u202e", "é", '"}\\', "\udc80"]
SCOPE: Scope = {"method": "POST", "raw_path": b"/QueryVectors"}


def line(event: Event, observation: Observation | None = None, scope: Scope = SCOPE) -> Line:
    return line_of(event, observation or Observation(status=200, seconds=0.0123456), scope)


def decoded(line: Line) -> dict[str, Any]:
    fields: dict[str, Any] = json.loads(msgspec.json.encode(line))
    return fields


def test_a_line_says_what_was_observed_and_leaves_out_what_was_not() -> None:
    event = Event(name="ListVectorBuckets")
    expected = {"level": "info", "event": "request", "id": event.request_id, "status": 200, "ms": 12.35}
    assert decoded(line(event)).items() >= (expected | {"operation": "ListVectorBuckets"}).items()
    assert set(decoded(line(event))) == {*expected, "operation", "timestamp"}


@pytest.mark.parametrize(
    ("observation", "expected"),
    [
        (Observation(database_seconds=0.0021), {"database_ms": 2.1}),
        (Observation(received_bytes=7, sent_bytes=900), {"bytes_in": 7, "bytes_out": 900}),
        (Observation(strategies=[Exact("why")]), {"strategy": "exact"}),
        (Observation(strategies=[Approximate(160), Exact("why")]), {"strategy": "approximate,exact"}),
    ],
)
def test_what_a_request_cost_is_told(observation: Observation, expected: dict[str, Any]) -> None:
    assert decoded(line(Event(name="QueryVectors"), observation)).items() >= expected.items()


def test_an_error_is_told_by_its_type() -> None:
    assert decoded(line(Event(name="GetIndex", error=NotFoundException("secret"))))["error"] == "NotFoundException"
    assert "secret" not in readable(line(Event(name="GetIndex", error=NotFoundException("secret"))))


@pytest.mark.parametrize("text", HOSTILE, ids=ascii)
def test_a_line_is_one_line_of_ascii_whatever_a_client_sends(text: str) -> None:
    path = f"/{text}".encode("utf-8", "surrogatepass")
    hostile = line(Event(), scope={"method": "GET", "raw_path": path})
    for written in (msgspec.json.encode(hostile).decode(), readable(hostile)):
        assert written.isascii()
        assert written.isprintable()
    assert decoded(hostile)["method"] == "GET"


def test_no_line_is_longer_than_a_pipe_takes_at_once() -> None:
    longest = line(Event(), scope={"method": "M" * 9_000, "raw_path": b"\x00" * 9_000})
    assert max(len(msgspec.json.encode(longest)), len(readable(longest))) < 4_096


@pytest.mark.parametrize(
    ("event", "observation", "expected"),
    [
        (Event(request_id="1", name="GetIndex"), Observation(status=200), "id=1 status=200 operation=GetIndex"),
        (Event(request_id="2"), Observation(status=404), "id=2 status=404 ms=0 method=POST path=/QueryVectors"),
    ],
)
def test_people_read_the_same(event: Event, observation: Observation, expected: str) -> None:
    observation.seconds = 0
    shown = readable(line(event, observation)).replace(" ms=0 operation", " operation")
    assert shown.split("] ")[1].split() == ["request", *expected.split()]


@pytest.fixture(scope="module")
def server(copied_database: Callable[[], str]) -> Iterator[ServerProcess]:
    """With one worker, so that lines come in the order of requests."""
    settings = {
        "DATABASE_URL": copied_database(),
        "ROOT_ACCESS_KEY_ID": ROOT["aws_access_key_id"],
        "ROOT_SECRET_ACCESS_KEY": ROOT["aws_secret_access_key"],
        "LOG_FORMAT": "json",
    }
    with (
        open_directory() as directory,
        running("--data-dir", str(directory / "data"), "--workers", "1", **settings) as server,
    ):
        server.wait_until_ready()
        root = client(server.endpoint, **ROOT)
        root.create_vector_bucket(vectorBucketName="media")
        root.create_index(**MOVIES, dataType="float32", dimension=2, distanceMetric="cosine")
        assert [next_line(server)["operation"] for _ in range(2)] == ["CreateVectorBucket", "CreateIndex"]
        yield server


def next_line(server: ServerProcess) -> dict[str, Any]:
    *_, written = until(server.lines, '{"timestamp"')
    fields: dict[str, Any] = json.loads(written)
    return fields


def test_the_server_writes_a_line_for_each_request(server: ServerProcess) -> None:
    root = client(server.endpoint, **ROOT)
    vectors = [{"key": "alien", "data": {"float32": [0.123456, 2.0]}, "metadata": {"year": 1979}}]
    answer = root.put_vectors(**MOVIES, vectors=vectors)
    put = next_line(server)
    assert put["id"] == answer["ResponseMetadata"]["RequestId"]
    assert (put["event"], put["operation"], put["status"], put["vectors"]) == ("request", "PutVectors", 200, 1)
    assert put["principal"] == "arn:aws:iam::000000000000:root"
    assert 0 < put["database_ms"] < put["ms"]
    assert put["bytes_in"] > 50
    assert "123456" not in json.dumps(put)
    root.query_vectors(**MOVIES, topK=1, queryVector={"float32": [1.0, 0.0]})
    query = next_line(server)
    assert (query["operation"], query["strategy"], query["vectors"]) == ("QueryVectors", "exact", 1)
    assert query["bytes_out"] > 10


def test_the_server_tells_of_strangers_what_they_asked_for(server: ServerProcess) -> None:
    with socket.create_connection(("127.0.0.1", server.port), timeout=30) as connection:
        connection.sendall(b"GET /%1b[2J HTTP/1.1\r\nHost: x\r\n\r\n")
        assert connection.recv(12) == b"HTTP/1.1 403"
    stranger = next_line(server)
    assert (stranger["method"], stranger["path"], stranger["status"]) == ("GET", "/%1b[2J", 403)
    assert stranger["error"] == "MissingAuthenticationTokenException"
    assert "operation" not in stranger


def test_requests_are_not_logged_where_the_level_is_higher(data_dir: Path, own_database_url: str) -> None:
    with running("--data-dir", str(data_dir), DATABASE_URL=own_database_url, LOG_LEVEL="warning") as server:
        server.wait_until_ready()
        with socket.create_connection(("127.0.0.1", server.port), timeout=30) as connection:
            connection.sendall(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
            assert connection.recv(12) == b"HTTP/1.1 403"
        server.terminate()
        assert "request" not in server.rest()
