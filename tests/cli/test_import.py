import json
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import psycopg
import pyarrow.parquet as pq
import pytest

from tests.cli.indexes import Indexes, indexes_at
from tests.cli.test_iam import HOME, TENANT, Deployment, deployed
from tests.database.conftest import Library
from tests.interchange.files import Rows, rows, write_json_lines, write_npz, write_parquet
from tests.server_process import ROOT, environment

NOTHING = "; nothing was written, and --skip-invalid leaves such rows out."
FORMS = {"parquet": write_parquet, "jsonl": write_json_lines, "npz": write_npz}


async def make(_: Library) -> None:
    """The bucket `media`."""


@pytest.fixture(scope="module")
def indexes(copied_database: Callable[[], str]) -> Iterator[Indexes]:
    with indexes_at(copied_database(), make) as indexes:
        yield indexes


@pytest.fixture
def name(indexes: Indexes) -> str:
    """Of an index that is not there yet, nor will be for another test."""
    [(number,)] = indexes.sql("SELECT nextval('s3_vectors.vector_indexes_id_seq')")
    return f"media/test-{number}"


def table(indexes: Indexes, name: str) -> str:
    [(index_id,)] = indexes.sql(f"SELECT id FROM s3_vectors.vector_indexes WHERE index_name = '{name.split('/')[1]}'")
    return f"vectors.index_{index_id}"


def noted(indexes: Indexes, name: str) -> list[Any]:
    """How far imports have come that are not complete."""
    index_id = table(indexes, name).removeprefix("vectors.index_")
    return indexes.sql(f"SELECT progress FROM s3_vectors.transfers WHERE vector_index_id = {index_id}")


def stored(indexes: Indexes, name: str) -> list[Any]:
    columns = "key, embedding::text, metadata || non_filterable_metadata"
    return [
        (key, np.array(json.loads(str(vector)), np.float32).tolist(), metadata)
        for key, vector, metadata in indexes.sql(f"SELECT {columns} FROM {table(indexes, name)} ORDER BY key")
    ]


def expected(rows: Rows) -> list[Any]:
    metadata = [json.loads(text or "{}") for text in rows.metadata]
    return sorted(zip(rows.keys, rows.vectors, metadata, strict=True))


def new(metric: str = "cosine") -> tuple[str, ...]:
    return "--distance-metric", metric, "--non-filterable", "text"


@pytest.mark.parametrize("form", FORMS)
def test_every_form_is_imported_into_a_new_index(indexes: Indexes, name: str, tmp_path: Path, form: str) -> None:
    path = FORMS[form](tmp_path / f"vectors.{form}", rows(2_500))
    told = indexes.command.json("import", str(path), name, *new())
    assert told == {
        "index": name,
        "rows": 2_500,
        "skipped": 0,
        "vectors": 2_500,
        "graphs": "none: small",
        "faults": [],
    }
    assert stored(indexes, name) == expected(rows(2_500))
    split = f"SELECT count(*) FROM {table(indexes, name)} WHERE metadata ? 'n' AND non_filterable_metadata ? 'text'"
    assert indexes.sql(split) == [(2_500,)]
    assert noted(indexes, name) == []
    assert indexes.sql(f'SELECT count(*) FROM "media"."{name.split("/")[1]}"') == [(2_500,)]


def test_people_read_what_came_of_it(indexes: Indexes, name: str, tmp_path: Path) -> None:
    path = write_parquet(tmp_path / "vectors.parquet", rows(10))
    lines = indexes.command("import", str(path), name, *new("euclidean")).splitlines()
    assert [line.split(maxsplit=1) for line in lines] == [
        ["index", name],
        ["rows", "10"],
        ["skipped", "0"],
        ["vectors", "10"],
        ["graphs", "none: small"],
    ]


def test_a_bucket_is_made_where_there_is_none(indexes: Indexes, tmp_path: Path) -> None:
    path = write_parquet(tmp_path / "vectors.parquet", rows(10))
    assert indexes.command.json("import", str(path), "fresh/index", *new())["vectors"] == 10
    assert indexes.sql('SELECT count(*) FROM "fresh"."index"') == [(10,)]


