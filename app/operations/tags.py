"""TagResource, UntagResource and ListTagsForResource: the only operations that name their resource in the path."""

from typing import Annotated

from litestar import delete, get, post
from litestar.params import Parameter
from sqlalchemy.ext.asyncio import AsyncConnection

from app.arns import IndexArn, VectorBucketArn, parse_arn
from app.authorization import Caller, authorize
from app.constraints import ABSENT, Input, Length, Required
from app.database import catalog
from app.server import Server
from app.shapes import Output, TagKey, Tags
from app.tags import check_number, check_tags


class ListTagsForResourceInput(Input, frozen=True):
    resource_arn: Required[Annotated[str, Length(0, 1011)]] = ABSENT


class ListTagsForResourceOutput(Output):
    tags: dict[str, str]


class TagResourceInput(Input, frozen=True):
    """The body; the resource is in the path."""

    tags: Required[Tags] = ABSENT


class TagResourceOutput(Output):
    pass


class UntagResourceInput(ListTagsForResourceInput, frozen=True):
    tag_keys: Required[list[TagKey]] = ABSENT


class UntagResourceOutput(Output):
    pass


@get("/tags")
async def list_tags_for_resource(resource_arn: str, caller: Caller, server: Server) -> ListTagsForResourceOutput:
    arn = _resource(resource_arn)
    authorize(caller, "ListTagsForResource", arn)
    async with server.database.transaction() as connection:
        return ListTagsForResourceOutput(tags=(await _find(connection, arn)).tags)


@post("/tags", status_code=200)
async def tag_resource(data: TagResourceInput, resource_arn: str, caller: Caller, server: Server) -> TagResourceOutput:
    arn = _resource(resource_arn)
    authorize(caller, "TagResource", arn)
    check_tags(data.tags)
    async with server.database.transaction() as connection:
        resource = await _find(connection, arn, lock=True)
        tags = resource.tags | data.tags
        check_number(tags)
        await _store(connection, resource, tags)
    return TagResourceOutput()


@delete("/tags", status_code=200)
async def untag_resource(
    resource_arn: str,
    caller: Caller,
    server: Server,
    tag_keys: Annotated[list[str] | None, Parameter(query="tagKeys")] = None,
) -> UntagResourceOutput:
    arn = _resource(resource_arn)
    authorize(caller, "UntagResource", arn)
    request = UntagResourceInput(resource_arn=resource_arn, tag_keys=tag_keys or ABSENT)
    async with server.database.transaction() as connection:
        resource = await _find(connection, arn, lock=True)
        kept = {key: value for key, value in resource.tags.items() if key not in request.tag_keys}
        await _store(connection, resource, kept)
    return UntagResourceOutput()


def _resource(text: str) -> VectorBucketArn | IndexArn:
    return parse_arn(ListTagsForResourceInput(resource_arn=text).resource_arn)


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
