import json
from typing import Any

import pytest

from tests.operations.vectors import refusal

POLICY = """{ "Version":"2012-10-17",
  "Statement": [ {"Sid":"é\\u00e9", "Effect":"Allow", "Principal":{"AWS":"000000000000"},
    "Action":"s3vectors:GetIndex", "Resource":"*"} ] }"""
OTHER = POLICY.replace("GetIndex", "ListIndexes")


def test_a_policy_comes_back_byte_for_byte(s3vectors: Any, bucket: str) -> None:
    s3vectors.put_vector_bucket_policy(vectorBucketName=bucket, policy=POLICY)
    assert s3vectors.get_vector_bucket_policy(vectorBucketName=bucket)["policy"] == POLICY


def test_a_policy_is_replaced_and_deleted(s3vectors: Any, bucket: str) -> None:
    s3vectors.put_vector_bucket_policy(vectorBucketName=bucket, policy=POLICY)
    s3vectors.put_vector_bucket_policy(vectorBucketName=bucket, policy=OTHER)
    assert s3vectors.get_vector_bucket_policy(vectorBucketName=bucket)["policy"] == OTHER
    for _ in range(2):
        s3vectors.delete_vector_bucket_policy(vectorBucketName=bucket)
    assert refusal(lambda: s3vectors.get_vector_bucket_policy(vectorBucketName=bucket))[:3] == (
        404,
        "NotFoundException",
        "The specified vector bucket policy could not be found",
    )


@pytest.mark.parametrize(
    "policy",
    [
        pytest.param("", id="empty"),
        pytest.param("no json", id="no JSON"),
        pytest.param("[]", id="no object"),
        pytest.param('{"a":"\0"}', id="null character"),
        pytest.param("[" * 100_000, id="depth bomb"),
        pytest.param(json.dumps({"Sid": "x" * 20_480}), id="over 20 KiB"),
    ],
)
def test_what_is_no_policy_is_refused_and_nothing_is_stored(s3vectors: Any, bucket: str, policy: str) -> None:
    status, code, _, fields = refusal(
        lambda: s3vectors.put_vector_bucket_policy(vectorBucketName=bucket, policy=policy)
    )
    assert (status, code, fields[0]["path"]) == (400, "ValidationException", "policy")
    assert refusal(lambda: s3vectors.get_vector_bucket_policy(vectorBucketName=bucket))[0] == 404
