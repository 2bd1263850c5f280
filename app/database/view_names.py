"""Under which name people find a bucket or an index in SQL."""

import psycopg
from msgspec import Struct

from app.arns import IndexArn, VectorBucketArn
from app.errors import NotFoundException


class ViewName(Struct, frozen=True):
    schema: str
    view: str | None = None
    """None for all of the schema."""

    @property
    def quoted(self) -> str:
        return ".".join(f'"{part}"' for part in (self.schema, self.view) if part)


def find_view(connection: psycopg.Connection, arn: VectorBucketArn | IndexArn) -> ViewName:
    """Its table, where it has no view; raises NotFoundException."""
    bucket, index = (arn.bucket, arn.index_name) if isinstance(arn, IndexArn) else (arn, None)
    found = connection.execute(_FIND, [index, arn.account.account_id, bucket.vector_bucket_name]).fetchone()
    if found is None or (index and found[1] is None):
        raise NotFoundException
    schema, table = found
    if schema is None:
        return ViewName("vectors", table)
    return ViewName(schema, index)


_FIND = """
SELECT schema_name, 'index_' || vector_indexes.id
FROM s3_vectors.vector_buckets LEFT JOIN s3_vectors.vector_indexes
    ON vector_bucket_id = vector_buckets.id AND index_name = %s AND vector_indexes.deletion_time IS NULL
WHERE account_id = %s AND vector_bucket_name = %s AND vector_buckets.deletion_time IS NULL
"""
