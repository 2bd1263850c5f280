"""What all scenarios of one run share: the deployment, the data set, the index that holds it, and the report."""

import os
import platform
from collections.abc import Callable
from contextlib import AbstractContextManager, closing, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

from cyclopts import Parameter

from scripts.benchmarks.datasets import Dataset
from scripts.benchmarks.deployment import Deployment
from scripts.benchmarks.measuring import Client, Measurement, ask_each_once, measure
from scripts.benchmarks.report import Report
from scripts.benchmarks.settling import Settled, wait_until_settled
from scripts.benchmarks.targets import Figure, Target
from scripts.benchmarks.vector_index import VectorIndex, create_index, fill
from scripts.testbed.progress import Steps


@Parameter(name="*")
@dataclass(frozen=True, kw_only=True)
class Options:
    """Of every run, whatever it measures."""

    seconds: Annotated[float, Parameter(help="How long each measurement takes.")] = 5
    rounds: Annotated[int, Parameter(help="How often measurements that are compared alternate.")] = 5
    clients: Annotated[int, Parameter(help="How many clients ask at once, where it is not one.")] = 8
    workers: Annotated[int | None, Parameter(help="Workers of the server, if not as many as by default.")] = None
    database_url: Annotated[
        str | None, Parameter(help="A PostgreSQL to make a database in; without it, one of our own is started.")
    ] = None
    seed: Annotated[int, Parameter(help="What is drawn by chance is the same for the same seed.")] = 1
    patience: Annotated[float, Parameter(help="How many seconds index builds may take.")] = 1_800
    non_filterable: Annotated[
        tuple[str, ...], Parameter(help="Keys of non-filterable metadata.", consume_multiple=True)
    ] = ("text", "homepage")
    json: Annotated[bool, Parameter(help="Print JSON instead of tables.", negative="")] = False
    plots: Annotated[Path | None, Parameter(help="A directory for plots as PNG.")] = None


class Run:
    def __init__(self, deployment: Deployment, options: Options, dataset: Dataset, steps: Steps) -> None:
        self.deployment = deployment
        self.options = options
        self.dataset = dataset
        self.steps = steps
        self.connection = deployment.connect()
        self.report = Report(self._context())
        self.scenario = ""
        self._index: VectorIndex | None = None

    def _context(self) -> dict[str, Any]:
        return {
            "data": self.dataset.name,
            "rows": len(self.dataset),
            "dimension": self.dataset.dimension,
            "metric": self.dataset.metric,
            "seed": self.options.seed,
            "cores": os.cpu_count(),
            "Python": platform.python_version(),
            "workers": len(self.deployment.server.workers),
            "PostgreSQL": self.connection.info.parameter_status("server_version"),
        }

    def close(self) -> None:
        self.connection.close()

    @property
    def index(self) -> VectorIndex:
        """Of the run's data set; filled now, unless a scenario has done so."""
        if self._index is None:
            self._index = self.filled_index("filled", self.dataset)
        return self._index

    @index.setter
    def index(self, index: VectorIndex) -> None:
        self._index = index

    def filled_index(self, name: str, dataset: Dataset) -> VectorIndex:
        index = self.new_index(name, dataset)
        fill(index, self.steps)
        self.settle(index)
        return index

    def new_index(self, name: str, dataset: Dataset, searchable: tuple[dict[str, str], ...] = ()) -> VectorIndex:
        api = self.deployment.server.api
        return create_index(api, self.connection, name, dataset, self.options.non_filterable, searchable=searchable)

    def settle(self, index: VectorIndex) -> Settled:
        return wait_until_settled(self.connection, index.table, self.options.patience, self.steps)

    def asked_by(
        self,
        clients: int,
        connect: Callable[[], Client],
        queries: int,
        what: str,
        meter: AbstractContextManager[object] | None = None,
    ) -> Measurement:
        with self.steps.step(f"{what}, {clients} {'client' if clients == 1 else 'clients'}"):
            return measure(connect, clients, queries, self.options.seconds, meter or nullcontext())

    def each_once(self, index: VectorIndex, requests: list[bytes], seconds: float = float("inf")) -> Measurement:
        """By one client, until the time is up."""
        with closing(index.searching(requests)()) as client:
            return ask_each_once(client, range(len(requests)), seconds)

    def figure(  # noqa: PLR0913 - the columns of the table
        self,
        what: str,
        value: float | None,
        unit: str = "",
        target: Target | None = None,
        *,
        note: str = "",
        limit: str = "",
    ) -> None:
        self.report.figures.append(Figure(self.scenario, what, value, unit, target, note, limit))
