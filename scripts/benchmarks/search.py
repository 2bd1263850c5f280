"""`bench` and `bench search`: writes and searches through the API, held against the targets."""

from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Annotated, Literal, get_args

from cyclopts import Parameter

from scripts.benchmarks.datasets import SAMPLE_QUERIES, SAMPLE_ROWS, Dataset, InvalidDataset, Metric, read_dataset
from scripts.benchmarks.execution import Scenario, execute
from scripts.benchmarks.run import Options
from scripts.benchmarks.scenarios.big_bodies import big_bodies
from scripts.benchmarks.scenarios.dimensions import dimensions
from scripts.benchmarks.scenarios.filters import filters
from scripts.benchmarks.scenarios.listing import listing
from scripts.benchmarks.scenarios.load import load
from scripts.benchmarks.scenarios.memory import memory
from scripts.benchmarks.scenarios.overload import overload
from scripts.benchmarks.scenarios.recall_sweep import recall_sweep
from scripts.benchmarks.scenarios.top_100 import top_100
from scripts.benchmarks.scenarios.unfiltered import unfiltered
from scripts.benchmarks.scenarios.upsert import upsert
from scripts.benchmarks.synthetic import synthetic_dataset
from scripts.testbed.progress import Steps

# In the order in which they run: `load` fills the index that the next seven ask, `upsert` changes it.
Name = Literal[
    "load",
    "unfiltered",
    "recall-sweep",
    "filters",
    "top-100",
    "list",
    "overload",
    "upsert",
    "dimensions",
    "big-bodies",
    "memory",
]


@Parameter(name="*")
@dataclass(frozen=True, kw_only=True)
class SearchOptions(Options):
    only: Annotated[
        tuple[Name, ...],
        Parameter(help="These scenarios, in their own order; without it, all.", consume_multiple=True, negative=""),
    ] = ()
    dataset: Annotated[
        Path | None, Parameter(help="Parquet with the columns key, vector, and metadata as JSON text.")
    ] = None
    queries: Annotated[Path | None, Parameter(help="Parquet with the column vector, to go with --dataset.")] = None
    synthetic: Annotated[int | None, Parameter(help="So many clustered vectors instead of a data set.")] = None
    dimension: Annotated[int, Parameter(help="Of synthetic vectors.")] = 384
    metric: Annotated[Metric, Parameter(help="By which all but `dimensions` searches.")] = "cosine"
    dimension_rows: Annotated[int, Parameter(help="How many vectors `dimensions` makes for each of its four.")] = 6_000


def search(options: SearchOptions = SearchOptions()) -> None:
    """Measure writes and searches through the API, beside raw SQL; without a data set, on the demo's sample."""
    chosen = options.only or [name for name in get_args(Name) if options.plots or name != "recall-sweep"]
    scenarios = [(name, scenario) for name, scenario in _scenarios(options).items() if name in chosen]
    execute(options, partial(_dataset, options), scenarios)


def _scenarios(options: SearchOptions) -> dict[Name, Scenario]:
    return {
        "load": load,
        "unfiltered": unfiltered,
        "recall-sweep": recall_sweep,
        "filters": filters,
        "top-100": top_100,
        "list": listing,
        "overload": overload,
        "upsert": upsert,
        "dimensions": partial(dimensions, rows=options.dimension_rows),
        "big-bodies": big_bodies,
        "memory": memory,
    }


def _dataset(options: SearchOptions, folder: Path, steps: Steps) -> Dataset:
    if options.synthetic is not None:
        return synthetic_dataset(
            options.synthetic, options.dimension, options.metric, seed=options.seed, folder=folder, steps=steps
        )
    if (options.dataset is None) != (options.queries is None):
        raise InvalidDataset("--dataset and --queries go together.")
    return read_dataset(options.dataset or SAMPLE_ROWS, options.queries or SAMPLE_QUERIES, options.metric)
