"""Vector buckets and vector indexes as rows; a row with a deletion time is gone for everybody."""

from collections.abc import Iterable
from datetime import datetime
from typing import Any, Literal

import sqlalchemy as sa
from msgspec import Struct
from pgvector.sqlalchemy import VECTOR
from sqlalchemy.dialects.postgresql import ARRAY, JSONB, aggregate_order_by
from sqlalchemy.ext.asyncio import AsyncConnection

from app.arns import Account, IndexArn, VectorBucketArn
from app.errors import ConflictException, NotFoundException, ServiceQuotaExceededException
from app.filters.nodes import RangeKey
from app.full_text.analyzer import Language
from app.index_modes import IndexMode
from app.limits import MAX_INDEXES_PER_VECTOR_BUCKET, MAX_VECTOR_BUCKETS_PER_ACCOUNT
from app.shapes import DistanceMetric, EncryptionConfiguration

metadata = sa.MetaData(schema="s3_vectors")

vector_buckets = sa.Table(
    "vector_buckets",
    metadata,
    sa.Column("id", sa.BigInteger, sa.Identity(always=True), primary_key=True),
    sa.Column("account_id", sa.Text),
    sa.Column("vector_bucket_name", sa.Text),
    sa.Column("creation_time", sa.DateTime(timezone=True)),
    sa.Column("deletion_time", sa.DateTime(timezone=True)),
    sa.Column("sse_type", sa.Text),
    sa.Column("kms_key_arn", sa.Text),
    sa.Column("tags", JSONB),
    sa.Column("policy", sa.Text),
    sa.Column("policy_user_ids", JSONB),
    sa.Column("schema_name", sa.Text),
    sa.Column("default_index_mode", sa.Text),
)

vector_indexes = sa.Table(
    "vector_indexes",
    metadata,
    sa.Column("id", sa.BigInteger, sa.Identity(always=True), primary_key=True),
    sa.Column("vector_bucket_id", sa.ForeignKey(vector_buckets.c.id)),
    sa.Column("index_name", sa.Text),
    sa.Column("creation_time", sa.DateTime(timezone=True)),
    sa.Column("deletion_time", sa.DateTime(timezone=True)),
    sa.Column("dimension", sa.Integer),
    sa.Column("distance_metric", sa.Text),
    sa.Column("non_filterable_metadata_keys", ARRAY(sa.Text)),
    sa.Column("sse_type", sa.Text),
    sa.Column("kms_key_arn", sa.Text),
    sa.Column("tags", JSONB),
    sa.Column("data_key", sa.LargeBinary),
    sa.Column("recall_target", sa.Double),
    sa.Column("text_search_revision", sa.BigInteger),
    sa.Column("index_mode", sa.Text),
)

hnsw_graphs = sa.Table(
    "hnsw_graphs",
    metadata,
    sa.Column("id", sa.BigInteger, sa.Identity(always=True), primary_key=True),
    sa.Column("vector_index_id", sa.ForeignKey(vector_indexes.c.id)),
    sa.Column("first_position", sa.BigInteger),
    sa.Column("end_position", sa.BigInteger),
    sa.Column("ef_construction", sa.Integer),
    sa.Column("state", sa.Text),
    sa.Column("vectors", sa.BigInteger),
    sa.Column("creation_time", sa.DateTime(timezone=True)),
    sa.Column("completion_time", sa.DateTime(timezone=True)),
    sa.Column("attempts", sa.Integer),
    sa.Column("error", sa.Text),
    sa.Column("retry_time", sa.DateTime(timezone=True)),
)

vector_codes = sa.Table(
    "vector_codes",
    metadata,
    sa.Column("id", sa.BigInteger, sa.Identity(always=True), primary_key=True),
    sa.Column("vector_index_id", sa.ForeignKey(vector_indexes.c.id)),
    sa.Column("first_position", sa.BigInteger),
    sa.Column("end_position", sa.BigInteger),
    sa.Column("codes", sa.BigInteger),
    sa.Column("codes_at_first", sa.BigInteger),
    sa.Column("thresholds", ARRAY(VECTOR)),
    sa.Column("state", sa.Text),
    sa.Column("creation_time", sa.DateTime(timezone=True)),
    sa.Column("retirement_time", sa.DateTime(timezone=True)),
)

range_indexes = sa.Table(
    "range_indexes",
    metadata,
    sa.Column("id", sa.BigInteger, sa.Identity(always=True), primary_key=True),
    sa.Column("vector_index_id", sa.ForeignKey(vector_indexes.c.id)),
    sa.Column("key", sa.Text),
    sa.Column("value_type", sa.Text),
    sa.Column("state", sa.Text),
    sa.Column("creation_time", sa.DateTime(timezone=True)),
    sa.Column("last_used_time", sa.DateTime(timezone=True)),
    sa.Column("attempts", sa.Integer),
    sa.Column("retry_time", sa.DateTime(timezone=True)),
    sa.Column("error", sa.Text),
)

