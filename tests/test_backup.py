"""docs/operations.md, section "Back up and restore", as it is written there."""

import asyncio
import json
import os
import shutil
import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psycopg
import pytest
from msgspec import Struct
from psycopg.conninfo import conninfo_to_dict

from app.database.catalog import all_indexes, index_of_row
from app.database.embedded import EmbeddedPostgres
from app.database.embedded_binaries import binaries
from app.database.graph_building import build, builder_connection
from app.database.graph_growth import Build
from app.database.graphs import FINAL_EF_CONSTRUCTION
from app.database.statements import compiled
from tests.cli.test_iam import Command
from tests.conftest import named, open_directory
from tests.interchange.files import rows, write_parquet
from tests.server_process import ServerProcess, running

ROOT = {"ROOT_ACCESS_KEY_ID": "PGSVROOT", "ROOT_SECRET_ACCESS_KEY": "root-secret"}
VECTORS, DIMENSION = 200, 8
TABLES = """
SELECT format('%I.%I', schemaname, tablename) FROM pg_tables
WHERE schemaname IN ('s3_vectors', 'vectors') ORDER BY 1
"""
VIEWS = "SELECT schemaname, viewname, definition FROM pg_views WHERE schemaname = 'media' ORDER BY 2"
INDEXES = """
SELECT indexrelid::regclass::text, pg_get_indexdef(indexrelid), indisvalid FROM pg_index
JOIN pg_class ON pg_class.oid = indexrelid WHERE relnamespace IN ('s3_vectors'::regnamespace, 'vectors'::regnamespace)
ORDER BY 1
"""


POLICY = {
    "Version": "2012-10-17",
    "Statement": {
        "Effect": "Allow",
        "Principal": {"AWS": "arn:aws:iam::000000000000:user/ana"},
        "Action": ["s3vectors:QueryVectors", "s3vectors:GetVectors"],
        "Resource": "arn:aws:s3vectors:us-east-1:000000000000:bucket/media/*",
    },
}


class Original(Struct):
    """A database of ours with something of everything, whose server has stopped."""

    key: Path
    """The key-encryption key."""
    user: dict[str, str]
    query: list[float]
    answer: Any


@contextmanager
def served(url: str | None, data_dir: Path) -> Iterator[ServerProcess]:
    database = {} if url is None else {"DATABASE_URL": url}
    with running(DATA_DIR=str(data_dir), LOG_LEVEL="error", **ROOT, **database) as server:
        assert server.endpoint in server.wait_until_ready()
        yield server


def client(server: ServerProcess, key: dict[str, str]) -> Any:
    import boto3  # noqa: PLC0415 - as a user would

    return boto3.client(
        "s3vectors",
        endpoint_url=server.endpoint,
        region_name="us-east-1",
        aws_access_key_id=key["AccessKeyId"],
        aws_secret_access_key=key["SecretAccessKey"],
    )


def make_original(url: str | None, data_dir: Path, vectors: Path) -> Original:
    """The graph comes when the server has gone, who would find the index too small for one."""
    settings = {"DATA_DIR": str(data_dir), "LOG_LEVEL": "error", **({} if url is None else {"DATABASE_URL": url})}
    command = Command(**settings)
    with served(url, data_dir) as server:
        root = client(server, {"AccessKeyId": "PGSVROOT", "SecretAccessKey": "root-secret"})
        encryption = {"sseType": "aws:kms", "kmsKeyArn": command("kms", "create").strip()}
        root.create_vector_bucket(vectorBucketName="media", encryptionConfiguration=encryption, tags={"team": "red"})
        command("import", str(vectors), "media/movies", "--distance-metric", "cosine", "--non-filterable", "text")
        command("iam", "user", "create", "ana")
        user = command.json("iam", "key", "create", "ana")
        root.put_vector_bucket_policy(vectorBucketName="media", policy=json.dumps(POLICY))
        query = rows(VECTORS, DIMENSION).vectors[42]
        answer = ask(server, user, query)
    return Original(data_dir / "key-encryption-key", user, query, answer)


async def build_graph(url: str) -> None:
    async with await builder_connection(url) as connection:
        [row] = await connection.run(compiled(all_indexes()))
        everything = Build(0, VECTORS + 1, FINAL_EF_CONSTRUCTION)
        await build(connection, index_of_row(row, "us-east-1"), everything)


def ask(server: ServerProcess, user: dict[str, str], query: list[float]) -> Any:
    """By a user's key, and with metadata of which one half is sealed."""
    index = {"vectorBucketName": "media", "indexName": "movies"}
    vector = {"float32": query}
    return client(server, user).query_vectors(
        **index, topK=5, queryVector=vector, returnMetadata=True, returnDistance=True, filter={"n": {"$gte": 10}}
    )["vectors"]


