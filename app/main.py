"""The application: a request goes through telemetry, authentication, and the operation that its path names."""

from datetime import timedelta
from typing import cast

from litestar import Litestar
from litestar.datastructures import State

from app import sts
from app.arrivals import Arrivals
from app.asgi import Application, Receive, Scope, Send
from app.authentication import Authentication
from app.deadline import Deadline
from app.failed_authentication import FailedAuthentication
from app.operations import (
    index_modes,
    indexes,
    metadata_configuration,
    query_vectors,
    tags,
    vector_bucket_policies,
    vector_buckets,
    vectors,
)
from app.rate_limits import TokenBuckets
from app.rendering import litestar_response
from app.request_log import request_log
from app.server import Server
from app.settings import Settings
from app.slow_queries import SlowQueries
from app.telemetry import Telemetry
from app.telling import Telling
from app.wire import Route

OPERATIONS = [
    vector_buckets.create_vector_bucket,
    vector_buckets.get_vector_bucket,
    vector_buckets.list_vector_buckets,
    vector_buckets.delete_vector_bucket,
    vector_bucket_policies.put_vector_bucket_policy,
    vector_bucket_policies.get_vector_bucket_policy,
    vector_bucket_policies.delete_vector_bucket_policy,
    indexes.create_index,
    indexes.get_index,
    indexes.list_indexes,
    indexes.delete_index,
    index_modes.update_index_mode,
    index_modes.put_vector_bucket_default_index_mode,
    metadata_configuration.update_metadata_configuration,
    vectors.put_vectors,
    vectors.get_vectors,
    vectors.list_vectors,
    vectors.delete_vectors,
    query_vectors.query_vectors,
    tags.tag_resource,
    tags.untag_resource,
    tags.list_tags_for_resource,
]

NAMES: dict[Route | None, str] = {o.opt["route"]: str(o.name) for o in [*OPERATIONS, sts.get_caller_identity]}


def create_app(settings: Settings) -> Application:
    server = Server(settings)
    telling = Telling(request_log(settings), SlowQueries(settings.slow_query_milliseconds), server.tracing)
    litestar = Litestar(
        route_handlers=[*OPERATIONS, sts.get_caller_identity],
        exception_handlers={Exception: litestar_response},
        lifespan=[lambda _: server.running(), lambda _: telling.running()],
        state=State({"server": server}, deep_copy=False),
        openapi_config=None,
        logging_config=None,
        request_max_body_size=None,  # app.wire has counted it
    )
    operations = cast("Application", litestar)
    authentication = Authentication(
        operations=operations,
        names=NAMES,
        cache=server.cache,
        last_use=server.last_use,
        arrivals=Arrivals(),
        failures=FailedAuthentication(),
        rate_limits=None if settings.rate is None else TokenBuckets(settings.rate),
        region=settings.region,
        skew=timedelta(seconds=settings.clock_skew_seconds),
        trusted_proxies=settings.trusted_networks,
    )
    stations = Telemetry(
        Deadline(authentication, settings.request_timeout_seconds),
        region=settings.region,
        audit_log=server.audit_log,
        telling=telling,
    )

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http":
            await stations(scope, receive, send)
        elif scope["type"] == "lifespan":
            await operations(scope, receive, send)
        else:  # no WebSockets here
            await send({"type": "websocket.close", "code": 1000, "reason": ""})

    return app