text_search_configurations = sa.Table(
    "text_search_configurations",
    metadata,
    sa.Column("id", sa.BigInteger, sa.Identity(always=True), primary_key=True),
    sa.Column("vector_index_id", sa.ForeignKey(vector_indexes.c.id)),
    sa.Column("metadata_key", sa.Text),
    sa.Column("language", sa.Text),
    sa.Column("analyzer_version", sa.Integer),
    sa.Column("state", sa.Text),
    sa.Column("built_up_to", sa.Text),
    sa.Column("creation_time", sa.DateTime(timezone=True)),
    sa.Column("completion_time", sa.DateTime(timezone=True)),
    sa.Column("deletion_time", sa.DateTime(timezone=True)),
    sa.Column("attempts", sa.Integer),
    sa.Column("retry_time", sa.DateTime(timezone=True)),
    sa.Column("error", sa.Text),
)

text_statistics = sa.Table(
    "text_statistics",
    metadata,
    sa.Column("text_search_configuration_id", sa.ForeignKey(text_search_configurations.c.id)),
    sa.Column("documents", sa.BigInteger),
    sa.Column("length", sa.BigInteger),
)

page_token_keys = sa.Table("page_token_keys", metadata, sa.Column("key", sa.LargeBinary))

BUCKET_NOT_FOUND = "The specified vector bucket could not be found"
INDEX_NOT_FOUND = "The specified index could not be found"


class VectorBucket(Struct, frozen=True):
    id: int
    arn: VectorBucketArn
    creation_time: datetime
    encryption: EncryptionConfiguration
    tags: dict[str, str]
    policy: str | None
    policy_user_ids: dict[str, str]
    """The users whom the policy names, by ARN, who existed when it was put."""
    schema_name: str | None
    default_index_mode: IndexMode
    """Of indexes to come."""


class Graph(Struct, frozen=True):
    """An HNSW graph that is ready: a partial index over the vectors at `first` up to, not including, `end`."""

    id: int
    first: int
    end: int
    ef_construction: int
    vectors: int
    """When it was built."""


class Codes(Struct, frozen=True):
    """Short codes of the vectors at `first` up to, not including, `end` (`app.database.codes`)."""

    id: int
    first: int
    end: int
    planes: int
    number: int
    """Also of vectors that have gone since."""
    number_at_first: int
    """Of the vectors that gave the thresholds."""


class TextSearch(Struct, frozen=True):
    """A metadata key that is full-text searchable, or is becoming so."""

    id: int
    metadata_key: str
    language: Language | None
    active: bool
    """Whether all vectors have been indexed; every write adds to it, active or not."""


class Index(Struct, frozen=True):
    id: int
    arn: IndexArn
    creation_time: datetime
    dimension: int
    distance_metric: DistanceMetric
    non_filterable_metadata_keys: list[str] | None
    encryption: EncryptionConfiguration
    tags: dict[str, str]
    data_key: bytes | None
    """Under aws:kms: wrapped by the KMS key, it seals non-filterable metadata."""
    recall_target: float | None
    """None is the setting's."""
    index_mode: IndexMode
    graphs: tuple[Graph, ...]
    """In the order of their positions; they share none."""
    ranged_keys: frozenset[RangeKey]
    """Of the metadata, those that have a range index."""
    codes: Codes | None = None
    """A graph that is newer may hold the first of their vectors, or all."""
    text_searches: tuple[TextSearch, ...] = ()
    """In the order in which they were configured."""
    text_search_revision: int = 0


class NamePage(Struct, frozen=True):
    """Which names a listing asks for: behind the last of the page before, at most so many."""

    prefix: str
    after: str
    limit: int


async def page_token_key(connection: AsyncConnection) -> bytes:
    key: bytes = (await connection.execute(sa.select(page_token_keys.c.key))).scalar_one()
    return key


async def insert_vector_bucket(
    connection: AsyncConnection, arn: VectorBucketArn, encryption: EncryptionConfiguration, tags: dict[str, str]
) -> int:
    count = sa.select(sa.func.count()).where(_live_in(arn.account))
    if (await connection.execute(count)).scalar_one() >= MAX_VECTOR_BUCKETS_PER_ACCOUNT:
        raise ServiceQuotaExceededException("The maximum number of vector buckets for this account has been reached")
    values = {
        "account_id": arn.account.account_id,
        "vector_bucket_name": arn.vector_bucket_name,
        "tags": tags,
        **_encryption_columns(encryption),
    }
    return await _insert_new(
        connection, vector_buckets, values, "A vector bucket with the specified name already exists"
    )


