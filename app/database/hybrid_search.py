"""Searches that ask for texts: by BM25 alone, or with a query vector, the two rankings fused.

A vector that neither of them has among its best is not found; as many as topK of each are looked at, and of a hybrid
search 20 at least, so that a vector which is far down in both can still be first together (decision 73).
"""

from typing import Any

from msgspec import Struct
from msgspec.structs import replace

from app.database.catalog import Index
from app.database.connection import Connection
from app.database.nearest import Search, nearest
from app.database.rankings import Ranking
from app.database.selectivity import Selectivity
from app.database.strategy import filter_first_up_to
from app.database.text_ranking import Order, TextQuery, TextRanking, best_texts
from app.filters.nodes import Node
from app.full_text.rank_fusion import fuse
from app.observation import current

MIN_CANDIDATES = 20


class HybridSearch(Struct, frozen=True):
    index: Index
    texts: tuple[TextQuery, ...]
    by_vector: Search | None
    """None where only texts are asked for."""
    top_k: int
    filter: Node | None
    return_metadata: bool

    @property
    def candidates(self) -> int:
        return self.top_k if self.by_vector is None else max(self.top_k, MIN_CANDIDATES)


async def rank(connection: Connection, search: HybridSearch, selectivity: Selectivity) -> Ranking:
    order = await _order(connection, search, selectivity)
    asked = TextRanking(search.index, search.texts, search.candidates, search.filter, order)
    if (observation := current.get()) is not None:
        observation.texts = len(search.texts)
    texts = {row.key: row for row in await best_texts(connection, asked)}
    if search.by_vector is None:
        return _ranking(search, list(texts), texts, {})
    by_vector = replace(search.by_vector, top_k=search.candidates, return_metadata=False)
    near = {row.key: row for row in await nearest(connection, by_vector, selectivity)}
    fused = fuse(list(near), list(texts))
    best = list(fused)[: search.top_k]
    return _ranking(search, best, texts, near, [fused[key] for key in best])


def _ranking(
    search: HybridSearch,
    keys: list[str],
    texts: dict[str, Any],
    near: dict[str, Any],
    fused: list[float] | None = None,
) -> Ranking:
    return Ranking(
        keys=keys,
        distances=[near[key].distance if key in near else None for key in keys],
        fused=fused,
        bm25=[[texts[key].bm25[i] if key in texts else None for key in keys] for i in range(len(search.texts))],
    )


async def _order(connection: Connection, search: HybridSearch, selectivity: Selectivity) -> Order:
    vectors = sum(graph.vectors for graph in search.index.graphs)
    if search.filter is None or not vectors:
        return "matches first"
    matches = await selectivity.matches(connection, search.index, search.filter)
    return "matches first" if matches <= filter_first_up_to(vectors, search.top_k) else "texts first"