def test_of_a_key_that_comes_twice_the_last_row_stays(indexes: Indexes, name: str, tmp_path: Path) -> None:
    """Within a batch, in another one, and in what was there before."""
    many = rows(4_500)
    many.keys[1] = many.keys[4_000] = many.keys[0]
    path = write_parquet(tmp_path / "vectors.parquet", many)
    assert indexes.command.json("import", str(path), name, *new())["vectors"] == 4_498
    assert stored(indexes, name)[0] == (many.keys[0], many.vectors[4_000], json.loads(many.metadata[4_000]))
    path = write_parquet(tmp_path / "more.parquet", rows(10).replaced(1, vectors=[1, 2, 3, 4], metadata=None))
    assert indexes.command.json("import", str(path), name)["vectors"] == 4_499
    assert stored(indexes, name)[0] == (many.keys[0], [1, 2, 3, 4], {})


def test_every_vector_gets_a_position_of_its_own(indexes: Indexes, name: str, tmp_path: Path) -> None:
    path = write_parquet(tmp_path / "vectors.parquet", rows(2_500))
    for first in (0, 2_500):
        indexes.command("import", str(path), name, *new())
        found = indexes.sql(f"SELECT min(position) > {first}, count(DISTINCT position) FROM {table(indexes, name)}")
        assert found == [(True, 2_500)]


@pytest.mark.parametrize(
    ("form", "row", "fault", "reason"),
    [
        ("parquet", 2_007, {"keys": "x" * 1_025}, f"row 2007 (key '{'x' * 80}'...): Value with length 1025 at 'key'"),
        (
            "jsonl",
            7,
            {"vectors": [1.0, 2.0, 3.0]},
            "row 7 (key 'k000006'): vector must have length 4, but has length 3",
        ),
        ("parquet", 2_500, {"vectors": [0.0] * 4}, "row 2500 (key 'k002499'): cosine distance does not support"),
        ("npz", 1, {"metadata": '{"a": null}'}, "row 1 (key 'k000000'): Metadata values must be strings, numbers,"),
    ],
)
def test_one_bad_row_is_named_and_nothing_is_written(
    indexes: Indexes, name: str, tmp_path: Path, form: str, row: int, fault: dict[str, Any], reason: str
) -> None:
    path = FORMS[form](tmp_path / f"vectors.{form}", rows(2_500).replaced(row, **fault))
    told = indexes.command.refusal("import", str(path), name, *new())
    assert told.startswith(f"{path}, {reason}")
    assert told.endswith(NOTHING)
    assert indexes.sql(f"SELECT 1 FROM s3_vectors.vector_indexes WHERE index_name = '{name.split('/')[1]}'") == []


def test_metadata_that_is_no_json_is_named(indexes: Indexes, name: str, tmp_path: Path) -> None:
    path = write_parquet(tmp_path / "vectors.parquet", rows(10).replaced(2, metadata="{year: 1979}"))
    assert indexes.command.refusal("import", str(path), name, *new()).startswith(
        f"{path}, row 2 (key 'k000001'): Metadata is not JSON: "
    )


@pytest.mark.parametrize(
    ("bad", "others"),
    [(2, "; nothing was written, and 1 more row is invalid;"), (5, "; nothing was written, and 4 more rows are")],
)
def test_further_bad_rows_are_counted(indexes: Indexes, name: str, tmp_path: Path, bad: int, others: str) -> None:
    broken = rows(10)
    for row in range(1, 1 + bad):
        broken = broken.replaced(row, vectors=[1.0])
    path = write_json_lines(tmp_path / "vectors.jsonl", broken)
    # The first vector says what the others are held against, unless the index is there.
    indexes.command("import", str(write_parquet(tmp_path / "good.parquet", rows(1))), name, *new())
    assert others in indexes.command.refusal("import", str(path), name)
    assert len(stored(indexes, name)) == 1


