"""A PostgreSQL for the whole run, migrated databases on it, and the real server with a real client."""

import os
import tempfile
from base64 import b64encode
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit
from uuid import uuid4

import psycopg
import pytest

from app.credentials import root_credentials
from app.database.embedded import EmbeddedPostgres
from app.database.migrations import migrate
from app.settings import Settings
from tests.identities import Identities, client
from tests.postgres_container import postgres_container
from tests.roles import Roles, logged_in, some_roles
from tests.server_process import running

CONTAINERS = Path(__file__).parent / "containers"
FAST = {"fsync": "off", "shared_buffers": "64MB", "maintenance_work_mem": "64MB"}


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--containers", action="store_true", help="run on the image of pgvector, and run tests/containers")


def pytest_ignore_collect(collection_path: Path, config: pytest.Config) -> bool | None:
    """`scripts/test-containers` has what they need."""
    return True if collection_path == CONTAINERS and not config.getoption("--containers") else None


@pytest.fixture(scope="session")
def postgres(pytestconfig: pytest.Config) -> Iterator[str]:
    """A superuser's URL: of TEST_DATABASE_URL, else of a container or of a server of our own."""
    if url := os.environ.get("TEST_DATABASE_URL"):
        yield url
        return
    if pytestconfig.getoption("--containers"):
        with postgres_container(FAST) as url:
            yield url
        return
    with open_directory() as directory, EmbeddedPostgres(directory / "data", FAST) as embedded:
        yield embedded.url


@contextmanager
def open_directory() -> Iterator[Path]:
    """Unlike tmp_path, the user to whom root hands PostgreSQL may enter it."""
    with tempfile.TemporaryDirectory() as directory:
        Path(directory).chmod(0o711)
        yield Path(directory)


@pytest.fixture
def data_dir() -> Iterator[Path]:
    with open_directory() as directory:
        yield directory / "data"


def named(url: str, database: str) -> str:
    return urlsplit(url)._replace(path=f"/{database}").geturl()


@pytest.fixture(scope="session")
def roles(postgres: str) -> Iterator[Roles]:
    with some_roles(postgres) as roles:
        yield roles


@pytest.fixture(scope="session")
def copied_database(postgres: str, roles: Roles) -> Iterator[Callable[[], str]]:
    """Copies of a template that its owner migrates once; all are dropped at the end.  The URLs are a superuser's."""
    made: list[str] = []

    def create(template: str = "template1") -> str:
        made.append(f"test_{uuid4().hex}")
        with psycopg.connect(postgres, autocommit=True) as connection:
            connection.execute(f"CREATE DATABASE {made[-1]} TEMPLATE {template}")
            if template != "template1":  # rights in the database are what no template hands on
                connection.execute(f"GRANT CREATE ON DATABASE {made[-1]} TO {roles.owner}")
        return made[-1]

    migrated = create()
    roles.apply(named(postgres, migrated))
    migrate(logged_in(named(postgres, migrated), roles.owner))
    yield lambda: named(postgres, create(migrated))
    with psycopg.connect(postgres, autocommit=True) as connection:
        for name in made:
            connection.execute(f"DROP DATABASE IF EXISTS {name} WITH (FORCE)")


@pytest.fixture(scope="session")
def database_url(copied_database: Callable[[], str]) -> str:
    """The database of `endpoint`, shared by all tests."""
    return copied_database()


@pytest.fixture
def own_database_url(copied_database: Callable[[], str]) -> str:
    """An empty migrated database for one test."""
    return copied_database()


@pytest.fixture(scope="session")
def settings(database_url: str, roles: Roles) -> Settings:
    """Of the server behind `endpoint`: the rights of the app role, the credentials of AWS's own documentation."""
    return Settings(
        database_url=logged_in(database_url, roles.app),
        key_encryption_key=b64encode(b"of the tests, 32 bytes, no more.").decode(),
        root_access_key_id="AKIAIOSFODNN7EXAMPLE",
        root_secret_access_key="wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY",
    )


@pytest.fixture(scope="session")
def endpoint(settings: Settings) -> Iterator[str]:
    with (
        tempfile.TemporaryDirectory() as directory,
        running(
            "--data-dir",
            directory,
            DATABASE_URL=settings.database_url or "",
            ROOT_ACCESS_KEY_ID=settings.root_access_key_id,
            ROOT_SECRET_ACCESS_KEY=settings.root_secret_access_key,
            KEY_ENCRYPTION_KEY=settings.key_encryption_key,
            LOG_LEVEL="warning",
        ) as server,
    ):
        printed = server.wait_until_ready()
        assert server.endpoint in printed, printed
        yield server.endpoint


@pytest.fixture(scope="session")
def s3vectors(endpoint: str, settings: Settings) -> Any:
    """The root user's."""
    root = root_credentials(settings)
    return client(endpoint, aws_access_key_id=root.access_key_id, aws_secret_access_key=root.secret_access_key)


@pytest.fixture
def identities(settings: Settings) -> Identities:
    """Accounts and users of the server behind `endpoint`."""
    return Identities(settings)


@pytest.fixture
def bucket(s3vectors: Any) -> Iterator[str]:
    name = f"test-{uuid4().hex}"
    s3vectors.create_vector_bucket(vectorBucketName=name)
    yield name
    for page in s3vectors.get_paginator("list_indexes").paginate(vectorBucketName=name):
        for index in page["indexes"]:
            s3vectors.delete_index(vectorBucketName=name, indexName=index["indexName"])
    s3vectors.delete_vector_bucket(vectorBucketName=name)
