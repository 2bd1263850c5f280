"""`pgs3vectors status`: what an account has, bucket by bucket."""

from typing import Annotated, Any

from cyclopts import Parameter

from app.arns import Account
from app.cli.connection import opened_catalog
from app.cli.iam.owners import OfAccount, account_of
from app.cli.index.status import Report, show_parts, size
from app.cli.output import CommandError, Json, Row, show_one, write_json
from app.database.advisory_locks import is_locked
from app.database.graph_building import LOCK
from app.database.index_status import BucketRow, IndexStatus, buckets_of, database_bytes, indexes_of, status_of

Bucket = Annotated[str | None, Parameter(name="--bucket", help="Only this one.")]


async def status(bucket: Bucket = None, *, account: OfAccount = None, json: Json = False) -> None:
    """Show buckets and indexes: how much they hold, and how their graphs stand.

    Numbers of vectors are estimates; `index status` counts those of one index.
    """
    async with opened_catalog() as catalog:
        async with catalog.database.transaction() as transaction:
            home = Account((await account_of(transaction, catalog, account)).account_id, catalog.settings.region)
        async with catalog.database.connection() as connection:
            buckets = [b for b in await buckets_of(connection, home) if bucket in {None, b.vector_bucket_name}]
            if bucket and not buckets:
                raise CommandError(f"There is no bucket {bucket} in account {home.account_id}.")
            names = {b.vector_bucket_name for b in buckets}
            indexes = [i for i in await indexes_of(connection, home) if i.arn.bucket.vector_bucket_name in names]
            statuses = await status_of(connection, indexes, exactly=False)
            is_built = await is_locked(connection, LOCK)
            bytes_ = await database_bytes(connection)
    report = Report(catalog.settings.recall_target, is_built=is_built, is_counted=False)
    contents = {
        b: [s for s in statuses if s.index.arn.bucket.vector_bucket_name == b.vector_bucket_name] for b in buckets
    }
    if json:
        write_json(document(report, home, bytes_, contents))
        return
    show_one(summary(report, home, bytes_, contents), json=False)
    show_parts("Buckets", [bucket_row(b, held) for b, held in contents.items()])
    show_parts("Indexes", [index_row(report, status) for held in contents.values() for status in held])


Contents = dict[BucketRow, list[IndexStatus]]


def summary(report: Report, home: Account, database_bytes: int, contents: Contents) -> Row:
    statuses = [status for held in contents.values() for status in held]
    return {
        "account": home.account_id,
        "buckets": len(contents),
        "indexes": len(statuses),
        "estimated_vectors": vectors_in(statuses),
        "server": "running" if report.is_built else "none is running on this database",
        "database": f"{size(database_bytes)}, of all accounts",
    }


def bucket_row(bucket: BucketRow, statuses: list[IndexStatus]) -> Row:
    return {
        "bucket": bucket.vector_bucket_name,
        "indexes": len(statuses),
        "estimated_vectors": vectors_in(statuses),
        "tables": size(sum(status.table_bytes for status in statuses)),
        "graphs": size(sum(status.graph_bytes for status in statuses)),
        "index_mode": bucket.default_index_mode,
        "encryption": bucket.sse_type,
        "policy": "yes" if bucket.has_policy else "no",
    }


def index_row(report: Report, status: IndexStatus) -> Row:
    index, row = status.index, report.row(status)
    kind = {"dimension": index.dimension, "distance_metric": index.distance_metric.value}
    kept = ("estimated_vectors", "tail", "graph_state", "table", "graphs")
    return {"index": row["index"], **kind, **{name: row[name] for name in kept}, "index_mode": index.index_mode.value}


def document(report: Report, home: Account, database_bytes: int, contents: Contents) -> dict[str, Any]:
    return {
        "account": home.account_id,
        "server_is_running": report.is_built,
        "database_bytes": database_bytes,
        "buckets": [
            {
                "bucket": bucket.vector_bucket_name,
                "default_index_mode": bucket.default_index_mode,
                "encryption": bucket.sse_type,
                "has_policy": bucket.has_policy,
                "indexes": [index_document(report, status) for status in statuses],
            }
            for bucket, statuses in contents.items()
        ],
    }


def index_document(report: Report, status: IndexStatus) -> dict[str, Any]:
    index = status.index
    kind = {"dimension": index.dimension, "distance_metric": index.distance_metric, "index_mode": index.index_mode}
    return report.document(status) | kind


def vectors_in(statuses: list[IndexStatus]) -> int:
    return sum(status.vectors for status in statuses)