def test_bad_rows_are_left_out_and_listed(indexes: Indexes, name: str, tmp_path: Path) -> None:
    bad = rows(4_500).replaced(3, keys=None).replaced(4_200, vectors=[1.0])
    path = write_json_lines(tmp_path / "vectors.jsonl", bad)
    lines = path.read_text().splitlines()
    path.write_text("\n".join([*lines[:9], "{", *lines[10:]]))
    told = indexes.command.json("import", str(path), name, *new(), "--skip-invalid")
    assert (told["rows"], told["skipped"], told["vectors"]) == (4_500, 3, 4_497)
    assert [(fault["row"], fault["key"]) for fault in told["faults"]] == [(3, None), (10, None), (4_200, "k004199")]
    heading, *listed = indexes.command("import", str(path), name, "--skip-invalid").split("\n\n")[0].splitlines()
    assert heading.split() == ["row", "key", "reason"]
    assert listed[2].strip().split(maxsplit=2) == ["4200", "'k004199'", "vector must have length 4, but has length 1"]


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        ((), "There is no index {name} in account {home}; with --distance-metric cosine or euclidean it is made."),
        (("--account", TENANT), f"There is no account {TENANT}."),
        (
            (*new(), "--key-column", "id"),
            "{path} has no column id; its columns are key, vector, metadata. Name one with --key-column.",
        ),
        (
            (*new(), "--metadata-column", "about"),
            "{path} has no column about; its columns are key, vector, metadata. Name one with --metadata-column.",
        ),
        (
            (*new(), "--non-filterable", "text"),
            "Non-filterable metadata keys must be unique",
        ),
    ],
)
def test_what_cannot_be_done_is_told_in_one_line(
    indexes: Indexes, name: str, tmp_path: Path, options: tuple[str, ...], reason: str
) -> None:
    path = write_parquet(tmp_path / "vectors.parquet", rows(10))
    told = indexes.command.refusal("import", str(path), name, *options)
    assert told == reason.format(name=name, path=path, home=HOME)


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("media", "An index is named as bucket/index, not as media."),
        ("media/A", "Invalid index name"),
        ("a_b/index", "Invalid vector bucket name"),
    ],
)
def test_names_are_those_of_the_api(indexes: Indexes, tmp_path: Path, name: str, reason: str) -> None:
    path = write_parquet(tmp_path / "vectors.parquet", rows(10))
    assert indexes.command.refusal("import", str(path), name, *new()) == reason


def test_a_file_is_known_by_its_suffix(indexes: Indexes, name: str, tmp_path: Path) -> None:
    refusal = indexes.command.refusal("import", str(tmp_path / "vectors.csv"), name, *new())
    assert refusal == f"{tmp_path / 'vectors.csv'} is none of .parquet, .jsonl, .ndjson or .npz, by its name."


@pytest.mark.parametrize(
    ("write", "reason"),
    [
        (lambda path: write_parquet(path, Rows([], [], [])), "{} has no vectors."),
        (
            lambda path: write_parquet(path, Rows(["a"], [[0.5] * 4_097], [None])),
            "1 validation error detected. Value at '/dimension' failed to satisfy constraint: "
            "Member must be between 1 and 4096, inclusive",
        ),
    ],
    ids=["no rows", "too many dimensions"],
)
def test_no_index_is_made_of_a_file_that_cannot_fill_it(
    indexes: Indexes, name: str, tmp_path: Path, write: Callable[[Path], Path], reason: str
) -> None:
    path = write(tmp_path / "vectors.parquet")
    assert indexes.command.refusal("import", str(path), name, *new()) == reason.format(path)


def test_an_index_that_is_there_is_not_made_another(indexes: Indexes, name: str, tmp_path: Path) -> None:
    path = write_parquet(tmp_path / "vectors.parquet", rows(10))
    indexes.command("import", str(path), name, *new())
    refused = [
        indexes.command.refusal("import", str(path), name, "--distance-metric", "euclidean"),
        indexes.command.refusal("import", str(path), name, "--non-filterable", "other"),
    ]
    assert refused == [
        f"{name} is there, with the distance metric cosine.",
        f"{name} is there, with other non-filterable keys: text.",
    ]


