"""What it costs to know who asks and whether he may: processor time of a worker for one QueryVectors request.

The stations run in this process on a real PostgreSQL.  The same requests go through `Authentication` into an operation
that asks `authorize` and then PostgreSQL once, and straight into one that only asks PostgreSQL; rounds of both
alternate, and the median of their differences counts.  PostgreSQL is asked in both, because a process that sleeps
between two answers runs everything slower than one that is never interrupted.
"""

import asyncio
import gc
import hashlib
import json
import tempfile
import time
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from statistics import median
from typing import Any

import uvloop
from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials
from rich.console import Console
from rich.progress import track
from rich.table import Table

from app import sigv4
from app.access_keys import AccessKey, account_key, new_account_key, new_secret, seal_secret
from app.arns import Account, IndexArn, VectorBucketArn
from app.arrivals import Arrivals
from app.asgi import Application, Message, Receive, Scope, Send
from app.audit import Event
from app.authentication import Authentication
from app.authorization import authorize
from app.cli.connection import prepare_database
from app.database import access_keys, catalog, identity
from app.database.catalog_cache import CatalogCache
from app.database.embedded import EmbeddedPostgres
from app.database.engine import Database
from app.database.last_use import LastUse
from app.encryption import DEFAULT
from app.envelope import KeyEncryptionKeys, new_key
from app.failed_authentication import FailedAuthentication
from app.policy.principals import root_user
from app.signer import Signer

REGION = "us-east-1"
HOME = Account("111122223333", REGION)
BUCKET = VectorBucketArn(HOME, "media")
INDEX = IndexArn(BUCKET, "movies")
USER = "ana"
DIMENSION = 384
ROUNDS = 40
TARGET_MILLISECONDS = 0.25

Requests = list[tuple[Scope, bytes]]


def auth(*, requests: int = 20_000, statements: int = 50, clients: int = 8, json: bool = False) -> None:
    """Print the processor time that authentication and authorization add to a request.

    Parameters
    ----------
    requests
        How many requests are measured, for one client and for several.
    statements
        How many statements the bucket policy has; only the last one allows the request.
    clients
        How many clients at once share the reads of the generation.
    json
        Print JSON instead of a table.
    """
    with tempfile.TemporaryDirectory() as directory:
        Path(directory).chmod(0o711)
        with EmbeddedPostgres(Path(directory) / "data") as postgres:
            prepare_database(postgres.url)
            figures = uvloop.run(measure(postgres.url, requests, statements, clients))
    write_json(figures) if json else show(figures, statements)


