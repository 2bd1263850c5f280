"""An index to work on."""

from collections.abc import Callable
from typing import Any

import pytest

CreateIndex = Callable[..., dict[str, str]]


@pytest.fixture
def create_index(s3vectors: Any, bucket: str) -> CreateIndex:
    """Creates an index in the bucket of this test and answers how to name it."""

    def create(name: str = "idx", dimension: int = 2, metric: str = "euclidean", **members: Any) -> dict[str, str]:
        s3vectors.create_index(
            vectorBucketName=bucket,
            indexName=name,
            dataType="float32",
            dimension=dimension,
            distanceMetric=metric,
            **members,
        )
        return {"vectorBucketName": bucket, "indexName": name}

    return create


@pytest.fixture
def index(create_index: CreateIndex) -> dict[str, str]:
    return create_index()
