"""What exact search would have answered: brute force in double precision, on the numbers that were sent.

An answer counts as near by its distance, not by its key: of vectors that are equally far, any will do.
"""

from collections.abc import Iterable, Sequence

import numpy as np
import numpy.typing as npt
from msgspec import Struct

from scripts.benchmarks.datasets import Dataset, Mask, Metric

Doubles = npt.NDArray[np.float64]

CHUNK_NUMBERS = 4_000_000
# The server adds up in single precision, so that its order of all but equal distances is not ours.
TIE = 1e-6


class Found(Struct, frozen=True):
    key: str
    distance: float


class Truth(Struct, frozen=True):
    dataset: Dataset
    top_k: int
    mask: Mask | None
    matches: int
    thresholds: Doubles
    """The distance of the k-th nearest, or of the last if fewer match, for each query."""


class Score(Struct, frozen=True):
    answers: int
    recall: float
    incomplete: int
    """Answers that did not have min(topK, matches) different vectors, all of which match."""
    distance_error: float
    """The greatest, relative to distances above 1."""


def ground_truth(dataset: Dataset, top_k: int, *, queries: int | None = None, mask: Mask | None = None) -> Truth:
    asked = dataset.queries[:queries].astype(np.float64)
    matching = np.arange(len(dataset)) if mask is None else np.flatnonzero(mask)
    best = np.full((len(asked), top_k), np.inf)
    size = max(1, CHUNK_NUMBERS // max(len(asked), dataset.dimension))
    for first in range(0, len(matching), size):
        vectors = dataset.vectors[matching[first : first + size]].astype(np.float64)
        both = np.hstack([best, distances(dataset.metric, asked, vectors)])
        best = np.partition(both, top_k - 1, axis=1)[:, :top_k]
    wanted = min(top_k, len(matching))
    thresholds = np.sort(best, axis=1)[:, wanted - 1] if wanted else np.zeros(len(asked))
    return Truth(dataset, top_k, mask, len(matching), thresholds)


def distances(metric: Metric, queries: Doubles, vectors: Doubles) -> Doubles:
    """Of each query to each vector, as the API defines them: euclidean ones are squared."""
    products: Doubles = queries @ vectors.T
    if metric == "cosine":
        norms = np.linalg.norm(queries, axis=1)[:, None] * np.linalg.norm(vectors, axis=1)[None, :]
        return np.asarray(1 - products / norms)
    squares: Doubles = (queries**2).sum(axis=1)[:, None] + (vectors**2).sum(axis=1)[None, :] - 2 * products
    return squares


def score(truth: Truth, answers: Iterable[tuple[int, Sequence[Found]]]) -> Score:
    """Of pairs of the number of a query and what was found."""
    judged = [_judge(truth, query, found) for query, found in answers]
    if not judged:
        return Score(0, float("nan"), 0, float("nan"))
    recalls, complete, errors = zip(*judged, strict=True)
    return Score(len(judged), float(np.mean(recalls)), complete.count(False), max(errors))


def _judge(truth: Truth, query: int, found: Sequence[Found]) -> tuple[float, bool, float]:
    """Recall, whether all rows are there and none else, and the error of the worst distance."""
    wanted = min(truth.top_k, truth.matches)
    rows = np.array([truth.dataset.rows[vector.key] for vector in found], dtype=np.int64)
    matching = np.ones(len(rows), bool) if truth.mask is None else truth.mask[rows]
    complete = len(found) == wanted == len(set(rows.tolist())) and bool(matching.all())
    if not (wanted and found):
        return float(wanted == len(found)), complete, 0.0
    exact, threshold = _exactly(truth.dataset, query, rows), truth.thresholds[query]
    near = matching & (exact <= threshold + TIE * max(1.0, abs(threshold)))
    stated = np.array([vector.distance for vector in found])
    error = np.abs(stated - exact) / np.maximum(1, np.abs(exact))
    return len(set(rows[near].tolist())) / wanted, complete, float(error.max())


def _exactly(dataset: Dataset, query: int, rows: npt.NDArray[np.int64]) -> Doubles:
    """By differences rather than products, which lose digits where vectors are close."""
    asked, vectors = dataset.queries[query].astype(np.float64), dataset.vectors[rows].astype(np.float64)
    if dataset.metric == "euclidean":
        squares: Doubles = ((vectors - asked) ** 2).sum(axis=1)
        return squares
    units = vectors / np.linalg.norm(vectors, axis=1)[:, None]
    halves: Doubles = ((units - asked / np.linalg.norm(asked)) ** 2).sum(axis=1) / 2
    return halves
