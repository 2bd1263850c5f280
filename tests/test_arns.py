import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.arns import Account, IndexArn, VectorBucketArn, index_arn, parse_arn, vector_bucket_arn
from app.errors import ValidationException

HOME = Account("000000000000", "us-east-1")
NAMES = st.from_regex(r"[a-z0-9][a-z0-9-]{1,61}[a-z0-9]", fullmatch=True)


@given(bucket=NAMES, index=NAMES)
def test_an_arn_is_read_as_it_is_written(bucket: str, index: str) -> None:
    bucket_arn = VectorBucketArn(HOME, bucket)
    assert parse_arn(str(bucket_arn)) == bucket_arn
    assert parse_arn(str(IndexArn(bucket_arn, index))) == IndexArn(bucket_arn, index)


@given(bucket=NAMES, index=NAMES)
def test_names_and_arn_mean_the_same_index(bucket: str, index: str) -> None:
    by_names = index_arn(HOME, bucket, index, None)
    assert index_arn(HOME, None, None, str(by_names)) == by_names
    assert vector_bucket_arn(HOME, None, str(by_names.bucket)) == vector_bucket_arn(HOME, bucket, None)


@given(st.text())
def test_other_text_is_refused(text: str) -> None:
    with pytest.raises(ValidationException):
        parse_arn(text)


@pytest.mark.parametrize(
    "text",
    [
        "arn:aws:s3vectors:us-east-1:000000000000:bucket/ab",
        "arn:aws:s3vectors:us-east-1:000000000000:bucket/abc/index/",
        "arn:aws:s3vectors:us-east-1:000000000000:bucket/abc\n",
        "arn:aws:s3vectors:us-east-1:00000000000:bucket/abc",
        "arn:aws:s3:us-east-1:000000000000:bucket/abc",
        "arn:aws:s3vectors:us-east-1:000000000000:bucket/abc'; drop",
    ],
)
def test_near_misses_are_refused(text: str) -> None:
    with pytest.raises(ValidationException):
        parse_arn(text)
