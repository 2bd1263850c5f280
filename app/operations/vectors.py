"""PutVectors, GetVectors, ListVectors and DeleteVectors."""

from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from typing import Annotated, Any

from litestar import HttpMethod
from msgspec import Struct

from app.arns import IndexArn
from app.authorization import Caller, authorize
from app.constraints import ABSENT, Integer, Length, Range, Required
from app.database import catalog, listing, vector_table
from app.database.listing import Cursor, PageRequest, Segment
from app.database.vector_table import Outdated, Returned, StoredVector, output_vector, stored_vector
from app.errors import AccessDeniedException, KmsError, ServiceUnavailableException, ValidationException
from app.kms import record_cipher
from app.large_bodies import in_strides
from app.metadata import InvalidMetadata, invalid_record, split_metadata
from app.operation import operation
from app.record_cipher import RecordCipher
from app.server import Server
from app.shapes import IndexInput, Output, OutputVector, VectorData, VectorKey
from app.vector_data import InvalidVector, check_vector
from app.vector_keys import InvalidKey, check_key

DEFAULT_PAGE = 500
MAX_OUTDATED = 3


class PutInputVector(Struct, rename="camel", kw_only=True, frozen=True, gc=False):
    key: Required[VectorKey] = ABSENT
    data: Required[VectorData] = ABSENT
    metadata: Any = None


class PutVectorsInput(IndexInput, frozen=True):
    vectors: Required[Annotated[list[PutInputVector], Length(1, 500)]] = ABSENT


class PutVectorsOutput(Output):
    pass


class GetVectorsInput(IndexInput, frozen=True):
    keys: Required[Annotated[list[VectorKey], Length(1, 100)]] = ABSENT
    return_data: bool | None = None
    return_metadata: bool | None = None


class GetVectorsOutput(Output):
    vectors: list[OutputVector]


class ListVectorsInput(IndexInput, frozen=True):
    max_results: Annotated[Integer, Range(1, 1000)] | None = None
    next_token: Annotated[str, Length(1, 2048)] | None = None
    segment_count: Annotated[Integer, Range(1, 16)] | None = None
    segment_index: Annotated[Integer, Range(0, 15)] | None = None
    return_data: bool | None = None
    return_metadata: bool | None = None


class ListVectorsOutput(Output):
    vectors: list[OutputVector]
    next_token: str | None = None


class DeleteVectorsInput(IndexInput, frozen=True):
    keys: Required[Annotated[list[VectorKey], Length(1, 500)]] = ABSENT


class DeleteVectorsOutput(Output):
    pass


@operation(HttpMethod.POST, "/PutVectors")
async def put_vectors(data: PutVectorsInput, caller: Caller, server: Server) -> PutVectorsOutput:
    """All or nothing; of a key that comes twice the last record stays."""
    arn = data.index(caller.home)
    await authorize(caller, "PutVectors", arn)
    check_keys([vector.key for vector in data.vectors], "vectors")

    async def put(index: catalog.Index) -> None:
        cipher = await record_cipher(server.cache, index)
        # No connection is held while the vectors are read.
        vectors = in_strides(enumerate(data.vectors))
        records = {vector.key: _stored(i, vector, index, cipher) async for i, vector in vectors}
        async with server.pacing.writing(len(records)), server.database.connection(heavy=True) as connection:
            await vector_table.upsert(connection, index, [records[key] for key in sorted(records)])

    await _with_current_index(server, arn, put)
    return PutVectorsOutput()


@operation(HttpMethod.POST, "/GetVectors", only_reads=True)
async def get_vectors(data: GetVectorsInput, caller: Caller, server: Server) -> GetVectorsOutput:
    arn = data.index(caller.home)
    await authorize(caller, "GetVectors", arn)
    check_keys(data.keys, "keys")
    returned = Returned(bool(data.return_data), bool(data.return_metadata))
    index = await server.cache.index(arn)
    cipher = await record_cipher(server.cache, index)
    async with server.database.connection() as connection:
        rows = await vector_table.get(connection, index, data.keys, returned)
    return GetVectorsOutput(vectors=[output_vector(row, cipher) async for row in in_strides(rows)])


