"""Amazon resource names of vector buckets and indexes, and the ways a request may name either."""

import re

from msgspec import Struct

from app.errors import ValidationException

_ARN = re.compile(
    r"arn:(?P<partition>aws[-a-z0-9]*):s3vectors:(?P<region>[a-z0-9-]+):(?P<account>[0-9]{12})"
    r":bucket/(?P<bucket>[a-z0-9][a-z0-9-.]{1,61}[a-z0-9])(/index/(?P<index>[a-z0-9][a-z0-9-.]{1,61}[a-z0-9]))?"
)
_BUCKET_NAME = re.compile(r"[a-z0-9][a-z0-9-]{1,61}[a-z0-9]")
_INDEX_NAME = re.compile(r"[a-z0-9][a-z0-9-.]{1,61}[a-z0-9]")


class Account(Struct, frozen=True):
    """Where a name without ARN lives: the caller's own account in the Region of this server."""

    account_id: str
    region: str
    partition: str = "aws"

    def is_beside(self, other: "Account") -> bool:
        """In the same Region of the same partition."""
        return (self.partition, self.region) == (other.partition, other.region)


class VectorBucketArn(Struct, frozen=True):
    account: Account
    vector_bucket_name: str

    def __str__(self) -> str:
        home = self.account
        return f"arn:{home.partition}:s3vectors:{home.region}:{home.account_id}:bucket/{self.vector_bucket_name}"


class IndexArn(Struct, frozen=True):
    bucket: VectorBucketArn
    index_name: str

    @property
    def account(self) -> Account:
        return self.bucket.account

    def __str__(self) -> str:
        return f"{self.bucket}/index/{self.index_name}"


def parse_arn(text: str) -> VectorBucketArn | IndexArn:
    match = _ARN.fullmatch(text)
    if match is None:
        raise ValidationException.at("resourceArn", "Invalid resource ARN")
    bucket = VectorBucketArn(Account(match["account"], match["region"], match["partition"]), match["bucket"])
    return IndexArn(bucket, match["index"]) if match["index"] else bucket


def vector_bucket_arn(home: Account, name: str | None, arn: str | None) -> VectorBucketArn:
    """The one bucket that is meant, whichever way it was named; both or neither is refused."""
    if (name is None) == (arn is None):
        raise ValidationException("Must specify either vectorBucketName or vectorBucketArn but not both")
    if name is not None:
        if not _BUCKET_NAME.fullmatch(name):
            raise ValidationException.at("vectorBucketName", "Invalid vector bucket name")
        return VectorBucketArn(home, name)
    parsed = parse_arn(arn or "")
    if isinstance(parsed, IndexArn):
        raise ValidationException.at("vectorBucketArn", "Invalid vector bucket ARN")
    return parsed


def index_arn(home: Account, bucket: str | None, index: str | None, arn: str | None) -> IndexArn:
    """The one index that is meant; a mix of names and ARN, or too little, is refused."""
    if arn is not None and bucket is None and index is None:
        parsed = parse_arn(arn)
        if not isinstance(parsed, IndexArn):
            raise ValidationException.at("indexArn", "Invalid index ARN")
        return parsed
    if arn is not None or bucket is None or index is None:
        raise ValidationException("Must specify either indexArn or both vectorBucketName and indexName")
    return index_of(vector_bucket_arn(home, bucket, None), index)


def index_of(bucket: VectorBucketArn, name: str) -> IndexArn:
    if not _INDEX_NAME.fullmatch(name):
        raise ValidationException.at("indexName", "Invalid index name")
    return IndexArn(bucket, name)
