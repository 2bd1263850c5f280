"""Rules for the numbers of a vector, judged as float32: what a client sends is rounded first."""

import numpy as np
import numpy.typing as npt

from app.shapes import DistanceMetric, VectorData

Float32Vector = npt.NDArray[np.float32]

ZERO_NORM = "cosine distance does not support vectors with zero norm"


class InvalidVector(Exception):
    """The reason, without the prefix that names the vector."""


def to_float32(data: VectorData, dimension: int, metric: DistanceMetric) -> Float32Vector:
    check_vector(data, dimension, metric)
    return data.float32.to_numpy()


def check_vector(data: VectorData, dimension: int, metric: DistanceMetric) -> None:
    """Finite, of the index's dimension, and not zero where the metric divides by the norm; raises InvalidVector."""
    vector = data.float32.to_numpy()
    if len(vector) != dimension:
        raise InvalidVector(f"vector must have length {dimension}, but has length {len(vector)}")
    if not np.isfinite(vector).all():
        raise InvalidVector("vector contains NaNs or Infs")
    if metric is DistanceMetric.COSINE and not vector.any():
        raise InvalidVector(ZERO_NORM)