@operation(HttpMethod.POST, "/ListVectors", only_reads=True)
async def list_vectors(data: ListVectorsInput, caller: Caller, server: Server) -> ListVectorsOutput:
    arn = data.index(caller.home)
    await authorize(caller, "ListVectors", arn)
    returned = Returned(bool(data.return_data), bool(data.return_metadata))
    if returned.data or returned.metadata:
        await authorize(caller, "GetVectors", arn)
    segment, now = _segment(data), datetime.now(UTC)
    index = await server.cache.index(arn)
    cipher = await _listing_cipher(server, index)
    bound_to = ("ListVectors", caller.principal.user_id, str(arn), index.id, segment, returned)
    after = server.page_tokens.open(data.next_token, Cursor, bound_to, now) if data.next_token else None
    request = PageRequest(segment, after, data.max_results or DEFAULT_PAGE, returned)
    async with server.database.connection(heavy=True) as connection:
        page = await listing.list_vectors(connection, index, request)
    next_token = server.page_tokens.seal(page.next, bound_to, now) if page.next else None
    vectors = [output_vector(row, cipher) async for row in in_strides(page.rows)]
    return ListVectorsOutput(vectors=vectors, next_token=next_token)


@operation(HttpMethod.POST, "/DeleteVectors")
async def delete_vectors(data: DeleteVectorsInput, caller: Caller, server: Server) -> DeleteVectorsOutput:
    arn = data.index(caller.home)
    await authorize(caller, "DeleteVectors", arn)
    check_keys(data.keys, "keys")

    async def delete(index: catalog.Index) -> None:
        await record_cipher(server.cache, index)  # for its errors: without the key nothing is done
        async with server.database.connection(heavy=True) as connection:
            await vector_table.delete(connection, index, data.keys)

    await _with_current_index(server, arn, delete)
    return DeleteVectorsOutput()


async def _with_current_index(server: Server, arn: IndexArn, write: Callable[[catalog.Index], Awaitable[None]]) -> None:
    """Again where a key has become searchable since the index was looked up, or has ceased to be."""
    for _ in range(MAX_OUTDATED):
        try:
            return await write(await server.cache.index(arn))
        except Outdated:
            await server.cache.refresh()
    raise ServiceUnavailableException("Currently unable to handle the request")


def check_keys(keys: list[str], path: str) -> None:
    for i, key in enumerate(keys):
        try:
            check_key(key)
        except InvalidKey as error:
            raise ValidationException.at(f"{path}[{i}]", str(error)) from error


async def _listing_cipher(server: Server, index: catalog.Index) -> RecordCipher | None:
    """The model of ListVectors has no Kms errors."""
    try:
        return await record_cipher(server.cache, index)
    except KmsError as error:
        raise AccessDeniedException(error.message) from error


def _stored(i: int, vector: PutInputVector, index: catalog.Index, cipher: RecordCipher | None) -> StoredVector:
    try:
        check_vector(vector.data, index.dimension, index.distance_metric)
        metadata = {} if vector.metadata is None else vector.metadata
        split = split_metadata(metadata, index.non_filterable_metadata_keys or ())
    except InvalidVector as error:
        raise invalid_record(vector.key, f"vectors[{i}]", str(error)) from error
    except InvalidMetadata as error:
        raise invalid_record(vector.key, f"vectors[{i}].metadata", str(error)) from error
    return stored_vector(index, vector.key, vector.data.float32, split, cipher)


def _segment(data: ListVectorsInput) -> Segment:
    count, index = data.segment_count, data.segment_index
    if count is None and index is None:
        return Segment()
    if count is None or index is None:
        raise ValidationException.at("segmentIndex", "segmentCount and segmentIndex must be specified together")
    if index >= count:
        raise ValidationException.at("segmentIndex", "segmentIndex must be less than segmentCount")
    return Segment(index, count)