async def find_vector_bucket(
    connection: AsyncConnection, arn: VectorBucketArn, *, lock: Literal["", "key share", "update"] = ""
) -> VectorBucket:
    """`lock` is "key share" (the bucket must stay while something is put into it) or "update"."""
    statement = sa.select(vector_buckets).where(
        _live_in(arn.account), vector_buckets.c.vector_bucket_name == arn.vector_bucket_name
    )
    if lock:
        statement = statement.with_for_update(key_share=lock == "key share", read=lock == "key share")
    row = (await connection.execute(statement)).one_or_none()
    if row is None:
        raise NotFoundException(BUCKET_NOT_FOUND)
    return VectorBucket(
        id=row.id,
        arn=arn,
        creation_time=row.creation_time,
        encryption=_encryption(row),
        tags=row.tags,
        policy=row.policy,
        policy_user_ids=row.policy_user_ids or {},
        schema_name=row.schema_name,
        default_index_mode=IndexMode(row.default_index_mode),
    )


async def list_vector_buckets(
    connection: AsyncConnection, account: Account, page: NamePage
) -> list[tuple[str, datetime]]:
    name = vector_buckets.c.vector_bucket_name
    statement = sa.select(name, vector_buckets.c.creation_time).where(_live_in(account))
    return await _list_names(connection, statement, name, page)


async def update_vector_bucket(connection: AsyncConnection, bucket_id: int, **values: Any) -> None:
    await connection.execute(sa.update(vector_buckets).where(vector_buckets.c.id == bucket_id).values(**values))


async def has_indexes(connection: AsyncConnection, bucket: VectorBucket) -> bool:
    found: bool = (await connection.execute(sa.select(sa.exists().where(_live_in_bucket(bucket))))).scalar_one()
    return found


async def insert_index(
    connection: AsyncConnection, bucket: VectorBucket, encryption: EncryptionConfiguration, **values: Any
) -> int:
    count = sa.select(sa.func.count()).where(_live_in_bucket(bucket))
    if (await connection.execute(count)).scalar_one() >= MAX_INDEXES_PER_VECTOR_BUCKET:
        raise ServiceQuotaExceededException("The maximum number of indexes for this vector bucket has been reached")
    values |= {"vector_bucket_id": bucket.id, **_encryption_columns(encryption)}
    return await _insert_new(connection, vector_indexes, values, "An index with the specified name already exists")


async def find_index(connection: AsyncConnection, arn: IndexArn, *, lock: bool = False) -> Index:
    """One look-up for both names."""
    statement = (
        sa.select(vector_indexes, _graphs(), _codes(), _ranged_keys(), _text_searches())
        .join(vector_buckets)
        .where(
            _live_in(arn.account),
            vector_buckets.c.vector_bucket_name == arn.bucket.vector_bucket_name,
            vector_indexes.c.index_name == arn.index_name,
            vector_indexes.c.deletion_time.is_(None),
        )
    )
    if lock:
        statement = statement.with_for_update(of=vector_indexes)
    row = (await connection.execute(statement)).one_or_none()
    if row is None:
        raise NotFoundException(INDEX_NOT_FOUND)
    return _index(row, arn)


def all_indexes() -> sa.Select[Any]:
    """Rows for `index_of_row`: of every account."""
    names = vector_buckets.c.account_id, vector_buckets.c.vector_bucket_name
    return (
        sa.select(vector_indexes, _graphs(), _codes(), _ranged_keys(), _text_searches(), *names)
        .join(vector_buckets)
        .where(vector_indexes.c.deletion_time.is_(None))
        .order_by(vector_indexes.c.id)
    )


def indexes_by_id(ids: Iterable[int]) -> sa.Select[Any]:
    """As `all_indexes`, of these."""
    return all_indexes().where(vector_indexes.c.id == sa.any_(sa.literal(sorted(ids), ARRAY(sa.BigInteger))))


def index_of_row(row: Any, region: str) -> Index:
    bucket = VectorBucketArn(Account(row.account_id, region), row.vector_bucket_name)
    return _index(row, IndexArn(bucket, row.index_name))


