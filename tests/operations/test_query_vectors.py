from typing import Any

import numpy as np
import pytest

from tests.operations.conftest import CreateIndex
from tests.operations.vectors import keys, record, refusal


def query(s3vectors: Any, index: dict[str, str], vector: list[float], top_k: int = 10, **members: Any) -> Any:
    return s3vectors.query_vectors(**index, topK=top_k, queryVector={"float32": vector}, **members)


def test_euclidean_distance_is_the_square(s3vectors: Any, create_index: CreateIndex) -> None:
    index = create_index("squares", 3, "euclidean")
    s3vectors.put_vectors(**index, vectors=[record("a", [1, 1, 1]), record("b", [2, 2, 2]), record("c", [1, 1, 2])])
    found = query(s3vectors, index, [1, 1, 1], returnDistance=True)["vectors"]
    assert found == [{"key": "a", "distance": 0.0}, {"key": "c", "distance": 1.0}, {"key": "b", "distance": 3.0}]


def test_cosine_distance_is_float32_and_exact_at_its_ends(s3vectors: Any, create_index: CreateIndex) -> None:
    index = create_index("cosines", 3, "cosine")
    vectors = {"same": [2, 2, 2], "near": [1, 1, 2], "orthogonal": [1, -1, 0], "opposite": [-3, -3, -3]}
    s3vectors.put_vectors(**index, vectors=[record(key, vector) for key, vector in vectors.items()])
    found = query(s3vectors, index, [1, 1, 1], returnDistance=True)["vectors"]
    assert {v["key"]: v["distance"] for v in found} == {
        "same": 0.0,
        "near": 0.05719095841050148,
        "orthogonal": 1.0,
        "opposite": 2.0,
    }


@pytest.mark.parametrize("metric", ["cosine", "euclidean"])
def test_distances_are_finite_at_the_ends_of_float32(s3vectors: Any, create_index: CreateIndex, metric: str) -> None:
    index = create_index("extremes", 2, metric)
    extremes = {"huge": [3e38, 3e38], "minus": [-3e38, 3e38], "tiny": [1e-45, 0.0], "one": [1.0, 1.0]}
    s3vectors.put_vectors(**index, vectors=[record(key, vector) for key, vector in extremes.items()])
    for vector in extremes.values():
        found = query(s3vectors, index, vector, returnDistance=True)["vectors"]
        assert len(found) == 4
        assert np.isfinite([v["distance"] for v in found]).all()


def test_an_empty_index_names_its_metric(s3vectors: Any, index: dict[str, str]) -> None:
    found = query(s3vectors, index, [1, 2])
    assert (found["vectors"], found["distanceMetric"]) == ([], "euclidean")


def test_metadata_comes_back_filterable_or_not(s3vectors: Any, create_index: CreateIndex) -> None:
    index = create_index("both", 2, metadataConfiguration={"nonFilterableMetadataKeys": ["text"]})
    s3vectors.put_vectors(**index, vectors=[record("k", [1, 2], text="long", n=1)])
    assert query(s3vectors, index, [1, 2], returnMetadata=True)["vectors"] == [
        {"key": "k", "metadata": {"text": "long", "n": 1}}
    ]


@pytest.mark.parametrize(
    ("filter_", "expected"),
    [
        pytest.param({"genre": "drama"}, ["a", "c"], id="implicit $eq, lists match on any element"),
        pytest.param({"year": {"$gte": 2000, "$lt": 2010}}, ["b"], id="range"),
        pytest.param({"$and": [{"genre": {"$in": ["drama", "noir"]}}, {"seen": True}]}, ["a"], id="$and of $in"),
        pytest.param({"$or": [{"year": 1999}, {"year": 2020}]}, ["a", "c"], id="$or"),
        pytest.param({"genre": {"$ne": "drama"}}, ["b", "d"], id="$ne matches what lacks the key"),
        pytest.param({"year": {"$exists": False}}, ["d"], id="$exists"),
        pytest.param({"year": "1999"}, [], id="numbers are not texts"),
        pytest.param({"nothing": 1}, [], id="unknown key"),
    ],
)
def test_filters_choose_before_top_k(
    s3vectors: Any, index: dict[str, str], filter_: dict[str, Any], expected: list[str]
) -> None:
    s3vectors.put_vectors(
        **index,
        vectors=[
            record("a", [1, 0], genre="drama", year=1999, seen=True),
            record("b", [2, 0], genre="comedy", year=2005, seen=False),
            record("c", [3, 0], genre=["noir", "drama"], year=2020, seen=False),
            record("d", [4, 0], note="none"),
        ],
    )
    assert keys(query(s3vectors, index, [0, 0], filter=filter_)) == expected
    assert keys(query(s3vectors, index, [0, 0], 1, filter=filter_)) == expected[:1]


@pytest.mark.parametrize("filter_", [{}, {"a": 1, "b": 2}, {"a": {"$regex": "x"}}, {"$not": []}, [], "x"], ids=str)
def test_invalid_filters_say_so(s3vectors: Any, index: dict[str, str], filter_: Any) -> None:
    status, code, text, fields = refusal(lambda: query(s3vectors, index, [1, 2], filter=filter_))
    assert (status, code, text) == (400, "ValidationException", "Invalid filter")
    assert fields == [{"path": "filter", "message": "Invalid filter"}]


def test_non_filterable_keys_are_refused_in_filters(s3vectors: Any, create_index: CreateIndex) -> None:
    index = create_index("mixed", 2, metadataConfiguration={"nonFilterableMetadataKeys": ["text"]})
    filter_ = {"$or": [{"a": 1}, {"text": "x"}]}
    _, code, text, _ = refusal(lambda: query(s3vectors, index, [1, 2], filter=filter_))
    assert (code, text) == ("ValidationException", "Invalid use of non-filterable metadata in filter")


INVALID_QUERY = "Query vector contains invalid values or is invalid for this index"


@pytest.mark.parametrize(
    "vector", [[1.0], [0.0, 0.0], [float("nan"), 1.0], [1e39, 1.0]], ids=["dimension", "zero", "NaN", "infinite"]
)
def test_invalid_query_vectors_are_refused(s3vectors: Any, create_index: CreateIndex, vector: list[float]) -> None:
    index = create_index("cos", 2, "cosine")
    status, code, text, fields = refusal(lambda: query(s3vectors, index, vector))
    assert (status, code, text) == (400, "ValidationException", INVALID_QUERY)
    assert [field["path"] for field in fields] == ["vector"]


@pytest.mark.parametrize("top_k", [0, -1, 10_001])
def test_top_k_is_bounded(s3vectors: Any, index: dict[str, str], top_k: int) -> None:
    _, code, text, _ = refusal(lambda: query(s3vectors, index, [1, 2], top_k))
    assert code == "ValidationException"
    assert text.endswith("at '/topK' failed to satisfy constraint: Member must be between 1 and 10000, inclusive")
