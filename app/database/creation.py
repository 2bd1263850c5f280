"""What comes into being with a vector bucket or an index: rows of the catalog, tables, and views for people."""

from collections.abc import Callable, Sequence

from msgspec import Struct
from sqlalchemy.ext.asyncio import AsyncConnection

from app.arns import IndexArn, VectorBucketArn
from app.database import catalog, text_searches
from app.database import views as views_for_people
from app.database.catalog import Index, VectorBucket
from app.database.vector_table import create_vector_table
from app.full_text.searchable_key import SearchableKey
from app.index_modes import IndexMode
from app.shapes import DistanceMetric, EncryptionConfiguration


class NewIndex(Struct, frozen=True):
    arn: IndexArn
    dimension: int
    distance_metric: DistanceMetric
    non_filterable_metadata_keys: list[str] | None
    encryption: EncryptionConfiguration
    tags: dict[str, str]
    index_mode: IndexMode | None = None
    """None is the default of the bucket."""
    text_searches: Sequence[SearchableKey] = ()


async def insert_vector_bucket(
    connection: AsyncConnection,
    arn: VectorBucketArn,
    encryption: EncryptionConfiguration,
    tags: dict[str, str],
    *,
    views: bool,
) -> None:
    """Raises ConflictException."""
    bucket_id = await catalog.insert_vector_bucket(connection, arn, encryption, tags)
    if views:
        schema_name = await views_for_people.create_schema(connection, arn)
        await catalog.update_vector_bucket(connection, bucket_id, schema_name=schema_name)


async def insert_index(
    connection: AsyncConnection, bucket: VectorBucket, new: NewIndex, data_key: Callable[[int], bytes] | None
) -> Index:
    """Under aws:kms, `data_key` makes the key of its records; raises ConflictException."""
    index_id = await catalog.insert_index(
        connection,
        bucket,
        new.encryption,
        index_name=new.arn.index_name,
        dimension=new.dimension,
        distance_metric=new.distance_metric,
        non_filterable_metadata_keys=new.non_filterable_metadata_keys,
        tags=new.tags,
        index_mode=new.index_mode or bucket.default_index_mode,
    )
    if data_key:
        await catalog.update_index(connection, index_id, data_key=data_key(index_id))
    index = await catalog.find_index(connection, new.arn)
    await create_vector_table(connection, index)
    if new.text_searches:
        await text_searches.add(connection, index, new.text_searches, "active")
        index = await catalog.find_index(connection, new.arn)
    if bucket.schema_name:
        await views_for_people.create_view(connection, bucket.schema_name, index)
    return index
