from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Any
from uuid import uuid4

import pytest
from botocore.exceptions import ClientError

from tests.operations.vectors import refusal

ACCOUNT = "000000000000"


def test_a_new_bucket_is_shown_as_it_was_created(s3vectors: Any, bucket: str) -> None:
    shown = s3vectors.get_vector_bucket(vectorBucketName=bucket)["vectorBucket"]
    assert shown["vectorBucketName"] == bucket
    assert shown["vectorBucketArn"] == f"arn:aws:s3vectors:us-east-1:{ACCOUNT}:bucket/{bucket}"
    assert shown["encryptionConfiguration"] == {"sseType": "AES256"}
    assert shown["defaultIndexMode"] == "ENHANCED"
    assert abs(shown["creationTime"] - datetime.now(UTC)) < timedelta(minutes=5)


def test_a_bucket_is_found_by_its_arn(s3vectors: Any, bucket: str) -> None:
    arn = f"arn:aws:s3vectors:us-east-1:{ACCOUNT}:bucket/{bucket}"
    assert s3vectors.get_vector_bucket(vectorBucketArn=arn)["vectorBucket"]["vectorBucketName"] == bucket


def test_the_answer_to_create_is_the_arn(s3vectors: Any) -> None:
    name = f"b-{uuid4().hex[:12]}"
    created = s3vectors.create_vector_bucket(vectorBucketName=name)
    assert created["vectorBucketArn"].endswith(f":bucket/{name}")
    s3vectors.delete_vector_bucket(vectorBucketName=name)


def test_creating_a_bucket_again_is_a_conflict(s3vectors: Any, bucket: str) -> None:
    assert refusal(lambda: s3vectors.create_vector_bucket(vectorBucketName=bucket))[:3] == (
        409,
        "ConflictException",
        "A vector bucket with the specified name already exists",
    )


@pytest.mark.parametrize(
    ("name", "message"),
    [
        pytest.param(
            "ab",
            "1 validation error detected. Value with length 2 at '/vectorBucketName' failed to satisfy constraint: "
            "Member must have length between 3 and 63, inclusive",
            id="too short",
        ),
        pytest.param("under_score", "Invalid vector bucket name", id="underscore"),
        pytest.param("UPPER", "Invalid vector bucket name", id="upper case"),
        pytest.param("-dash", "Invalid vector bucket name", id="begins with a dash"),
        pytest.param("a.b.c", "Invalid vector bucket name", id="dot"),
        pytest.param("'; drop schema s3_vectors; --", "Invalid vector bucket name", id="SQL"),
    ],
)
def test_bad_names_are_refused(s3vectors: Any, name: str, message: str) -> None:
    status, code, text, _ = refusal(lambda: s3vectors.get_vector_bucket(vectorBucketName=name))
    assert (status, code, text) == (400, "ValidationException", message)


@pytest.mark.parametrize("operation", ["get_vector_bucket", "delete_vector_bucket", "list_indexes"])
def test_a_missing_bucket_is_not_found(s3vectors: Any, operation: str) -> None:
    call = getattr(s3vectors, operation)
    assert refusal(lambda: call(vectorBucketName="missing-bucket"))[:3] == (
        404,
        "NotFoundException",
        "The specified vector bucket could not be found",
    )


def test_name_and_arn_together_or_neither_are_refused(s3vectors: Any, bucket: str) -> None:
    arn = f"arn:aws:s3vectors:us-east-1:{ACCOUNT}:bucket/{bucket}"
    text = "Must specify either vectorBucketName or vectorBucketArn but not both"
    assert refusal(lambda: s3vectors.get_vector_bucket(vectorBucketName=bucket, vectorBucketArn=arn))[2] == text
    assert refusal(s3vectors.get_vector_bucket)[2] == text


def test_a_bucket_of_another_account_is_denied(s3vectors: Any) -> None:
    arn = "arn:aws:s3vectors:us-east-1:999999999999:bucket/theirs"
    status, code, text, _ = refusal(lambda: s3vectors.get_vector_bucket(vectorBucketArn=arn))
    assert (status, code) == (403, "AccessDeniedException")
    assert "is not authorized to perform: s3vectors:GetVectorBucket on resource: " + arn in text


