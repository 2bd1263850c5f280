"""`bench import`: a Parquet file into an index by the command line, beside COPY and CREATE INDEX by hand."""

import json
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Annotated

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from cyclopts import Parameter

from scripts.benchmarks.datasets import Dataset, Metric, read_dataset
from scripts.benchmarks.execution import execute
from scripts.benchmarks.run import Options
from scripts.benchmarks.scenarios.importing import SYNTHETIC, importing
from scripts.benchmarks.synthetic import synthetic_dataset
from scripts.testbed.progress import Steps


@Parameter(name="*")
@dataclass(frozen=True, kw_only=True)
class ImportOptions(Options):
    dataset: Annotated[
        Path | None, Parameter(help="Parquet with the columns key, vector, and metadata as JSON text.")
    ] = None
    rows: Annotated[int, Parameter(help="How many synthetic vectors there are without a data set.")] = 63_666
    dimension: Annotated[int, Parameter(help="Of synthetic vectors.")] = 384
    metric: Annotated[Metric, Parameter(help="Of the index.")] = "cosine"
    rounds: Annotated[int, Parameter(help="How often both ways alternate.")] = 3


def import_(options: ImportOptions = ImportOptions()) -> None:
    """Measure a bulk import, its graph built, against raw COPY and CREATE INDEX of the same vectors."""
    execute(options, partial(_dataset, options), [("import", partial(importing, file=options.dataset))])


def _dataset(options: ImportOptions, folder: Path, steps: Steps) -> Dataset:
    if options.dataset is not None:
        return read_dataset(options.dataset, options.dataset, options.metric)
    dataset = synthetic_dataset(
        options.rows, options.dimension, options.metric, seed=options.seed, folder=folder, steps=steps
    )
    _write(dataset, folder / SYNTHETIC)
    return dataset


def _write(dataset: Dataset, file: Path) -> None:
    """In half floats, as embeddings often come."""
    numbers = pa.array(np.asarray(dataset.vectors, np.float16).ravel())
    columns = {
        "key": pa.array(dataset.keys),
        "vector": pa.FixedSizeListArray.from_arrays(numbers, dataset.dimension),
        "metadata": pa.array([json.dumps(document) for document in dataset.metadata]),
    }
    pq.write_table(pa.table(columns), file)
