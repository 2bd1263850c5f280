"""Spans by OpenTelemetry's SDK, which `app.tracing` imports where it is told to trace, and nothing else does.

Names and attributes are those of its semantic conventions.  No span has anything that clients store or search by, and
of who asked there is the account alone: traces often leave the house.
"""

import os
import time
from collections.abc import Mapping

from opentelemetry.context import Context
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor
from opentelemetry.trace import Span, SpanKind, Status, StatusCode, set_span_in_context
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

from app.asgi import Scope
from app.audit import Event
from app.database.statements import numbered
from app.observation import Observation, Wait

Attributes = Mapping[str, str | int | list[str]]

CONTEXT_HEADERS = {b"traceparent", b"tracestate"}
MAX_HEADER = 1_000
MAX_TEXT = 10_000
# Of each request; hardly any waits ten times.
MAX_WAITS = 100


class Spans:
    """Where to, how many and the rest is said by the SDK's own variables: OTEL_EXPORTER_OTLP_ENDPOINT and so on."""

    def __init__(self) -> None:
        named = {} if os.environ.get("OTEL_SERVICE_NAME") else {"service.name": "pgs3vectors"}
        self._provider = TracerProvider(resource=Resource.create({**named, "process.pid": os.getpid()}))
        self._provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter()))
        self._tracer = self._provider.get_tracer("pgs3vectors")
        self._propagator = TraceContextTextMapPropagator()

    def tell(self, event: Event, observation: Observation, scope: Scope) -> None:
        clock = Clock()
        request = self._tracer.start_span(
            event.name or scope["method"][:20],
            self._caller(event, scope),
            SpanKind.SERVER,
            described(event, observation, scope),
            start_time=clock.at(observation.started),
        )
        if request.is_recording():
            context = set_span_in_context(request)
            for wait in (observation.waits or ())[:MAX_WAITS]:
                self._tell_wait(wait, context, clock)
            if observation.status >= 500:
                request.set_status(Status(StatusCode.ERROR))
        request.end(clock.at(observation.started + observation.seconds))

    def close(self) -> None:
        """What was seen is sent first."""
        self._provider.shutdown()

    def _caller(self, event: Event, scope: Scope) -> Context:
        """The caller's trace goes on here, of one whose signature holds: nobody else decides what is sampled."""
        if event.principal is None:
            return Context()
        headers = {
            name.decode(): value[:MAX_HEADER].decode("latin-1")
            for name, value in scope["headers"]
            if name in CONTEXT_HEADERS
        }
        return self._propagator.extract(headers, Context())

    def _tell_wait(self, wait: Wait, context: Context, clock: "Clock") -> None:
        start = clock.at(wait.since)
        span: Span = self._tracer.start_span(name_of(wait), context, SpanKind.CLIENT, asked(wait), start_time=start)
        if wait.error:
            span.set_attribute("error.type", wait.error)
            span.set_status(Status(StatusCode.ERROR))
        span.end(clock.at(wait.since + wait.seconds))


class Clock:
    """What time it was when time.perf_counter said so."""

    def __init__(self) -> None:
        self._offset = time.time_ns() - time.perf_counter_ns()

    def at(self, seconds: float) -> int:
        return self._offset + round(seconds * 1e9)


def described(event: Event, observation: Observation, scope: Scope) -> Attributes:
    attributes: dict[str, str | int | list[str]] = {
        "http.request.method": scope["method"][:20],
        "http.response.status_code": observation.status,
        "aws.request_id": event.request_id,
        "rpc.service": "STS" if event.source == "sts" else "S3Vectors",
    }
    if event.name:
        attributes["rpc.method"] = event.name
    if event.principal is not None:
        attributes["cloud.account.id"] = event.principal.account_id
    if event.error is not None:
        attributes["error.type"] = type(event.error).__name__
    if strategies := observation.strategy_names:
        attributes["pgs3vectors.strategy"] = strategies
    if (vectors := event.vectors) is not None:
        attributes["pgs3vectors.vectors"] = vectors
    return attributes


def name_of(wait: Wait) -> str:
    """Of a statement its first word: there are few."""
    return wait.text.split(None, 1)[0] if wait.text else wait.what


def asked(wait: Wait) -> Attributes:
    """With the text alone: values are parameters."""
    attributes = {"db.system.name": "postgresql"}
    if wait.text:
        attributes["db.query.text"] = numbered(wait.text)[0].decode()[:MAX_TEXT]
    return attributes
