import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

from app.settings import Settings

SCRIPTS = Path(__file__).parent.parent / "scripts"
SAMPLE = SCRIPTS / "sample"


def demo(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    inherited = {name: value for name, value in os.environ.items() if not name.startswith("AWS_")}
    return subprocess.run(  # noqa: S603 - our own script
        [sys.executable, SCRIPTS / "demo.py", *arguments],
        env={**inherited, "COLUMNS": "120", **environment},
        capture_output=True,
        text=True,
        check=False,
        timeout=180,
    )


@pytest.fixture
def keys(settings: Settings) -> dict[str, str]:
    return {
        "AWS_ACCESS_KEY_ID": settings.root_access_key_id,
        "AWS_SECRET_ACCESS_KEY": settings.root_secret_access_key,
    }


def assert_answered(output: str) -> None:
    for package in ("puddletag", "libfaiss-dev", "jo", "python3-pypdf2", "libadmesh1", "aspell"):
        assert f" {package} " in output
    assert 'filter {"section": "python"}' in output
    assert 'SELECT key, metadata FROM "demo"."debian-packages" LIMIT 5' in output


def test_demo_answers_its_questions_and_again(endpoint: str, keys: dict[str, str]) -> None:
    for _ in range(2):
        run = demo("--endpoint-url", endpoint, **keys)
        assert (run.returncode, run.stderr) == (0, "")
        assert_answered(run.stdout)


def test_demo_reads_the_root_credentials(endpoint: str, keys: dict[str, str], tmp_path: Path) -> None:
    lines = [f"{name.lower()} = {value}" for name, value in keys.items()]
    (tmp_path / "root-credentials").write_text("\n".join(["[default]", *lines]))
    run = demo("--endpoint-url", endpoint, "--data-dir", str(tmp_path))
    assert run.returncode == 0, run.stderr
    assert_answered(run.stdout)


def test_demo_without_a_server_runs_its_own() -> None:
    run = demo("--endpoint-url", "http://127.0.0.1:1", PGS3VECTORS_DATABASE_URL="postgresql://nowhere.invalid/none")
    assert run.returncode == 0, run.stderr
    assert "The demo's server is gone" in run.stdout
    assert_answered(run.stdout)


def test_demo_says_in_one_line_what_is_missing(endpoint: str, tmp_path: Path) -> None:
    run = demo("--endpoint-url", endpoint, "--data-dir", str(tmp_path))
    assert run.returncode == 1
    assert run.stderr.startswith("demo: no credentials: set AWS_ACCESS_KEY_ID")
    assert run.stderr.count("\n") == 1


@pytest.mark.parametrize("url", ["localhost:8787", "http://", "http://localhost:99999", "http://[::1"])
def test_demo_refuses_what_is_no_url(url: str) -> None:
    run = demo("--endpoint-url", url)
    assert (run.returncode, run.stderr.count("\n")) == (1, 1)


def test_sample_is_small() -> None:
    assert sum(path.stat().st_size for path in SAMPLE.iterdir()) <= 3_000_000


def test_sample_is_valid() -> None:
    rows = pq.read_table(SAMPLE / "debian-packages.parquet").to_pylist()
    assert len({row["key"] for row in rows}) == len(rows) == 2000
    for row in rows:
        metadata = json.loads(row["metadata"])
        assert len(row["vector"]) == 384
        assert sum(x * x for x in row["vector"]) == pytest.approx(1, abs=1e-2)
        assert all(is_allowed(value) for value in metadata.values()), row["key"]
        assert size({key: metadata[key] for key in metadata.keys() - {"text", "homepage"}}) <= 2048


def test_sample_has_the_demo_queries() -> None:
    queries = pq.read_table(SAMPLE / "queries.parquet").to_pylist()
    assert len({row["text"] for row in queries}) == len(queries) == 12
    assert {len(row["vector"]) for row in queries} == {384}


def is_allowed(value: Any) -> bool:
    if isinstance(value, list):
        return {type(element) for element in value} in ({str}, {int}, {float}, {int, float})
    return isinstance(value, str | int | float)


def size(value: Any) -> int:
    """Bytes as S3 Vectors counts them."""
    match value:
        case dict():
            return 4 + sum(8 + len(key.encode()) + size(item) for key, item in value.items())
        case list():
            return sum(4 + size(item) for item in value)
        case str():
            return len(value.encode())
        case bool():
            return 0
        case _:
            return 4
