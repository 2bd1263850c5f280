import struct

import msgspec
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.shapes import DistanceMetric, VectorData
from app.vector_data import ZERO_NORM, InvalidVector, check_vector, query_vector

LARGEST = 3.4028234663852886e38


def decode(text: str) -> VectorData:
    return msgspec.json.decode(text, type=VectorData)


def rounded(number: float) -> float:
    """By C's own conversion."""
    return float(struct.unpack("f", struct.pack("f", number))[0])


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        pytest.param("[]", [], id="nothing"),
        pytest.param("[1, -2, 0]", [1.0, -2.0, 0.0], id="integers"),
        pytest.param("[0.1, 16777217, 1e-7]", [rounded(0.1), 16777216.0, rounded(1e-7)], id="rounded"),
        pytest.param("[3.4028234663852886e38, -1e-45]", [LARGEST, rounded(-1e-45)], id="at the ends"),
        pytest.param("[1e39, -1e308, 3.4028235677973366e38]", [np.inf, -np.inf, np.inf], id="beyond float32"),
        pytest.param("[1e-46, 1e-400]", [0.0, 0.0], id="below float32"),
        pytest.param("[1" + "0" * 38 + ", 1" + "0" * 39 + "]", [rounded(1e38), np.inf], id="integers of many digits"),
        pytest.param('["NaN", "Infinity", "-Infinity", 1.5]', [np.nan, np.inf, -np.inf, 1.5], id="spelt"),
    ],
)
def test_numbers_become_float32_as_they_are_decoded(text: str, expected: list[float]) -> None:
    numbers = decode(f'{{"float32": {text}}}').float32.to_numpy()
    assert numbers.dtype == np.float32
    np.testing.assert_array_equal(numbers, np.array(expected, np.float32))


def test_zeros_keep_their_sign() -> None:
    assert np.signbit(decode('{"float32": [-0.0, 0.0]}').float32.to_numpy()).tolist() == [True, False]


@pytest.mark.parametrize(
    "text",
    [
        *("null", "1", '"1"', "{}", "[null]", "[true]", '["1"]', '["nan"]', '[" NaN"]', "[[1]]", "[{}]", "[NaN]"),
        *("[1e999]", "[1" + "0" * 400 + "]"),
    ],
)
def test_anything_else_is_refused(text: str) -> None:
    with pytest.raises(msgspec.MsgspecError):
        decode(f'{{"float32": {text}}}')


@pytest.mark.parametrize(
    ("numbers", "metric", "reason"),
    [
        pytest.param("[1]", DistanceMetric.EUCLIDEAN, "vector must have length 2, but has length 1", id="length"),
        pytest.param("[]", DistanceMetric.COSINE, "vector must have length 2, but has length 0", id="no numbers"),
        pytest.param('["NaN", 1]', DistanceMetric.EUCLIDEAN, "vector contains NaNs or Infs", id="NaN"),
        pytest.param("[1, -1e39]", DistanceMetric.COSINE, "vector contains NaNs or Infs", id="infinite as float32"),
        pytest.param("[0, -0.0]", DistanceMetric.COSINE, ZERO_NORM, id="zero"),
        pytest.param("[1e-46, 0]", DistanceMetric.COSINE, ZERO_NORM, id="zero as float32"),
    ],
)
def test_vectors_that_an_index_refuses(numbers: str, metric: DistanceMetric, reason: str) -> None:
    for check in (check_vector, query_vector):
        with pytest.raises(InvalidVector) as caught:
            check(decode(f'{{"float32": {numbers}}}'), 2, metric)
        assert str(caught.value) == reason


@pytest.mark.parametrize("numbers", ["[0, 0]", "[1e-45, 0]", "[3e38, 3e38]"])
def test_the_same_numbers_go_to_the_search(numbers: str) -> None:
    data = decode(f'{{"float32": {numbers}}}')
    assert query_vector(data, 2, DistanceMetric.EUCLIDEAN) is data.float32


NUMBERS = st.floats(width=32) | st.sampled_from([0.0, -0.0, LARGEST, -LARGEST])


@given(st.lists(NUMBERS, min_size=1, max_size=5), st.integers(1, 5), st.sampled_from(DistanceMetric))
def test_a_query_is_judged_as_what_is_stored(numbers: list[float], dimension: int, metric: DistanceMetric) -> None:
    data, refused = VectorData(numbers), []
    for check in (check_vector, query_vector):
        try:
            check(data, dimension, metric)
        except InvalidVector as error:
            refused.append(str(error))
    assert len(refused) in (0, 2)
    assert len(set(refused)) <= 1
