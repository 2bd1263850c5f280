"""Spans of the real server, as OpenTelemetry's own exporter sends them to a collector."""

import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from queue import Queue
from threading import Thread
from typing import Any

import psycopg
import pytest
from botocore.exceptions import ClientError
from msgspec import Struct
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.trace.v1.trace_pb2 import Span, Status

from app.settings import InvalidSetting, Settings
from app.tracing import check_installed
from scripts.testbed.ports import free_port
from tests.conftest import open_directory
from tests.identities import client
from tests.monitoring.operated_server import ROOT
from tests.server_process import ServerProcess, environment, running
from tests.signed import SignedClient

MOVIES = {"vectorBucketName": "media", "indexName": "movies"}
TRACE, CALLER = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"


class Trace(Struct):
    request: Span
    waits: list[Span]
    service: str

    @property
    def attributes(self) -> dict[str, Any]:
        return attributes_of(self.request)


def attributes_of(span: Span) -> dict[str, Any]:
    found = {}
    for attribute in span.attributes:
        kind = attribute.value.WhichOneof("value")
        value = getattr(attribute.value, kind)
        found[attribute.key] = [item.string_value for item in value.values] if kind == "array_value" else value
    return found


class Collector:
    """Takes OTLP over HTTP, as an OpenTelemetry collector does."""

    def __init__(self) -> None:
        self.received: Queue[tuple[str, bytes]] = Queue()
        self._kept: list[tuple[str, Span]] = []

    def take(self) -> None:
        path, body = self.received.get(timeout=30)
        assert path == "/v1/traces"
        for resource in ExportTraceServiceRequest.FromString(body).resource_spans:
            [service] = [a.value.string_value for a in resource.resource.attributes if a.key == "service.name"]
            self._kept += [(service, span) for scope in resource.scope_spans for span in scope.spans]

    def has(self, request_id: str) -> bool:
        return any(attributes_of(span).get("aws.request_id") == request_id for _, span in self._kept)

    def trace_of(self, request_id: str) -> Trace:
        """Of its spans, that of the request is the last to be sent."""
        while True:
            for service, span in self._kept:
                if attributes_of(span).get("aws.request_id") == request_id:
                    waits = [other for _, other in self._kept if other.parent_span_id == span.span_id]
                    return Trace(span, waits, service)
            self.take()


@contextmanager
def collecting() -> Iterator[tuple[Collector, str]]:
    collector = Collector()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            collector.received.put((self.path, self.rfile.read(int(self.headers["content-length"]))))
            self.send_response(200)
            self.end_headers()

        def log_message(self, *_: Any) -> None: ...

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        Thread(target=server.serve_forever, daemon=True).start()
        yield collector, f"http://127.0.0.1:{server.server_port}"
        server.shutdown()


def settings(database_url: str) -> dict[str, str]:
    return {
        "DATABASE_URL": database_url,
        "ROOT_ACCESS_KEY_ID": ROOT["aws_access_key_id"],
        "ROOT_SECRET_ACCESS_KEY": ROOT["aws_secret_access_key"],
        "STATEMENT_TIMEOUT_SECONDS": "2",
        "LOG_LEVEL": "warning",
        "TRACES": "on",
    }


@pytest.fixture(scope="module")
def database_url(copied_database: Callable[[], str]) -> str:
    return copied_database()


@pytest.fixture(scope="module")
def collected(database_url: str) -> Iterator[tuple[ServerProcess, Collector]]:
    """The server sends what it has seen a hundred times a second."""
    with pytest.MonkeyPatch.context() as patched, open_directory() as directory, collecting() as (collector, endpoint):
        patched.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", endpoint)
        patched.setenv("OTEL_BSP_SCHEDULE_DELAY", "10")
        with running("--data-dir", str(directory / "data"), "--workers", "1", **settings(database_url)) as server:
            server.wait_until_ready()
            root = client(server.endpoint, **ROOT)
            root.create_vector_bucket(vectorBucketName="media")
            root.create_index(**MOVIES, dataType="float32", dimension=2, distanceMetric="cosine")
            yield server, collector


@pytest.fixture
def server(collected: tuple[ServerProcess, Collector]) -> ServerProcess:
    return collected[0]


@pytest.fixture
def collector(collected: tuple[ServerProcess, Collector]) -> Collector:
    return collected[1]


