from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import psycopg
import pytest

from app.database.migrations import newest_revision
from tests.cli.test_iam import Command
from tests.conftest import open_directory
from tests.identities import client
from tests.operations.vectors import keys, record
from tests.roles import Roles, logged_in
from tests.server_process import running

INDEX = {"vectorBucketName": "media", "indexName": "movies"}
ROOT = {
    "aws_access_key_id": "AKIAIOSFODNN7EXAMPLE",
    "aws_secret_access_key": "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY",
}


@pytest.fixture
def settings(own_database_url: str, roles: Roles) -> Iterator[dict[str, str]]:
    """Of a server that has the rights of the app role in a database where nothing is but what the script makes."""
    with psycopg.connect(own_database_url) as connection:
        connection.execute("DROP SCHEMA s3_vectors, vectors CASCADE")
        connection.execute("DROP EXTENSION vector CASCADE")
    roles.apply(own_database_url)
    roles.apply(own_database_url)
    with open_directory() as directory:
        yield {
            "DATABASE_URL": logged_in(own_database_url, roles.app),
            "DATA_DIR": str(directory / "data"),
            "LOG_LEVEL": "error",
            "ROOT_ACCESS_KEY_ID": ROOT["aws_access_key_id"],
            "ROOT_SECRET_ACCESS_KEY": ROOT["aws_secret_access_key"],
        }


@pytest.fixture
def owner(settings: dict[str, str], own_database_url: str, roles: Roles) -> Command:
    return Command(**settings | {"DATABASE_URL": logged_in(own_database_url, roles.owner)})


def test_only_the_owner_migrates(settings: dict[str, str], owner: Command) -> None:
    remedy = "run `pgs3vectors migrate` with the URL of its owner."
    for command in ("migrate", "serve"):
        refusal = Command(**settings).refusal(command)
        assert refusal == f"The catalog is at revision none, this version needs {newest_revision()}: {remedy}"
    for _ in range(2):
        assert owner("migrate") == f"The catalog is at revision {newest_revision()}.\n"
    assert Command(**settings)("migrate") == f"The catalog is at revision {newest_revision()}.\n"


def test_what_the_owner_has_migrated_is_served_by_the_app_role(settings: dict[str, str], owner: Command) -> None:
    owner("migrate")
    with serving(settings) as s3vectors:
        s3vectors.create_vector_bucket(vectorBucketName="media")
        s3vectors.create_index(**INDEX, dataType="float32", dimension=2, distanceMetric="cosine")
        s3vectors.put_vectors(**INDEX, vectors=[record("heat", [1, 0], year=1995), record("alien", [0, 1], year=1979)])
    with serving(settings) as s3vectors:
        found = s3vectors.query_vectors(
            **INDEX, topK=2, queryVector={"float32": [1, 0]}, filter={"year": {"$lt": 1990}}
        )
        assert keys(found) == ["alien"]
        s3vectors.delete_index(**INDEX)
        s3vectors.delete_vector_bucket(vectorBucketName="media")


@contextmanager
def serving(settings: dict[str, str]) -> Iterator[Any]:
    with running(**settings) as server:
        server.wait_until_ready()
        yield client(server.endpoint, **ROOT)


def test_a_catalog_of_a_newer_version_is_left_alone(owner: Command, own_database_url: str) -> None:
    owner("migrate")
    with psycopg.connect(own_database_url) as connection:
        connection.execute("UPDATE s3_vectors.alembic_version SET version_num = '9999'")
    refusal = f"The catalog is at revision 9999, of a newer version: this one knows {newest_revision()}."
    assert owner.refusal("migrate") == refusal
