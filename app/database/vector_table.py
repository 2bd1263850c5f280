"""One table per index.

    CREATE TABLE vectors.index_42 (
        key                     text COLLATE "C" PRIMARY KEY,
        embedding               vector(384) NOT NULL,
        metadata                jsonb NOT NULL,      -- filterable keys
        non_filterable_metadata jsonb NOT NULL       -- never indexed
    ) WITH (toast_tuple_target = 3584);
    CREATE INDEX hnsw_42 ON vectors.index_42 USING hnsw (embedding vector_cosine_ops)
        WITH (m = 16, ef_construction = 200);
    CREATE INDEX gin_42 ON vectors.index_42 USING gin (metadata jsonb_path_ops) WITH (fastupdate = off);
    CREATE INDEX segment_42 ON vectors.index_42 (hashtextextended(key, 0), key);

Under aws:kms, non_filterable_metadata is bytea: sealed by `app.record_cipher`.

Names come from the id, which a sequence gives once: text of users never becomes an identifier, and no pooled connection
meets another table under a name that it has prepared.
"""

from collections.abc import Sequence
from functools import lru_cache
from typing import Any

import sqlalchemy as sa
from msgspec import UNSET, Raw, Struct
from pgvector import Vector
from pgvector.sqlalchemy import HALFVEC, VECTOR
from sqlalchemy.dialects.postgresql import ARRAY, JSONB
from sqlalchemy.dialects.postgresql import insert as upsert_into
from sqlalchemy.ext.asyncio import AsyncConnection
from sqlalchemy.schema import CreateIndex, CreateTable
from sqlalchemy.types import NullType

from app.database.catalog import Index
from app.database.ddl import ddl
from app.record_cipher import RecordCipher
from app.shapes import DistanceMetric, OutputVector

# pgvector indexes up to 2,000 dimensions of vector and 4,000 of halfvec; the API allows 4,096.
MAX_VECTOR_DIMENSION = 2_000
MAX_HALFVEC_DIMENSION = 4_000
HALFVEC_MAX = 65_504

# A row whose embedding leaves room for a key of 1,024 bytes and two TOAST pointers keeps it inside the page.
MAX_PLAIN_DIMENSION = 1_764
MAX_TUPLE_TARGET = 8_160

HNSW_BUILD = {"m": 16, "ef_construction": 200}


# Parameters that psycopg adapts by itself, in binary.
_PASSED = NullType()


class StoredVector(Struct, frozen=True):
    """What a write stores: JSON as text, so that PostgreSQL is the only one to build it again; or sealed."""

    key: str
    embedding: Vector
    metadata: str
    non_filterable_metadata: str | bytes


class Returned(Struct, frozen=True):
    data: bool
    metadata: bool


@lru_cache(maxsize=1024)
def vector_table(index_id: int, dimension: int, metric: DistanceMetric, *, sealed: bool) -> sa.Table:
    """Kept, because SQLAlchemy's cache of compiled statements goes by the identity of the table."""
    table = sa.Table(
        f"index_{index_id}",
        sa.MetaData(schema="vectors"),
        sa.Column("key", sa.Text(collation="C"), primary_key=True),
        sa.Column("embedding", VECTOR(dimension), nullable=False),
        sa.Column("metadata", JSONB, nullable=False),
        sa.Column("non_filterable_metadata", sa.LargeBinary if sealed else JSONB, nullable=False),
        # Filterable metadata stays beside the embedding, long text goes to TOAST: exact search does not read it.
        postgresql_with={"toast_tuple_target": min(MAX_TUPLE_TARGET, 4 * dimension + 2_048)},
    )
    kind = "vector" if dimension <= MAX_VECTOR_DIMENSION else "halfvec"
    sa.Index(
        f"hnsw_{index_id}",
        operand(table.c.embedding, dimension, metric).label("operand"),
        postgresql_using="hnsw",
        postgresql_ops={"operand": f"{kind}_{'cosine' if metric is DistanceMetric.COSINE else 'l2'}_ops"},
        postgresql_with=HNSW_BUILD,
        postgresql_where=indexed_rows(table, dimension, metric),
    )
    sa.Index(
        f"gin_{index_id}",
        table.c.metadata,
        postgresql_using="gin",
        postgresql_ops={"metadata": "jsonb_path_ops"},
        # Every scan walks the pending list once per value: 2.5 s for 1,024 values before the first VACUUM.
        postgresql_with={"fastupdate": "off"},
    )
    sa.Index(f"segment_{index_id}", hash_of(table), table.c.key)
    return table