async def measure(url: str, requests: int, statements: int, clients: int) -> dict[str, float]:
    """Milliseconds of processor time for each request."""
    database = Database(url, pool_size=clients, statement_timeout_seconds=30)
    await database.open()
    kek, secret = new_key(), new_secret()
    keys = KeyEncryptionKeys(lambda: [kek])
    async with database.transaction() as connection:
        await populate(connection, keys, secret, statements)
    cache = CatalogCache(database, keys, AccessKey("ROOT", "none", root_user(HOME.account_id)))
    operation = Operation(database)
    stations = Authentication(
        operations=operation.authorized,
        names={("POST", b"/QueryVectors"): "QueryVectors"},
        cache=cache,
        last_use=LastUse(database),
        arrivals=Arrivals(),
        failures=FailedAuthentication(),
        rate_limits=None,
        region=REGION,
        skew=timedelta(hours=1),
        trusted_proxies=(),
    )
    signed = [scope_of(secret, i) for i in range(requests // ROUNDS)]
    # As a worker does before it serves; here the benchmark's own requests are among what stays.
    gc.collect()
    gc.freeze()
    figures = {
        "one client": await added(stations, operation.plain, signed, 1),
        f"{clients} clients": await added(stations, operation.plain, signed, clients),
        "of it: signature": verification(secret, signed),
        "of it, with one client: generation of the catalog": await repeated(cache.refresh, len(signed)),
        "saved by the latter: look-up of the index": await added(
            operation.looking_up, operation.plain, signed, clients
        ),
    }
    await cache.close()
    await database.close()
    return figures


async def added(with_it: Application, without: Application, requests: Requests, clients: int) -> float:
    await run(with_it, requests, clients)  # warm
    await run(without, requests, clients)
    rounds = track(range(ROUNDS), f"{clients} clients", transient=True)
    return median([await run(with_it, requests, clients) - await run(without, requests, clients) for _ in rounds])


async def populate(connection: Any, keys: KeyEncryptionKeys, secret: str, statements: int) -> None:
    """A user of the account without policies of his own, whom the last statement of the bucket policy allows."""
    data_key = new_account_key(keys, HOME.account_id)
    await identity.insert_account(connection, HOME.account_id, "bench", data_key)
    await identity.insert_user(connection, HOME.account_id, USER, {"team": "red"})
    user = await identity.find_user(connection, HOME.account_id, USER)
    if user is None:
        raise LookupError(USER)
    sealed = seal_secret(account_key(keys, HOME.account_id, data_key), "PGSVBENCH", user, secret)
    await access_keys.insert_access_key(connection, access_keys.NewAccessKey("PGSVBENCH", user, sealed))
    bucket_id = await catalog.insert_vector_bucket(connection, BUCKET, DEFAULT, {})
    policy = json.dumps({"Version": "2012-10-17", "Statement": [statement(i, statements) for i in range(statements)]})
    await catalog.update_vector_bucket(connection, bucket_id, policy=policy, policy_user_ids={user.arn: user.user_id})
    bucket = await catalog.find_vector_bucket(connection, BUCKET)
    facts = {"index_name": "movies", "dimension": DIMENSION, "distance_metric": "cosine", "tags": {}}
    await catalog.insert_index(connection, bucket, DEFAULT, **facts)


def statement(i: int, statements: int) -> dict[str, Any]:
    """All are about this user and this action; every third denies, under a condition that does not hold."""
    last = i == statements - 1
    return {
        "Sid": f"Statement{i}",
        "Effect": "Deny" if i % 3 == 0 and not last else "Allow",
        "Principal": {"AWS": [f"arn:aws:iam::{HOME.account_id}:user/{USER}"]},
        "Action": ["s3vectors:Query*", "s3vectors:GetVectors"],
        "Resource": f"arn:aws:s3vectors:*:{HOME.account_id}:bucket/{'media' if last else f'media-{i}'}/*",
        "Condition": {"StringEquals": {"aws:PrincipalTag/team": "red" if last else "blue"}},
    }


def scope_of(secret: str, i: int) -> tuple[Scope, bytes]:
    """As uvicorn hands it over, with a vector of 384 numbers."""
    vector = [((i * 31 + j) % 997) / 997 for j in range(DIMENSION)]
    body = json.dumps({"indexArn": str(INDEX), "topK": 10, "queryVector": {"float32": vector}}).encode()
    request = AWSRequest("POST", "http://127.0.0.1:8787/QueryVectors", {"Content-Type": "application/json"}, body)
    SigV4Auth(Credentials("PGSVBENCH", secret), "s3vectors", REGION).add_auth(request)
    headers = [("host", "127.0.0.1:8787"), ("content-length", str(len(body))), *request.headers.items()]
    return {
        "type": "http",
        "method": "POST",
        "scheme": "http",
        "raw_path": b"/QueryVectors",
        "query_string": b"",
        "client": ("127.0.0.1", 50000),
        "headers": [(name.lower().encode(), value.encode()) for name, value in headers],
    }, body


class Operation:
    """With authorization and without."""

    def __init__(self, database: Database) -> None:
        self.database = database

    async def authorized(self, scope: Scope, receive: Receive, send: Send) -> None:
        """In the order of an operation that only reads: PostgreSQL answers while it is asked about the catalog."""
        signer: Signer = scope["state"]["signer"]
        await authorize(signer.as_kept(), "QueryVectors", INDEX)
        await self.plain(scope, receive, send)
        if not await signer.is_as_kept():  # the first time
            await authorize(await signer.confirmed(), "QueryVectors", INDEX)

    async def looking_up(self, scope: Scope, receive: Receive, send: Send) -> None:
        async with self.database.transaction() as connection:
            await catalog.find_index(connection, INDEX)
        await self.plain(scope, receive, send)

    async def plain(self, _: Scope, __: Receive, ___: Send) -> None:
        async with self.database.pool.connection() as connection:
            await connection.execute("SELECT 1", prepare=True)


async def run(application: Application, requests: Requests, clients: int) -> float:
    """Of this process, PostgreSQL not counted; each client sends its next request when the last one is answered."""
    waiting = iter(requests)

    async def client() -> None:
        for scope, body in waiting:
            await application({**scope, "state": {"event": Event()}}, received(body), unsent)

    started = time.process_time()
    await asyncio.gather(*(client() for _ in range(clients)))
    return (time.process_time() - started) / len(requests) * 1000


def received(body: bytes) -> Receive:
    async def receive() -> Message:
        return {"type": "http.request", "body": body, "more_body": False}

    return receive


async def unsent(_: Message) -> None:
    pass


def verification(secret: str, requests: Requests) -> float:
    """The pure part: what was claimed, and whether the secret stands behind it."""
    started = time.process_time()
    for scope, body in requests:
        request = sigv4.SignedRequest("POST", scope["raw_path"], b"", scope["headers"])
        claim = sigv4.parse_authorization(request, regions={REGION}, now=datetime.now(UTC), skew=timedelta(hours=1))
        sigv4.verify(request, claim, secret, hashlib.sha256(body).hexdigest())
    return (time.process_time() - started) / len(requests) * 1000


async def repeated(call: Callable[[], Awaitable[None]], times: int) -> float:
    started = time.process_time()
    for _ in range(times):
        await call()
    return (time.process_time() - started) / times * 1000


def show(figures: dict[str, float], statements: int) -> None:
    table = Table("processor time added to a QueryVectors request", "ms", title=f"Policy of {statements} statements")
    for what, milliseconds in figures.items():
        table.add_row(what, f"{milliseconds:.3f}")
    table.add_section()
    table.add_row("target for the whole", f"{TARGET_MILLISECONDS:.3f}")
    Console().print(table)


def write_json(figures: dict[str, float]) -> None:
    print(json.dumps({"unit": "ms", "target": TARGET_MILLISECONDS, "figures": figures}))
