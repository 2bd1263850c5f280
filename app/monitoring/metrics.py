"""What workers count, in memory that they share with the operator's port (`app.shared_folder`).

Labels have few values, whatever clients send: never a name of theirs.
"""

from collections.abc import Callable
from functools import lru_cache
from typing import TypeVar

from msgspec import Struct
from prometheus_client import Counter, Gauge, Histogram

from app.audit import Event
from app.errors import AccessDeniedException, SignatureError
from app.observation import Observation
from app.policy.evaluate import Allow, Decision, ExplicitDeny
from app.shared_folder import accept

SECONDS = (0.001, 0.0025, 0.005, 0.0075, 0.01, 0.025, 0.05, 0.075, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60)
UNKNOWN = "Unknown"

M = TypeVar("M", Counter, Histogram)

accept()

REQUESTS = Counter(
    "pgs3vectors_requests",
    "Requests that were answered; `error` is empty of those that succeeded.",
    ["operation", "status", "error"],
)
DURATION = Histogram(
    "pgs3vectors_request_duration_seconds",
    "From the head of a signed request to the end of its answer.",
    ["operation"],
    buckets=SECONDS,
)
DATABASE_SECONDS = Counter(
    "pgs3vectors_request_database_seconds", "What requests waited for the database, its pool included.", ["operation"]
)
IN_FLIGHT = Gauge("pgs3vectors_requests_in_flight", "Requests that are worked on.", multiprocess_mode="livesum")
VECTORS = Counter("pgs3vectors_vectors", "Vectors that were written, deleted or returned.", ["operation"])
REFUSED = Counter("pgs3vectors_http_refused", "What the HTTP parser refused, which never was a request.")
CUT_OFF = Counter("pgs3vectors_http_cut_off", "Connections that were too slow to ask or to read.")

TEXT_SEARCHES = Counter(
    "pgs3vectors_text_searches", "Searches for texts, alone or with a query vector.", ["with_vector"]
)
SEARCHES = Counter("pgs3vectors_searches", "Searches by the strategy that was chosen.", ["strategy"])
COMPLETED = Counter(
    "pgs3vectors_searches_completed",
    "Searches that found too little and were run again, by the last strategy.",
    ["strategy"],
)
CANDIDATES = Counter("pgs3vectors_search_candidates", "Vectors that approximate searches asked graphs for, at most.")

AUTHENTICATION_FAILURES = Counter(
    "pgs3vectors_authentication_failures", "Requests whose signer could not be established.", ["reason"]
)
DENIALS = Counter(
    "pgs3vectors_authorization_denials", "Requests that no policy allows, or that one denies.", ["decision", "policy"]
)
DATABASE_ERRORS = Counter(
    "pgs3vectors_database_errors",
    "Failures of PostgreSQL by class of SQLSTATE, or `pool` where none was free.",
    ["sqlstate_class"],
)
PACED_SECONDS = Counter("pgs3vectors_writes_paced_seconds", "How long writes have given way to searches.")
SLOW_QUERIES = Counter("pgs3vectors_slow_queries", "Requests with a statement that the operator calls slow.")
AUDIT_LOST = Counter("pgs3vectors_audit_records_lost", "Audit records that could not be written.")

POOL_CONNECTIONS = Gauge(
    "pgs3vectors_pool_connections", "Connections to PostgreSQL.", ["state"], multiprocess_mode="livesum"
)
POOL_MAX = Gauge("pgs3vectors_pool_max_connections", "As many as there may be.", multiprocess_mode="livesum")
POOL_WAITING = Gauge("pgs3vectors_pool_waiting", "Who waits for a connection.", multiprocess_mode="livesum")
POOL_REQUESTS = Counter("pgs3vectors_pool_requests", "How often a connection was asked for.")
POOL_WAITS = Counter("pgs3vectors_pool_waits", "How often none was free.")
POOL_WAIT_SECONDS = Counter("pgs3vectors_pool_wait_seconds", "How long it was waited for one.")
POOL_ERRORS = Counter("pgs3vectors_pool_errors", "How often none came in time, or too many waited already.")


class InFlight(Struct):
    """Of this worker; `app.monitoring.worker_gauges` tells the others."""

    number: int = 0


in_flight = InFlight()


def _found(metric: M) -> Callable[..., M]:
    """What is counted in, by its labels: to look for it each time costs as much as to count."""
    return lru_cache(4096)(metric.labels)


_requests = _found(REQUESTS)
_duration = _found(DURATION)
_database_seconds = _found(DATABASE_SECONDS)
_vectors = _found(VECTORS)
_searches = _found(SEARCHES)
_completed = _found(COMPLETED)


def count_request(event: Event, observation: Observation) -> None:
    operation = event.name or UNKNOWN
    if not isinstance(event.error, SignatureError):  # those of strangers are quick, and would hide slow ones
        _duration(operation).observe(observation.seconds)
    if observation.database_seconds:
        _database_seconds(operation).inc(observation.database_seconds)
    if vectors := event.vectors:
        _vectors(operation).inc(vectors)
    if observation.texts:
        TEXT_SEARCHES.labels("yes" if observation.strategies else "no").inc()
    if observation.strategies:
        _count_search(observation)
    if observation.slowest is not None:
        SLOW_QUERIES.inc()
    if event.error is not None:
        _count_refusal(event)
    # The last, so that whoever sees it sees all of the request.
    _requests(operation, observation.status, "" if event.error is None else type(event.error).__name__).inc()


def _count_search(observation: Observation) -> None:
    first, *again = observation.strategies
    _searches(_named(first)).inc()
    if observation.candidates:
        CANDIDATES.inc(observation.candidates)
    if again:
        _completed(_named(again[-1])).inc()


def _named(strategy: object) -> str:
    return type(strategy).__name__.lower()


def _count_refusal(event: Event) -> None:
    match event.error:
        case SignatureError(reason=reason):
            AUTHENTICATION_FAILURES.labels(reason).inc()
        case AccessDeniedException() if not isinstance(event.decision, Allow | None):
            DENIALS.labels(*_labels(event.decision)).inc()


def _labels(decision: Decision) -> tuple[str, str]:
    return "explicit" if isinstance(decision, ExplicitDeny) else "implicit", decision.source


# Those that alerts look at are there from the start, so that the first failure is an increase.
for _strategy in ("exact", "approximate"):
    SEARCHES.labels(_strategy), COMPLETED.labels(_strategy)
for _class in ("08", "40", "53", "57", "XX", "pool"):
    DATABASE_ERRORS.labels(_class)
