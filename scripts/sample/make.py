"""Make the sample beside this file: `make.py debian-packages.parquet debian-packages-queries.parquet`."""

import json
from pathlib import Path

import cyclopts
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from numpy.typing import NDArray

HERE = Path(__file__).parent
ROWS = 2000
NEAREST = 80
SEED = 20250715
QUERIES = (
    "A library for efficient similarity search and clustering of dense vectors.",
    "A pure-python PDF library capable of splitting, merging, cropping, and transforming PDF files",
    "Behaviour-Driven-Development tool for Python",
    "Bindings to the Linux input handling subsystem",
    "Converts the output of popular command-line tools and file-types to JSON.",
    "Fish, Bash, Zsh and PowerShell completion for Click",
    "Import, export, process, analyze and view triangular meshes.",
    "Let your Python tests travel through time",
    "PostgreSQL Languages AST and statements prettifier",
    "Python functions and decorators for various backoff/retry strategies",
    "Source Code Spelling Correction",
    "read and write audio tags for many formats",
)


def main(packages: Path, queries: Path) -> None:
    asked = pq.read_table(queries)
    asked = asked.take(pc.index_in(pa.array(QUERIES), asked["text"]))  # one row each, though texts repeat
    known = pq.read_table(packages)
    sample = known.take(chosen(matrix(asked), matrix(known)))
    sample = sample.set_column(2, "metadata", [[clean(text) for text in sample["metadata"].to_pylist()]])
    write(sample, "debian-packages.parquet")
    write(asked, "queries.parquet")


def chosen(asked: NDArray[np.float32], known: NDArray[np.float32]) -> NDArray[np.intp]:
    """The nearest rows of each query, filled up with random ones, in the order of the source."""
    near = np.unique(np.argsort(-asked @ known.T)[:, :NEAREST])
    others = np.setdiff1d(np.arange(len(known)), near)
    filling = np.random.default_rng(SEED).choice(others, ROWS - len(near), replace=False)
    return np.sort(np.concatenate([near, filling]))


def matrix(table: pa.Table) -> NDArray[np.float32]:
    vectors = table["vector"].combine_chunks().flatten().to_numpy()
    return vectors.reshape(len(table), -1).astype(np.float32)  # type: ignore[no-any-return]


def clean(metadata: str) -> str:
    """Drop what the API refuses (null and empty lists) and what says nothing (empty strings)."""
    entries = json.loads(metadata).items()
    return json.dumps({key: value for key, value in entries if value not in (None, [], "")}, ensure_ascii=False)


def write(table: pa.Table, name: str) -> None:
    pq.write_table(table, HERE / name, compression="zstd", compression_level=19)


if __name__ == "__main__":
    cyclopts.run(main)
