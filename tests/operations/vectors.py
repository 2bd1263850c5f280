"""What the tests of operations write again and again."""

from collections.abc import Callable, Sequence
from typing import Any

import pytest
from botocore.exceptions import ClientError


def record(key: str, vector: Sequence[float], **metadata: Any) -> dict[str, Any]:
    """A PutInputVector; without metadata it has no such member."""
    return {"key": key, "data": {"float32": vector}, **({"metadata": metadata} if metadata else {})}


def keys(answer: Any) -> list[str]:
    return [vector["key"] for vector in answer["vectors"]]


def refusal(call: Callable[[], Any]) -> tuple[int, str, str, list[dict[str, str]]]:
    """Status, error type, message and fieldList of a call that must fail."""
    with pytest.raises(ClientError) as caught:
        call()
    answer: Any = caught.value.response
    error = answer["Error"]
    return (
        answer["ResponseMetadata"]["HTTPStatusCode"],
        error["Code"],
        error.get("Message", ""),
        answer.get("fieldList", []),
    )
