"""The routes of the operator's port; unsigned, so that nothing is told there of what clients store."""

from typing import Any

from litestar import HttpMethod, Litestar, Response, route
from prometheus_client.exposition import CONTENT_TYPE_PLAIN_0_0_4, generate_latest
from prometheus_client.registry import Collector

from app.monitoring.health import Health

METHODS = [HttpMethod.GET, HttpMethod.HEAD]
FRESH = {"cache-control": "no-store"}


def create_app(health: Health, registry: Collector) -> Litestar:
    @route("/livez", http_method=METHODS, sync_to_thread=False)
    def livez() -> Response[dict[str, Any]]:
        return _answer({"alive": health.is_alive}, is_well=health.is_alive)

    @route("/readyz", http_method=METHODS, sync_to_thread=False)
    def readyz() -> Response[dict[str, Any]]:
        return _answer(health.report, is_well=health.is_ready)

    @route("/startupz", http_method=METHODS, sync_to_thread=False)
    def startupz() -> Response[dict[str, Any]]:
        return _answer({"started": health.has_started}, is_well=health.has_started)

    @route("/metrics", http_method=METHODS, sync_to_thread=False)
    def metrics() -> Response[bytes]:
        return Response(generate_latest(registry), media_type=CONTENT_TYPE_PLAIN_0_0_4, headers=FRESH)

    return Litestar([livez, readyz, startupz, metrics], openapi_config=None, logging_config=None)


def _answer(body: dict[str, Any], *, is_well: bool) -> Response[dict[str, Any]]:
    return Response(body, status_code=200 if is_well else 503, headers=FRESH)