@pytest.fixture
def signed(server: ServerProcess) -> SignedClient:
    keys = {"root_access_key_id": ROOT["aws_access_key_id"], "root_secret_access_key": ROOT["aws_secret_access_key"]}
    return SignedClient(server.endpoint, Settings(**keys))  # type: ignore[arg-type]


def test_a_request_has_a_span_and_one_for_each_wait_for_the_database(
    server: ServerProcess, collector: Collector
) -> None:
    query = {"topK": 1, "queryVector": {"float32": [0.123456, 1.0]}, "filter": {"plot": "secret"}}
    root = client(server.endpoint, **ROOT)
    root.query_vectors(**MOVIES, **query)  # which makes the index known
    answer = root.query_vectors(**MOVIES, **query)
    request_id = answer["ResponseMetadata"]["RequestId"]
    trace = collector.trace_of(request_id)
    assert (trace.request.name, trace.request.kind, trace.service) == (
        "QueryVectors",
        Span.SPAN_KIND_SERVER,
        "pgs3vectors",
    )
    assert trace.request.parent_span_id == b""
    assert trace.attributes == {
        "http.request.method": "POST",
        "http.response.status_code": 200,
        "aws.request_id": request_id,
        "rpc.service": "S3Vectors",
        "rpc.method": "QueryVectors",
        "cloud.account.id": "000000000000",
        "pgs3vectors.strategy": ["exact"],
        "pgs3vectors.vectors": 0,
    }
    assert sorted(wait.name for wait in trace.waits) == ["SELECT", "generation", "pool"]
    assert {wait.kind for wait in trace.waits} == {Span.SPAN_KIND_CLIENT}
    moments = [moment for wait in trace.waits for moment in (wait.start_time_unix_nano, wait.end_time_unix_nano)]
    assert trace.request.start_time_unix_nano < min(moments) <= max(moments) <= trace.request.end_time_unix_nano
    [sql] = [attributes_of(wait) for wait in trace.waits if wait.name == "SELECT"]
    assert sql["db.system.name"] == "postgresql"
    assert "vectors.index_1" in sql["db.query.text"]
    assert "$1" in sql["db.query.text"]
    assert not [word for word in ("123456", "secret") if word in str([trace.request, *trace.waits])]


def test_a_trace_goes_on_where_the_caller_names_one(
    server: ServerProcess, collector: Collector, signed: SignedClient
) -> None:
    del server
    reply = signed.post("/ListVectorBuckets", {}, traceparent=f"00-{TRACE}-{CALLER}-01", tracestate="other=1")
    request = collector.trace_of(reply.headers["x-amzn-requestid"]).request
    assert (request.trace_id.hex(), request.parent_span_id.hex()) == (TRACE, CALLER)
    assert request.trace_state == "other=1"


@pytest.mark.parametrize(
    "header",
    ["nonsense", f"00-{'0' * 32}-{CALLER}-01", f"00-{TRACE}-{CALLER}", "x" * 9_000, "\x85" * 50],
    ids=["no trace", "zero", "short", "long", "not ASCII"],
)
def test_what_names_no_trace_begins_one(collector: Collector, signed: SignedClient, header: str) -> None:
    reply = signed.post("/ListVectorBuckets", {}, traceparent=header)
    assert reply.status == 200
    assert collector.trace_of(reply.headers["x-amzn-requestid"]).request.parent_span_id == b""


def test_a_caller_who_does_not_sample_is_not_traced(collector: Collector, signed: SignedClient) -> None:
    unsampled = signed.post("/ListVectorBuckets", {}, traceparent=f"00-{TRACE}-{CALLER}-00")
    sampled = signed.post("/ListVectorBuckets", {}, traceparent=f"00-{TRACE}-{CALLER}-01")
    assert collector.trace_of(sampled.headers["x-amzn-requestid"])
    assert not collector.has(unsampled.headers["x-amzn-requestid"])


def test_a_stranger_decides_about_no_trace(collector: Collector, signed: SignedClient) -> None:
    reply = signed.unsigned("POST", "/GetIndex", b"{}", {"traceparent": f"00-{TRACE}-{CALLER}-00"})
    trace = collector.trace_of(reply.headers["x-amzn-requestid"])
    assert trace.request.trace_id.hex() != TRACE
    assert trace.attributes["error.type"] == "MissingAuthenticationTokenException"
    assert "cloud.account.id" not in trace.attributes


