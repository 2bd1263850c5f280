"""The best texts for a query, by BM25 (`app.full_text.bm25`), computed by PostgreSQL over the inverted indexes.

Every posting of every term of the query is read, so that scores are exact under one snapshot, document frequencies
included, whatever others write.  Scores are float32, as they are told; of equal ones the smaller key is first.
"""

from collections import Counter
from collections.abc import Sequence
from functools import lru_cache
from string import Template
from typing import Any, Literal

from msgspec import Struct

from app.database.catalog import Index, TextSearch
from app.database.connection import Connection
from app.database.filter_conditions import FILTER, Use, conditions_of, filtered
from app.database.nearest import asked_for
from app.database.statements import Statement, written
from app.filters.nodes import Node
from app.full_text.bm25 import K1, B

Order = Literal["matches first", "texts first"]
"""Whether a filter is looked up, or tried on one text after the other, the best first, until there are enough."""


class TextQuery(Struct, frozen=True):
    """What is looked for under one key: terms, and how often each was asked for."""

    search: TextSearch
    terms: Counter[str]


class TextRanking(Struct, frozen=True):
    """The best first."""

    index: Index
    queries: Sequence[TextQuery]
    limit: int
    filter: Node | None = None
    order: Order = "matches first"


class Form(Struct, frozen=True):
    """All that the text of a statement depends on."""

    index_id: int
    search_ids: tuple[int, ...]
    limit: int
    order: Order | None
    """None where nothing is filtered."""


async def best_texts(connection: Connection, ranking: TextRanking) -> list[Any]:
    """Rows of key, score, and `bm25`: the scores of each query, None where a text has no term of it."""
    values: dict[str, Any] = {}
    for i, query in enumerate(ranking.queries):
        values |= {f"terms_{i}": list(query.terms), f"times_{i}": list(query.terms.values())}
    rows = await connection.run(statement_of(ranking), values, prepare=ranking.filter is None)
    return rows[: ranking.limit]


def statement_of(ranking: TextRanking) -> Statement:
    search_ids = tuple(query.search.id for query in ranking.queries)
    order = None if ranking.filter is None else ranking.order
    statement = _statement(Form(ranking.index.id, search_ids, asked_for(ranking.limit), order))
    if ranking.filter is None:
        return statement
    use = Use.FIRST if ranking.order == "matches first" else Use.ROW_BY_ROW
    return filtered(statement, conditions_of(ranking.index, ranking.filter, use))


@lru_cache(maxsize=1024)
def _statement(form: Form) -> Statement:
    scores = [
        written(_SCORES, i=i, search=search_id, k1_b=K1 * B, k1_rest=K1 * (1 - B)).text
        for i, search_id in enumerate(form.search_ids)
    ]
    parts = _ONE if len(scores) == 1 else _several(form.search_ids)
    names = {"index": form.index_id, "search": form.search_ids[0], "limit": form.limit, "filter": FILTER.name}
    best = Template(Template(_BEST[form.order] + _KEYS).safe_substitute(parts)).substitute(names)
    return Statement(f"WITH {', '.join(scores)}, {parts['scored']}, {best}", {})


def _several(search_ids: Sequence[int]) -> dict[str, str]:
    found = [written(_FOUND, i=i, search=search_id).text for i, search_id in enumerate(search_ids)]
    bm25 = [written(_BM25, i=i).text for i in range(len(search_ids))]
    scored = _SCORED.replace("$bm25", ", ".join(bm25)).replace("$found", " UNION ALL ".join(found))
    return _SEVERAL | {"scored": scored}


# A term is weighed by a scan of its own, which is cheaper than to keep its postings for a second look: 35 ms for 21,000
# postings, and 92 ms.  Constants are float8, since PostgreSQL calculates with numeric ones twenty times as long.
_SCORES = """
    statistics_$i AS MATERIALIZED (
        SELECT sum(documents)::float8 AS documents, '$k1_b'::float8 * sum(documents) / sum(length) AS damping
        FROM s3_vectors.text_statistics WHERE text_search_configuration_id = $search
    ), weights_$i AS MATERIALIZED (
        SELECT term, times * ln(1 + (documents - postings + 0.5) / (postings + 0.5)) AS weight
        FROM statistics_$i,
            unnest(%(terms_$i)b::text[] COLLATE "C", %(times_$i)b::integer[]) AS asked (term, times),
            LATERAL (
                SELECT count(*)::float8 AS postings FROM vectors.postings_$search AS posting
                WHERE posting.term = asked.term
            ) AS counted
    ), scores_$i AS (
        SELECT document, sum(
            weight * frequency / (frequency + '$k1_rest'::float8 + (SELECT damping FROM statistics_$i) * length)
        ) AS score
        FROM weights_$i JOIN vectors.postings_$search USING (term) GROUP BY document
    )"""
# Most queries have one text: its documents get their keys when the best are known, and are not grouped once more, which
# took a quarter to a half of the time.
_ONE = {
    "scored": "scored AS (SELECT document, score::real AS score FROM scores_0)",
    "id": "document",
    "bm25": "ARRAY[best.score]",
    "keys": "JOIN vectors.text_$search AS text USING (document)",
    "matches": "SELECT document FROM vectors.index_$index JOIN vectors.text_$search AS text USING (key)",
    "one": "vectors.text_$search AS text JOIN vectors.index_$index ON index_$index.key = text.key"
    " WHERE text.document = ranked.document",
}
# Each text has its own documents: what they have in common is the key.
_SEVERAL = {
    "id": "key",
    "bm25": "best.bm25",
    "keys": "",
    "matches": "SELECT key FROM vectors.index_$index",
    "one": "vectors.index_$index WHERE index_$index.key = ranked.key",
}
_FOUND = "SELECT key, $i AS query, score FROM scores_$i JOIN vectors.text_$search USING (document)"
_BM25 = "(max(score) FILTER (WHERE query = $i))::real"
_SCORED = """scored AS (
        SELECT key, sum(score)::real AS score, ARRAY[$bm25] AS bm25 FROM ($found) AS found GROUP BY key
    )"""

# All that share the last score stay, so that keys can decide between them.
_BEST: dict[Order | None, str] = {
    None: "best AS (SELECT * FROM scored ORDER BY score DESC FETCH FIRST $limit ROWS WITH TIES)",
    "matches first": """
    matching AS MATERIALIZED ($matches WHERE $filter),
    best AS (
        SELECT scored.* FROM scored JOIN matching USING ($id)
        ORDER BY score DESC FETCH FIRST $limit ROWS WITH TIES
    )""",
    "texts first": """
    best AS (
        SELECT ranked.* FROM (SELECT * FROM scored ORDER BY score DESC OFFSET 0) AS ranked
        CROSS JOIN LATERAL (SELECT FROM $one AND $filter) AS tried
        ORDER BY ranked.score DESC FETCH FIRST $limit ROWS WITH TIES
    )""",
}
_KEYS = """
    SELECT key, best.score::float8 AS score, $bm25 AS bm25 FROM best $keys
    ORDER BY best.score DESC, key LIMIT $limit"""