def test_a_deleted_bucket_is_gone_and_its_name_is_free(s3vectors: Any) -> None:
    name = f"b-{uuid4().hex[:12]}"
    for _ in range(3):
        s3vectors.create_vector_bucket(vectorBucketName=name)
        s3vectors.delete_vector_bucket(vectorBucketName=name)
        with pytest.raises(ClientError, match="NotFoundException"):
            s3vectors.get_vector_bucket(vectorBucketName=name)


def test_a_bucket_with_indexes_is_not_deleted(s3vectors: Any, bucket: str) -> None:
    s3vectors.create_index(
        vectorBucketName=bucket, indexName="idx", dataType="float32", dimension=2, distanceMetric="cosine"
    )
    assert refusal(lambda: s3vectors.delete_vector_bucket(vectorBucketName=bucket))[:3] == (
        409,
        "ConflictException",
        "The specified vector bucket is not empty",
    )


def test_lists_are_paged_by_prefix_in_the_order_of_names(s3vectors: Any) -> None:
    prefix = f"p-{uuid4().hex[:8]}"
    names = [f"{prefix}-{i}" for i in range(5)]
    for name in reversed(names):
        s3vectors.create_vector_bucket(vectorBucketName=name)
    pages = list(
        s3vectors.get_paginator("list_vector_buckets").paginate(
            prefix=prefix, PaginationConfig={"PageSize": 2, "MaxItems": 100}
        )
    )
    assert [[b["vectorBucketName"] for b in page["vectorBuckets"]] for page in pages] == [
        names[:2],
        names[2:4],
        names[4:],
    ]
    full = s3vectors.list_vector_buckets(prefix=prefix, maxResults=5)
    assert "nextToken" not in full
    for name in names:
        s3vectors.delete_vector_bucket(vectorBucketName=name)
    assert s3vectors.list_vector_buckets(prefix=prefix)["vectorBuckets"] == []


@pytest.mark.parametrize("prefix", ["%", "_", "\\", "'"])
def test_a_prefix_is_plain_text(s3vectors: Any, bucket: str, prefix: str) -> None:
    assert bucket not in str(s3vectors.list_vector_buckets(prefix=prefix)["vectorBuckets"])


@pytest.mark.parametrize(
    ("configuration", "message"),
    [
        pytest.param(
            {"sseType": "AES256", "kmsKeyArn": "arn:aws:kms:us-east-1:000000000000:key/k"},
            "kmsKeyArn must not be specified when sseType is AES256.",
            id="key with AES256",
        ),
        pytest.param(
            {"kmsKeyArn": "arn:aws:kms:us-east-1:000000000000:key/k"},
            "kmsKeyArn must not be specified when sseType is AES256.",
            id="key alone",
        ),
        pytest.param({"sseType": "aws:kms"}, "kmsKeyArn must be specified when sseType is set to aws:kms", id="no key"),
    ],
)
def test_bad_encryption_is_refused(s3vectors: Any, configuration: dict[str, str], message: str) -> None:
    status, code, text, fields = refusal(
        lambda: s3vectors.create_vector_bucket(vectorBucketName="never-made", encryptionConfiguration=configuration)
    )
    assert (status, code, text) == (400, "ValidationException", message)
    assert fields == [{"path": "EncryptionConfiguration", "message": message}]


def test_tokens_are_bound_to_their_request(s3vectors: Any) -> None:
    prefix = f"t-{uuid4().hex[:8]}"
    names = [f"{prefix}-{i}" for i in range(2)]
    for name in names:
        s3vectors.create_vector_bucket(vectorBucketName=name)
    token = s3vectors.list_vector_buckets(prefix=prefix, maxResults=1)["nextToken"]
    for bad in (token[:-2], token[::-1], "x", "é"):
        assert refusal(partial(s3vectors.list_vector_buckets, prefix=prefix, nextToken=bad))[:3] == (
            400,
            "ValidationException",
            "Invalid nextToken",
        )
    assert refusal(lambda: s3vectors.list_vector_buckets(prefix="other", nextToken=token))[2] == "Invalid nextToken"
    assert refusal(lambda: s3vectors.list_indexes(vectorBucketName=names[0], nextToken=token))[2] == "Invalid nextToken"
    for name in names:
        s3vectors.delete_vector_bucket(vectorBucketName=name)
