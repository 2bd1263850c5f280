"""What the real server counts of real requests."""

import os
import signal
import socket
import stat
import time
import urllib.error
import urllib.request
from base64 import b64encode
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from uuid import uuid4

import psutil
import psycopg
import pytest
from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials
from botocore.exceptions import ClientError

from app.main import NAMES
from app.monitoring.health import CHECKS
from app.pacing import POLL_SECONDS
from app.settings import Settings
from app.shared_folder import PREFIX, SHARED_MEMORY
from tests.cli.test_workers import two_workers
from tests.conftest import open_directory
from tests.identities import EVERYTHING, Identities, client, deny
from tests.monitoring.figures import Figures
from tests.monitoring.operated_server import ROOT, OperatedServer, operated

DOCUMENTATION = Path(__file__).parents[2] / "docs/operations.md"
MOVIES = {"vectorBucketName": "media", "indexName": "movies"}
ALIEN = {"key": "alien", "data": {"float32": [1.0, 2.0]}, "metadata": {"year": 1979}}


@pytest.fixture(scope="module")
def settings(copied_database: Callable[[], str]) -> Settings:
    return Settings(database_url=copied_database(), key_encryption_key=b64encode(os.urandom(32)).decode())


@pytest.fixture(scope="module")
def server(settings: Settings) -> Iterator[OperatedServer]:
    given = {"KEY_ENCRYPTION_KEY": settings.key_encryption_key, "LOG_LEVEL": "error"}
    with open_directory() as directory, operated(directory / "data", settings.database_url or "", **given) as server:
        server.client.create_vector_bucket(vectorBucketName="media")
        server.client.create_index(**MOVIES, dataType="float32", dimension=2, distanceMetric="cosine")
        server.client.put_vectors(**MOVIES, vectors=[ALIEN])
        server.wait_until("/readyz", 200)
        yield server


def increase(before: Figures, after: Figures, name: str, **labels: str) -> float:
    """From 0 where nothing was counted before."""
    return after(name, **labels) - (before(name, **labels) if before.has(name, **labels) else 0)


def after_requests(number: int, server: OperatedServer, before: Figures) -> Figures:
    """A request is counted when its answer is on its way, and may be answered a moment before."""
    end = time.monotonic() + 30
    while increase(before, after := server.figures, "requests_total") < number and time.monotonic() < end:
        time.sleep(0.02)
    return after


def test_requests_are_counted_by_operation_status_and_error(server: OperatedServer) -> None:
    before = server.figures
    for _ in range(3):
        server.client.query_vectors(**MOVIES, topK=1, queryVector={"float32": [1.0, 1.0]})
    with pytest.raises(ClientError):
        server.client.query_vectors(**MOVIES | {"indexName": "none"}, topK=1, queryVector={"float32": [1.0, 1.0]})
    after = after_requests(4, server, before)
    query = {"operation": "QueryVectors"}
    assert increase(before, after, "requests_total", **query, status="200", error="") == 3
    assert increase(before, after, "requests_total", **query, status="404", error="NotFoundException") == 1
    assert increase(before, after, "request_duration_seconds_count", **query) == 4
    assert increase(before, after, "request_duration_seconds_bucket", **query, le="+Inf") == 4
    seconds = increase(before, after, "request_duration_seconds_sum", **query)
    assert 0 < increase(before, after, "request_database_seconds_total", **query) < seconds
    assert increase(before, after, "searches_total", strategy="exact") == 3
    assert increase(before, after, "vectors_total", **query) == 3


def test_searches_for_texts_are_counted_with_and_without_a_vector(server: OperatedServer) -> None:
    names = {"vectorBucketName": MOVIES["vectorBucketName"], "indexName": "plots"}
    text = {"textSearchConfigurations": [{"metadataKey": "plot"}]}
    server.client.create_index(
        **names, dataType="float32", dimension=2, distanceMetric="cosine", metadataConfiguration=text
    )
    before, asked = server.figures, {"topK": 1, "queryTexts": [{"metadataKey": "plot", "text": "crew"}]}
    server.client.query_vectors(**names, **asked)
    for _ in range(2):
        server.client.query_vectors(**names, **asked, queryVector={"float32": [1.0, 1.0]})
    after = after_requests(3, server, before)
    counted = [increase(before, after, "text_searches_total", with_vector=with_vector) for with_vector in ("no", "yes")]
    assert counted == [1, 2]
    assert increase(before, after, "searches_total", strategy="exact") == 2


