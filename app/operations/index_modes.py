"""UpdateIndexMode and PutVectorBucketDefaultIndexMode."""

from litestar import HttpMethod

from app.authorization import Caller, authorize
from app.constraints import ABSENT, Required
from app.database import catalog
from app.index_modes import IndexModeText, eligible_mode
from app.operation import operation
from app.server import Server
from app.shapes import IndexInput, Output, VectorBucketInput


class UpdateIndexModeInput(IndexInput, frozen=True):
    index_mode: Required[IndexModeText] = ABSENT


class UpdateIndexModeOutput(Output):
    pass


class PutVectorBucketDefaultIndexModeInput(VectorBucketInput, frozen=True):
    default_index_mode: Required[IndexModeText] = ABSENT


class PutVectorBucketDefaultIndexModeOutput(Output):
    pass


@operation(HttpMethod.POST, "/UpdateIndexMode")
async def update_index_mode(data: UpdateIndexModeInput, caller: Caller, server: Server) -> UpdateIndexModeOutput:
    """In force for the next query on every worker."""
    arn = data.index(caller.home)
    await authorize(caller, "UpdateIndexMode", arn)
    async with server.database.transaction() as connection:
        index = await catalog.find_index(connection, arn, lock=True)
        bucket = await catalog.find_vector_bucket(connection, arn.bucket)
        mode = eligible_mode("indexMode", data.index_mode, bucket.creation_time)
        await catalog.update_index(connection, index.id, index_mode=mode)
    return UpdateIndexModeOutput()


@operation(HttpMethod.POST, "/PutVectorBucketDefaultIndexMode")
async def put_vector_bucket_default_index_mode(
    data: PutVectorBucketDefaultIndexModeInput, caller: Caller, server: Server
) -> PutVectorBucketDefaultIndexModeOutput:
    """For indexes to come; those that are there keep theirs."""
    arn = data.bucket(caller.home)
    await authorize(caller, "PutVectorBucketDefaultIndexMode", arn)
    async with server.database.transaction() as connection:
        bucket = await catalog.find_vector_bucket(connection, arn, lock="update")
        mode = eligible_mode("defaultIndexMode", data.default_index_mode, bucket.creation_time)
        await catalog.update_vector_bucket(connection, bucket.id, default_index_mode=mode)
    return PutVectorBucketDefaultIndexModeOutput()
