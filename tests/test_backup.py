"""docs/operations.md, section "Back up and restore", as it is written there."""

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

from app.database.embedded import EmbeddedPostgres
from app.database.embedded_binaries import binaries
from tests.cli.test_iam import Command
from tests.conftest import named, open_directory
from tests.interchange.files import rows, write_parquet
from tests.server_process import ServerProcess, running

ROOT = {"ROOT_ACCESS_KEY_ID": "PGSVROOT", "ROOT_SECRET_ACCESS_KEY": "root-secret"}
VECTORS, DIMENSION = 1_100, 2_000  # enough for a graph
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


class Original(Struct):
    """A database of ours with something of everything, whose server has stopped."""

    url: str
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
    settings = {"DATA_DIR": str(data_dir), "LOG_LEVEL": "error", **({} if url is None else {"DATABASE_URL": url})}
    command = Command(**settings)
    with served(url, data_dir) as server:
        root = client(server, {"AccessKeyId": "PGSVROOT", "SecretAccessKey": "root-secret"})
        encryption = {"sseType": "aws:kms", "kmsKeyArn": command("kms", "create").strip()}
        root.create_vector_bucket(vectorBucketName="media", encryptionConfiguration=encryption, tags={"team": "red"})
        command("import", str(vectors), "media/movies", "--distance-metric", "cosine", "--non-filterable", "text")
        command("iam", "user", "create", "ana")
        user = command.json("iam", "key", "create", "ana")
        statement = {
            "Effect": "Allow",
            "Principal": {"AWS": "arn:aws:iam::000000000000:user/ana"},
            "Action": ["s3vectors:QueryVectors", "s3vectors:GetVectors"],
            "Resource": "arn:aws:s3vectors:us-east-1:000000000000:bucket/media/*",
        }
        policy = json.dumps({"Version": "2012-10-17", "Statement": statement})
        root.put_vector_bucket_policy(vectorBucketName="media", policy=policy)
        query = rows(VECTORS, DIMENSION).vectors[42]
        answer = ask(server, user, query)
        return Original(url_of(url, data_dir), data_dir / "key-encryption-key", user, query, answer)


def url_of(url: str | None, data_dir: Path) -> str:
    """Where none was given, that of the running server's own PostgreSQL."""
    found = url or EmbeddedPostgres(data_dir).running_url()
    assert found
    return found


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
        original = make_original(copied_database(), directory / "data", vectors)
        dump = tmp_path / "pgs3vectors.dump"
        run(original.url, "pg_dump", "--format=custom", f"--file={dump}")
        restored = named(postgres, "test_restored")
        with psycopg.connect(postgres, autocommit=True) as connection:
            connection.execute("CREATE DATABASE test_restored TEMPLATE template0")
            try:
                run(restored, "pg_restore", "--exit-on-error", "--jobs=2", "--dbname=test_restored", str(dump))
                run(restored, "psql", "--command=ANALYZE")
                check_restored(original, restored, directory / "new")
            finally:
                connection.execute("DROP DATABASE test_restored WITH (FORCE)")


def check_restored(original: Original, restored: str, data_dir: Path) -> None:
    before = contents(original.url)
    assert contents(restored) == before
    assert before["of a view"] == [(VECTORS,)]
    assert any("hnsw" in name for name, *_ in before["indexes"])
    data_dir.mkdir(mode=0o711)
    told = refusal(restored, data_dir)
    assert told.startswith("pgs3vectors: Cannot read the key-encryption key: No such file or directory: ")
    (data_dir / "key-encryption-key").write_text("A" * 43 + "=")
    assert refusal(restored, data_dir).startswith(
        "pgs3vectors: The secrets in this database are under key-encryption key "
    )
    shutil.copy(original.key, data_dir / "key-encryption-key")
    with served(restored, data_dir) as server:
        assert ask(server, original.user, original.query) == original.answer
        assert "text" in original.answer[0]["metadata"]


def test_a_base_backup_is_a_data_directory_again(vectors: Path) -> None:
    """Of the server's own PostgreSQL, while it runs."""
    with open_directory() as directory:
        first, second = directory / "first", directory / "second"
        original = make_original(None, first, vectors)
        with served(None, first):
            url = url_of(None, first)
            before = contents(url)
            second.mkdir(mode=0o711)
            run(url, "pg_basebackup", f"--pgdata={second / 'pgdata'}", "--checkpoint=fast")
        run(url, "pg_verifybackup", str(second / "pgdata"))
        owner = (first / "pgdata").stat()
        for path in (second / "pgdata", *(second / "pgdata").rglob("*")):
            os.chown(path, owner.st_uid, owner.st_gid, follow_symlinks=False)
        shutil.copy2(first / "postgres-password", second)
        assert refusal(None, second).startswith("pgs3vectors: Cannot read the key-encryption key: ")
        shutil.copy2(original.key, second)
        with served(None, second) as server:
            assert ask(server, original.user, original.query) == original.answer
            after = contents(url_of(None, second))
    last_use = {"s3_vectors.access_keys": None}
    assert after | last_use == before | last_use
