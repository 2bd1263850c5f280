"""All experiments, in the order in which they run."""

from collections.abc import Callable
from itertools import chain

from msgspec import Struct

from scripts.fault_injection.experiments import crashes, power
from scripts.fault_injection.trial import Trial


class Experiment(Struct, frozen=True):
    run: Callable[[Trial], None]
    fast: bool = False
    """The test suite runs it too, with few repetitions."""

    @property
    def name(self) -> str:
        return self.run.__name__.replace("_", "-")

    @property
    def what(self) -> str:
        return (self.run.__doc__ or "").strip()


GROUPS: dict[str, list[Experiment]] = {
    "crashes": [
        Experiment(crashes.worker_killed, fast=True),
        Experiment(crashes.server_killed),
        Experiment(crashes.connections_terminated, fast=True),
        Experiment(crashes.backend_killed, fast=True),
        Experiment(crashes.postmaster_killed, fast=True),
        Experiment(crashes.postgres_stopped, fast=True),
    ],
    "power": [
        Experiment(power.power_cut),
        Experiment(power.power_cut_without_fsync),
        Experiment(power.power_cut_with_asynchronous_commit),
    ],
}

EXPERIMENTS: dict[str, Experiment] = {experiment.name: experiment for experiment in chain(*GROUPS.values())}
