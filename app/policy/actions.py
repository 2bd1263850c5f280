"""The actions of Amazon S3 Vectors, and which of them an Action element covers."""

from app.policy.errors import InvalidPolicy
from app.policy.patterns import matcher, with_wildcards

VENDOR = "s3vectors"

ACTIONS = frozenset({
    "CreateIndex",
    "CreateVectorBucket",
    "DeleteIndex",
    "DeleteVectorBucket",
    "DeleteVectorBucketPolicy",
    "DeleteVectors",
    "GetIndex",
    "GetVectorBucket",
    "GetVectorBucketPolicy",
    "GetVectors",
    "ListIndexes",
    "ListTagsForResource",
    "ListVectorBuckets",
    "ListVectors",
    "PutVectorBucketDefaultIndexMode",
    "PutVectorBucketPolicy",
    "PutVectors",
    "QueryVectors",
    "TagResource",
    "UntagResource",
    "UpdateIndexMode",
    "UpdateMetadataConfiguration",
})  # fmt: skip


def covered_actions(pattern: str) -> frozenset[str]:
    """Names without the vendor; a pattern that covers none is a misspelt one. Raises InvalidPolicy."""
    if pattern == "*":
        return ACTIONS
    vendor, _, name = pattern.partition(":")
    if vendor.lower() != VENDOR:
        raise InvalidPolicy(f"Action {pattern!r} is not one of {VENDOR}")
    matches = matcher(with_wildcards(name.lower()))
    covered = frozenset(action for action in ACTIONS if matches(action.lower()))
    if not covered:
        raise InvalidPolicy(f"Unknown action {pattern!r}")
    return covered