def test_an_import_that_is_killed_goes_on_where_it_was(indexes: Indexes, name: str, tmp_path: Path) -> None:
    path = write_parquet(tmp_path / "vectors.parquet", rows(9_000), row_group_size=1_000)
    indexes.command("import", str(write_parquet(tmp_path / "first.parquet", rows(1, first=5_000))), name, *new())
    with psycopg.connect(indexes.url) as other:  # holds up the third batch
        other.execute(f"SELECT FROM {table(indexes, name)} FOR UPDATE".encode())
        process = started(indexes, "import", str(path), name)
        wait_for(indexes, "SELECT 1 FROM s3_vectors.transfers WHERE progress ->> 'rows' = '4000'")
        wait_for(indexes, "SELECT 1 FROM pg_stat_activity WHERE wait_event = 'transactionid'")
        refusal = indexes.command.refusal("import", str(path), name)
        assert refusal == f"Another import into {name} is running."
        process.send_signal(signal.SIGKILL)
        process.communicate()
    wait_until_gone(indexes)
    assert len(stored(indexes, name)) == 4_001
    done = indexes.command.run("import", str(path), name, "--json")
    assert done.stderr == "Going on behind row 4000, where this import was interrupted.\n"
    assert json.loads(done.stdout)["vectors"] == 9_000
    assert stored(indexes, name) == expected(rows(9_000))
    assert noted(indexes, name) == []
    [(positions,)] = indexes.sql(f"SELECT max(position) FROM {table(indexes, name)}")
    assert positions == 1 + 9_000 + 2_000  # only the batch that was not committed was written twice


@pytest.fixture
def interrupted(indexes: Indexes, name: str, tmp_path: Path) -> Path:
    """The file of an import that control-C has ended behind row 2000."""
    path = write_json_lines(tmp_path / "vectors.jsonl", rows(5_000))
    indexes.command("import", str(write_parquet(tmp_path / "first.parquet", rows(1, first=3_000))), name, *new())
    with psycopg.connect(indexes.url) as other:
        other.execute(f"SELECT FROM {table(indexes, name)} FOR UPDATE".encode())
        process = started(indexes, "import", str(path), name)
        wait_for(indexes, "SELECT 1 FROM pg_stat_activity WHERE wait_event = 'transactionid'")
        process.send_signal(signal.SIGINT)
        told = process.communicate()[1]
    assert (process.returncode, told) == (130, "Interrupted behind row 2000; the same command goes on there.\n")
    assert noted(indexes, name) == [({"rows": 2_000, "skipped": 0},)]
    indexes.sql(f"DELETE FROM {table(indexes, name)} WHERE key = 'k000000'")
    return path


def test_an_interrupted_import_goes_on(indexes: Indexes, name: str, interrupted: Path) -> None:
    done = indexes.command.run("import", str(interrupted), name, "--json")
    assert done.stderr == "Going on behind row 2000, where this import was interrupted.\n"
    assert (json.loads(done.stdout)["rows"], json.loads(done.stdout)["vectors"]) == (5_000, 4_999)


def test_an_interrupted_import_begins_anew_where_that_is_wanted(indexes: Indexes, name: str, interrupted: Path) -> None:
    assert indexes.command.json("import", str(interrupted), name, "--restart")["vectors"] == 5_000


def test_an_import_goes_on_with_the_same_file_only(indexes: Indexes, name: str, interrupted: Path) -> None:
    interrupted.write_text(interrupted.read_text())
    assert indexes.command.json("import", str(interrupted), name)["vectors"] == 5_000
    assert noted(indexes, name) == []


def test_what_was_interrupted_before_another_import_begins_anew(
    indexes: Indexes, name: str, interrupted: Path, tmp_path: Path
) -> None:
    indexes.command("import", str(write_parquet(tmp_path / "other.parquet", rows(1))), name)
    assert noted(indexes, name) == []
    assert indexes.command.json("import", str(interrupted), name)["vectors"] == 5_000


