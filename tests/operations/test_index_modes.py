from collections.abc import Callable
from functools import partial
from typing import Any

import psycopg
import pytest

from tests.operations.conftest import CreateIndex
from tests.operations.vectors import keys, record, refusal

NOT_CLASSIC = "CLASSIC can be specified only for vector buckets that were created before September 30, 2026"
PREFIX = {"title": {"$startsWith": "So"}}
MANY = {"title": {"$in": [f"title {number}" for number in range(100)] + ["So What"]}}


@pytest.fixture
def old_bucket(bucket: str, database_url: str) -> str:
    """As if it had been created at the last moment at which CLASSIC could still be had."""
    with psycopg.connect(database_url) as connection:
        connection.execute(
            "UPDATE s3_vectors.vector_buckets SET creation_time = '2026-09-29 23:59:59.999999+00'"
            " WHERE vector_bucket_name = %s",
            [bucket],
        )
    return bucket


@pytest.fixture
def classic(s3vectors: Any, old_bucket: str, create_index: CreateIndex) -> dict[str, str]:
    """An index of mode CLASSIC with two vectors."""
    s3vectors.put_vector_bucket_default_index_mode(vectorBucketName=old_bucket, defaultIndexMode="CLASSIC")
    index = create_index("classic")
    vectors = [record("a", [1, 0], title="So What"), record("b", [2, 0], title=["Blue in Green", "So"])]
    s3vectors.put_vectors(**index, vectors=[*vectors, record("c", [3, 0], title="Freddie Freeloader")])
    return index


def mode_of(s3vectors: Any, index: dict[str, str]) -> str:
    return str(s3vectors.get_index(**index)["index"]["indexMode"])


def default_mode_of(s3vectors: Any, bucket: str) -> str:
    return str(s3vectors.get_vector_bucket(vectorBucketName=bucket)["vectorBucket"]["defaultIndexMode"])


def query(s3vectors: Any, index: dict[str, str], **members: Any) -> Any:
    return s3vectors.query_vectors(**index, topK=10, queryVector={"float32": [0, 0]}, **members)


def test_classic_is_refused_for_newer_buckets(s3vectors: Any, bucket: str, index: dict[str, str]) -> None:
    calls: dict[str, Callable[[], Any]] = {
        "indexMode": partial(s3vectors.update_index_mode, **index, indexMode="CLASSIC"),
        "defaultIndexMode": partial(
            s3vectors.put_vector_bucket_default_index_mode, vectorBucketName=bucket, defaultIndexMode="CLASSIC"
        ),
    }
    for member, call in calls.items():
        fields = [{"path": member, "message": NOT_CLASSIC}]
        assert refusal(call) == (400, "ValidationException", NOT_CLASSIC, fields)
    assert (mode_of(s3vectors, index), default_mode_of(s3vectors, bucket)) == ("ENHANCED", "ENHANCED")


def test_enhanced_may_be_asked_for_again_and_again(s3vectors: Any, bucket: str, index: dict[str, str]) -> None:
    arn = s3vectors.get_index(**index)["index"]["indexArn"]
    for _ in range(2):
        s3vectors.update_index_mode(indexArn=arn, indexMode="ENHANCED")
        s3vectors.put_vector_bucket_default_index_mode(
            vectorBucketArn=arn.partition("/index/")[0], defaultIndexMode="ENHANCED"
        )
    assert (mode_of(s3vectors, index), default_mode_of(s3vectors, bucket)) == ("ENHANCED", "ENHANCED")


def test_new_indexes_inherit_the_default_and_others_keep_theirs(
    s3vectors: Any, old_bucket: str, create_index: CreateIndex
) -> None:
    bucket = {"vectorBucketName": old_bucket}
    first = create_index("first")
    s3vectors.put_vector_bucket_default_index_mode(**bucket, defaultIndexMode="CLASSIC")
    second = create_index("second")
    s3vectors.put_vector_bucket_default_index_mode(**bucket, defaultIndexMode="ENHANCED")
    third = create_index("third")
    modes = [mode_of(s3vectors, index) for index in (first, second, third)]
    assert modes == ["ENHANCED", "CLASSIC", "ENHANCED"]
    s3vectors.update_index_mode(**first, indexMode="CLASSIC")
    s3vectors.update_index_mode(**second, indexMode="ENHANCED")
    modes = [mode_of(s3vectors, index) for index in (first, second, third)]
    assert modes == ["CLASSIC", "ENHANCED", "ENHANCED"]
    assert default_mode_of(s3vectors, old_bucket) == "ENHANCED"


