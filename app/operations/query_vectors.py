"""QueryVectors."""

from datetime import UTC, datetime
from typing import Annotated, Any

from litestar import HttpMethod
from msgspec import UNSET, Raw, UnsetType
from msgspec.structs import asdict

from app.authorization import Caller, authorize
from app.constraints import ABSENT, Integer, Length, Range, Required
from app.database import catalog
from app.database.nearest import Search, nearest
from app.database.query_pages import first_page, next_page
from app.database.rankings import LIFETIME, Cursor
from app.database.vector_table import metadata_of
from app.errors import ValidationException, ValidationExceptionField
from app.filters.nodes import Node
from app.filters.parse import parse_filter
from app.index_modes import IndexModeText, effective_mode
from app.kms import record_cipher
from app.limits import MAX_QUERY_PAGE, MAX_TOP_K
from app.operation import operation
from app.record_cipher import RecordCipher
from app.server import Server
from app.shapes import DistanceMetric, IndexInput, Output, VectorData
from app.vector_data import ZERO_NORM, Float32Vector, InvalidVector, to_float32


class QueryVectorsInput(IndexInput, frozen=True):
    top_k: Required[Annotated[Integer, Range(1, MAX_TOP_K)]] = ABSENT
    query_vector: Required[VectorData] = ABSENT
    filter: Any = None
    return_metadata: bool | None = None
    return_distance: bool | None = None
    query_mode: IndexModeText | None = None
    query_texts: Any = None
    return_scores: bool | None = None
    next_token: Annotated[str, Length(1, 4096)] | None = None


class QueryOutputVector(Output):
    key: str
    distance: float | None = None
    metadata: Raw | UnsetType = UNSET


class QueryVectorsOutput(Output):
    vectors: list[QueryOutputVector]
    distance_metric: DistanceMetric
    next_token: str | None = None


@operation(HttpMethod.POST, "/QueryVectors")
async def query_vectors(data: QueryVectorsInput, caller: Caller, server: Server) -> QueryVectorsOutput:
    arn = data.index(caller.home)
    await authorize(caller, "QueryVectors", arn)
    if data.filter is not None or data.return_metadata:
        await authorize(caller, "GetVectors", arn)
    _refuse_newest_members(data)
    index = await server.cache.index(arn)
    search = Search(
        index=index,
        vector=_query_vector(data.query_vector, index),
        top_k=data.top_k,
        filter=_filter(data, index),
        return_metadata=bool(data.return_metadata),
        recall_target=index.recall_target or server.settings.recall_target,
    )
    cipher = await record_cipher(server.cache, index)
    rows, next_token = await _page(data, caller, server, search)
    return QueryVectorsOutput(
        vectors=[_output(row, data, cipher) for row in rows],
        distance_metric=index.distance_metric,
        next_token=next_token,
    )


async def _page(
    data: QueryVectorsInput, caller: Caller, server: Server, search: Search
) -> tuple[list[Any], str | None]:
    """Rows for `_output`, and the token of the page behind them."""
    if data.next_token is None and search.filter is not None:
        server.range_use.note(search.index.id, search.filter)
    if data.next_token is None and data.top_k <= MAX_QUERY_PAGE:
        async with server.database.connection(heavy=not search.index.graphs) as connection:
            return await nearest(connection, search, server.selectivity), None
    bound_to = _request(data, caller, search)
    if data.next_token is None:
        async with server.database.connection(heavy=True) as connection:
            page = await first_page(connection, search, caller.principal.user_id, server.selectivity)
    else:
        cursor = server.page_tokens.open(data.next_token, Cursor, bound_to, datetime.now(UTC), LIFETIME)
        async with server.database.connection() as connection:
            page = await next_page(connection, search, cursor)
    return page.rows, server.page_tokens.seal(page.next, bound_to, datetime.now(UTC)) if page.next else None


def _request(data: QueryVectorsInput, caller: Caller, search: Search) -> tuple[Any, ...]:
    """All that a page token is bound to: who asks which index, and every member but the token itself."""
    members = asdict(data) | {"next_token": None, "query_vector": search.vector.tobytes()}
    return "QueryVectors", caller.principal.user_id, str(search.index.arn), search.index.id, members


def _query_vector(data: VectorData, index: catalog.Index) -> Float32Vector:
    try:
        return to_float32(data, index.dimension, index.distance_metric)
    except InvalidVector as error:
        reason = f"Invalid input: {ZERO_NORM}" if str(error) == ZERO_NORM else str(error)
        message = "Query vector contains invalid values or is invalid for this index"
        raise ValidationException(message, ValidationExceptionField("vector", reason)) from error


def _filter(data: QueryVectorsInput, index: catalog.Index) -> Node | None:
    mode = effective_mode(data.query_mode, index.index_mode)
    if data.filter is None:
        return None
    return parse_filter(data.filter, index.non_filterable_metadata_keys or (), mode)


def _refuse_newest_members(data: QueryVectorsInput) -> None:
    newest = {
        "queryTexts": data.query_texts,
        "returnScores": data.return_scores,
    }
    for member, value in newest.items():
        if value:
            raise ValidationException.at(member, f"{member} is not supported by this version of pgs3vectors")


def _output(row: Any, data: QueryVectorsInput, cipher: RecordCipher | None) -> QueryOutputVector:
    return QueryOutputVector(
        key=row.key,
        distance=row.distance if data.return_distance else None,
        metadata=metadata_of(row, cipher) if data.return_metadata else UNSET,
    )
