"""CreateIndex, GetIndex, ListIndexes and DeleteIndex."""

from datetime import UTC, datetime
from functools import partial
from typing import Annotated

import sqlalchemy as sa
from litestar import HttpMethod

from app.arns import IndexArn, index_of
from app.authorization import Caller, asked_encryption, asked_tags, authorize
from app.constraints import ABSENT, Integer, Length, OneOf, Range, Required
from app.database import catalog, views
from app.database.catalog import NamePage
from app.database.creation import NewIndex, insert_index
from app.encryption import effective_encryption
from app.errors import ValidationException
from app.index_modes import IndexMode
from app.kms import creation_key, new_data_key
from app.metadata_configuration import MetadataConfiguration, check_mode, described, searchable_keys
from app.operation import operation
from app.server import Server
from app.shapes import (
    DistanceMetric,
    EncryptionConfiguration,
    IndexInput,
    IndexName,
    Output,
    Tags,
    VectorBucketInput,
    epoch_seconds,
)
from app.tags import check_tags

DEFAULT_PAGE = 500


class CreateIndexInput(VectorBucketInput, frozen=True):
    index_name: Required[IndexName] = ABSENT
    data_type: Required[Annotated[str, OneOf(("float32",))]] = ABSENT
    dimension: Required[Annotated[Integer, Range(1, 4096)]] = ABSENT
    distance_metric: Required[Annotated[str, OneOf(("euclidean", "cosine"))]] = ABSENT
    metadata_configuration: MetadataConfiguration | None = None
    encryption_configuration: EncryptionConfiguration | None = None
    tags: Tags | None = None


class CreateIndexOutput(Output):
    index_arn: str


class GetIndexInput(IndexInput, frozen=True):
    pass


class Index(Output):
    vector_bucket_name: str
    index_name: str
    index_arn: str
    creation_time: int
    data_type: str
    dimension: int
    distance_metric: DistanceMetric
    encryption_configuration: EncryptionConfiguration
    index_mode: IndexMode
    metadata_configuration: MetadataConfiguration | None = None


class GetIndexOutput(Output):
    index: Index


class ListIndexesInput(VectorBucketInput, frozen=True):
    max_results: Annotated[Integer, Range(1, 500)] | None = None
    next_token: Annotated[str, Length(1, 512)] | None = None
    prefix: Annotated[str, Length(1, 63)] | None = None


class IndexSummary(Output):
    vector_bucket_name: str
    index_name: str
    index_arn: str
    creation_time: int


class ListIndexesOutput(Output):
    indexes: list[IndexSummary]
    next_token: str | None = None


class DeleteIndexInput(IndexInput, frozen=True):
    pass


class DeleteIndexOutput(Output):
    pass


@operation(HttpMethod.POST, "/CreateIndex")
async def create_index(data: CreateIndexInput, caller: Caller, server: Server) -> CreateIndexOutput:
    arn = index_of(data.bucket(caller.home), data.index_name)
    inherited = (await server.cache.bucket(arn.bucket)).encryption
    encryption, tags = effective_encryption(data.encryption_configuration, inherited), data.tags or {}
    asked = {**asked_encryption(encryption), **asked_tags(tags)}
    await authorize(caller, "CreateIndex", arn, asked)
    if tags:
        await authorize(caller, "TagResource", arn, asked)
    metadata = data.metadata_configuration or MetadataConfiguration()
    non_filterable = non_filterable_keys(metadata)
    text = searchable_keys(metadata.text_search_configurations or (), "metadataConfiguration")
    check_tags(tags)
    kms_key = await creation_key(server.cache, encryption, arn.account.account_id)
    async with server.database.transaction() as connection:
        bucket = await catalog.find_vector_bucket(connection, arn.bucket, lock="key share")
        check_mode(text, bucket.default_index_mode)
        new = NewIndex(
            arn,
            data.dimension,
            DistanceMetric(data.distance_metric),
            non_filterable,
            encryption,
            tags,
            text_searches=text,
        )
        data_key = partial(new_data_key, server.keys, kms_key) if kms_key else None
        await insert_index(connection, bucket, new, data_key)
    return CreateIndexOutput(index_arn=str(arn))


@operation(HttpMethod.POST, "/GetIndex")
async def get_index(data: GetIndexInput, caller: Caller, server: Server) -> GetIndexOutput:
    arn = data.index(caller.home)
    await authorize(caller, "GetIndex", arn)
    index = await server.cache.index(arn)
    return GetIndexOutput(
        index=Index(
            vector_bucket_name=arn.bucket.vector_bucket_name,
            index_name=arn.index_name,
            index_arn=str(arn),
            creation_time=epoch_seconds(index.creation_time),
            data_type="float32",
            dimension=index.dimension,
            distance_metric=index.distance_metric,
            encryption_configuration=index.encryption,
            metadata_configuration=described(index),
            index_mode=index.index_mode,
        )
    )


@operation(HttpMethod.POST, "/ListIndexes")
async def list_indexes(data: ListIndexesInput, caller: Caller, server: Server) -> ListIndexesOutput:
    arn = data.bucket(caller.home)
    await authorize(caller, "ListIndexes", arn)
    prefix, limit = data.prefix or "", data.max_results or DEFAULT_PAGE
    bound_to = ("ListIndexes", caller.principal.user_id, str(arn), prefix)
    now = datetime.now(UTC)
    after = server.page_tokens.open(data.next_token, str, bound_to, now) if data.next_token else ""
    async with server.database.transaction() as connection:
        bucket = await catalog.find_vector_bucket(connection, arn)
        rows = await catalog.list_indexes(connection, bucket, NamePage(prefix, after, limit + 1))
    page = rows[:limit]
    return ListIndexesOutput(
        indexes=[
            IndexSummary(
                vector_bucket_name=arn.vector_bucket_name,
                index_name=name,
                index_arn=str(IndexArn(arn, name)),
                creation_time=epoch_seconds(creation_time),
            )
            for name, creation_time in page
        ],
        next_token=server.page_tokens.seal(page[-1][0], bound_to, now) if len(rows) > limit else None,
    )


@operation(HttpMethod.POST, "/DeleteIndex")
async def delete_index(data: DeleteIndexInput, caller: Caller, server: Server) -> DeleteIndexOutput:
    """Invisible with the commit; the table goes in the background."""
    arn = data.index(caller.home)
    await authorize(caller, "DeleteIndex", arn)
    async with server.database.transaction() as connection:
        index = await catalog.find_index(connection, arn, lock=True)
        await catalog.update_index(connection, index.id, deletion_time=sa.func.now())
        bucket = await catalog.find_vector_bucket(connection, arn.bucket)
        if bucket.schema_name:
            await views.drop_view(connection, bucket.schema_name, index)
    server.deletion.wake()
    return DeleteIndexOutput()


def non_filterable_keys(configuration: MetadataConfiguration) -> list[str] | None:
    """Raises ValidationException."""
    keys = configuration.non_filterable_metadata_keys
    if keys and any("\0" in key for key in keys):
        raise ValidationException.at("metadataConfiguration", "Metadata keys must not contain the null character")
    if keys and len(set(keys)) < len(keys):
        raise ValidationException.at("metadataConfiguration", "Non-filterable metadata keys must be unique")
    return keys
