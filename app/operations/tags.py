"""TagResource, UntagResource and ListTagsForResource: the only operations that name their resource in the path."""

from typing import Annotated

from litestar import HttpMethod
from sqlalchemy.ext.asyncio import AsyncConnection

from app.arns import IndexArn, VectorBucketArn, parse_arn
from app.authorization import Caller, asked_tags, authorize
from app.constraints import ABSENT, Input, Length, Required
from app.database import catalog
from app.operation import operation
from app.server import Server
from app.shapes import Output, TagKey, Tags
from app.tags import check_number, check_tags

ResourceArn = Annotated[str, Length(0, 1011)]


class ListTagsForResourceInput(Input, frozen=True):
    resource_arn: Required[ResourceArn] = ABSENT


class ListTagsForResourceOutput(Output):
    tags: dict[str, str]


class TagResourceInput(Input, frozen=True):
    resource_arn: Required[ResourceArn] = ABSENT
    tags: Required[Tags] = ABSENT


class TagResourceOutput(Output):
    pass


class UntagResourceInput(Input, frozen=True):
    resource_arn: Required[ResourceArn] = ABSENT
    tag_keys: Required[list[TagKey]] = ABSENT


class UntagResourceOutput(Output):
    pass


@operation(HttpMethod.GET, "/tags")
async def list_tags_for_resource(
    data: ListTagsForResourceInput, caller: Caller, server: Server
) -> ListTagsForResourceOutput:
    arn = parse_arn(data.resource_arn)
    await authorize(caller, "ListTagsForResource", arn)
    async with server.database.transaction() as connection:
        return ListTagsForResourceOutput(tags=(await _find(connection, arn)).tags)


@operation(HttpMethod.POST, "/tags")
async def tag_resource(data: TagResourceInput, caller: Caller, server: Server) -> TagResourceOutput:
    arn = parse_arn(data.resource_arn)
    await authorize(caller, "TagResource", arn, asked_tags(data.tags))
    check_tags(data.tags)
    async with server.database.transaction() as connection:
        resource = await _find(connection, arn, lock=True)
        tags = resource.tags | data.tags
        check_number(tags)
        await _store(connection, resource, tags)
    return TagResourceOutput()


@operation(HttpMethod.DELETE, "/tags")
async def untag_resource(data: UntagResourceInput, caller: Caller, server: Server) -> UntagResourceOutput:
    arn = parse_arn(data.resource_arn)
    await authorize(caller, "UntagResource", arn, {"aws:tagkeys": tuple(data.tag_keys)})
    async with server.database.transaction() as connection:
        resource = await _find(connection, arn, lock=True)
        kept = {key: value for key, value in resource.tags.items() if key not in data.tag_keys}
        await _store(connection, resource, kept)
    return UntagResourceOutput()


async def _find(
    connection: AsyncConnection, arn: VectorBucketArn | IndexArn, *, lock: bool = False
) -> catalog.VectorBucket | catalog.Index:
    if isinstance(arn, IndexArn):
        return await catalog.find_index(connection, arn, lock=lock)
    return await catalog.find_vector_bucket(connection, arn, lock="update" if lock else "")


async def _store(
    connection: AsyncConnection, resource: catalog.VectorBucket | catalog.Index, tags: dict[str, str]
) -> None:
    if isinstance(resource, catalog.Index):
        await catalog.update_index(connection, resource.id, tags=tags)
    else:
        await catalog.update_vector_bucket(connection, resource.id, tags=tags)
