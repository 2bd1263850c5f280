"""QueryVectors: by a vector, by texts, or by both."""

from datetime import UTC, datetime
from typing import Annotated, Any

from litestar import HttpMethod
from msgspec import UNSET, Raw, UnsetType
from msgspec.structs import asdict
from pgvector import Vector

from app.authorization import Caller, authorize
from app.constraints import ABSENT, Integer, Length, Range, Required
from app.database import catalog
from app.database.hybrid_search import HybridSearch
from app.database.nearest import Search, nearest
from app.database.query_pages import Asked, Page, first_page, next_page
from app.database.rankings import LIFETIME, Cursor, Ranking
from app.database.vector_table import metadata_of
from app.errors import ValidationException, ValidationExceptionField
from app.filters.nodes import Node, range_keys
from app.filters.parse import parse_filter
from app.index_modes import IndexMode, IndexModeText, effective_mode
from app.kms import record_cipher
from app.limits import MAX_QUERY_PAGE, MAX_TOP_K
from app.operation import operation
from app.query_texts import QueryText, text_queries
from app.record_cipher import RecordCipher
from app.server import Server
from app.shapes import DistanceMetric, IndexInput, Output, VectorData
from app.vector_data import ZERO_NORM, InvalidVector, query_vector


class QueryVectorsInput(IndexInput, frozen=True):
    top_k: Required[Annotated[Integer, Range(1, MAX_TOP_K)]] = ABSENT
    query_vector: VectorData | None = None
    filter: Any = None
    return_metadata: bool | None = None
    return_distance: bool | None = None
    query_mode: IndexModeText | None = None
    query_texts: Annotated[list[QueryText], Length(1, 10)] | None = None
    return_scores: bool | None = None
    next_token: Annotated[str, Length(1, 4096)] | None = None


class Bm25Score(Output):
    metadata_key: str
    score: float


class QueryScores(Output):
    fused: float | None = None
    bm25_scores: list[Bm25Score] | None = None
    vector_distance: float | None = None


class QueryOutputVector(Output):
    key: str
    distance: float | None = None
    scores: QueryScores | None = None
    metadata: Raw | UnsetType = UNSET


class QueryVectorsOutput(Output):
    vectors: list[QueryOutputVector]
    distance_metric: DistanceMetric
    next_token: str | None = None


@operation(HttpMethod.POST, "/QueryVectors", only_reads=True)
async def query_vectors(data: QueryVectorsInput, caller: Caller, server: Server) -> QueryVectorsOutput:
    arn = data.index(caller.home)
    await authorize(caller, "QueryVectors", arn)
    if data.filter is not None or data.return_metadata or data.query_texts:
        await authorize(caller, "GetVectors", arn)
    if data.query_vector is None and data.query_texts is None:
        raise ValidationException.at("queryVector", "Must specify queryVector, queryTexts, or both")
    index = await server.cache.index(arn)
    cipher = await record_cipher(server.cache, index)
    server.pacing.note_search()
    search = _search(data, index, index.recall_target or server.settings.recall_target, cipher)
    page = await _page(data, caller, server, search)
    return QueryVectorsOutput(
        vectors=[_output(row, data, page.ranking, cipher) for row in page.rows],
        distance_metric=index.distance_metric,
        next_token=server.page_tokens.seal(page.next, _request(data, caller, index), datetime.now(UTC))
        if page.next
        else None,
    )


async def _page(data: QueryVectorsInput, caller: Caller, server: Server, search: Asked) -> Page:
    if data.next_token is not None:
        bound_to = _request(data, caller, search.index)
        cursor = server.page_tokens.open(data.next_token, Cursor, bound_to, datetime.now(UTC), LIFETIME)
        async with server.database.connection() as connection:
            return await next_page(connection, search, cursor)
    if search.filter is not None:
        server.range_use.note(search.index.id, range_keys(search.filter))
    if isinstance(search, Search) and search.top_k <= MAX_QUERY_PAGE:
        async with server.database.connection(heavy=not (search.index.graphs or search.index.codes)) as connection:
            return Page(await nearest(connection, search, server.selectivity))
    async with server.database.connection(heavy=True) as connection:
        return await first_page(connection, search, caller.principal.user_id, server.selectivity)


def _request(data: QueryVectorsInput, caller: Caller, index: catalog.Index) -> tuple[Any, ...]:
    """All that a page token is bound to: who asks which index, and every member but the token itself."""
    vector = None if data.query_vector is None else data.query_vector.float32.to_binary()
    members = asdict(data) | {"next_token": None, "query_vector": vector}
    return "QueryVectors", caller.principal.user_id, str(index.arn), index.id, members


def _search(data: QueryVectorsInput, index: catalog.Index, recall_target: float, cipher: RecordCipher | None) -> Asked:
    mode = effective_mode(data.query_mode, index.index_mode)
    asked: dict[str, Any] = {
        "index": index,
        "top_k": data.top_k,
        "filter": _filter(data, index, mode),
        "return_metadata": bool(data.return_metadata),
    }
    by_vector = None
    if data.query_vector is not None:
        by_vector = Search(vector=_query_vector(data.query_vector, index), recall_target=recall_target, **asked)
        if data.query_texts is None:
            return by_vector
    return HybridSearch(texts=text_queries(data.query_texts or (), index, mode, cipher), by_vector=by_vector, **asked)


def _query_vector(data: VectorData, index: catalog.Index) -> Vector:
    try:
        return query_vector(data, index.dimension, index.distance_metric)
    except InvalidVector as error:
        reason = f"Invalid input: {ZERO_NORM}" if str(error) == ZERO_NORM else str(error)
        message = "Query vector contains invalid values or is invalid for this index"
        raise ValidationException(message, ValidationExceptionField("vector", reason)) from error


def _filter(data: QueryVectorsInput, index: catalog.Index, mode: IndexMode) -> Node | None:
    if data.filter is None:
        return None
    return parse_filter(data.filter, index.non_filterable_metadata_keys or (), mode)


def _output(
    row: Any, data: QueryVectorsInput, ranking: Ranking | None, cipher: RecordCipher | None
) -> QueryOutputVector:
    return QueryOutputVector(
        key=row.key,
        distance=row.distance if data.return_distance else None,
        scores=_scores(data.query_texts, ranking, row.place - 1)
        if data.return_scores and data.query_texts and ranking
        else None,
        metadata=metadata_of(row, cipher) if data.return_metadata else UNSET,
    )


def _scores(texts: list[QueryText], ranking: Ranking, place: int) -> QueryScores:
    bm25 = [
        Bm25Score(metadata_key=text.metadata_key, score=score)
        for text, scores in zip(texts, ranking.bm25 or [], strict=True)
        if (score := scores[place]) is not None
    ]
    return QueryScores(
        fused=None if ranking.fused is None else ranking.fused[place],
        bm25_scores=bm25 or None,
        vector_distance=ranking.distances[place],
    )