def test_a_mistake_of_the_client_is_no_failure_of_ours(collector: Collector, signed: SignedClient) -> None:
    reply = signed.post("/GetIndex", MOVIES | {"indexName": "unheard-of"})
    trace = collector.trace_of(reply.headers["x-amzn-requestid"])
    assert trace.attributes["error.type"] == "NotFoundException"
    assert trace.request.status.code == Status.STATUS_CODE_UNSET


def test_a_statement_that_failed_says_so(server: ServerProcess, collector: Collector, database_url: str) -> None:
    query = {"topK": 1, "queryVector": {"float32": [0.5, 1.0]}}
    with psycopg.connect(database_url) as connection:
        connection.execute("LOCK TABLE vectors.index_1 IN ACCESS EXCLUSIVE MODE")
        with pytest.raises(ClientError, match="RequestTimeout") as refused:
            client(server.endpoint, **ROOT).query_vectors(**MOVIES, **query)
    trace = collector.trace_of(refused.value.response["ResponseMetadata"]["RequestId"])
    failed = [wait for wait in trace.waits if wait.status.code == Status.STATUS_CODE_ERROR]
    assert [attributes_of(wait)["error.type"] for wait in failed] == ["QueryCanceled"]


def test_what_was_seen_is_sent_before_the_server_ends(
    data_dir: Path, own_database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    with collecting() as (collector, endpoint):
        monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", endpoint)
        monkeypatch.setenv("OTEL_SERVICE_NAME", "vectors")
        monkeypatch.setenv("OTEL_BSP_SCHEDULE_DELAY", "3600000")
        with running("--data-dir", str(data_dir), "--workers", "1", **settings(own_database_url)) as server:
            server.wait_until_ready()
            answer = client(server.endpoint, **ROOT).list_vector_buckets()
            assert server.terminate() == 0
        trace = collector.trace_of(answer["ResponseMetadata"]["RequestId"])
    assert trace.service == "vectors"
    assert [wait.name for wait in trace.waits] == ["generation", "transaction"]


def test_without_a_collector_requests_are_answered_and_the_server_ends(
    data_dir: Path, own_database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", f"http://127.0.0.1:{free_port()}")
    with running("--data-dir", str(data_dir), "--workers", "1", **settings(own_database_url)) as server:
        server.wait_until_ready()
        assert client(server.endpoint, **ROOT).list_vector_buckets()["vectorBuckets"] == []
        assert server.terminate() == 0
        assert "worker_killed" not in server.rest()


IMPORTING = """
import sys
import app.main, app.worker
from app.settings import Settings
from app.tracing import open_tracing
tracing = open_tracing(Settings(traces={traces}))
print(any(name.startswith("opentelemetry") for name in sys.modules))
if tracing:
    tracing.close()
"""


@pytest.mark.parametrize("traces", [False, True])
def test_nothing_of_it_is_imported_unless_it_is_on(traces: bool) -> None:  # noqa: FBT001
    done = subprocess.run(  # noqa: S603 - our own code
        [sys.executable, "-c", IMPORTING.format(traces=traces)],
        env=environment(),
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.strip() == str(traces)


WITHOUT_PACKAGES = """
import sys
sys.modules["opentelemetry"] = None
from app.cli import main
sys.argv = ["pgs3vectors", "serve"]
main()
"""


def test_without_the_packages_the_operator_is_told_which() -> None:
    refused = subprocess.run(  # noqa: S603 - our own code
        [sys.executable, "-c", WITHOUT_PACKAGES],
        env=environment(TRACES="on"),
        capture_output=True,
        text=True,
        check=False,
    )
    assert refused.returncode == 1
    told = "pgs3vectors: PGS3VECTORS_TRACES needs OpenTelemetry: pip install 'pgs3vectors[otel]'."
    assert refused.stderr.strip() == told


def test_nobody_needs_the_packages_who_traces_nothing() -> None:
    check_installed(Settings(traces=False))
    check_installed(Settings(traces=True))
    with pytest.raises(InvalidSetting, match="PGS3VECTORS_TRACES must be on or off"):
        Settings.from_environment({"PGS3VECTORS_TRACES": "otlp"})
