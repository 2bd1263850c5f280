import json
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import psycopg
import pytest
import structlog
from botocore.exceptions import ClientError
from pgvector import Vector

from app.audit import Event
from app.database.strategy import Approximate
from app.observation import Observation, SlowStatement
from app.slow_queries import BURST, MAX_PARAMETERS, MAX_SQL, SlowQueries, shortened
from tests.conftest import open_directory
from tests.identities import client
from tests.monitoring.operated_server import ROOT
from tests.server_process import ServerProcess, running, until

MOVIES = {"vectorBucketName": "media", "indexName": "movies"}


def slow(text: str = "SELECT 1", **values: Any) -> Observation:
    return Observation(slowest=SlowStatement(1.5, text, values, 4711), seconds=2)


@pytest.fixture
def lines() -> Iterator[list[Any]]:
    with structlog.testing.capture_logs() as captured:
        yield captured


def test_a_line_says_what_was_asked_and_how_it_was_searched(lines: list[Any]) -> None:
    text = "SELECT key FROM vectors.index_1 WHERE metadata @> %(filter)b ORDER BY embedding <-> %(query)b LIMIT 10"
    observation = slow(text, query=Vector([1, 2, 3, 4]), filter='{"year": 1979}', other="left out")
    observation.strategies, observation.matches = [Approximate(160)], 42
    event = Event(request_id="1-2", name="QueryVectors", resources=["arn:aws:s3vectors:...:index/movies"])
    SlowQueries(1000).tell(event, observation)
    assert lines == [
        {
            "event": "slow_query",
            "log_level": "warning",
            "id": "1-2",
            "operation": "QueryVectors",
            "principal": "",
            "resources": ["arn:aws:s3vectors:...:index/movies"],
            "ms": 1500.0,
            "request_ms": 2000,
            "backend_pid": 4711,
            "strategies": [{"type": "Approximate", "ef_search": 160, "iterative": False, "candidates": 0}],
            "estimated_matches": 42,
            "sql": "SELECT key FROM vectors.index_1 WHERE metadata @> $1 ORDER BY embedding <-> $2 LIMIT 10",
            "parameters": {"$1": '{"year": 1979}', "$2": "4 numbers"},
        }
    ]


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        ("short", "short"),
        ("x" * 1_000, "x" * 200 + "..., 1000 characters"),
        ([Vector([1, 2])] * 500, "500 values"),
        (["key 1", "key 2"], "2 values"),
        (b"sealed", "6 bytes"),
        (3.5, 3.5),
        (None, None),
    ],
    ids=lambda value: str(value)[:20],
)
def test_parameters_are_shortened(value: object, shown: object) -> None:
    assert shortened(value) == shown


def test_a_line_has_an_end_whatever_is_filtered_by(lines: list[Any]) -> None:
    names = [f"p{i}" for i in range(1_024)]
    text = " AND ".join(f"metadata @@ %({name})b" for name in names)
    SlowQueries(1).tell(Event(), slow(text, **dict.fromkeys(names, "x" * 40_000)))
    [line] = lines
    assert len(line["sql"]) == MAX_SQL
    assert (len(line["parameters"]), line["parameters_left_out"]) == (MAX_PARAMETERS, 1_024 - MAX_PARAMETERS)
    assert len(json.dumps(line)) < 40_000


def test_lines_that_come_too_fast_are_counted_instead(lines: list[Any], monkeypatch: pytest.MonkeyPatch) -> None:
    now = 1_000.0
    monkeypatch.setattr("app.slow_queries.time.monotonic", lambda: now)
    log = SlowQueries(1)
    for _ in range(BURST + 7):
        log.tell(Event(), slow())
    assert len(lines) == BURST
    now += 1
    log.tell(Event(), slow())
    log.tell(Event(), slow())
    assert [line.get("left_out_before") for line in lines[BURST - 1 :]] == [None, 7]


