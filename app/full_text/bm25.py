"""BM25 as Lucene has it: what a term is worth in an index, and what a document is worth to a query.

    weight(term)   = ln(1 + (N - n + 0.5) / (n + 0.5))       N documents, n of which have the term
    score(document) = sum of weight * f / (f + k1 * (1 - b + b * length / average length))

The ranking itself is PostgreSQL's (`app.database.text_ranking`); this is what it is held against.
"""

from collections.abc import Mapping
from math import log

K1 = 1.2
B = 0.75


def weight(documents: int, with_term: int) -> float:
    return log(1 + (documents - with_term + 0.5) / (with_term + 0.5))


def score(
    query: Mapping[str, int],
    frequencies: Mapping[str, int],
    weights: Mapping[str, float],
    relative_length: float,
) -> float:
    """`relative_length` is of the document, to the average; a term that the query repeats counts as often."""
    damping = K1 * (1 - B + B * relative_length)
    return sum(
        times * weights[term] * frequency / (frequency + damping)
        for term, times in query.items()
        if (frequency := frequencies.get(term, 0))
    )
