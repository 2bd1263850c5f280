"""Reciprocal rank fusion: one ranking of several whose scores have nothing in common.

Cormack, Clarke and Büttcher, SIGIR 2009, with their constant.
"""

from collections.abc import Sequence

K = 60


def fuse(*rankings: Sequence[str]) -> dict[str, float]:
    """Scores by key, the best first, and by key where they are equal; a key comes once in each ranking."""
    scores: dict[str, float] = {}
    for ranking in rankings:
        for rank, key in enumerate(ranking, start=1):
            scores[key] = scores.get(key, 0) + 1 / (K + rank)
    return dict(sorted(scores.items(), key=lambda scored: (-scored[1], scored[0])))
