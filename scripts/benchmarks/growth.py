"""`bench growth`: the same search on few and on many vectors of the same kind, on the same machine in the same run."""

from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from scripts.benchmarks.datasets import Dataset, Metric
from scripts.benchmarks.execution import execute
from scripts.benchmarks.run import Options
from scripts.benchmarks.scenarios.growth import LoadedBy, growing
from scripts.benchmarks.synthetic import synthetic_dataset
from scripts.testbed.progress import Steps


@Parameter(name="*")
@dataclass(frozen=True, kw_only=True)
class GrowthOptions(Options):
    rows: Annotated[int, Parameter(help="How many synthetic vectors there are in the end.")] = 1_000_000
    from_rows: Annotated[int, Parameter(help="How many of them are few.")] = 63_666
    dimension: Annotated[int, Parameter(help="Of the vectors.")] = 384
    metric: Annotated[Metric, Parameter(help="By which they are searched.")] = "cosine"
    load: Annotated[LoadedBy, Parameter(help="How the vectors get there.")] = "api"
    patience: Annotated[float, Parameter(help="How many seconds index builds may take.")] = 14_400


def growth(options: GrowthOptions = GrowthOptions()) -> None:
    """Measure how the time of a search grows with the number of vectors."""
    scenario = partial(growing, from_rows=options.from_rows, loaded_by=options.load)
    execute(options, partial(_dataset, options), [("growth", scenario)])


def _dataset(options: GrowthOptions, folder: Path, steps: Steps) -> Dataset:
    return synthetic_dataset(
        options.rows, options.dimension, options.metric, seed=options.seed, folder=folder, steps=steps
    )
