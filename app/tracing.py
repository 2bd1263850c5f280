"""Traces: a span for each request, and one for each time that it waited for the database; off unless turned on.

Spans are made when a request is over, from what was observed of it.  Until then one that is traced costs what any
other does, and where nothing is traced, nothing of OpenTelemetry is imported.
"""

from importlib.util import find_spec
from typing import Protocol

from app.asgi import Scope
from app.audit import Event
from app.observation import Observation
from app.settings import InvalidSetting, Settings, variable

PACKAGES = ("opentelemetry.sdk", "opentelemetry.exporter.otlp.proto.http")


class Tracing(Protocol):
    def tell(self, event: Event, observation: Observation, scope: Scope) -> None: ...

    def close(self) -> None: ...


def check_installed(settings: Settings) -> None:
    """Told before anything starts."""
    if settings.traces and not all(is_installed(package) for package in PACKAGES):
        raise InvalidSetting(f"{variable('traces')} needs OpenTelemetry: pip install 'pgs3vectors[otel]'.")


def is_installed(package: str) -> bool:
    try:
        return find_spec(package) is not None
    except ModuleNotFoundError:  # of what it lies in
        return False


def open_tracing(settings: Settings) -> Tracing | None:
    if not settings.traces:
        return None
    from app.opentelemetry_spans import Spans  # noqa: PLC0415 - the packages are an extra

    return Spans()
