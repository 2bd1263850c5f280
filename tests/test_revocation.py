"""Two servers on one database: what is changed through one of them holds for the very next request to the other."""

import time
from base64 import b64encode
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from os import urandom
from pathlib import Path
from typing import Any

import psycopg
import pytest
from botocore.exceptions import ClientError
from msgspec import Struct, structs

from app.database.catalog_cache import SETTLED_SECONDS
from app.settings import Settings
from tests.conftest import open_directory
from tests.identities import EVERYTHING, Identities, client, deny, policy
from tests.server_process import running

TIMES = 25
HOME = "000000000000"
MOVIES = {"vectorBucketName": "media", "indexName": "movies"}
ROOT = {"aws_access_key_id": "AKIAIOSFODNN7EXAMPLE", "aws_secret_access_key": "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLE"}


class Servers(Struct, frozen=True):
    identities: Identities
    endpoints: list[str]

    def clients(self, **credentials: str) -> list[Any]:
        return [client(endpoint, **credentials) for endpoint in self.endpoints]


@pytest.fixture(scope="module")
def servers(copied_database: Callable[[], str]) -> Iterator[Servers]:
    settings = Settings(database_url=copied_database(), key_encryption_key=b64encode(urandom(32)).decode())
    with ExitStack() as stack:
        directory: Path = stack.enter_context(open_directory())
        started = [
            stack.enter_context(
                running(
                    "--data-dir",
                    str(directory),
                    "--workers",
                    "2",
                    DATABASE_URL=settings.database_url or "",
                    KEY_ENCRYPTION_KEY=settings.key_encryption_key,
                    ROOT_ACCESS_KEY_ID=ROOT["aws_access_key_id"],
                    ROOT_SECRET_ACCESS_KEY=ROOT["aws_secret_access_key"],
                    LOG_LEVEL="warning",
                )
            )
            for _ in range(2)
        ]
        for server in started:
            server.wait_until_ready()
        servers = Servers(Identities(settings), [server.endpoint for server in started])
        root = servers.clients(**ROOT)[0]
        root.create_vector_bucket(vectorBucketName="media")
        root.create_index(**MOVIES, dataType="float32", dimension=2, distanceMetric="cosine")
        yield servers


class Asking(Struct, frozen=True):
    """One whose caller is confirmed before it begins, or one that is confirmed while PostgreSQL reads."""

    operation: str
    method: str
    members: dict[str, Any] = {}

    def answer(self, client: Any, index: dict[str, str] = MOVIES) -> str:
        try:
            getattr(client, self.method)(**index, **self.members)
        except ClientError as error:
            return str(error.response["Error"]["Code"])
        return "OK"


GET_INDEX = Asking("GetIndex", "get_index")
QUERY_VECTORS = Asking("QueryVectors", "query_vectors", {"topK": 1, "queryVector": {"float32": [1, 0]}})
asked_both_ways = pytest.mark.parametrize("asked", [GET_INDEX, QUERY_VECTORS], ids=lambda asked: asked.operation)


@asked_both_ways
def test_a_bucket_policy(servers: Servers, asked: Asking) -> None:
    root = servers.clients(**ROOT)
    asking = servers.clients(**servers.identities.user(HOME, f"policy-{asked.operation}", EVERYTHING))
    denying = policy(
        deny(
            f"s3vectors:{asked.operation}", "*", Principal={"AWS": f"arn:aws:iam::{HOME}:user/policy-{asked.operation}"}
        )
    )
    for i in range(TIMES):
        here, there = root[i % 2], asking[(i + 1) % 2]
        here.put_vector_bucket_policy(vectorBucketName="media", policy=denying)
        assert asked.answer(there) == "AccessDeniedException"
        here.delete_vector_bucket_policy(vectorBucketName="media")
        assert asked.answer(there) == "OK"


@pytest.mark.parametrize("operation", ["query_vectors", "get_vectors", "list_vectors"])
def test_a_bucket_policy_after_a_while_in_which_nothing_changed(servers: Servers, operation: str) -> None:
    """When searches no longer wait until it is known whether something has."""
    root = servers.clients(**ROOT)
    members = {"query_vectors": QUERY_VECTORS.members, "get_vectors": {"keys": ["a"]}, "list_vectors": {}}
    asked = Asking("", operation, members[operation])
    asking = servers.clients(**servers.identities.user(HOME, f"while-{operation}", EVERYTHING))
    denied = {"AWS": f"arn:aws:iam::{HOME}:user/while-{operation}"}
    for i in range(2):
        here, there = root[i % 2], asking[(i + 1) % 2]
        assert asked.answer(there) == "OK"
        time.sleep(SETTLED_SECONDS)
        here.put_vector_bucket_policy(
            vectorBucketName="media", policy=policy(deny("s3vectors:*", "*", Principal=denied))
        )
        assert asked.answer(there) == "AccessDeniedException"
        time.sleep(SETTLED_SECONDS)
        here.delete_vector_bucket_policy(vectorBucketName="media")