def started(indexes: Indexes, *arguments: str) -> "subprocess.Popen[str]":
    return subprocess.Popen(  # noqa: S603 - our own command
        [sys.executable, "-m", "app.cli", *arguments],
        env=environment(**indexes.command.settings),
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def wait_for(indexes: Indexes, statement: str) -> None:
    deadline = time.monotonic() + 60
    while not indexes.sql(statement):
        assert time.monotonic() < deadline, statement
        time.sleep(0.02)


def wait_until_gone(indexes: Indexes) -> None:
    wait_for(
        indexes,
        "SELECT 1 WHERE NOT EXISTS (SELECT FROM pg_stat_activity WHERE application_name = 'pgs3vectors-import')",
    )


def test_a_graph_is_built_where_no_server_runs(indexes: Indexes, name: str, tmp_path: Path) -> None:
    path = write_npz(tmp_path / "vectors.npz", rows(1_100, 2_000))
    waiting = indexes.command.json("import", str(path), name, *new(), "--no-wait")
    assert waiting["graphs"] == "none yet: no server is running to build it"
    assert indexes.command.json("import", str(path), name)["graphs"] == "ready"
    [graph] = indexes.command.json("index", "status", name)["graphs"]
    assert (graph["vectors"], graph["ef_construction"]) == (1_100, 400)


@pytest.fixture(scope="module")
def deployment(copied_database: Callable[[], str]) -> Iterator[Deployment]:
    root = {"ROOT_ACCESS_KEY_ID": "PGSVROOT", "ROOT_SECRET_ACCESS_KEY": "root-secret"}
    with deployed(copied_database(), **root) as deployment:
        yield deployment


@pytest.fixture(scope="module")
def client(deployment: Deployment) -> Any:
    return deployment.client({"AccessKeyId": "PGSVROOT", "SecretAccessKey": "root-secret"})


def test_a_server_builds_the_graph_and_finds_what_was_imported(
    deployment: Deployment, client: Any, tmp_path: Path
) -> None:
    imported = rows(1_100, 2_000)
    path = write_parquet(tmp_path / "vectors.parquet", imported)
    told = deployment.command.json("import", str(path), "media/movies", *new())
    assert (told["vectors"], told["graphs"]) == (1_100, "ready")
    [graph] = deployment.command.json("index", "status", "media/movies")["graphs"]
    assert (graph["vectors"], graph["ef_construction"]) == (1_100, 400)
    index = {"vectorBucketName": "media", "indexName": "movies"}
    vector = {"float32": imported.vectors[5]}
    [found] = client.query_vectors(**index, topK=1, queryVector=vector, returnMetadata=True)["vectors"]
    assert found == {"key": "k000005", "metadata": {"n": 5, "text": "number 5"}}


def test_non_filterable_metadata_is_sealed_under_a_kms_key(deployment: Deployment, client: Any, tmp_path: Path) -> None:
    encryption = {"sseType": "aws:kms", "kmsKeyArn": deployment.command("kms", "create").strip()}
    client.create_vector_bucket(vectorBucketName="sealed", encryptionConfiguration=encryption)
    path = write_parquet(tmp_path / "vectors.parquet", rows(10))
    deployment.command("import", str(path), "sealed/index", *new())
    index = {"vectorBucketName": "sealed", "indexName": "index"}
    assert client.get_index(**index)["index"]["encryptionConfiguration"] == encryption
    [got] = client.get_vectors(**index, keys=["k000003"], returnMetadata=True, returnData=True)["vectors"]
    assert got["metadata"] == {"n": 3, "text": "number 3"}
    np.testing.assert_array_equal(np.float32(got["data"]["float32"]), rows(10).vectors[3])
    [(sealed,)] = deployment.sql('SELECT non_filterable_metadata FROM "sealed"."index" LIMIT 1')
    assert isinstance(sealed, bytes)
    deployment.command("kms", "disable", encryption["kmsKeyArn"])
    refusal = deployment.command.refusal("import", str(path), "sealed/index")
    assert refusal == f"{encryption['kmsKeyArn']} is disabled."


def test_the_sample_of_the_demo_is_imported_as_it_is(indexes: Indexes, name: str) -> None:
    sample = ROOT / "scripts/sample/debian-packages.parquet"
    told = indexes.command.json(
        "import", str(sample), name, "--distance-metric", "cosine", "--non-filterable", "text", "homepage"
    )
    assert (told["vectors"], told["skipped"]) == (2_000, 0)
    read = pq.read_table(sample)
    metadata = [json.loads(text) for text in read["metadata"].to_pylist()]
    packages = sorted(zip(read["key"].to_pylist(), read["vector"].to_pylist(), metadata, strict=True))
    assert stored(indexes, name) == packages
