from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from app.cli.transfer.files import ColumnOptions, open_file
from app.interchange import batches, json_lines
from app.interchange.batches import InvalidSource, Source
from app.interchange.fingerprint import fingerprint
from tests.interchange.files import Rows, rows, write_json_lines, write_npz, write_parquet

FORMS = {"parquet": write_parquet, "jsonl": write_json_lines, "ndjson": write_json_lines, "npz": write_npz}
TEN = rows(10)


def opened(path: Path, **columns: str) -> Source:
    return open_file(path, ColumnOptions(**columns))


def read(source: Source, after: int = 0) -> list[tuple[int, Any, list[float], Any]]:
    """Row by row, with its number."""
    return [
        (batch.first_row + place, key, np.asarray(batch.vectors[place]).tolist(), text(batch.metadata[place]))
        for batch in source.batches(after)
        for place, key in enumerate(batch.keys)
    ]


def text(metadata: Any) -> Any:
    return bytes(metadata).decode() if type(metadata).__name__ == "Raw" else metadata


def expected(rows: Rows) -> list[tuple[int, Any, list[float], Any]]:
    return list(zip(range(1, len(rows.keys) + 1), rows.keys, rows.vectors, rows.metadata, strict=True))


@pytest.fixture
def few(monkeypatch: pytest.MonkeyPatch) -> None:
    """Three rows at a time."""
    for module in (batches, json_lines):
        monkeypatch.setattr(module, "MAX_ROWS", 3)


@pytest.mark.usefixtures("few")
@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("after", [0, 1, 3, 4, 9, 10])
def test_every_form_gives_the_same_rows_from_any_row_on(tmp_path: Path, form: str, after: int) -> None:
    source = opened(FORMS[form](tmp_path / f"vectors.{form}", TEN))
    assert read(source, after) == expected(TEN)[after:]
    assert sum(batch.size for batch in source.batches()) == source.total
    assert all(one.end_row == next_.first_row for one, next_ in pairwise(source.batches(after)))


@pytest.mark.usefixtures("few")
@pytest.mark.parametrize("after", range(11))
def test_row_groups_are_passed_over(tmp_path: Path, after: int) -> None:
    path = write_parquet(tmp_path / "groups.parquet", TEN, row_group_size=4)
    assert read(opened(path), after) == expected(TEN)[after:]


@pytest.mark.parametrize(
    "kind",
    [
        pa.list_(pa.float16()),
        pa.list_(pa.float64(), 4),
        pa.large_list(pa.float32()),
        pa.list_(pa.float16(), 4),
    ],
    ids=str,
)
def test_parquet_has_lists_of_many_types(tmp_path: Path, kind: pa.DataType) -> None:
    halves = Rows(TEN.keys, np.array(TEN.vectors, np.float16), TEN.metadata)
    halves.vectors = list(halves.vectors)
    assert read(opened(write_parquet(tmp_path / "vectors.parquet", halves, kind))) == expected(TEN)


def test_columns_may_have_other_names_and_types(tmp_path: Path) -> None:
    tensor = pa.ExtensionArray.from_storage(
        pa.fixed_shape_tensor(pa.float32(), [2]), pa.array([[1, 2], [3, 4]], pa.list_(pa.float32(), 2))
    )
    table = pa.table(
        {"id": [7, 8], "embedding": tensor, "about": pa.array([{"year": 1979, "title": None}, None]), "other": [1, 2]}
    )
    pq.write_table(table, tmp_path / "other.parquet")
    source = opened(tmp_path / "other.parquet", key_column="id", vector_column="embedding", metadata_column="about")
    assert read(source) == [(1, "7", [1, 2], {"year": 1979}), (2, "8", [3, 4], None)]


def test_metadata_may_be_missing(tmp_path: Path) -> None:
    pq.write_table(pa.table({"key": ["a"], "vector": [[1.0]]}), tmp_path / "bare.parquet")
    np.savez(tmp_path / "bare.npz", keys=["a"], vectors=[[1.0]])
    (tmp_path / "bare.jsonl").write_text('{"key": "a", "data": {"float32": [1]}}')
    assert [read(opened(tmp_path / f"bare.{form}")) for form in ("parquet", "npz")] == [[(1, "a", [1.0], None)]] * 2
    assert read(opened(tmp_path / "bare.jsonl")) == [(1, "a", [1.0], "null")]


def test_numbers_become_float32_as_in_put_vectors(tmp_path: Path) -> None:
    path = write_parquet(tmp_path / "wide.parquet", Rows(["a"], [[0.1, 1e300, None]], [None]), pa.list_(pa.float64()))
    [batch] = opened(path).batches()
    np.testing.assert_array_equal(batch.vectors[0], np.array([0.1, np.inf, np.nan], np.float32))


def test_arrays_of_numpy_may_be_compressed_and_of_other_types(tmp_path: Path) -> None:
    np.savez_compressed(tmp_path / "vectors.npz", keys=[1, 2], vectors=np.eye(2, dtype=np.int8), metadata=["{}", ""])
    assert read(opened(tmp_path / "vectors.npz")) == [(1, "1", [1, 0], "{}"), (2, "2", [0, 1], None)]