def contents(url: str) -> dict[str, Any]:
    """Every row of every table, the views, and all indexes."""
    with psycopg.connect(url) as connection:
        tables = [name for (name,) in connection.execute(TABLES).fetchall()]
        found: dict[str, Any] = {
            table: connection.execute(f"SELECT t::text FROM {table} AS t ORDER BY 1".encode()).fetchall()
            for table in tables
        }
        found["views"] = connection.execute(VIEWS).fetchall()
        found["indexes"] = connection.execute(INDEXES).fetchall()
        found["of a view"] = connection.execute("SELECT count(*) FROM media.movies").fetchall()
    return found


def run(url: str, program: str, *arguments: str) -> None:
    """A program of PostgreSQL on a database, which the environment names."""
    names = {"host": "PGHOST", "port": "PGPORT", "user": "PGUSER", "password": "PGPASSWORD", "dbname": "PGDATABASE"}
    given = {names[name]: str(value) for name, value in conninfo_to_dict(url).items() if name in names}
    command = [str(binaries(Path(), None) / program), *arguments]
    done = subprocess.run(command, env=os.environ | given, capture_output=True, text=True, check=False)  # noqa: S603
    assert done.returncode == 0, done.stderr


def refusal(url: str | None, data_dir: Path) -> str:
    database = {} if url is None else {"DATABASE_URL": url}
    done = Command(DATA_DIR=str(data_dir), LOG_LEVEL="error", **ROOT, **database).run("serve")
    assert (done.returncode, done.stdout) == (1, "")
    return done.stderr


@pytest.fixture(scope="module")
def vectors(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_parquet(tmp_path_factory.mktemp("vectors") / "vectors.parquet", rows(VECTORS, DIMENSION))


def test_a_dump_is_restored_into_another_database(
    copied_database: Callable[[], str], postgres: str, vectors: Path, tmp_path: Path
) -> None:
    with open_directory() as directory:
        url, dump = copied_database(), tmp_path / "pgs3vectors.dump"
        original = make_original(url, directory / "data", vectors)
        asyncio.run(build_graph(url))
        run(url, "pg_dump", "--format=custom", f"--file={dump}")
        restored = named(postgres, "test_restored")
        with psycopg.connect(postgres, autocommit=True) as connection:
            connection.execute("CREATE DATABASE test_restored TEMPLATE template0")
            try:
                run(restored, "pg_restore", "--exit-on-error", "--jobs=2", "--dbname=test_restored", str(dump))
                run(restored, "psql", "--command=ANALYZE")
                check_contents(contents(url), contents(restored))
                check_served(original, restored, directory / "new")
            finally:
                connection.execute("DROP DATABASE test_restored WITH (FORCE)")


def check_contents(before: dict[str, Any], after: dict[str, Any]) -> None:
    assert after == before
    assert before["of a view"] == [(VECTORS,)]
    assert [name for name, _, valid in before["indexes"] if name.startswith("vectors.hnsw") and valid] == [
        "vectors.hnsw_1_1"
    ]


def check_served(original: Original, url: str | None, data_dir: Path) -> None:
    """With the right key-encryption key only."""
    data_dir.mkdir(mode=0o711, exist_ok=True)
    key = data_dir / "key-encryption-key"
    assert refusal(url, data_dir).startswith("pgs3vectors: Cannot read the key-encryption key: No such file")
    key.write_text("A" * 43 + "=")
    assert refusal(url, data_dir).startswith("pgs3vectors: The secrets in this database are under key-encryption key ")
    shutil.copy(original.key, key)
    with served(url, data_dir) as server:
        assert ask(server, original.user, original.query) == original.answer
    assert "text" in original.answer[0]["metadata"]


def test_a_base_backup_is_a_data_directory_again(vectors: Path) -> None:
    """Of the server's own PostgreSQL, while it runs."""
    with open_directory() as directory:
        first, second = directory / "first", directory / "second"
        original = make_original(None, first, vectors)
        second.mkdir(mode=0o711)
        with EmbeddedPostgres(first) as postgres:
            asyncio.run(build_graph(postgres.url))
            before = contents(postgres.url)
            run(postgres.url, "pg_basebackup", f"--pgdata={second / 'pgdata'}", "--checkpoint=fast")
            run(postgres.url, "pg_verifybackup", str(second / "pgdata"))
        owner = (first / "pgdata").stat()
        for path in (second / "pgdata", *(second / "pgdata").rglob("*")):
            os.chown(path, owner.st_uid, owner.st_gid, follow_symlinks=False)
        shutil.copy2(first / "postgres-password", second)
        with EmbeddedPostgres(second) as postgres:
            check_contents(before, contents(postgres.url))
        check_served(original, None, second)
