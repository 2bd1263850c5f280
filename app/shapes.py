"""Structs that several operations share, named and constrained as in the service model."""

from datetime import datetime
from enum import StrEnum
from typing import TYPE_CHECKING, Annotated, Any, Literal

from msgspec import UNSET, Raw, Struct, UnsetType
from msgspec.structs import force_setattr
from pgvector import Vector

from app.arns import Account, IndexArn, VectorBucketArn, index_arn, vector_bucket_arn
from app.constraints import Input, Length, OneOf, Pattern, TagPattern
from app.large_bodies import let_others_pass


class DistanceMetric(StrEnum):
    EUCLIDEAN = "euclidean"
    COSINE = "cosine"


class SseType(StrEnum):
    AES256 = "AES256"
    KMS = "aws:kms"


VectorBucketName = Annotated[str, Length(3, 63)]
VectorBucketArnText = Annotated[
    str, Pattern("arn:aws[-a-z0-9]*:s3vectors:[a-z0-9-]+:[0-9]{12}:bucket/[a-z0-9][a-z0-9-.]{1,61}[a-z0-9]")
]
IndexName = Annotated[str, Length(3, 63)]
IndexArnText = Annotated[
    str,
    Pattern(
        "arn:aws[-a-z0-9]*:s3vectors:[a-z0-9-]+:[0-9]{12}:bucket/[a-z0-9][a-z0-9-.]{1,61}[a-z0-9]"
        "/index/[a-z0-9][a-z0-9-.]{1,61}[a-z0-9]"
    ),
]
VectorKey = Annotated[str, Length(1, 1024)]
MetadataKey = Annotated[str, Length(1, 63)]
TagKey = Annotated[str, Length(1, 128), TagPattern()]
TagValue = Annotated[str, Length(0, 256), TagPattern()]
Tags = dict[TagKey, TagValue]


class VectorBucketInput(Input, frozen=True):
    """A request that names a vector bucket, by name or by ARN."""

    vector_bucket_name: VectorBucketName | None = None
    vector_bucket_arn: VectorBucketArnText | None = None

    def bucket(self, home: Account) -> VectorBucketArn:
        return vector_bucket_arn(home, self.vector_bucket_name, self.vector_bucket_arn)


class IndexInput(Input, frozen=True):
    """A request that names an index, by both names or by ARN."""

    vector_bucket_name: VectorBucketName | None = None
    index_name: IndexName | None = None
    index_arn: IndexArnText | None = None

    def index(self, home: Account) -> IndexArn:
        return index_arn(home, self.vector_bucket_name, self.index_name, self.index_arn)


class Output(Struct, rename="camel", kw_only=True, omit_defaults=True):
    """An answer; members that are None are left out, as AWS does."""


class EncryptionConfiguration(Struct, rename="camel", kw_only=True, omit_defaults=True, frozen=True):
    sse_type: Annotated[str, OneOf(("AES256", "aws:kms"))] | None = None
    kms_key_arn: (
        Annotated[str, Length(1, 2048), Pattern("(arn:aws[-a-z0-9]*:kms:[-a-z0-9]*:[0-9]{12}:key/.+)")] | None
    ) = None


class VectorData(Struct, frozen=True, forbid_unknown_fields=True, gc=False):
    """Exactly one member, a union in Smithy; SDKs spell numbers that JSON lacks as strings."""

    if TYPE_CHECKING:
        float32: Vector

        def __init__(self, float32: list[float]) -> None: ...

    else:
        float32: list[float | Literal["NaN", "Infinity", "-Infinity"]]

    def __post_init__(self) -> None:
        """One vector after the other becomes float32: as Python's numbers, two million of them would take 64 MiB."""
        force_setattr(self, "float32", _rounded(self.float32))
        let_others_pass()


def _rounded(numbers: Any) -> Vector:
    try:
        return Vector(numbers)
    except ValueError:  # one of the strings
        return Vector([float(number) for number in numbers])


class OutputVector(Output):
    """Of GetVectors and ListVectors; `data` and `metadata` are JSON text as PostgreSQL made it."""

    key: str
    data: Raw | UnsetType = UNSET
    metadata: Raw | UnsetType = UNSET


def epoch_seconds(moment: datetime) -> int:
    return int(moment.timestamp())
