from typing import Any

import pytest

from tests.operations.conftest import CreateIndex
from tests.operations.vectors import refusal


@pytest.fixture(params=["bucket", "index"])
def arn(request: pytest.FixtureRequest, s3vectors: Any, bucket: str, create_index: CreateIndex) -> str:
    if request.param == "bucket":
        return str(s3vectors.get_vector_bucket(vectorBucketName=bucket)["vectorBucket"]["vectorBucketArn"])
    return str(s3vectors.get_index(**create_index("tagged"))["index"]["indexArn"])


def tags(s3vectors: Any, arn: str) -> dict[str, str]:
    return dict(s3vectors.list_tags_for_resource(resourceArn=arn)["tags"])


def test_tags_are_added_replaced_and_removed(s3vectors: Any, arn: str) -> None:
    assert tags(s3vectors, arn) == {}
    s3vectors.tag_resource(resourceArn=arn, tags={"team": "a", "größe": "Ω + 1", "x/y": ""})
    s3vectors.tag_resource(resourceArn=arn, tags={"team": "b"})
    assert tags(s3vectors, arn) == {"team": "b", "größe": "Ω + 1", "x/y": ""}
    s3vectors.untag_resource(resourceArn=arn, tagKeys=["größe", "x/y", "absent"])
    assert tags(s3vectors, arn) == {"team": "b"}


def test_creates_take_tags(s3vectors: Any, bucket: str, create_index: CreateIndex) -> None:
    create_index("born-tagged", tags={"a": "1"})
    arn = f"arn:aws:s3vectors:us-east-1:000000000000:bucket/{bucket}/index/born-tagged"
    assert tags(s3vectors, arn) == {"a": "1"}


PATTERN = r"Member must satisfy regular expression pattern: ^([\p{L}\p{Z}\p{N}_.:/=+\-@]*)$"


@pytest.mark.parametrize(
    ("bad", "message", "path"),
    [
        pytest.param({f"k{i}": "" for i in range(51)}, "Too many tags specified", "tags", id="51 tags"),
        pytest.param({"aws:x": "1"}, "System tags cannot be added/updated by requester", "tags", id="aws:"),
        pytest.param(
            {"AWS:owner": "1"},
            'Invalid System Tag: AWS:owner must be prefixed with "aws:" in lowercase.',
            "tags",
            id="AWS:",
        ),
        pytest.param(
            {"team": "a*"}, f"Value at '/tags/team' failed to satisfy constraint: {PATTERN}", "/tags/team", id="value"
        ),
        pytest.param({"te\0m": "a"}, f"Value at '/tags' failed to satisfy constraint: {PATTERN}", "/tags", id="key"),
    ],
)
def test_bad_tags_are_refused(s3vectors: Any, arn: str, bad: dict[str, str], message: str, path: str) -> None:
    status, code, text, fields = refusal(lambda: s3vectors.tag_resource(resourceArn=arn, tags=bad))
    assert (status, code) == (400, "ValidationException")
    assert text.endswith(message)
    assert [field["path"] for field in fields] == [path]
    assert tags(s3vectors, arn) == {}


@pytest.mark.parametrize(
    ("resource", "status", "code"),
    [
        pytest.param("arn:aws:s3vectors:us-east-1:000000000000:bucket/missing", 404, "NotFoundException", id="bucket"),
        pytest.param(
            "arn:aws:s3vectors:us-east-1:000000000000:bucket/missing/index/idx", 404, "NotFoundException", id="index"
        ),
        pytest.param("arn:aws:s3vectors:us-east-1:999999999999:bucket/b-1", 403, "AccessDeniedException", id="foreign"),
        pytest.param("arn:aws:s3vectors:eu-west-1:000000000000:bucket/b-1", 403, "AccessDeniedException", id="region"),
        pytest.param("arn:aws:s3:::bucket", 400, "ValidationException", id="S3"),
        pytest.param("not an arn", 400, "ValidationException", id="no ARN"),
        pytest.param("../../ListVectorBuckets", 400, "ValidationException", id="dots"),
        pytest.param("x" * 1012, 400, "ValidationException", id="long"),
        pytest.param("a\0b", 400, "ValidationException", id="null character"),
    ],
)
def test_resources_that_cannot_be_tagged(s3vectors: Any, resource: str, status: int, code: str) -> None:
    assert refusal(lambda: s3vectors.list_tags_for_resource(resourceArn=resource))[:2] == (status, code)


def test_a_plus_in_a_tag_key_is_itself(s3vectors: Any, arn: str) -> None:
    s3vectors.tag_resource(resourceArn=arn, tags={"a+b": "1", "a b": "2"})
    s3vectors.untag_resource(resourceArn=arn, tagKeys=["a+b"])
    assert tags(s3vectors, arn) == {"a b": "2"}
