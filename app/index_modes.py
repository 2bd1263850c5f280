"""Index modes: which may be chosen, and which one a query has; searches filter first under both.

What is left of CLASSIC here is its filter language: no bound on constraints but our own, and no `$startsWith`.
"""

from datetime import UTC, datetime
from enum import StrEnum
from typing import Annotated

from app.constraints import OneOf
from app.errors import ValidationException


class IndexMode(StrEnum):
    CLASSIC = "CLASSIC"
    ENHANCED = "ENHANCED"


IndexModeText = Annotated[str, OneOf(("CLASSIC", "ENHANCED"))]

# AWS's own day.
CLASSIC_UNTIL = datetime(2026, 9, 30, tzinfo=UTC)


def eligible_mode(member: str, asked: str, bucket_creation_time: datetime) -> IndexMode:
    """For an index of that bucket, or for the bucket itself."""
    mode = IndexMode(asked)
    if mode is IndexMode.CLASSIC and bucket_creation_time >= CLASSIC_UNTIL:
        raise ValidationException.at(
            member, "CLASSIC can be specified only for vector buckets that were created before September 30, 2026"
        )
    return mode


def effective_mode(asked: str | None, index_mode: IndexMode) -> IndexMode:
    """Of a query: that of its index, unless it asks for ENHANCED."""
    if asked is None:
        return index_mode
    mode = IndexMode(asked)
    if mode is IndexMode.CLASSIC and index_mode is IndexMode.ENHANCED:
        raise ValidationException.at("queryMode", "CLASSIC can not be specified for an index of mode ENHANCED")
    return mode