@asked_both_ways
def test_a_tag(servers: Servers, asked: Asking) -> None:
    root, arn = servers.clients(**ROOT), f"arn:aws:s3vectors:us-east-1:{HOME}:bucket/media/index/movies"
    locked = {"StringEquals": {"aws:ResourceTag/locked": "yes"}}
    user = servers.identities.user(
        HOME, f"tag-{asked.operation}", EVERYTHING, deny(f"s3vectors:{asked.operation}", "*", Condition=locked)
    )
    asking = servers.clients(**user)
    for i in range(TIMES):
        here, there = root[i % 2], asking[(i + 1) % 2]
        here.tag_resource(resourceArn=arn, tags={"locked": "yes"})
        assert asked.answer(there) == "AccessDeniedException"
        here.untag_resource(resourceArn=arn, tagKeys=["locked"])
        assert asked.answer(there) == "OK"


def test_an_index_mode(servers: Servers) -> None:
    """It says what a filter may be; the bucket is made one of before CLASSIC ended."""
    with psycopg.connect(servers.identities.settings.database_url or "") as connection:
        connection.execute("UPDATE s3_vectors.vector_buckets SET creation_time = '2026-09-01'")
    root = servers.clients(**ROOT)

    asked = structs.replace(QUERY_VECTORS, members=QUERY_VECTORS.members | {"filter": {"title": {"$startsWith": "So"}}})
    for i in range(TIMES):
        here, there = root[i % 2], root[(i + 1) % 2]
        here.update_index_mode(**MOVIES, indexMode="CLASSIC")
        assert asked.answer(there) == "ValidationException"
        here.update_index_mode(**MOVIES, indexMode="ENHANCED")
        assert asked.answer(there) == "OK"


@asked_both_ways
def test_an_identity_policy(servers: Servers, asked: Asking) -> None:
    name = f"identity-{asked.operation}"
    asking = servers.clients(**servers.identities.user(HOME, name, EVERYTHING))
    for i in range(TIMES // 5):
        servers.identities.put_policy(HOME, name, EVERYTHING, deny("*", "*"))
        assert asked.answer(asking[i % 2]) == "AccessDeniedException"
        servers.identities.put_policy(HOME, name, EVERYTHING)
        assert asked.answer(asking[i % 2]) == "OK"


@asked_both_ways
def test_an_access_key_changed_in_plain_sql(servers: Servers, asked: Asking) -> None:
    key = servers.identities.user(HOME, f"key-{asked.operation}", EVERYTHING)
    asking = servers.clients(**key)
    with psycopg.connect(servers.identities.settings.database_url or "", autocommit=True) as connection:
        for i in range(TIMES):
            for status, expected in (("Inactive", "UnrecognizedClientException"), ("Active", "OK")):
                connection.execute(
                    "UPDATE s3_vectors.access_keys SET status = %s WHERE access_key_id = %s",
                    [status, key["aws_access_key_id"]],
                )
                assert asked.answer(asking[i % 2]) == expected


@asked_both_ways
def test_a_session_that_is_prolonged_and_then_ended_in_plain_sql(servers: Servers, asked: Asking) -> None:
    session = servers.identities.session(HOME, f"session-{asked.operation}", EVERYTHING)
    asking = servers.clients(**session)
    changes = (("now() - interval '1 s'", "ExpiredTokenException"), ("now() + interval '1 h'", "OK"))
    with psycopg.connect(servers.identities.settings.database_url or "", autocommit=True) as connection:
        for i in range(TIMES):
            for end, expected in changes:
                connection.execute(
                    f"UPDATE s3_vectors.access_keys SET expiration_time = {end} WHERE access_key_id = %s".encode(),
                    [session["aws_access_key_id"]],
                )
                assert asked.answer(asking[i % 2]) == expected
        connection.execute(
            "DELETE FROM s3_vectors.access_keys WHERE access_key_id = %s", [session["aws_access_key_id"]]
        )
        assert [asked.answer(one) for one in asking] == ["UnrecognizedClientException"] * 2


@asked_both_ways
def test_an_index_that_comes_and_goes(servers: Servers, asked: Asking) -> None:
    """Whoever has kept that there is none says so to nobody once there is one."""
    root = servers.clients(**ROOT)
    series = {**MOVIES, "indexName": "series"}
    for i in range(TIMES):
        here, there = root[i % 2], root[(i + 1) % 2]
        assert asked.answer(there, series) == "NotFoundException"
        here.create_index(**series, dataType="float32", dimension=2, distanceMetric="cosine")
        assert asked.answer(there, series) == "OK"
        here.delete_index(**series)


def test_a_bucket_that_is_deleted_and_made_again_has_no_policy_of_its_past(servers: Servers) -> None:
    root = servers.clients(**ROOT)
    bucket, denying = {"vectorBucketName": "again"}, policy(deny("s3vectors:GetVectorBucket", "*", Principal="*"))
    for i in range(TIMES // 5):
        here, there = root[i % 2], root[(i + 1) % 2]
        here.create_vector_bucket(**bucket)
        there.get_vector_bucket(**bucket)
        here.put_vector_bucket_policy(**bucket, policy=denying)
        with pytest.raises(ClientError):
            there.get_vector_bucket(**bucket)
        here.delete_vector_bucket(**bucket)


@asked_both_ways
def test_a_lost_connection_to_the_database_is_made_again(servers: Servers, asked: Asking) -> None:
    asking = servers.clients(**ROOT)
    assert [asked.answer(one) for one in asking] == ["OK", "OK"]
    with psycopg.connect(servers.identities.settings.database_url or "", autocommit=True) as connection:
        connection.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE query LIKE 'SELECT access, indexes%'"
        )
    assert {asked.answer(one) for one in asking for _ in range(5)} == {"OK"}
