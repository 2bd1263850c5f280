import json
import signal
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import psycopg
import pyarrow.parquet as pq
import pytest

from tests.cli.indexes import Indexes, indexes_at
from tests.cli.test_iam import HOME
from tests.cli.test_import import expected, new, started, stored, wait_for
from tests.database.conftest import Library
from tests.interchange.files import Rows, rows, write_json_lines, write_parquet

FORMS = "parquet", "jsonl", "npz"
AWKWARD = Rows(
    ["ключ", " blank ", 'quo"te', "k" * 1_024, "\\"],
    [[-0.0, 1.0], [1e-45, 3.4028234663852886e38], [0.1, 1 / 3], [-1.0, -2.0], [5.0, 0.0]],
    [
        '{"text": "nicht ASCII: ä€😀", "n": 1.5}',
        None,
        '{"b": true, "list": ["a", "b"], "text": "x\\ny"}',
        json.dumps({"text": "x" * 30_000}),
        '{"big": 12345678901234567890, "n": 2.5}',
    ],
)


async def make(_: Library) -> None:
    """The bucket `media`."""


@pytest.fixture(scope="module")
def indexes(copied_database: Callable[[], str]) -> Iterator[Indexes]:
    with indexes_at(copied_database(), make) as indexes:
        yield indexes


@pytest.fixture(scope="module")
def many(indexes: Indexes, tmp_path_factory: pytest.TempPathFactory) -> str:
    path = write_parquet(tmp_path_factory.mktemp("many") / "many.parquet", rows(4_500))
    indexes.command("import", str(path), "media/many", *new())
    return "media/many"


@pytest.fixture(scope="module")
def awkward(indexes: Indexes, tmp_path_factory: pytest.TempPathFactory) -> str:
    path = write_json_lines(tmp_path_factory.mktemp("awkward") / "awkward.jsonl", AWKWARD)
    indexes.command("import", str(path), "media/awkward", *new("euclidean"))
    return "media/awkward"


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("which", ["many", "awkward"])
def test_what_is_exported_is_imported_as_it_was(
    indexes: Indexes, tmp_path: Path, request: pytest.FixtureRequest, form: str, which: str
) -> None:
    name, file = request.getfixturevalue(which), tmp_path / f"out.{form}"
    told = indexes.command.json("export", name, str(file))
    number = len(stored(indexes, name))
    assert told == {"index": name, "vectors": number, "file": str(file), "size": file.stat().st_size}
    options = () if form == "parquet" else new("euclidean")
    indexes.command("import", str(file), f"media/{which}-{form}", *options)
    assert stored(indexes, f"media/{which}-{form}") == stored(indexes, name)
    assert [path.name for path in tmp_path.iterdir()] == [file.name]


def test_parquet_remembers_what_index_it_was(indexes: Indexes, awkward: str, tmp_path: Path) -> None:
    indexes.command("export", awkward, str(tmp_path / "out.parquet"))
    indexes.command("import", str(tmp_path / "out.parquet"), "media/remembered")
    columns = "dimension, distance_metric, non_filterable_metadata_keys"
    both = indexes.sql(f"SELECT {columns} FROM s3_vectors.vector_indexes WHERE index_name IN ('awkward', 'remembered')")
    assert both == [(2, "euclidean", ["text"])] * 2


def test_other_programs_read_the_files(indexes: Indexes, awkward: str, tmp_path: Path) -> None:
    for form in FORMS:
        indexes.command("export", awkward, str(tmp_path / f"out.{form}"))
    wanted = {key: (np.float32(vector).tolist(), metadata) for key, vector, metadata in expected(AWKWARD)}
    table = pq.read_table(tmp_path / "out.parquet").to_pylist()
    assert {row["key"]: (row["vector"], json.loads(row["metadata"])) for row in table} == wanted
    arrays = np.load(tmp_path / "out.npz", allow_pickle=False)
    read = zip(arrays["keys"].tolist(), arrays["vectors"].tolist(), arrays["metadata"].tolist(), strict=True)
    assert {key: (vector, json.loads(metadata)) for key, vector, metadata in read} == wanted
    lines = [json.loads(line) for line in (tmp_path / "out.jsonl").read_text().splitlines()]
    found = {line["key"]: (line["data"]["float32"], line["metadata"]) for line in lines}
    assert {key: (np.float32(vector).tolist(), metadata) for key, (vector, metadata) in found.items()} == wanted


@pytest.mark.parametrize("form", FORMS)
def test_an_empty_index_is_exported_too(indexes: Indexes, many: str, tmp_path: Path, form: str) -> None:
    empty = f"media/empty-{form}"
    indexes.command("import", str(write_parquet(tmp_path / "one.parquet", rows(1))), empty, *new())
    indexes.sql(f"""DELETE FROM media."empty-{form}" """)
    assert indexes.command.json("export", empty, str(tmp_path / f"out.{form}"))["vectors"] == 0
    assert indexes.command.json("import", str(tmp_path / f"out.{form}"), many)["rows"] == 0


def test_a_file_that_is_there_is_replaced_on_demand_only(indexes: Indexes, awkward: str, tmp_path: Path) -> None:
    file = tmp_path / "out.jsonl"
    file.write_text("precious")
    assert indexes.command.refusal("export", awkward, str(file)) == f"{file} is there; --overwrite replaces it."
    assert file.read_text() == "precious"
    indexes.command("export", awkward, str(file), "--overwrite")
    assert len(file.read_text().splitlines()) == 5


@pytest.mark.parametrize(
    ("name", "file", "reason"),
    [
        ("media/nope", "out.jsonl", f"There is no index media/nope in account {HOME}."),
        ("media/awkward", "out.csv", "{} is none of .parquet, .jsonl, .ndjson or .npz, by its name."),
        ("media/awkward", "no/folder/out.jsonl", "Cannot write {}: No such file or directory."),
        ("media/awkward", "no/folder/out.parquet", "Cannot write {}: No such file or directory."),
        ("media/awkward", "no/folder/out.npz", "Cannot write {}: No such file or directory."),
    ],
)
def test_what_cannot_be_exported_is_told_in_one_line(
    indexes: Indexes, awkward: str, tmp_path: Path, name: str, file: str, reason: str
) -> None:
    assert awkward
    assert indexes.command.refusal("export", name, str(tmp_path / file)) == reason.format(tmp_path / file)


def test_an_export_that_is_interrupted_leaves_nothing(indexes: Indexes, many: str, tmp_path: Path) -> None:
    [(index_id,)] = indexes.sql("SELECT id FROM s3_vectors.vector_indexes WHERE index_name = 'many'")
    with psycopg.connect(indexes.url) as other:
        other.execute(f"LOCK TABLE vectors.index_{index_id} IN ACCESS EXCLUSIVE MODE".encode())
        process = started(indexes, "export", many, str(tmp_path / "out.parquet"))
        wait_for(indexes, "SELECT 1 FROM pg_stat_activity WHERE wait_event_type = 'Lock'")
        process.send_signal(signal.SIGINT)
        told: Any = process.communicate()
    assert (process.returncode, *told) == (130, "", "")
    assert list(tmp_path.iterdir()) == []
