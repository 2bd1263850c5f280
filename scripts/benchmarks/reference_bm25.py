"""BM25 as somebody else computes it: bm25s, over the terms of our analyzer, in double precision."""

import bm25s
import numpy as np
import numpy.typing as npt
from msgspec import Struct

from app.full_text.bm25 import K1, B
from scripts.benchmarks.corpus import Corpus, terms_of
from scripts.benchmarks.searchable import FoundText

# Scores are told in single precision: of two that are so near, either may come first.
TIE = 1e-5


class Verdict(Struct, frozen=True):
    error: float
    """The greatest of a score."""
    same: bool
    """Whether these are the best, in their order, equal ones in any."""


class ReferenceBm25:
    def __init__(self, corpus: Corpus) -> None:
        self._rows = {key: row for row, key in enumerate(corpus.terms)}
        self._index = bm25s.BM25(k1=K1, b=B, method="lucene", dtype="float64")
        self._index.index(list(corpus.terms.values()), show_progress=False)

    def judge(self, text: str, found: list[FoundText], top_k: int) -> Verdict:
        scores = self._scores(text)
        best = np.sort(scores[scores > 0])[::-1][:top_k]
        exact = np.array([scores[self._rows[vector.key]] for vector in found])
        told = np.array([vector.bm25 for vector in found])
        error = float(np.abs(told - exact).max()) if found else 0.0
        complete = len(best) == len({vector.key for vector in found}) == len(found)
        return Verdict(error, complete and bool((np.abs(exact - best) <= TIE).all()))

    def _scores(self, text: str) -> npt.NDArray[np.float64]:
        known = [term for term in terms_of(text) if term in self._index.vocab_dict]
        return np.asarray(self._index.get_scores(known), np.float64)