def _index(row: Any, arn: IndexArn) -> Index:
    return Index(
        id=row.id,
        arn=arn,
        creation_time=row.creation_time,
        dimension=row.dimension,
        distance_metric=DistanceMetric(row.distance_metric),
        non_filterable_metadata_keys=row.non_filterable_metadata_keys,
        encryption=_encryption(row),
        tags=row.tags,
        data_key=row.data_key,
        recall_target=row.recall_target,
        index_mode=IndexMode(row.index_mode),
        graphs=tuple(Graph(*graph) for graph in row.graphs),
        codes=next((Codes(*codes) for codes in row.codes), None),
        text_searches=tuple(TextSearch(*search) for search in row.text_searches),
        text_search_revision=row.text_search_revision,
        ranged_keys=frozenset(RangeKey(*of) for of in row.ranged_keys),
    )


def _graphs() -> sa.Label[Any]:
    """Arrays in the order of Graph's members."""
    c = hnsw_graphs.c
    members = sa.func.jsonb_build_array(c.id, c.first_position, c.end_position, c.ef_construction, c.vectors)
    return _array_of("graphs", aggregate_order_by(members, c.first_position), hnsw_graphs)


def _codes() -> sa.Label[Any]:
    """Arrays in the order of Codes' members, of which there is one at most."""
    c = vector_codes.c
    planes = sa.func.cardinality(c.thresholds)
    members = sa.func.jsonb_build_array(c.id, c.first_position, c.end_position, planes, c.codes, c.codes_at_first)
    return _array_of("codes", members, vector_codes)


def _ranged_keys() -> sa.Label[Any]:
    """Arrays in the order of RangeKey's members."""
    of = sa.func.jsonb_build_array(range_indexes.c.key, range_indexes.c.value_type)
    return _array_of("ranged_keys", of, range_indexes)


def _text_searches() -> sa.Label[Any]:
    """Arrays in the order of TextSearch's members."""
    c = text_search_configurations.c
    members = sa.func.jsonb_build_array(c.id, c.metadata_key, c.language, c.state == "active")
    in_order = aggregate_order_by(members, c.id)
    return _array_of("text_searches", in_order, text_search_configurations, c.state != "deleted")


def _array_of(
    name: str, element: Any, of_index: sa.Table, condition: sa.ColumnElement[bool] | None = None
) -> sa.Label[Any]:
    """A JSON array of what is ready for an index, or what else fulfils a condition, in the row of the index."""
    array = sa.func.coalesce(sa.func.jsonb_agg(element, type_=JSONB), sa.literal_column("'[]'::jsonb"))
    chosen = of_index.c.state == "ready" if condition is None else condition
    of_this = sa.select(array).where(of_index.c.vector_index_id == vector_indexes.c.id, chosen)
    return of_this.correlate(vector_indexes).scalar_subquery().label(name)


async def list_indexes(connection: AsyncConnection, bucket: VectorBucket, page: NamePage) -> list[tuple[str, datetime]]:
    name = vector_indexes.c.index_name
    statement = sa.select(name, vector_indexes.c.creation_time).where(_live_in_bucket(bucket))
    return await _list_names(connection, statement, name, page)


async def update_index(connection: AsyncConnection, index_id: int, **values: Any) -> None:
    await connection.execute(sa.update(vector_indexes).where(vector_indexes.c.id == index_id).values(**values))


async def _list_names(
    connection: AsyncConnection, statement: sa.Select[Any], name: sa.ColumnElement[str], page: NamePage
) -> list[tuple[str, datetime]]:
    """A prefix is plain text, which LIKE would not take it for."""
    chosen = statement.where(name > page.after, sa.func.starts_with(name, page.prefix)).order_by(name).limit(page.limit)
    return [(row[0], row[1]) for row in await connection.execute(chosen)]


async def _insert_new(connection: AsyncConnection, table: sa.Table, values: dict[str, Any], conflict: str) -> int:
    """Of racing creates exactly one inserts: the others wait for it and get no row."""
    statement = sa.dialects.postgresql.insert(table).values(values).on_conflict_do_nothing().returning(table.c.id)
    new_id: int | None = (await connection.execute(statement)).scalar_one_or_none()
    if new_id is None:
        raise ConflictException(conflict)
    return new_id


def _live_in(account: Account) -> sa.ColumnElement[bool]:
    return sa.and_(vector_buckets.c.account_id == account.account_id, vector_buckets.c.deletion_time.is_(None))


def _live_in_bucket(bucket: VectorBucket) -> sa.ColumnElement[bool]:
    return sa.and_(vector_indexes.c.vector_bucket_id == bucket.id, vector_indexes.c.deletion_time.is_(None))


def _encryption_columns(encryption: EncryptionConfiguration) -> dict[str, str | None]:
    return {"sse_type": encryption.sse_type, "kms_key_arn": encryption.kms_key_arn}


def _encryption(row: Any) -> EncryptionConfiguration:
    return EncryptionConfiguration(sse_type=row.sse_type, kms_key_arn=row.kms_key_arn)
