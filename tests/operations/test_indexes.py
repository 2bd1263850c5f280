from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any

import pytest
from botocore.exceptions import ClientError

from tests.operations.conftest import CreateIndex
from tests.operations.vectors import keys, record, refusal


def test_an_index_is_shown_as_it_was_created(s3vectors: Any, bucket: str, create_index: CreateIndex) -> None:
    index = create_index("my.index-1", 3, "cosine", metadataConfiguration={"nonFilterableMetadataKeys": ["text"]})
    shown = s3vectors.get_index(**index)["index"]
    shown.pop("creationTime")
    assert shown == {
        "vectorBucketName": bucket,
        "indexName": "my.index-1",
        "indexArn": f"arn:aws:s3vectors:us-east-1:000000000000:bucket/{bucket}/index/my.index-1",
        "dataType": "float32",
        "dimension": 3,
        "distanceMetric": "cosine",
        "encryptionConfiguration": {"sseType": "AES256"},
        "metadataConfiguration": {"nonFilterableMetadataKeys": ["text"]},
        "indexMode": "ENHANCED",
    }
    assert s3vectors.get_index(indexArn=shown["indexArn"])["index"]["dimension"] == 3


def test_without_metadata_configuration_none_is_shown(s3vectors: Any, index: dict[str, str]) -> None:
    assert "metadataConfiguration" not in s3vectors.get_index(**index)["index"]


@pytest.mark.parametrize(
    ("members", "message"),
    [
        pytest.param(
            {"dimension": 4097},
            "Value at '/dimension' failed to satisfy constraint: Member must be between 1 and 4096, inclusive",
            id="dimension",
        ),
        pytest.param(
            {"distanceMetric": "dot"},
            "Value at '/distanceMetric' failed to satisfy constraint: "
            "Member must satisfy enum value set: [euclidean, cosine]",
            id="metric",
        ),
        pytest.param(
            {"dataType": "float16"},
            "Value at '/dataType' failed to satisfy constraint: Member must satisfy enum value set: [float32]",
            id="data type",
        ),
        pytest.param(
            {"metadataConfiguration": {"nonFilterableMetadataKeys": [f"k{i}" for i in range(11)]}},
            "Value with length 11 at '/metadataConfiguration/nonFilterableMetadataKeys' failed to satisfy constraint: "
            "Member must have length between 0 and 10, inclusive",
            id="11 non-filterable keys",
        ),
        pytest.param(
            {"metadataConfiguration": {"nonFilterableMetadataKeys": ["k" * 64]}},
            "Value with length 64 at '/metadataConfiguration/nonFilterableMetadataKeys/0' failed to satisfy "
            "constraint: Member must have length between 1 and 63, inclusive",
            id="long non-filterable key",
        ),
    ],
)
def test_constraints_answer_in_the_words_of_aws(
    s3vectors: Any, bucket: str, members: dict[str, Any], message: str
) -> None:
    valid = {"indexName": "idx", "dataType": "float32", "dimension": 1, "distanceMetric": "cosine"}
    status, code, text, fields = refusal(lambda: s3vectors.create_index(vectorBucketName=bucket, **(valid | members)))
    assert (status, code, text) == (400, "ValidationException", f"1 validation error detected. {message}")
    assert [field["message"] for field in fields] == [message]


@pytest.mark.parametrize("name", ["Upper", "under_score", ".dot", "dot.", "a/b"])
def test_bad_names_are_refused(s3vectors: Any, bucket: str, name: str) -> None:
    call = {"vectorBucketName": bucket, "dataType": "float32", "dimension": 1, "distanceMetric": "cosine"}
    assert refusal(lambda: s3vectors.create_index(indexName=name, **call))[:3] == (
        400,
        "ValidationException",
        "Invalid index name",
    )


def test_creating_an_index_again_is_a_conflict(create_index: CreateIndex) -> None:
    create_index("twice")
    assert refusal(lambda: create_index("twice"))[:3] == (
        409,
        "ConflictException",
        "An index with the specified name already exists",
    )


def test_an_index_in_a_missing_bucket_is_not_found(s3vectors: Any) -> None:
    call = {"indexName": "idx", "dataType": "float32", "dimension": 1, "distanceMetric": "cosine"}
    assert refusal(lambda: s3vectors.create_index(vectorBucketName="missing-bucket", **call))[:3] == (
        404,
        "NotFoundException",
        "The specified vector bucket could not be found",
    )


