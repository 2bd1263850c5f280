"""UpdateMetadataConfiguration."""

from typing import Annotated

from litestar import HttpMethod
from msgspec import Struct

from app.authorization import Caller, authorize
from app.constraints import ABSENT, Length, Required
from app.database import catalog, text_searches
from app.errors import ValidationException
from app.limits import MAX_TEXT_SEARCHES_PER_INDEX
from app.metadata_configuration import TextSearchConfiguration, check_distinct, check_mode, searchable_keys
from app.operation import operation
from app.server import Server
from app.shapes import IndexInput, MetadataKey, Output


class MetadataConfigurationAdd(Struct, rename="camel", kw_only=True, frozen=True):
    text_search_configurations: (
        Annotated[list[TextSearchConfiguration], Length(0, MAX_TEXT_SEARCHES_PER_INDEX)] | None
    ) = None


class TextSearchConfigurationKey(Struct, rename="camel", kw_only=True, frozen=True):
    metadata_key: Required[MetadataKey] = ABSENT


class MetadataConfigurationDelete(Struct, rename="camel", kw_only=True, frozen=True):
    text_search_configurations: (
        Annotated[list[TextSearchConfigurationKey], Length(1, MAX_TEXT_SEARCHES_PER_INDEX)] | None
    ) = None


class UpdateMetadataConfigurationInput(IndexInput, frozen=True):
    add: MetadataConfigurationAdd | None = None
    delete: MetadataConfigurationDelete | None = None


class UpdateMetadataConfigurationOutput(Output):
    index_arn: str


@operation(HttpMethod.POST, "/UpdateMetadataConfiguration")
async def update_metadata_configuration(
    data: UpdateMetadataConfigurationInput, caller: Caller, server: Server
) -> UpdateMetadataConfigurationOutput:
    """What is added is BUILDING until the background has indexed the vectors that are there."""
    arn = data.index(caller.home)
    await authorize(caller, "UpdateMetadataConfiguration", arn)
    if (data.add is None) == (data.delete is None):
        raise ValidationException.at("add", "Must specify either add or delete but not both")
    added = searchable_keys((data.add and data.add.text_search_configurations) or (), "add")
    deleted = [key.metadata_key for key in (data.delete and data.delete.text_search_configurations) or ()]
    check_distinct(deleted, "delete.textSearchConfigurations")
    async with server.database.transaction() as connection:
        index = await catalog.find_index(connection, arn, lock=True)
        check_mode(added, index.index_mode)
        await text_searches.add(connection, index, added, "building")
        await text_searches.delete(connection, index, deleted)
    server.text_backfill.wake()
    return UpdateMetadataConfigurationOutput(index_arn=str(arn))
