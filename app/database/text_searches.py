"""Which metadata keys of an index are full-text searchable: rows of s3_vectors.text_search_configurations.

    building -> active -> deleted -> (forgotten, with its tables)

Every change raises the revision of the index, under which a write is made or begins again.
"""

from collections.abc import Collection, Sequence

import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncConnection

from app.database import catalog
from app.database.catalog import Index, vector_indexes
from app.database.catalog import text_search_configurations as configurations
from app.database.inverted_index import create_inverted_index
from app.errors import ConflictException, ValidationException
from app.full_text.analyzer import VERSION
from app.full_text.searchable_key import SearchableKey
from app.limits import MAX_TEXT_SEARCHES_PER_INDEX


async def add(connection: AsyncConnection, index: Index, new: Sequence[SearchableKey], state: str) -> None:
    """To an index that is locked, "active" for one without vectors, else "building".

    Raises ConflictException and ValidationException.
    """
    if not new:
        return
    known = {search.metadata_key for search in index.text_searches}
    if twice := [search.metadata_key for search in new if search.metadata_key in known]:
        raise ConflictException(f"A text search configuration for the metadata key '{twice[0]}' already exists")
    if len(known) + len(new) > MAX_TEXT_SEARCHES_PER_INDEX:
        message = f"An index must have at most {MAX_TEXT_SEARCHES_PER_INDEX} text search configurations"
        raise ValidationException.at("add.textSearchConfigurations", message)
    for search in new:
        statement = sa.insert(configurations).values(
            vector_index_id=index.id,
            metadata_key=search.metadata_key,
            language=search.language,
            analyzer_version=VERSION,
            state=state,
        )
        statement = statement.returning(configurations.c.id)
        search_id = (await connection.execute(statement)).scalar_one()
        await create_inverted_index(connection, search_id)
    await _raise_revision(connection, index)


async def delete(connection: AsyncConnection, index: Index, keys: Collection[str]) -> None:
    """Of an index that is locked; the tables go in the background. Raises ValidationException."""
    if not keys:
        return
    known = {search.metadata_key for search in index.text_searches}
    for i, key in enumerate(keys):
        if key not in known:
            path = f"delete.textSearchConfigurations[{i}].metadataKey"
            raise ValidationException.at(path, f"The metadata key '{key}' has no text search configuration")
    of_keys = configurations.c.vector_index_id == index.id, configurations.c.metadata_key.in_(keys)
    statement = sa.update(configurations).where(*of_keys, configurations.c.state != "deleted")
    await connection.execute(statement.values(state="deleted", deletion_time=sa.func.now()))
    await _raise_revision(connection, index)


async def renew(connection: AsyncConnection, index_id: int, region: str) -> None:
    """Of an index, what an older analyzer has made: built anew, and BUILDING meanwhile."""
    await connection.execute(sa.select(vector_indexes.c.id).where(vector_indexes.c.id == index_id).with_for_update())
    index = await _find(connection, index_id, region)
    statement = sa.select(configurations.c.metadata_key).where(
        _outdated(), configurations.c.vector_index_id == index_id
    )
    keys = set(await connection.scalars(statement))
    old = [search for search in index.text_searches if search.metadata_key in keys]
    await delete(connection, index, keys)
    new = [SearchableKey(search.metadata_key, search.language) for search in old]
    await add(connection, await _find(connection, index_id, region), new, "building")


async def outdated(connection: AsyncConnection) -> list[int]:
    """Indexes for `renew`."""
    statement = sa.select(configurations.c.vector_index_id).join(vector_indexes).distinct()
    return list(await connection.scalars(statement.where(_outdated(), vector_indexes.c.deletion_time.is_(None))))


def _outdated() -> sa.ColumnElement[bool]:
    return sa.and_(configurations.c.state != "deleted", configurations.c.analyzer_version < VERSION)


async def _find(connection: AsyncConnection, index_id: int, region: str) -> Index:
    statement = catalog.all_indexes().where(vector_indexes.c.id == index_id)
    return catalog.index_of_row((await connection.execute(statement)).one(), region)


async def _raise_revision(connection: AsyncConnection, index: Index) -> None:
    revision = vector_indexes.c.text_search_revision
    await catalog.update_index(connection, index.id, text_search_revision=revision + 1)
