"""`pgs3vectors import`, from its start to its end, against what an expert would do by hand with the same rows.

By hand: COPY of binary rows that lie ready in memory into a table without any index, and CREATE INDEX of the same HNSW
graph, without CONCURRENTLY.  Neither reading Parquet nor checking anything is counted there, nor are the other indexes
of the server's table.
"""

import subprocess
import sys
import time
from pathlib import Path
from statistics import median

from msgspec import Struct

from scripts.benchmarks.run import Run
from scripts.benchmarks.sizes import report_sizes
from scripts.benchmarks.targets import IMPORT_TO_RAW, NONE_AT_ALL
from scripts.benchmarks.vector_index import BUCKET, VectorIndex
from scripts.testbed.errors import ScriptError
from scripts.testbed.server import ROOT, environment

SYNTHETIC = "synthetic.parquet"
COLUMNS = "key, embedding, metadata, non_filterable_metadata"


class ImportFailed(ScriptError):
    """In the words of the command."""


class Raw(Struct, frozen=True):
    copied: float
    indexed: float

    @property
    def seconds(self) -> float:
        return self.copied + self.indexed


def importing(run: Run, *, file: Path | None) -> None:
    source = file or run.deployment.folder / SYNTHETIC
    first = _imported(run, source, "import-0")
    rows, definition = _binary_rows(run, first), _graph_definition(run, first)
    rounds = []
    for round_ in range(1, run.options.rounds + 1):
        raw = _by_hand(run, first, rows, definition)
        started = time.perf_counter()
        index = _imported(run, source, f"import-{round_}")
        rounds.append((raw, time.perf_counter() - started))
        _report_lost(run, index, round_)
    seconds = median(imported for _, imported in rounds)
    run.figure("COPY by hand", median(raw.copied for raw, _ in rounds), "s")
    run.figure("CREATE INDEX by hand", median(raw.indexed for raw, _ in rounds), "s")
    run.figure("import, graph and all", seconds, "s", note=f"{len(run.dataset) / seconds:,.0f} vectors/s")
    ratios = [imported / raw.seconds for raw, imported in rounds]
    note = ", ".join(f"{ratio:.2f}" for ratio in ratios)
    run.figure("import to COPY and CREATE INDEX", median(ratios), "x", IMPORT_TO_RAW, note=note)
    report_sizes(run, first)


def _imported(run: Run, file: Path, name: str) -> VectorIndex:
    """By the command as people give it, with the interpreter's start, beside the server."""
    deployment = run.deployment
    settings = deployment.credentials.settings | {
        "DATABASE_URL": deployment.database_url,
        "DATA_DIR": str(deployment.folder / "import"),
    }
    command = [sys.executable, "-m", "app.cli", "import", str(file), f"{BUCKET}/{name}", "--json"]
    command += ["--distance-metric", run.dataset.metric, "--non-filterable", *run.options.non_filterable]
    with run.steps.step(f"importing {len(run.dataset):,} vectors"):
        done = subprocess.run(  # noqa: S603 - our own command
            command, env=environment(settings), cwd=ROOT, capture_output=True, text=True, check=False
        )
    if done.returncode:
        raise ImportFailed(done.stderr.strip())
    row = run.connection.execute("SELECT id FROM s3_vectors.vector_indexes WHERE index_name = %s", [name]).fetchone()
    assert row is not None  # noqa: S101 - it has just been made
    return VectorIndex(deployment.server.api, name, run.dataset, f"vectors.index_{row[0]}")


def _binary_rows(run: Run, index: VectorIndex) -> list[bytes]:
    """What COPY sends, as PostgreSQL itself writes it."""
    statement = f"COPY (SELECT {COLUMNS} FROM {index.table}) TO STDOUT (FORMAT BINARY)"  # noqa: S608
    with run.connection.cursor() as cursor, cursor.copy(statement) as copy:
        return [bytes(piece) for piece in copy]


def _graph_definition(run: Run, index: VectorIndex) -> str | None:
    """Of the graph that the import has built, over the whole of another table; None where it needed none."""
    row = run.connection.execute(_GRAPH, [index.table]).fetchone()
    if row is None:
        return None
    return str(row[0]).replace(row[1], "by_hand_hnsw", 1).replace(index.table, "by_hand", 1).partition(" WHERE ")[0]


_GRAPH = """
SELECT pg_get_indexdef(indexrelid), relname
FROM pg_index JOIN pg_class ON pg_class.oid = indexrelid JOIN pg_am ON pg_am.oid = relam
WHERE indrelid = %s::regclass AND amname = 'hnsw' AND indisvalid
"""


def _by_hand(run: Run, like: VectorIndex, rows: list[bytes], definition: str | None) -> Raw:
    connection = run.connection
    connection.execute("DROP TABLE IF EXISTS by_hand")
    connection.execute(f"CREATE TABLE by_hand (LIKE {like.table} INCLUDING STORAGE)")
    connection.execute("ALTER TABLE by_hand DROP COLUMN position")
    connection.execute("CHECKPOINT")
    with run.steps.step("COPY and CREATE INDEX by hand"):
        started = time.perf_counter()
        with connection.cursor() as cursor, cursor.copy(f"COPY by_hand ({COLUMNS}) FROM STDIN (FORMAT BINARY)") as copy:
            for piece in rows:
                copy.write(piece)
        copied = time.perf_counter()
        if definition is not None:
            connection.execute(definition)
        return Raw(copied - started, time.perf_counter() - copied)


def _report_lost(run: Run, index: VectorIndex, round_: int) -> None:
    row = run.connection.execute(f"SELECT count(*) FROM {index.table}").fetchone()  # noqa: S608
    assert row is not None  # noqa: S101 - it counts
    lost = len(run.dataset) - row[0]
    run.figure(f"round {round_}: vectors that are not in the index", lost, "vectors", NONE_AT_ALL)