def test_nothing_is_slow_unless_the_operator_says_so() -> None:
    assert SlowQueries(0).seconds == float("inf")
    assert SlowQueries(250).seconds == 0.25


@pytest.fixture(scope="module")
def database_url(copied_database: Callable[[], str]) -> str:
    return copied_database()


@pytest.fixture(scope="module")
def server(database_url: str) -> Iterator[ServerProcess]:
    settings = {
        "DATABASE_URL": database_url,
        "ROOT_ACCESS_KEY_ID": ROOT["aws_access_key_id"],
        "ROOT_SECRET_ACCESS_KEY": ROOT["aws_secret_access_key"],
        "LOG_FORMAT": "json",
        "LOG_LEVEL": "warning",
        "SLOW_QUERY_MILLISECONDS": "200",
        "STATEMENT_TIMEOUT_SECONDS": "2",
    }
    with open_directory() as directory, running("--data-dir", str(directory / "data"), **settings) as server:
        server.wait_until_ready()
        root = client(server.endpoint, **ROOT)
        root.create_vector_bucket(vectorBucketName="media")
        root.create_index(**MOVIES, dataType="float32", dimension=2, distanceMetric="cosine")
        yield server


@contextmanager
def held_up(database_url: str) -> Iterator[None]:
    """Whoever reads or writes vectors waits meanwhile."""
    with psycopg.connect(database_url) as connection:
        connection.execute("LOCK TABLE vectors.index_1 IN ACCESS EXCLUSIVE MODE")
        yield


def slow_line(server: ServerProcess) -> dict[str, Any]:
    for line in until(server.lines, "never"):
        if '"slow_query"' in line:
            fields: dict[str, Any] = json.loads(line)
            return fields
    raise AssertionError


def test_a_statement_that_ran_into_its_time_limit_is_told(server: ServerProcess, database_url: str) -> None:
    root = client(server.endpoint, **ROOT)
    query = {"topK": 3, "queryVector": {"float32": [0.123456, 1.0]}, "filter": {"year": {"$gte": 1979}}}
    with held_up(database_url), pytest.raises(ClientError, match="RequestTimeout") as refused:
        root.query_vectors(**MOVIES, **query)
    line = slow_line(server)
    assert line["id"] == refused.value.response["ResponseMetadata"]["RequestId"]
    assert (line["operation"], line["principal"]) == ("QueryVectors", "arn:aws:iam::000000000000:root")
    assert line["resources"][0].endswith(":bucket/media/index/movies")
    assert "vectors.index_1" in line["sql"]
    assert "1979" in str(line["parameters"])
    assert "2 numbers" in line["parameters"].values()
    assert "123456" not in json.dumps(line)
    assert line["ms"] >= 1900


def test_a_batch_that_waited_is_told_without_what_was_in_it(server: ServerProcess, database_url: str) -> None:
    root = client(server.endpoint, **ROOT)
    record = {"data": {"float32": [0.123456, 2.0]}, "metadata": {"plot": "secret"}}
    vectors = [{"key": f"key {i}", **record} for i in range(9)]
    pids: list[int] = []
    with held_up(database_url):
        writing = threading.Thread(target=root.put_vectors, kwargs={**MOVIES, "vectors": vectors})
        writing.start()
        with psycopg.connect(database_url, autocommit=True) as watch:
            waits = (
                "SELECT pid FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND query LIKE 'INSERT%'"
                " AND clock_timestamp() > query_start + interval '0.3 s'"
            )
            while not pids:
                pids = [row[0] for row in watch.execute(waits)]
    writing.join()
    line = slow_line(server)
    assert (line["operation"], [line["backend_pid"]]) == ("PutVectors", pids)
    of_batch = {value for value in line["parameters"].values() if not isinstance(value, int)}  # ids are no secrets
    assert of_batch == {"9 values"}
    assert not [word for word in ("secret", "key 1", "123456") if word in json.dumps(line)]
