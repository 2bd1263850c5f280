from typing import Any

import pytest

from app.metadata import InvalidMetadata, size, split_metadata


@pytest.mark.parametrize(
    ("metadata", "expected"),
    [
        pytest.param({}, 4, id="nothing"),
        pytest.param({"ab": "xyz"}, 4 + 8 + 2 + 3, id="text"),
        pytest.param({"é": "中"}, 4 + 8 + 2 + 3, id="bytes of UTF-8"),
        pytest.param({"a": 1.2345678901234}, 4 + 8 + 1 + 4, id="any number is 4"),
        pytest.param({"a": True}, 4 + 8 + 1, id="a boolean is nothing"),
        pytest.param({"a": ["x", "yz"]}, 4 + 8 + 1 + (4 + 1) + (4 + 2), id="list"),
        pytest.param({"": [1, 2]}, 4 + 8 + 2 * (4 + 4), id="numbers under an empty key"),
    ],
)
def test_sizes_are_counted_as_aws_counts(metadata: dict[str, Any], expected: int) -> None:
    assert size(metadata) == expected


def test_metadata_is_split_by_the_keys_of_the_index() -> None:
    assert split_metadata({"a": 1, "text": "x", "b": [True][:0] or ["y"]}, ["text", "absent"]) == (
        {"a": 1, "b": ["y"]},
        {"text": "x"},
    )


@pytest.mark.parametrize(
    ("filterable", "rest", "fits"),
    [
        pytest.param(2048, 40_960, True, id="both at their limits"),
        pytest.param(2049, 2049, False, id="filterable above"),
        pytest.param(2048, 40_961, False, id="all above"),
        pytest.param(4, 40_960, True, id="nothing filterable"),
        pytest.param(4, 40_961, False, id="nothing filterable and above"),
    ],
)
def test_what_is_filterable_has_a_limit_of_its_own(filterable: int, rest: int, fits: bool) -> None:  # noqa: FBT001
    """Sizes as they are counted: of what is filterable, and of all."""
    metadata: dict[str, Any] = {}
    if filterable > 4:
        metadata["a"] = "x" * (filterable - 4 - 9)
    if rest > filterable:
        metadata["b"] = ["x" * (rest - filterable - 9 - 4)]
    assert size(metadata) == max(filterable, rest)
    if fits:
        assert split_metadata(metadata, ["b"]) == (
            {k: v for k, v in metadata.items() if k == "a"},
            {k: v for k, v in metadata.items() if k == "b"},
        )
    else:
        with pytest.raises(InvalidMetadata, match="must have at most"):
            split_metadata(metadata, ["b"])


@pytest.mark.parametrize(
    "value", [None, {}, [None], [True], [1, True], [[1]], ["a", 1], ["a", None], ["a", "\0"], [], [{"a": 1}]], ids=str
)
def test_values_that_are_refused(value: Any) -> None:
    for non_filterable in ((), ("a",)):  # "non-filterable buys size, not types"
        with pytest.raises(InvalidMetadata):
            split_metadata({"a": value}, non_filterable)
