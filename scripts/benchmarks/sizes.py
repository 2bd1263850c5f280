"""What an index takes on disk."""

from scripts.benchmarks.run import Run
from scripts.benchmarks.vector_index import VectorIndex
from scripts.testbed.processes import MIB


def report_sizes(run: Run, index: VectorIndex, what: str = "") -> None:
    row = run.connection.execute(_SIZES, {"table": index.table}).fetchone()
    assert row is not None  # noqa: S101 - it has no FROM
    hnsw, indexes, table = (float(size) / MIB for size in row)
    run.figure(f"{what}HNSW size", hnsw, "MiB")
    run.figure(f"{what}other indexes", indexes - hnsw, "MiB")
    run.figure(f"{what}table size", table, "MiB")


_SIZES = """
SELECT (SELECT coalesce(sum(pg_relation_size(indexrelid)), 0)
        FROM pg_index JOIN pg_class ON pg_class.oid = indexrelid JOIN pg_am ON pg_am.oid = relam
        WHERE indrelid = %(table)s::regclass AND amname = 'hnsw'),
    pg_indexes_size(%(table)s::regclass), pg_table_size(%(table)s::regclass)
"""
