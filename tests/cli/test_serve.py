import os
import signal
import socket
import sys
import urllib.error
import urllib.request
from pathlib import Path

import psycopg
import pytest

from tests.database.test_embedded import ends
from tests.server_process import running


def test_first_start_prints_endpoint_credentials_and_command_the_second_no_secret(data_dir: Path) -> None:
    for shown in (True, False):
        with running("--data-dir", str(data_dir)) as server:
            printed = server.wait_until_ready()
            assert f"pgs3vectors answers at {server.endpoint}\n" in printed
            assert f"Root credentials: {data_dir}/root-credentials\n" in printed
            assert f"aws s3vectors list-vector-buckets --region us-east-1 --endpoint-url {server.endpoint}" in printed
            assert ("(shown this once)" in printed) is shown
            assert status(server.endpoint) == 403
            assert server.terminate() == 0


def test_a_server_on_a_given_database_starts_none(own_database_url: str, data_dir: Path) -> None:
    with running("--data-dir", str(data_dir), DATABASE_URL=own_database_url) as server:
        server.wait_until_ready()
        assert sorted(path.name for path in data_dir.iterdir()) == ["key-encryption-key", "root-credentials"]


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux tells a child of its parent's death")
def test_a_killed_server_leaves_nothing_behind(data_dir: Path) -> None:
    with running("--data-dir", str(data_dir)) as server:
        server.wait_until_ready()
        children = children_of(server.process.pid)
        server.terminate(signal.SIGKILL)
        assert len(children) >= 2
        assert [child for child in children if not ends(child)] == []


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_without_its_postgres_the_server_ends_and_says_so(data_dir: Path) -> None:
    with running("--data-dir", str(data_dir)) as server:
        server.wait_until_ready()
        os.kill(int((data_dir / "pgdata/postmaster.pid").read_text().split()[0]), signal.SIGKILL)
        assert server.process.wait(60) == 1
        assert "PostgreSQL ended by itself" in server.rest()


@pytest.mark.parametrize(
    ("settings", "expected"),
    [
        ({"ACCOUNT_ID": "42"}, "PGS3VECTORS_ACCOUNT_ID must be 12 digits."),
        ({"HOST": "no such host"}, "PGS3VECTORS_HOST must be an address to listen on."),
        ({"DATABASE_URL": "postgresql://127.0.0.1:1/none"}, "Connection refused"),
    ],
)
def test_what_the_operator_can_mend_is_told_in_one_line(settings: dict[str, str], expected: str) -> None:
    assert expected in only_line(**settings)


def test_a_taken_port_is_told_before_anything_starts(data_dir: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        expected = f"pgs3vectors: Cannot listen on 127.0.0.1 port {port}: Address already in use.\n"
        assert only_line("--port", port, DATA_DIR=str(data_dir)) == expected
    assert not data_dir.exists()


def test_a_database_without_the_right_to_add_pgvector_is_told_what_to_run(postgres: str, own_database_url: str) -> None:
    role = f"visitor_{os.urandom(4).hex()}"
    with psycopg.connect(own_database_url, autocommit=True) as connection:
        connection.execute("DROP EXTENSION vector CASCADE")
        connection.execute(f"CREATE ROLE {role} LOGIN PASSWORD 'visitor'")
    url = psycopg.conninfo.conninfo_to_dict(own_database_url)
    host, port, database = url["host"], url.get("port", 5432), url["dbname"]
    with psycopg.connect(postgres, autocommit=True) as connection:
        try:
            visitor = f"postgresql://{role}:visitor@/{database}?host={host}&port={port}"
            assert "Run CREATE EXTENSION vector as a superuser" in only_line(DATABASE_URL=visitor)
        finally:
            connection.execute(f"DROP ROLE {role}")


def only_line(*options: str, **settings: str) -> str:
    with running(*options, **settings) as server:
        assert server.process.wait(60) == 1
        return server.rest()


def status(url: str) -> int:
    try:
        with urllib.request.urlopen(url) as answer:  # noqa: S310 - our own server
            return int(answer.status)
    except urllib.error.HTTPError as error:
        error.close()
        return error.code


def children_of(pid: int) -> list[int]:
    return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