def table_of(index: Index) -> sa.Table:
    return vector_table(index.id, index.dimension, index.distance_metric, sealed=index.data_key is not None)


def hash_of(table: sa.Table) -> sa.ColumnElement[int]:
    return sa.func.hashtextextended(table.c.key, sa.literal_column("0"), type_=sa.BigInteger)


def operand(embedding: Any, dimension: int, metric: DistanceMetric) -> sa.ColumnElement[Any]:
    """What HNSW sees of an embedding, the same for a column and for a query.

    halfvec ends at 65,504: the cosine is the same for unit vectors, which always fit.
    """
    if dimension <= MAX_VECTOR_DIMENSION:
        return embedding  # type: ignore[no-any-return]
    if metric is DistanceMetric.COSINE:
        embedding = sa.func.l2_normalize(embedding)
    if dimension > MAX_HALFVEC_DIMENSION:
        # Text, because sa.Index takes the first literal column for the one whose table it belongs to.
        first, length = sa.text("1"), sa.text(str(MAX_HALFVEC_DIMENSION))
        embedding = sa.func.subvector(embedding, first, length)
    return sa.cast(embedding, HALFVEC(min(dimension, MAX_HALFVEC_DIMENSION)))


def indexed_rows(table: sa.Table, dimension: int, metric: DistanceMetric) -> sa.ColumnElement[bool] | None:
    """The rows that HNSW holds: None is all; euclidean halfvec leaves out what might not fit."""
    if dimension <= MAX_VECTOR_DIMENSION or metric is DistanceMetric.COSINE:
        return None
    return sa.func.vector_norm(table.c.embedding) <= sa.literal_column(str(HALFVEC_MAX))


async def create_vector_table(connection: AsyncConnection, index: Index) -> None:
    """Raises nothing of its own; the table appears with the commit, or not at all."""
    table = table_of(index)
    await connection.execute(CreateTable(table))
    await connection.execute(_storage(index.dimension).against(table))
    await connection.execute(_STATISTICS.against(table))
    for table_index in sorted(table.indexes, key=lambda i: str(i.name)):
        await connection.execute(CreateIndex(table_index))
    # An ARN has been matched against its pattern: letters, digits, and no quote.
    comment = ddl("COMMENT ON TABLE %(fullname)s IS '%(arn)s'", arn=index.arn)
    await connection.execute(comment.against(table))


def _storage(dimension: int) -> sa.DDL:
    """PLAIN embeddings are never detoasted; those that do not fit a page must go out of line."""
    storage = "PLAIN" if dimension <= MAX_PLAIN_DIMENSION else "EXTERNAL"
    return ddl("ALTER TABLE %(fullname)s ALTER COLUMN embedding SET STORAGE %(storage)s", storage=storage)


# The planner estimates filters by the commonest values; with 1,000 of them it was within twice the truth.
_STATISTICS = ddl("ALTER TABLE %(fullname)s ALTER COLUMN metadata SET STATISTICS 1000")


async def upsert(connection: AsyncConnection, index: Index, vectors: Sequence[StoredVector]) -> None:
    """Replaces whole records; the caller hands every key once and sorted, so that batches lock in one order."""
    columns = {name: [getattr(v, name) for v in vectors] for name in StoredVector.__struct_fields__}
    await connection.execute(_upsert_statement(table_of(index)), columns)


def _upsert_statement(table: sa.Table) -> sa.Executable:
    """One array a column: the statement has four parameters however many vectors come, and is prepared once."""
    name = "non_filterable_metadata"
    rows = (
        sa.func.unnest(
            sa.cast(sa.bindparam("key", type_=_PASSED), ARRAY(sa.Text)),
            sa.cast(sa.bindparam("embedding", type_=_PASSED), ARRAY(VECTOR)),
            _json_array("metadata"),
            _sealed_array(name) if is_sealed(table) else _json_array(name),
        )
        .table_valued("key", "embedding", "metadata", "non_filterable_metadata", name="new")
        .render_derived()
    )
    new = upsert_into(table).from_select([c.name for c in table.c], sa.select(*rows.c))
    replaced = {c.name: new.excluded[c.name] for c in table.c if not c.primary_key}
    return new.on_conflict_do_update(index_elements=[table.c.key], set_=replaced)