def test_text_that_is_no_utf_8_is_left_to_the_rules(tmp_path: Path) -> None:
    broken = pa.Array.from_buffers(
        pa.string(), 2, [None, pa.array([0, 1, 3], pa.int32()).buffers()[1], pa.py_buffer(b"a\xff\xfe")]
    )
    pq.write_table(pa.table({"key": broken, "vector": [[1.0], [2.0]]}), tmp_path / "broken.parquet")
    assert [key for _, key, *_ in read(opened(tmp_path / "broken.parquet"))] == [b"a", b"\xff\xfe"]


def parquet(**columns: Any) -> Callable[[Path], None]:
    return lambda path: pq.write_table(pa.table(columns), path)


def npz(**arrays: Any) -> Callable[[Path], None]:
    return lambda path: np.savez(path, allow_pickle=True, **arrays)


def content(data: bytes) -> Callable[[Path], object]:
    return lambda path: path.write_bytes(data)


def cut(write: Callable[[Path, Rows], Path]) -> Callable[[Path], None]:
    def write_half(path: Path) -> None:
        whole = write(path, rows(1_000)).read_bytes()
        path.write_bytes(whole[:4_000] + whole[8_000:])

    return write_half


@pytest.mark.parametrize(
    ("form", "write", "reason"),
    [
        ("parquet", content(b"no parquet"), "{} cannot be read as Parquet: "),
        ("parquet", cut(write_parquet), "{} cannot be read"),
        (
            "parquet",
            parquet(id=["a"], vector=[[1.0]]),
            "{} has no column key; its columns are id, vector. Name one with --key-column.",
        ),
        (
            "parquet",
            parquet(key=["a"], vector=[1.0]),
            "{}: column vector is double, where lists of numbers are needed.",
        ),
        ("parquet", parquet(key=["a"], vector=[["b"]]), "{}: column vector is list<element: string>, where lists"),
        ("parquet", parquet(key=[1.5], vector=[[1.0]]), "{}: column key is double, where text or integers are needed."),
        ("parquet", parquet(key=["a"], vector=[[1.0]], metadata=[1]), "{}: column metadata is int64, where JSON text"),
        ("npz", content(b"no archive"), "{} cannot be read as .npz: File is not a zip file."),
        ("npz", npz(vectors=[[1.0]]), "{} cannot be read as .npz: it has no array keys."),
        ("npz", npz(keys=["a"], vectors=[1.0]), "{} cannot be read as .npz: the array vectors has shape (1,)"),
        ("npz", npz(keys=["a", "b"], vectors=[[1.0]]), "{} cannot be read as .npz: its arrays are not of one length."),
        (
            "npz",
            npz(keys=np.array(["a"], object), vectors=[[1.0]]),
            "{} cannot be read as .npz: the array keys holds Python objects, which are never loaded.",
        ),
        (
            "npz",
            npz(keys=["a", "b"], vectors=np.asfortranarray([[1.0, 2.0], [3.0, 4.0]])),
            "{} cannot be read as .npz: the array vectors must be in C order.",
        ),
        ("jsonl", content(b"x" * (20 * 1024 * 1024 + 1)), "{} has a line of more than 20971520 bytes."),
        ("jsonl", lambda _: None, "{} cannot be read: No such file or directory."),
        ("npz", lambda _: None, "{} cannot be read as .npz: [Errno 2] No such file or directory"),
        ("parquet", lambda _: None, "{} cannot be read as Parquet: [Errno 2] "),
    ],
)
def test_what_cannot_be_read_says_why(tmp_path: Path, form: str, write: Callable[[Path], object], reason: str) -> None:
    path = tmp_path / f"vectors.{form}"
    write(path)
    with pytest.raises(InvalidSource) as refused:
        read(opened(path))
    assert str(refused.value).startswith(reason.format(path))


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        (b"", "Input data was truncated"),
        (b"[]", "Expected `object`, got `array`"),
        (b'{"key": "a", "data": {"float32": "1"}}', "Expected `array`, got `str` - at `$.data.float32`"),
        (b'{"key": "a", "data": {"float64": [1]}}', "Object contains unknown field `float64` - at `$.data`"),
        (b"[" * 100_000, ""),
    ],
)
def test_a_line_that_is_none_is_told(line: bytes, reason: str) -> None:
    good = b'{"key": "b", "data": {"float32": [1, "NaN"]}}'
    batch = json_lines.batch([line, good], 5, 0)
    assert list(batch.unreadable) == [0]
    assert batch.unreadable[0].startswith(f"The line is not a JSON object as of PutVectors: {reason}")
    np.testing.assert_array_equal(batch.vectors[1], [1, np.nan])


def test_a_file_is_known_by_its_state(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(b"a" * 5_000_000)
    known = fingerprint(path)
    assert fingerprint(path.rename(tmp_path / "renamed")) == known
    (tmp_path / "renamed").write_bytes(b"a" * 5_000_000)
    assert fingerprint(tmp_path / "renamed") != known


def test_rows_are_as_many_as_fit_some_megabytes() -> None:
    assert [batches.rows_at_a_time(dimension) for dimension in (0, 1, 384, 4_096)] == [2_000, 2_000, 2_000, 512]
