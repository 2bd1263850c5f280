"""CreateVectorBucket, GetVectorBucket, ListVectorBuckets and DeleteVectorBucket."""

from datetime import UTC, datetime
from typing import Annotated

import sqlalchemy as sa
from litestar import HttpMethod

from app.arns import VectorBucketArn, vector_bucket_arn
from app.authorization import Caller, asked_encryption, asked_tags, authorize
from app.constraints import ABSENT, Input, Integer, Length, Range, Required
from app.database import catalog, views
from app.database.catalog import NamePage
from app.database.creation import insert_vector_bucket
from app.encryption import effective_encryption
from app.errors import ConflictException
from app.index_modes import IndexMode
from app.kms import creation_key
from app.operation import operation
from app.server import Server
from app.shapes import (
    EncryptionConfiguration,
    Output,
    Tags,
    VectorBucketInput,
    VectorBucketName,
    epoch_seconds,
)
from app.tags import check_tags

DEFAULT_PAGE = 500


class CreateVectorBucketInput(Input, frozen=True):
    vector_bucket_name: Required[VectorBucketName] = ABSENT
    encryption_configuration: EncryptionConfiguration | None = None
    tags: Tags | None = None


class CreateVectorBucketOutput(Output):
    vector_bucket_arn: str


class GetVectorBucketInput(VectorBucketInput, frozen=True):
    pass


class VectorBucket(Output):
    vector_bucket_name: str
    vector_bucket_arn: str
    creation_time: int
    encryption_configuration: EncryptionConfiguration
    default_index_mode: IndexMode


class GetVectorBucketOutput(Output):
    vector_bucket: VectorBucket


class ListVectorBucketsInput(Input, frozen=True):
    max_results: Annotated[Integer, Range(1, 500)] | None = None
    next_token: Annotated[str, Length(1, 512)] | None = None
    prefix: Annotated[str, Length(1, 63)] | None = None


class VectorBucketSummary(Output):
    vector_bucket_name: str
    vector_bucket_arn: str
    creation_time: int


class ListVectorBucketsOutput(Output):
    vector_buckets: list[VectorBucketSummary]
    next_token: str | None = None


class DeleteVectorBucketInput(VectorBucketInput, frozen=True):
    pass


class DeleteVectorBucketOutput(Output):
    pass


@operation(HttpMethod.POST, "/CreateVectorBucket")
async def create_vector_bucket(
    data: CreateVectorBucketInput, caller: Caller, server: Server
) -> CreateVectorBucketOutput:
    arn = vector_bucket_arn(caller.home, data.vector_bucket_name, None)
    encryption, new_tags = effective_encryption(data.encryption_configuration), data.tags or {}
    asked = {**asked_encryption(encryption), **asked_tags(new_tags)}
    await authorize(caller, "CreateVectorBucket", arn, asked)
    if new_tags:
        await authorize(caller, "TagResource", arn, asked)
    check_tags(new_tags)
    await creation_key(server.cache, encryption, arn.account.account_id)  # for its errors
    async with server.database.transaction() as connection:
        await insert_vector_bucket(connection, arn, encryption, new_tags, views=server.settings.views)
    return CreateVectorBucketOutput(vector_bucket_arn=str(arn))


@operation(HttpMethod.POST, "/GetVectorBucket")
async def get_vector_bucket(data: GetVectorBucketInput, caller: Caller, server: Server) -> GetVectorBucketOutput:
    arn = data.bucket(caller.home)
    await authorize(caller, "GetVectorBucket", arn)
    async with server.database.transaction() as connection:
        bucket = await catalog.find_vector_bucket(connection, arn)
    return GetVectorBucketOutput(
        vector_bucket=VectorBucket(
            vector_bucket_name=arn.vector_bucket_name,
            vector_bucket_arn=str(arn),
            creation_time=epoch_seconds(bucket.creation_time),
            encryption_configuration=bucket.encryption,
            default_index_mode=bucket.default_index_mode,
        )
    )


@operation(HttpMethod.POST, "/ListVectorBuckets")
async def list_vector_buckets(data: ListVectorBucketsInput, caller: Caller, server: Server) -> ListVectorBucketsOutput:
    await authorize(caller, "ListVectorBuckets", caller.home)
    prefix, limit = data.prefix or "", data.max_results or DEFAULT_PAGE
    bound_to = ("ListVectorBuckets", caller.principal.user_id, caller.home, prefix)
    now = datetime.now(UTC)
    after = server.page_tokens.open(data.next_token, str, bound_to, now) if data.next_token else ""
    async with server.database.transaction() as connection:
        rows = await catalog.list_vector_buckets(connection, caller.home, NamePage(prefix, after, limit + 1))
    page = rows[:limit]
    return ListVectorBucketsOutput(
        vector_buckets=[
            VectorBucketSummary(
                vector_bucket_name=name,
                vector_bucket_arn=str(VectorBucketArn(caller.home, name)),
                creation_time=epoch_seconds(creation_time),
            )
            for name, creation_time in page
        ],
        next_token=server.page_tokens.seal(page[-1][0], bound_to, now) if len(rows) > limit else None,
    )


@operation(HttpMethod.POST, "/DeleteVectorBucket")
async def delete_vector_bucket(
    data: DeleteVectorBucketInput, caller: Caller, server: Server
) -> DeleteVectorBucketOutput:
    arn = data.bucket(caller.home)
    await authorize(caller, "DeleteVectorBucket", arn)
    async with server.database.transaction() as connection:
        bucket = await catalog.find_vector_bucket(connection, arn, lock="update")
        if await catalog.has_indexes(connection, bucket):
            raise ConflictException("The specified vector bucket is not empty")
        if bucket.schema_name:
            await views.drop_schema(connection, bucket.schema_name)
        await catalog.update_vector_bucket(connection, bucket.id, deletion_time=sa.func.now())
    server.deletion.wake()
    return DeleteVectorBucketOutput()
