"""`bench text`: full-text and hybrid search, what it costs and how good it is."""

from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Annotated, Literal, get_args

from cyclopts import Parameter

from scripts.benchmarks.datasets import SAMPLE_QUERIES, SAMPLE_ROWS, Dataset, InvalidDataset, Metric, read_dataset
from scripts.benchmarks.execution import Scenario, execute
from scripts.benchmarks.run import Options
from scripts.benchmarks.scenarios.backfill import backfill
from scripts.benchmarks.scenarios.bm25 import bm25
from scripts.benchmarks.scenarios.hybrid import hybrid
from scripts.benchmarks.scenarios.relevance import relevance
from scripts.benchmarks.scenarios.searchable_puts import searchable_puts
from scripts.benchmarks.scenarios.text_scores import text_scores
from scripts.benchmarks.searchable import KEY
from scripts.testbed.progress import Steps

# In the order in which they run: `backfill` makes the index searchable that the next four ask.
Name = Literal["backfill", "bm25", "hybrid", "scores", "relevance", "puts"]


@Parameter(name="*")
@dataclass(frozen=True, kw_only=True)
class TextOptions(Options):
    only: Annotated[
        tuple[Name, ...],
        Parameter(help="These scenarios, in their own order; without it, all.", consume_multiple=True, negative=""),
    ] = ()
    dataset: Annotated[
        Path | None,
        Parameter(help="Parquet with the columns key, vector, and metadata as JSON text, with `text` in it."),
    ] = None
    queries: Annotated[Path | None, Parameter(help="Parquet with the columns vector and text, with --dataset.")] = None
    metric: Annotated[Metric, Parameter(help="By which vectors are searched.")] = "cosine"
    put_rows: Annotated[int, Parameter(help="How many vectors `puts` writes each time.")] = 5_000


def text(options: TextOptions = TextOptions()) -> None:
    """Measure full-text and hybrid search; without a data set, on the demo's sample."""
    scenarios: dict[Name, Scenario] = {
        "backfill": backfill,
        "bm25": bm25,
        "hybrid": hybrid,
        "scores": text_scores,
        "relevance": relevance,
        "puts": partial(searchable_puts, rows=options.put_rows),
    }
    chosen = options.only or get_args(Name)
    execute(options, partial(_dataset, options), [(name, scenarios[name]) for name in scenarios if name in chosen])


def _dataset(options: TextOptions, _: Path, __: Steps) -> Dataset:
    if (options.dataset is None) != (options.queries is None):
        raise InvalidDataset("--dataset and --queries go together.")
    queries = options.queries or SAMPLE_QUERIES
    dataset = read_dataset(options.dataset or SAMPLE_ROWS, queries, options.metric)
    if not dataset.query_texts:
        raise InvalidDataset(f"{queries} has no column text.")
    if not any(KEY in metadata for metadata in dataset.metadata):
        raise InvalidDataset(f"No metadata of {dataset.name} has {KEY}.")
    return dataset
