import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psycopg
import pytest

from app.database.embedded import EmbeddedPostgres
from app.database.embedded_binaries import EmbeddedError, check_cpu
from app.unprivileged import User, closed_folder
from tests.server_process import environment

SMALL = {"shared_buffers": "16MB"}
LAUNCHER = """
import sys, time
from pathlib import Path
from app.database.embedded import EmbeddedPostgres
postgres = EmbeddedPostgres(Path(sys.argv[1]), {"shared_buffers": "16MB"})
postgres.start()
print(postgres.pid, flush=True)
time.sleep(600)
"""


def test_first_start_makes_a_cluster_and_the_second_finds_its_data(data_dir: Path) -> None:
    with EmbeddedPostgres(data_dir, SMALL) as postgres, psycopg.connect(postgres.url) as connection:
        connection.execute("CREATE TABLE kept AS SELECT 42 AS answer")
    with EmbeddedPostgres(data_dir, SMALL) as postgres:
        assert answer(postgres) == 42


def test_the_cluster_is_what_we_rely_on(data_dir: Path) -> None:
    with EmbeddedPostgres(data_dir, SMALL) as postgres, psycopg.connect(postgres.url) as connection:
        (provider,) = (
            connection.execute("SELECT datlocprovider FROM pg_database WHERE datname = 'pgs3vectors'").fetchone() or ()
        )
        shown = {name: show(connection, name) for name in ("data_checksums", "fsync", "jit", "server_encoding")}
    assert provider == "b"
    assert shown == {"data_checksums": "on", "fsync": "on", "jit": "off", "server_encoding": "UTF8"}


def test_a_wrong_password_is_refused(data_dir: Path) -> None:
    with EmbeddedPostgres(data_dir, SMALL) as postgres:
        wrong = postgres.url.replace(postgres.password_file.read_text(), "wrong")
        with pytest.raises(psycopg.OperationalError, match="password authentication failed"):
            psycopg.connect(wrong)


def test_files_are_private(data_dir: Path) -> None:
    with EmbeddedPostgres(data_dir, SMALL) as postgres:
        modes = {path.name: oct(path.stat().st_mode & 0o777) for path in data_dir.iterdir()}
        assert modes["pgdata"] == modes["socket"] == "0o700"
        assert modes["postgres-password"] == modes["postgres.log"] == "0o600"
        assert postgres.socket_dir.stat().st_uid == postgres.cluster.stat().st_uid


def test_a_path_too_long_for_a_socket_listens_on_the_loopback(data_dir: Path) -> None:
    with EmbeddedPostgres(data_dir / ("long" * 20), SMALL) as postgres, psycopg.connect(postgres.url) as connection:
        assert connection.info.host == "127.0.0.1"


def test_killed_postgres_starts_again_with_what_was_committed(data_dir: Path) -> None:
    with EmbeddedPostgres(data_dir, SMALL) as postgres:
        with psycopg.connect(postgres.url) as connection:
            connection.execute("CREATE TABLE kept AS SELECT 42 AS answer")
        assert postgres.pid
        os.kill(postgres.pid, signal.SIGKILL)
        postgres.wait()
    with EmbeddedPostgres(data_dir, SMALL) as postgres:
        assert answer(postgres) == 42


def test_an_interrupted_initdb_is_done_over(data_dir: Path) -> None:
    unfinished = data_dir / "pgdata.new"
    unfinished.mkdir(parents=True)
    (unfinished / "PG_VERSION").write_text("18")
    with EmbeddedPostgres(data_dir, SMALL) as postgres:
        assert not unfinished.exists()
        assert postgres.cluster.exists()


def test_the_second_launcher_is_told_about_the_first(data_dir: Path) -> None:
    with (
        EmbeddedPostgres(data_dir, SMALL),
        pytest.raises(EmbeddedError, match=f"Another pgs3vectors server runs on {data_dir}"),
    ):
        EmbeddedPostgres(data_dir, SMALL).start()


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux tells a child of its parent's death")
def test_postgres_ends_with_a_killed_launcher(data_dir: Path) -> None:
    with launcher(data_dir) as (process, postgres):
        process.kill()
        process.wait()
        assert ends(postgres)


def test_a_start_right_after_a_killed_launcher_waits_for_its_postgres(data_dir: Path) -> None:
    with launcher(data_dir) as (process, _):
        process.kill()
        process.wait()
        with EmbeddedPostgres(data_dir, SMALL) as postgres, psycopg.connect(postgres.url) as connection:
            assert connection.execute("SELECT 1").fetchone() == (1,)


def test_a_failed_start_shows_the_words_of_postgres(data_dir: Path) -> None:
    with pytest.raises(EmbeddedError, match=r"FATAL:.*shared_buffers"):
        EmbeddedPostgres(data_dir, {"shared_buffers": "nonsense"}).start()
    with EmbeddedPostgres(data_dir, SMALL) as postgres:
        assert postgres.pid


def test_an_old_cpu_is_told_to_bring_its_own_database(tmp_path: Path) -> None:
    cpuinfo = tmp_path / "cpuinfo"
    cpuinfo.write_text("flags\t\t: fpu sse4_2 avx fma bmi1\n")
    with pytest.raises(EmbeddedError, match=r"lacks avx2, bmi2.*PGS3VECTORS_DATABASE_URL"):
        check_cpu(cpuinfo)


def test_the_closed_folder_is_named(tmp_path: Path) -> None:
    tmp_path.chmod(0o755)
    closed = tmp_path / "closed"
    closed.mkdir(mode=0o700)
    stranger = User(uid=tmp_path.stat().st_uid + 12345, gid=tmp_path.stat().st_gid + 12345, name="stranger")
    assert closed_folder(closed / "not" / "made", stranger) in {closed, *closed.parents}
    assert closed_folder(closed, None) is None


def answer(postgres: EmbeddedPostgres) -> int:
    with psycopg.connect(postgres.url) as connection:
        (value,) = connection.execute("SELECT answer FROM kept").fetchone() or ()
        return int(value)


def show(connection: psycopg.Connection, name: str) -> str:
    (value,) = connection.execute("SELECT current_setting(%s)", [name]).fetchone() or ()
    return str(value)


@contextmanager
def launcher(data_dir: Path) -> Iterator[tuple["subprocess.Popen[str]", int]]:
    """A process that starts PostgreSQL, and the pid of that PostgreSQL."""
    command = [sys.executable, "-c", LAUNCHER, str(data_dir)]
    with subprocess.Popen(command, env=environment(), stdout=subprocess.PIPE, text=True) as process:  # noqa: S603
        assert process.stdout
        lines = iter(process.stdout.readline, "")
        yield process, int(next(line for line in lines if line.strip().isdigit()))


def ends(pid: int, seconds: float = 20) -> bool:
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if not Path(f"/proc/{pid}").exists():
            return True
        time.sleep(0.05)
    return False
