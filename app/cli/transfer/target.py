"""The index that an import writes to: one that is there, or a new one as the options describe it."""

from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from typing import Annotated, Literal, Protocol

from cyclopts import Parameter

from app.arns import Account, IndexArn, VectorBucketArn, index_of, vector_bucket_arn
from app.cli.connection import Catalog
from app.cli.iam.owners import account_of
from app.cli.output import CommandError
from app.database import catalog as database_catalog
from app.database.catalog import Index, VectorBucket
from app.database.creation import NewIndex, insert_index, insert_vector_bucket
from app.encryption import DEFAULT, effective_encryption
from app.errors import NotFoundException
from app.interchange.batches import InvalidSource, Source
from app.interchange.checking import Rules
from app.interchange.sinks import Description
from app.kms import creation_key, new_data_key
from app.shapes import DistanceMetric
from app.tags import check_tags


@Parameter(name="*")
@dataclass(frozen=True)
class IndexOptions:
    """Of an index that is made, with its bucket, where there is none; one that is there must be of this kind."""

    distance_metric: Annotated[
        Literal["cosine", "euclidean"] | None, Parameter(help="If the index is to be made where there is none.")
    ] = None
    non_filterable: Annotated[
        tuple[str, ...],
        Parameter(help="Keys of non-filterable metadata of an index that is made.", consume_multiple=True, negative=""),
    ] = ()

    def like(self, description: Description | None) -> "IndexOptions":
        """What is not said is as in the index that a file was exported from."""
        if description is None or self.distance_metric is not None:
            return self
        return IndexOptions(
            description.distance_metric.value, self.non_filterable or tuple(description.non_filterable_metadata_keys)
        )


AS_IT_IS = IndexOptions()


async def home_of(catalog: Catalog, account: str | None) -> Account:
    async with catalog.database.transaction() as connection:
        return Account((await account_of(connection, catalog, account)).account_id, catalog.settings.region)


def arn_named(home: Account, name: str) -> IndexArn:
    bucket, slash, index = name.partition("/")
    if not slash:
        raise CommandError(f"An index is named as bucket/index, not as {name}.")
    return index_of(vector_bucket_arn(home, bucket, None), index)


async def find_index(catalog: Catalog, arn: IndexArn, options: IndexOptions) -> Index | None:
    """None where there is none; one that is of another kind than wanted is refused."""
    try:
        async with catalog.database.transaction() as connection:
            index = await database_catalog.find_index(connection, arn)
    except NotFoundException:
        return None
    if options.distance_metric not in {None, index.distance_metric.value}:
        raise CommandError(f"{short(arn)} is there, with the distance metric {index.distance_metric}.")
    if options.non_filterable and set(options.non_filterable) != set(index.non_filterable_metadata_keys or ()):
        keys = ", ".join(index.non_filterable_metadata_keys or ()) or "none"
        raise CommandError(f"{short(arn)} is there, with other non-filterable keys: {keys}.")
    return index


class Kind(Protocol):
    """What two indexes must have in common, if vectors are to go from one to the other."""

    @property
    def dimension(self) -> int: ...
    @property
    def distance_metric(self) -> DistanceMetric: ...
    @property
    def non_filterable_metadata_keys(self) -> list[str] | None: ...


def kind_of(index: Kind) -> tuple[int, DistanceMetric, frozenset[str]]:
    return index.dimension, index.distance_metric, frozenset(index.non_filterable_metadata_keys or ())


def rules_of(index: Kind) -> Rules:
    return Rules(*kind_of(index))


def new_index(arn: IndexArn, source: Source, options: IndexOptions) -> NewIndex:
    """As wanted, or as the one that a file was exported from; encryption is inherited."""
    if (wanted := options.like(source.description)).distance_metric is None:
        raise CommandError(
            f"There is no index {short(arn)} in account {arn.account.account_id}; "
            "with --distance-metric cosine or euclidean it is made."
        )
    metric, keys = DistanceMetric(wanted.distance_metric), list(wanted.non_filterable) or None
    return checked(NewIndex(arn, dimension_of(source), metric, keys, DEFAULT, {}))


def checked(new: NewIndex) -> NewIndex:
    """By the rules of CreateIndex; raises ValidationException."""
    from app.metadata_configuration import MetadataConfiguration  # noqa: PLC0415
    from app.operations.indexes import CreateIndexInput, non_filterable_keys  # noqa: PLC0415

    metadata = MetadataConfiguration(non_filterable_metadata_keys=new.non_filterable_metadata_keys)
    asked = CreateIndexInput(
        vector_bucket_name=new.arn.bucket.vector_bucket_name,
        index_name=new.arn.index_name,
        data_type="float32",
        dimension=new.dimension,
        distance_metric=new.distance_metric,
        metadata_configuration=metadata,
        encryption_configuration=new.encryption,
        tags=new.tags,
    )
    non_filterable_keys(metadata)
    effective_encryption(asked.encryption_configuration)
    check_tags(new.tags)
    return new


def dimension_of(source: Source) -> int:
    """That of the first vector, where nothing else says it."""
    if source.description is not None:
        return source.description.dimension
    for batch in source.batches():
        for vector in batch.vectors:
            if vector is not None:
                return len(vector)
    raise InvalidSource(f"{source.name} has no vectors.")


async def ensure_bucket(catalog: Catalog, arn: VectorBucketArn) -> VectorBucket:
    """With the configuration that CreateVectorBucket gives one by itself, where it is made."""
    async with catalog.database.transaction() as connection:
        with suppress(NotFoundException):
            return await database_catalog.find_vector_bucket(connection, arn)
        await insert_vector_bucket(connection, arn, DEFAULT, {}, views=catalog.settings.views)
        return await database_catalog.find_vector_bucket(connection, arn)


async def make_index(catalog: Catalog, new: NewIndex) -> Index:
    """In a bucket that is there; raises AccessDeniedException where a KMS key must not be used."""
    kms_key = await creation_key(catalog, new.encryption, new.arn.account.account_id)
    async with catalog.database.transaction() as connection:
        bucket = await database_catalog.find_vector_bucket(connection, new.arn.bucket, lock="key share")
        data_key = partial(new_data_key, catalog.keys, kms_key) if kms_key else None
        return await insert_index(connection, bucket, new, data_key)


def short(arn: IndexArn) -> str:
    """As commands take it."""
    return f"{arn.bucket.vector_bucket_name}/{arn.index_name}"
