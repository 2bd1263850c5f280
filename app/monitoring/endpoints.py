"""The routes of the operator's port; unsigned, so that nothing is told there of what clients store."""

from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from typing import Any

from litestar import HttpMethod, Litestar, Response, route

from app.monitoring.health import Health

Lifespan = Callable[[Litestar], AbstractAsyncContextManager[None]]

METHODS = [HttpMethod.GET, HttpMethod.HEAD]
FRESH = {"cache-control": "no-store"}


def create_app(health: Health, lifespan: Lifespan) -> Litestar:
    @route("/livez", http_method=METHODS, sync_to_thread=False)
    def livez() -> Response[dict[str, Any]]:
        return _answer({"alive": health.is_alive}, is_well=health.is_alive)

    @route("/readyz", http_method=METHODS, sync_to_thread=False)
    def readyz() -> Response[dict[str, Any]]:
        return _answer(health.report, is_well=health.is_ready)

    @route("/startupz", http_method=METHODS, sync_to_thread=False)
    def startupz() -> Response[dict[str, Any]]:
        return _answer({"started": health.has_started}, is_well=health.has_started)

    return Litestar([livez, readyz, startupz], lifespan=[lifespan], openapi_config=None, logging_config=None)


def _answer(body: dict[str, Any], *, is_well: bool) -> Response[dict[str, Any]]:
    return Response(body, status_code=200 if is_well else 503, headers=FRESH)