def test_writes_that_give_way_to_searches_are_counted(settings: Settings, server: OperatedServer) -> None:
    assert server  # has made the index
    given = {"KEY_ENCRYPTION_KEY": settings.key_encryption_key, "WRITE_RATE_BESIDE_SEARCHES": "2"}
    with (
        open_directory() as directory,
        operated(directory / "data", settings.database_url or "", **given) as pacing,
    ):
        end = time.monotonic() + 60
        while pacing.figures("writes_paced_seconds_total") < POLL_SECONDS and time.monotonic() < end:
            pacing.client.query_vectors(**MOVIES, topK=1, queryVector={"float32": [1.0, 1.0]})
            for _ in range(2):  # the second waits until the turn of the first is over
                pacing.client.put_vectors(**MOVIES, vectors=[ALIEN])
        assert pacing.figures("writes_paced_seconds_total") >= POLL_SECONDS


def test_vectors_are_counted_by_what_was_done_with_them(server: OperatedServer) -> None:
    before, vectors = server.figures, [ALIEN | {"key": f"alien {i}"} for i in range(5)]
    server.client.put_vectors(**MOVIES, vectors=vectors)
    server.client.get_vectors(**MOVIES, keys=["alien 0", "alien 1", "none"])
    server.client.delete_vectors(**MOVIES, keys=["alien 0", "alien 1", "alien 2", "alien 3", "alien 4"])
    with pytest.raises(ClientError):
        server.client.put_vectors(**MOVIES, vectors=[ALIEN | {"data": {"float32": [1.0]}}])
    after = after_requests(4, server, before)
    done = {"PutVectors": 5, "GetVectors": 2, "DeleteVectors": 5}
    assert {name: increase(before, after, "vectors_total", operation=name) for name in done} == done


def test_paths_that_name_no_operation_are_one_label(server: OperatedServer) -> None:
    before = server.figures
    for path in ("/a", "/b", "/QueryVectors/", "/queryvectors"):
        with pytest.raises(urllib.error.HTTPError) as refused:
            urllib.request.urlopen(server.process.endpoint + path)  # noqa: S310 - our own server
        refused.value.close()
    after = after_requests(4, server, before)
    assert increase(before, after, "requests_total", operation="Unknown") == 4
    assert increase(before, after, "authentication_failures_total", reason="unsigned") == 4


@pytest.mark.parametrize(
    ("changed", "reason"),
    [
        ({"aws_secret_access_key": "wrong" * 8}, "wrong_signature"),
        ({"aws_access_key_id": "PGSVAAAAAAAAAAAAAAAA"}, "unknown_key"),
        ({"aws_session_token": "none was given"}, "wrong_token"),
    ],
)
def test_who_could_not_be_established_is_counted_by_reason(
    server: OperatedServer, changed: dict[str, str], reason: str
) -> None:
    before = server.figures
    with pytest.raises(ClientError):
        client(server.process.endpoint, **ROOT | changed).list_vector_buckets()
    assert increase(before, after_requests(1, server, before), "authentication_failures_total", reason=reason) == 1


def test_strangers_do_not_count_in_what_operations_take(server: OperatedServer) -> None:
    before = server.figures
    with pytest.raises(ClientError):
        client(server.process.endpoint, **ROOT | {"aws_secret_access_key": "wrong" * 8}).list_vector_buckets()
    after = after_requests(1, server, before)
    assert increase(before, after, "requests_total", operation="ListVectorBuckets", status="403") == 1
    if after.has("request_duration_seconds_count", operation="ListVectorBuckets"):  # of those who are known
        assert increase(before, after, "request_duration_seconds_count", operation="ListVectorBuckets") == 0


@pytest.mark.parametrize(
    ("statements", "labels"),
    [
        pytest.param([], {"decision": "implicit", "policy": "identity-based"}, id="nothing allows it"),
        pytest.param(
            [EVERYTHING, deny("s3vectors:ListVectorBuckets", "*")],
            {"decision": "explicit", "policy": "identity-based"},
            id="a policy denies it",
        ),
    ],
)
def test_denials_are_counted_by_what_decided(
    server: OperatedServer, identities: Identities, statements: list[dict[str, Any]], labels: dict[str, str]
) -> None:
    user, before = identities.user("000000000000", f"user-{uuid4().hex}", *statements), server.figures
    with pytest.raises(ClientError):
        client(server.process.endpoint, **user).list_vector_buckets()
    assert increase(before, after_requests(1, server, before), "authorization_denials_total", **labels) == 1


def test_failures_of_the_database_are_counted_by_class(server: OperatedServer, settings: Settings) -> None:
    guarded, before = MOVIES | {"indexName": "guarded"}, server.figures
    server.client.create_index(**guarded, dataType="float32", dimension=2, distanceMetric="cosine")
    with psycopg.connect(settings.database_url or "", autocommit=True) as connection:
        named = "SELECT id FROM s3_vectors.vector_indexes WHERE index_name = 'guarded'"
        [(index_id,)] = connection.execute(named).fetchall()
        # What only a request meets: the background reads every table, and puts nothing into any.
        connection.execute(f"ALTER TABLE vectors.index_{index_id} ADD CHECK (key <> 'alien')".encode())
    with pytest.raises(ClientError, match="InternalServerException"):
        server.client.put_vectors(**guarded, vectors=[ALIEN])
    assert increase(before, after_requests(2, server, before), "database_errors_total", sqlstate_class="23") == 1


