"""Rules for the numbers of a vector, judged as float32: what a client sends is rounded first."""

from math import isfinite

import numpy as np
import numpy.typing as npt
from pgvector import Vector

from app.shapes import DistanceMetric, VectorData

Float32Vector = npt.NDArray[np.float32]
Float32Matrix = npt.NDArray[np.float32]
"""A row for each vector."""

ZERO_NORM = "cosine distance does not support vectors with zero norm"


class InvalidVector(Exception):
    """The reason, without the prefix that names the vector."""


def query_vector(data: VectorData, dimension: int, metric: DistanceMetric) -> Vector:
    """What is plainly valid needs no NumPy, which a search would fetch into the processor's caches for this alone.

    Finite float32 numbers have a finite sum in double precision.  Raises InvalidVector.
    """
    numbers = data.float32.to_list()
    has_norm = metric is not DistanceMetric.COSINE or any(numbers)
    if not (len(numbers) == dimension and isfinite(sum(numbers)) and has_norm):
        check_vector(data, dimension, metric)
    return data.float32


def check_vector(data: VectorData, dimension: int, metric: DistanceMetric) -> None:
    check_numbers(data.float32.to_numpy(), dimension, metric)


def check_numbers(vector: Float32Vector, dimension: int, metric: DistanceMetric) -> None:
    """Finite, of the index's dimension, and not zero where the metric divides by the norm; raises InvalidVector."""
    if len(vector) != dimension:
        raise InvalidVector(f"vector must have length {dimension}, but has length {len(vector)}")
    if not np.isfinite(vector).all():
        raise InvalidVector("vector contains NaNs or Infs")
    if metric is DistanceMetric.COSINE and not vector.any():
        raise InvalidVector(ZERO_NORM)


def are_valid(vectors: Float32Matrix, metric: DistanceMetric) -> npt.NDArray[np.bool_]:
    """What `check_numbers` would say of each row, at a fraction of the time; it has the reasons."""
    valid = np.asarray(np.isfinite(vectors).all(axis=1))
    if metric is DistanceMetric.COSINE:
        valid &= vectors.any(axis=1)
    return valid
