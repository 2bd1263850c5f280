"""A key of an index that is full becomes searchable: how long it takes, and what it takes on disk."""

from scripts.benchmarks.run import Run
from scripts.benchmarks.searchable import make_searchable
from scripts.benchmarks.sizes import report_sizes
from scripts.testbed.processes import MIB


def backfill(run: Run) -> None:
    index = run.index
    seconds = make_searchable(run, index)
    run.figure("backfill", seconds, "s", note=f"{len(index.dataset) / seconds:,.0f} texts/s")
    row = run.connection.execute(_SEARCH, [int(index.table.rpartition("_")[2])]).fetchone()
    assert row is not None  # noqa: S101 - it has just been added
    for what, table in (("documents", f"vectors.text_{row[0]}"), ("postings", f"vectors.postings_{row[0]}")):
        sizes = run.connection.execute(_SIZES, {"table": table}).fetchone()
        assert sizes is not None  # noqa: S101 - it has no FROM
        run.figure(f"{what}: table", sizes[0] / MIB, "MiB", note=f"{sizes[2]:,} rows")
        run.figure(f"{what}: index", sizes[1] / MIB, "MiB")
    report_sizes(run, index, "vectors: ")


_SEARCH = "SELECT max(id) FROM s3_vectors.text_search_configurations WHERE vector_index_id = %s"
_SIZES = """
SELECT pg_table_size(%(table)s::regclass), pg_indexes_size(%(table)s::regclass),
    (SELECT reltuples::bigint FROM pg_class WHERE oid = %(table)s::regclass)
"""
