"""The application: a request goes through telemetry, authentication, and the operation that its path names."""

import asyncio
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import timedelta
from functools import partial
from typing import cast

from litestar import Litestar

from app.arns import Account
from app.asgi import Application, Receive, Scope, Send
from app.authentication import Authentication
from app.credentials import root_credentials
from app.database import catalog
from app.database.deletion import Deletion
from app.database.engine import Database
from app.operations import indexes, query_vectors, tags, vector_bucket_policies, vector_buckets, vectors
from app.page_tokens import PageTokens
from app.parent_death import die_with_parent
from app.rendering import litestar_response
from app.server import Server
from app.settings import Settings
from app.telemetry import Telemetry
from app.wire import check_route

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
    vectors.put_vectors,
    vectors.get_vectors,
    vectors.list_vectors,
    vectors.delete_vectors,
    query_vectors.query_vectors,
    tags.tag_resource,
    tags.untag_resource,
    tags.list_tags_for_resource,
]

# Of the model of November 2026; answered by name until they are served.
NOT_SERVED = frozenset({b"/UpdateIndexMode", b"/PutVectorBucketDefaultIndexMode", b"/UpdateMetadataConfiguration"})

ROUTES = frozenset((method, path.encode()) for o in OPERATIONS for method in o.http_methods for path in o.paths)


def application() -> Application:
    """The factory that granian calls in each worker."""
    die_with_parent()
    return create_app(Settings.from_environment(os.environ))


def create_app(settings: Settings) -> Application:
    home = Account(settings.account_id, settings.region)
    litestar = Litestar(
        route_handlers=OPERATIONS,
        exception_handlers={Exception: litestar_response},
        lifespan=[partial(_lifespan, settings=settings)],
        openapi_config=None,
        logging_config=None,
        request_max_body_size=None,  # app.wire has counted it
    )
    operations = cast("Application", litestar)
    authentication = Authentication(
        operations=operations,
        check_route=partial(check_route, routes=ROUTES, newest=NOT_SERVED),
        root=root_credentials(settings),
        home=home,
        skew=timedelta(seconds=settings.clock_skew_seconds),
    )
    stations = Telemetry(authentication)

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http":
            await stations(scope, receive, send)
        elif scope["type"] == "lifespan":
            await operations(scope, receive, send)
        else:  # no WebSockets here
            await send({"type": "websocket.close", "code": 1000, "reason": ""})

    return app


@asynccontextmanager
async def _lifespan(app: Litestar, settings: Settings) -> AsyncIterator[None]:
    database = Database(
        settings.database_url or "",
        pool_size=settings.pool_size,
        statement_timeout_seconds=settings.statement_timeout_seconds,
    )
    await database.open()
    deletion = Deletion(database)
    async with database.transaction() as connection:
        page_tokens = PageTokens(await catalog.page_token_key(connection))
    app.state.server = Server(database, deletion, page_tokens, settings.views)
    dropping = asyncio.create_task(deletion.run())
    try:
        yield
    finally:
        deletion.stop()
        await dropping
        await database.close()