def test_what_is_no_request_is_counted_apart(server: OperatedServer) -> None:
    before = server.figures
    assert before("http_refused_total") == 0  # the server does not knock at its own door
    with socket.create_connection(("127.0.0.1", server.process.port), timeout=30) as connection:
        connection.sendall(b"no HTTP\r\n\r\n")
        assert connection.recv(12) == b"HTTP/1.1 400"
    after = server.figures
    assert increase(before, after, "http_refused_total") == 1
    assert increase(before, after, "requests_total") == 0


def test_figures_are_of_all_workers_and_outlive_them(server: OperatedServer) -> None:
    start = server.figures
    for _ in range(20):
        server.client.list_vector_buckets()
    before, first = after_requests(20, server, start), two_workers(server.process, set())
    for worker in first:
        os.kill(worker, signal.SIGKILL)
    two_workers(server.process, first)
    between = server.figures
    for _ in range(20):
        server.client.list_vector_buckets()
    after, done = after_requests(20, server, between), {"operation": "ListVectorBuckets", "status": "200"}
    assert increase(before, between, "requests_total") == 0
    assert increase(between, after, "requests_total", **done) == 20
    assert increase(before, after, "worker_deaths_total") == 2
    assert after("workers") == 2


def test_what_a_dead_worker_was_doing_is_forgotten(server: OperatedServer) -> None:
    """Half of a body arrives, and the request is in flight until its worker is killed."""
    with socket.create_connection(("127.0.0.1", server.process.port), timeout=30) as connection:
        request = AWSRequest("POST", f"{server.process.endpoint}/ListVectorBuckets", {"Content-Length": "2"}, b"{}")
        SigV4Auth(Credentials(*ROOT.values()), "s3vectors", "us-east-1").add_auth(request)
        head = "".join(f"{name}: {value}\r\n" for name, value in request.headers.items())
        connection.sendall(f"POST /ListVectorBuckets HTTP/1.1\r\nHost: x\r\n{head}\r\n{{".encode())
        while server.figures("requests_in_flight") == 0:
            time.sleep(0.05)
        for worker in two_workers(server.process, set()):
            os.kill(worker, signal.SIGKILL)

    def is_forgotten(figures: Figures) -> bool:
        """Between the old workers and the new ones nobody has anything to tell."""
        return figures("workers_up") == 2 and figures.has("requests_in_flight") and figures("requests_in_flight") == 0

    while not is_forgotten(server.figures):
        time.sleep(0.05)


def test_no_label_has_a_name_of_a_client(server: OperatedServer) -> None:
    with pytest.raises(ClientError):
        server.client.get_index(vectorBucketName="media", indexName="unheard-of")
    server.wait_for("vector_indexes")
    labels = server.figures.labels
    assert set(labels) <= {
        *("access", "check", "decision", "error", "kind", "le", "operation", "policy", "reason", "sqlstate_class"),
        *("state", "status", "strategy", "with_vector"),
    }
    assert not {value for values in labels.values() for value in values if value in {"media", "movies", "unheard-of"}}
    assert labels["operation"] <= set(NAMES.values()) | {"Unknown"}


def test_a_scrape_tells_how_the_server_and_its_pool_stand(server: OperatedServer) -> None:
    server.wait_until("/readyz", 200)
    server.client.list_vector_buckets()
    while (figures := server.figures)("pool_connections") == 0:
        time.sleep(0.05)
    assert 0 < figures("pool_connections") <= figures("pool_max_connections") == 20
    assert figures("pool_waiting") <= figures("pool_waits_total") <= figures("pool_requests_total")
    assert (figures("ready"), figures("workers")) == (1, 2)
    assert {name: figures("check", check=name) for name in CHECKS} == dict.fromkeys(CHECKS, 1)


def test_the_files_of_the_figures_go_with_the_server(copied_database: Callable[[], str], data_dir: Path) -> None:
    with operated(data_dir, copied_database()) as server:
        [folder] = folders_of(server)
        assert stat.S_IMODE(folder.stat().st_mode) == 0o700
        server.process.terminate()
        assert not folder.exists()


def test_every_metric_is_documented(server: OperatedServer) -> None:
    server.wait_for("vector_indexes")
    families = {line.split()[2] for line in server.figures.text.splitlines() if line.startswith("# TYPE")}
    assert len(families) > 30
    assert {name for name in families if f"`{name}" not in DOCUMENTATION.read_text()} == set()


def folders_of(server: OperatedServer) -> set[Path]:
    """Whose files it has open; other tests have servers too."""
    files = psutil.Process(server.process.process.pid).open_files()
    return {Path(file.path).parent for file in files if file.path.startswith(f"{SHARED_MEMORY / PREFIX}")}