def _json_array(name: str) -> sa.ColumnElement[Any]:
    return sa.cast(sa.cast(sa.bindparam(name, type_=_PASSED), ARRAY(sa.Text)), ARRAY(JSONB))


def _sealed_array(name: str) -> sa.ColumnElement[Any]:
    return sa.cast(sa.bindparam(name, type_=_PASSED), ARRAY(sa.LargeBinary))


async def delete(connection: AsyncConnection, index: Index, keys: Sequence[str]) -> None:
    """Locks in the order of keys before it deletes, as upsert does: batches never wait for each other in a circle."""
    table = table_of(index)
    locked = (
        sa.select(table.c.key).where(table.c.key == sa.func.any(_keys(keys))).order_by(table.c.key).with_for_update()
    ).cte("locked")
    await connection.execute(sa.delete(table).where(table.c.key.in_(sa.select(locked.c.key))))


async def get(connection: AsyncConnection, index: Index, keys: Sequence[str], returned: Returned) -> list[Any]:
    """Rows for `output_vector`."""
    table = table_of(index)
    statement = sa.select(*_columns(table, returned)).where(table.c.key == sa.func.any(_keys(keys)))
    return list(await connection.execute(statement))


def _keys(keys: Sequence[str]) -> sa.ColumnElement[Any]:
    return sa.cast(sa.bindparam("keys", list(keys), type_=_PASSED, unique=True), ARRAY(sa.Text))


def _columns(table: sa.Table, returned: Returned) -> list[sa.ColumnElement[Any]]:
    columns: list[sa.ColumnElement[Any]] = [table.c.key]
    if returned.data:
        columns.append(data_text(table).label("data"))
    if returned.metadata:
        columns += metadata_columns(table)
    return columns


def data_text(rows: sa.FromClause) -> sa.ColumnElement[str]:
    """PostgreSQL's own text of a vector is JSON already and goes out untouched."""
    return sa.cast(rows.c.embedding, sa.Text)


def is_sealed(rows: sa.FromClause) -> bool:
    """Whether non-filterable metadata is encrypted, as it is under aws:kms."""
    return isinstance(rows.c.non_filterable_metadata.type, sa.LargeBinary)


def metadata_columns(
    rows: sa.FromClause, only_where: sa.ColumnElement[bool] | None = None
) -> list[sa.ColumnElement[Any]]:
    """For `metadata_of`: all of it as JSON text, or the filterable part and what is sealed of the other."""
    sealed = rows.c.non_filterable_metadata
    text = rows.c.metadata if is_sealed(rows) else rows.c.metadata.op("||")(sealed)
    columns = {"metadata": sa.cast(text, sa.Text), **({"sealed": sealed} if is_sealed(rows) else {})}
    if only_where is not None:
        columns = {name: sa.case((only_where, column)) for name, column in columns.items()}
    return [column.label(name) for name, column in columns.items()]


def metadata_bytes(rows: sa.FromClause) -> sa.ColumnElement[int]:
    lengths = [sa.func.octet_length(column.element) for column in metadata_columns(rows)]
    return sum(lengths[1:], start=lengths[0])


def output_vector(row: Any, cipher: RecordCipher | None) -> OutputVector:
    """`cipher` is that of an index whose non-filterable metadata is sealed."""
    fields = row._mapping  # noqa: SLF001 - SQLAlchemy's public name for it
    return OutputVector(
        key=row.key,
        data=_vector_data(row.data) if "data" in fields else UNSET,
        metadata=metadata_of(row, cipher) if "metadata" in fields else UNSET,
    )


def metadata_of(row: Any, cipher: RecordCipher | None) -> Raw:
    text = row.metadata if cipher is None else _joined(row.metadata, cipher.unseal(row.key, row.sealed))
    return Raw(text.encode())


def _joined(first: str, second: str) -> str:
    """One JSON object of two that have no key in common."""
    if "{}" in (first, second):
        return second if first == "{}" else first
    return f"{first[:-1]}, {second[1:]}"


def _vector_data(text: str) -> Raw:
    """JSON readers take -0 for the integer 0, which has no sign."""
    return Raw(f'{{"float32":{text.replace("-0,", "-0.0,").replace("-0]", "-0.0]")}}}'.encode())