def test_a_classic_index_takes_long_filters_and_no_prefixes(s3vectors: Any, classic: dict[str, str]) -> None:
    for members in ({}, {"queryMode": "CLASSIC"}):
        assert keys(query(s3vectors, classic, filter=MANY, **members)) == ["a"]
        refused = refusal(partial(query, s3vectors, classic, filter=PREFIX, **members))
        assert refused == (400, "ValidationException", *invalid("Invalid filter"))


def test_a_query_of_a_classic_index_may_be_enhanced(s3vectors: Any, classic: dict[str, str]) -> None:
    assert keys(query(s3vectors, classic, filter=PREFIX, queryMode="ENHANCED")) == ["a", "b"]
    refused = refusal(partial(query, s3vectors, classic, filter=MANY, queryMode="ENHANCED"))
    assert refused == (400, "ValidationException", *too_many())
    assert mode_of(s3vectors, classic) == "CLASSIC"


def test_an_enhanced_index_takes_prefixes_and_100_constraints(s3vectors: Any, classic: dict[str, str]) -> None:
    s3vectors.update_index_mode(**classic, indexMode="ENHANCED")
    for members in ({}, {"queryMode": "ENHANCED"}):
        assert keys(query(s3vectors, classic, filter=PREFIX, **members)) == ["a", "b"]
        assert keys(query(s3vectors, classic, filter={"title": {"$in": MANY["title"]["$in"][1:]}}, **members)) == ["a"]
        refused = refusal(partial(query, s3vectors, classic, filter=MANY, **members))
        assert refused == (400, "ValidationException", *too_many())
    for filter_ in ({}, {"filter": {"title": "So"}}):
        _, code, text, fields = refusal(partial(query, s3vectors, classic, queryMode="CLASSIC", **filter_))
        assert (code, text) == ("ValidationException", "CLASSIC can not be specified for an index of mode ENHANCED")
        assert [field["path"] for field in fields] == ["queryMode"]


def invalid(text: str) -> tuple[str, list[dict[str, str]]]:
    return text, [{"path": "filter", "message": text}]


def too_many() -> tuple[str, list[dict[str, str]]]:
    return invalid("The filter has more than 100 constraints, of which each value that it compares is one")


@pytest.mark.parametrize("mode", ["classic", "", "FAST"])
def test_there_are_two_modes(s3vectors: Any, bucket: str, index: dict[str, str], mode: str) -> None:
    calls: dict[str, Callable[[], Any]] = {
        "indexMode": partial(s3vectors.update_index_mode, **index, indexMode=mode),
        "defaultIndexMode": partial(
            s3vectors.put_vector_bucket_default_index_mode, vectorBucketName=bucket, defaultIndexMode=mode
        ),
        "queryMode": partial(query, s3vectors, index, queryMode=mode),
    }
    for member, call in calls.items():
        rule = "Member must satisfy enum value set: [CLASSIC, ENHANCED]"
        message = f"Value at '/{member}' failed to satisfy constraint: {rule}"
        status, code, text, fields = refusal(call)
        assert (status, code, text) == (400, "ValidationException", f"1 validation error detected. {message}")
        assert fields == [{"path": f"/{member}", "message": message}]


def test_what_is_missing_is_not_found(s3vectors: Any, bucket: str) -> None:
    missing = {"vectorBucketName": "missing-bucket"}
    of_bucket = partial(s3vectors.put_vector_bucket_default_index_mode, **missing, defaultIndexMode="CLASSIC")
    assert refusal(of_bucket)[:3] == (404, "NotFoundException", "The specified vector bucket could not be found")
    for names in (missing, {"vectorBucketName": bucket}):
        of_index = partial(s3vectors.update_index_mode, **names, indexName="missing", indexMode="CLASSIC")
        assert refusal(of_index)[:3] == (404, "NotFoundException", "The specified index could not be found")