@pytest.mark.parametrize("names", [{"vectorBucketName": "missing-bucket"}, {}], ids=["no bucket", "no index"])
@pytest.mark.parametrize("operation", ["get_index", "delete_index", "list_vectors"])
def test_a_missing_index_is_not_found(s3vectors: Any, bucket: str, operation: str, names: dict[str, str]) -> None:
    call = {"vectorBucketName": bucket, "indexName": "missing"} | names
    assert refusal(lambda: getattr(s3vectors, operation)(**call))[:3] == (
        404,
        "NotFoundException",
        "The specified index could not be found",
    )


def test_a_mix_of_names_and_arn_is_refused(s3vectors: Any, bucket: str) -> None:
    text = "Must specify either indexArn or both vectorBucketName and indexName"
    arn = f"arn:aws:s3vectors:us-east-1:000000000000:bucket/{bucket}/index/idx"
    for names in ({}, {"indexName": "idx"}, {"vectorBucketName": bucket, "indexArn": arn}):
        assert refusal(partial(s3vectors.get_index, **names))[2] == text


def test_indexes_are_listed_in_pages(s3vectors: Any, bucket: str, create_index: CreateIndex) -> None:
    for name in ("b-2", "a-1", "b-1"):
        create_index(name)
    paginate = s3vectors.get_paginator("list_indexes").paginate
    pages = paginate(vectorBucketName=bucket, PaginationConfig={"PageSize": 2})
    assert [[i["indexName"] for i in page["indexes"]] for page in pages] == [["a-1", "b-1"], ["b-2"]]
    by_prefix = s3vectors.list_indexes(vectorBucketName=bucket, prefix="b-")["indexes"]
    assert [i["indexName"] for i in by_prefix] == ["b-1", "b-2"]


def test_a_new_index_under_an_old_name_is_empty(s3vectors: Any, create_index: CreateIndex) -> None:
    for dimension in (2, 3, 4):
        index = create_index("again", dimension)
        assert keys(s3vectors.list_vectors(**index)) == []
        s3vectors.put_vectors(**index, vectors=[record("k", [1.0] * dimension)])
        assert keys(s3vectors.list_vectors(**index)) == ["k"]
        s3vectors.delete_index(**index)


@pytest.mark.parametrize("dimension", [1, 2000, 2001, 4000, 4001, 4096])
@pytest.mark.parametrize("metric", ["cosine", "euclidean"])
def test_every_dimension_stores_and_finds(
    s3vectors: Any, create_index: CreateIndex, dimension: int, metric: str
) -> None:
    index = create_index("wide", dimension, metric)
    up, down = [1.0] * dimension, [-1.0] * dimension
    s3vectors.put_vectors(**index, vectors=[record("up", up), record("down", down)])
    found = s3vectors.query_vectors(**index, topK=2, queryVector={"float32": up}, returnDistance=True)
    assert keys(found) == ["up", "down"]
    assert found["distanceMetric"] == metric
    furthest = 2 if metric == "cosine" else 4 * dimension
    assert [v["distance"] for v in found["vectors"]] == pytest.approx([0, furthest])


def test_of_racing_creates_exactly_one_succeeds(create_index: CreateIndex) -> None:
    def attempt(_: int) -> str:
        try:
            create_index("race")
        except ClientError as error:
            return str(error.response["Error"]["Code"])
        return "created"

    with ThreadPoolExecutor(8) as pool:
        outcomes = sorted(pool.map(attempt, range(8)))
    assert outcomes == ["ConflictException"] * 7 + ["created"]


def test_storms_of_creates_deletes_puts_and_queries_know_only_modelled_answers(
    s3vectors: Any, create_index: CreateIndex, bucket: str
) -> None:
    index = {"vectorBucketName": bucket, "indexName": "storm"}

    def attempt(number: int) -> str:
        calls = (
            lambda: create_index("storm"),
            lambda: s3vectors.put_vectors(**index, vectors=[record(f"k{number}", [1.0, 2.0])]),
            lambda: s3vectors.query_vectors(**index, topK=3, queryVector={"float32": [1.0, 2.0]}),
            lambda: s3vectors.list_vectors(**index),
            lambda: s3vectors.delete_index(**index),
        )
        try:
            calls[number % len(calls)]()
        except ClientError as error:
            return str(error.response["Error"]["Code"])
        return "done"

    with ThreadPoolExecutor(8) as pool:
        outcomes = set(pool.map(attempt, range(200)))
    assert outcomes <= {"done", "ConflictException", "NotFoundException"}
    assert "done" in outcomes
