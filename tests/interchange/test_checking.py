import json
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from app.cli.transfer.files import USUAL_COLUMNS, open_file
from app.interchange.checking import Fault, Rules, check
from app.shapes import DistanceMetric
from app.vector_data import InvalidVector, are_valid, check_numbers
from tests.interchange.files import Rows, rows, write_json_lines, write_parquet

LONG = "x" * 1_025
FAULTS = [
    pytest.param({"keys": None}, "row 7: key must not be null", id="no key"),
    pytest.param(
        {"keys": ""},
        "row 7 (key ''): Value with length 0 at 'key' failed to satisfy constraint: "
        "Member must have length between 1 and 1024, inclusive",
        id="empty key",
    ),
    pytest.param(
        {"keys": LONG},
        f"row 7 (key '{'x' * 80}'...): Value with length 1025 at 'key' failed to satisfy constraint: "
        "Member must have length between 1 and 1024, inclusive",
        id="key of too many characters",
    ),
    pytest.param(
        {"keys": "é" * 513}, f"row 7 (key '{'é' * 80}'...): Record key length exceeds the maximum allowed", id="bytes"
    ),
    pytest.param(
        {"keys": "a\0b"}, "row 7 (key 'a\\x00b'): Record key must not contain the null character", id="null character"
    ),
    pytest.param({"vectors": None}, "row 7 (key 'k000006'): vector must not be null", id="no vector"),
    pytest.param(
        {"vectors": [1.0, 2.0, 3.0]},
        "row 7 (key 'k000006'): vector must have length 4, but has length 3",
        id="wrong dimension",
    ),
    pytest.param(
        {"vectors": [1.0, 2.0, 3.0, float("nan")]}, "row 7 (key 'k000006'): vector contains NaNs or Infs", id="NaN"
    ),
    pytest.param({"vectors": [1.0, 2.0, 3.0, 1e39]}, "row 7 (key 'k000006'): vector contains NaNs or Infs", id="1e39"),
    pytest.param(
        {"vectors": [0.0, 0.0, -0.0, 0.0]},
        "row 7 (key 'k000006'): cosine distance does not support vectors with zero norm",
        id="zero norm",
    ),
    pytest.param(
        {"metadata": json.dumps({"a": "x" * 2_048})},
        "row 7 (key 'k000006'): Filterable metadata must have at most 2048 bytes",
        id="filterable metadata",
    ),
    pytest.param(
        {"metadata": json.dumps({"text": "x" * 40_960})},
        "row 7 (key 'k000006'): Metadata object must have at most 40960 bytes",
        id="metadata",
    ),
    pytest.param(
        {"metadata": '{"a": null}'},
        "row 7 (key 'k000006'): Metadata values must be strings, numbers, booleans, or arrays",
        id="null",
    ),
    pytest.param({"metadata": "[]"}, "row 7 (key 'k000006'): Metadata must be an object", id="array"),
]


def faults(path: Path, metric: str = "cosine") -> list[Fault]:
    rules = Rules(4, DistanceMetric(metric), ("text",))
    [(checked, found)] = [check(batch, rules) for batch in open_file(path, USUAL_COLUMNS).batches()]
    assert len(checked) + len(found) == 10
    return found


@pytest.mark.parametrize("form", ["parquet", "jsonl"])
@pytest.mark.parametrize(("fault", "reason"), FAULTS)
def test_a_row_that_breaks_a_rule_is_named_with_the_reason(
    tmp_path: Path, form: str, fault: dict[str, Any], reason: str
) -> None:
    bad = rows(10).replaced(7, **fault)
    if form == "parquet":
        path = write_parquet(tmp_path / "vectors.parquet", bad, pa.list_(pa.float64()))
    else:
        path = write_json_lines(tmp_path / "vectors.jsonl", bad)
        path.write_text(path.read_text().replace("NaN", '"NaN"'))
    assert list(map(str, faults(path))) == [reason]


@pytest.mark.parametrize("text", ["{year: 1979}", "[" * 100_000, '{"a": 1} {"b": 2}', ""])
def test_metadata_that_is_no_json_is_named(tmp_path: Path, text: str) -> None:
    path = write_parquet(tmp_path / "vectors.parquet", rows(10).replaced(2, metadata=text))
    [fault] = faults(path)
    assert str(fault).startswith("row 2 (key 'k000001'): Metadata is not JSON: ")


def test_where_no_norm_is_divided_by_a_vector_may_be_zero(tmp_path: Path) -> None:
    zero: Rows = rows(10).replaced(7, vectors=[0.0] * 4)
    assert faults(write_parquet(tmp_path / "vectors.parquet", zero), "euclidean") == []


@pytest.mark.parametrize("metric", DistanceMetric)
def test_all_vectors_at_once_are_judged_as_each_alone(metric: DistanceMetric) -> None:
    numbers = [0.0, -0.0, 1.0, -1e-45, 3e38, np.inf, -np.inf, np.nan]
    matrix = np.array(np.meshgrid(numbers, numbers)).T.reshape(-1, 2).astype(np.float32)
    for vector, is_valid in zip(matrix, are_valid(matrix, metric), strict=True):
        with nullcontext() if is_valid else pytest.raises(InvalidVector):
            check_numbers(vector, 2, metric)
