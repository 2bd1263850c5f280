"""Two servers on one database: what is changed through one of them holds for the very next request to the other."""

from base64 import b64encode
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from os import urandom
from pathlib import Path
from typing import Any

import psycopg
import pytest
from botocore.exceptions import ClientError
from msgspec import Struct

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


def answer(asking: Any) -> str:
    try:
        asking.get_index(**MOVIES)
    except ClientError as error:
        return str(error.response["Error"]["Code"])
    return "OK"


def test_a_bucket_policy(servers: Servers) -> None:
    root = servers.clients(**ROOT)
    asking = servers.clients(**servers.identities.user(HOME, "policy", EVERYTHING))
    denying = policy(deny("s3vectors:GetIndex", "*", Principal={"AWS": f"arn:aws:iam::{HOME}:user/policy"}))
    for i in range(TIMES):
        here, there = root[i % 2], asking[(i + 1) % 2]
        here.put_vector_bucket_policy(vectorBucketName="media", policy=denying)
        assert answer(there) == "AccessDeniedException"
        here.delete_vector_bucket_policy(vectorBucketName="media")
        assert answer(there) == "OK"


def test_a_tag(servers: Servers) -> None:
    root, arn = servers.clients(**ROOT), f"arn:aws:s3vectors:us-east-1:{HOME}:bucket/media/index/movies"
    locked = {"StringEquals": {"aws:ResourceTag/locked": "yes"}}
    user = servers.identities.user(HOME, "tag", EVERYTHING, deny("s3vectors:GetIndex", "*", Condition=locked))
    asking = servers.clients(**user)
    for i in range(TIMES):
        here, there = root[i % 2], asking[(i + 1) % 2]
        here.tag_resource(resourceArn=arn, tags={"locked": "yes"})
        assert answer(there) == "AccessDeniedException"
        here.untag_resource(resourceArn=arn, tagKeys=["locked"])
        assert answer(there) == "OK"


def test_an_index_mode(servers: Servers) -> None:
    """It says what a filter may be; the bucket is made one of before CLASSIC ended."""
    with psycopg.connect(servers.identities.settings.database_url or "") as connection:
        connection.execute("UPDATE s3_vectors.vector_buckets SET creation_time = '2026-09-01'")
    root = servers.clients(**ROOT)

    def answer_to_prefix(asking: Any) -> str:
        members = {"topK": 1, "queryVector": {"float32": [1, 0]}, "filter": {"title": {"$startsWith": "So"}}}
        try:
            asking.query_vectors(**MOVIES, **members)
        except ClientError as error:
            return str(error.response["Error"]["Code"])
        return "OK"

    for i in range(TIMES):
        here, there = root[i % 2], root[(i + 1) % 2]
        here.update_index_mode(**MOVIES, indexMode="CLASSIC")
        assert answer_to_prefix(there) == "ValidationException"
        here.update_index_mode(**MOVIES, indexMode="ENHANCED")
        assert answer_to_prefix(there) == "OK"


def test_an_identity_policy(servers: Servers) -> None:
    asking = servers.clients(**servers.identities.user(HOME, "identity", EVERYTHING))
    for i in range(TIMES // 5):
        servers.identities.put_policy(HOME, "identity", EVERYTHING, deny("*", "*"))
        assert answer(asking[i % 2]) == "AccessDeniedException"
        servers.identities.put_policy(HOME, "identity", EVERYTHING)
        assert answer(asking[i % 2]) == "OK"


def test_an_access_key_changed_in_plain_sql(servers: Servers) -> None:
    key = servers.identities.user(HOME, "key", EVERYTHING)
    asking = servers.clients(**key)
    with psycopg.connect(servers.identities.settings.database_url or "", autocommit=True) as connection:
        for i in range(TIMES):
            for status, expected in (("Inactive", "UnrecognizedClientException"), ("Active", "OK")):
                connection.execute(
                    "UPDATE s3_vectors.access_keys SET status = %s WHERE access_key_id = %s",
                    [status, key["aws_access_key_id"]],
                )
                assert answer(asking[i % 2]) == expected


def test_a_session_that_is_prolonged_and_then_ended_in_plain_sql(servers: Servers) -> None:
    session = servers.identities.session(HOME, "session", EVERYTHING)
    asking = servers.clients(**session)
    changes = (("now() - interval '1 s'", "ExpiredTokenException"), ("now() + interval '1 h'", "OK"))
    with psycopg.connect(servers.identities.settings.database_url or "", autocommit=True) as connection:
        for i in range(TIMES):
            for end, expected in changes:
                connection.execute(
                    f"UPDATE s3_vectors.access_keys SET expiration_time = {end} WHERE access_key_id = %s".encode(),
                    [session["aws_access_key_id"]],
                )
                assert answer(asking[i % 2]) == expected
        connection.execute(
            "DELETE FROM s3_vectors.access_keys WHERE access_key_id = %s", [session["aws_access_key_id"]]
        )
        assert [answer(one) for one in asking] == ["UnrecognizedClientException"] * 2


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


def test_a_lost_connection_to_the_database_is_made_again(servers: Servers) -> None:
    asking = servers.clients(**ROOT)
    assert [answer(one) for one in asking] == ["OK", "OK"]
    with psycopg.connect(servers.identities.settings.database_url or "", autocommit=True) as connection:
        connection.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE query LIKE 'SELECT access, indexes%'"
        )
    assert {answer(one) for one in asking for _ in range(5)} == {"OK"}
