"""All experiments, in the order in which they run."""

from collections.abc import Callable
from itertools import chain

from msgspec import Struct

from scripts.fault_injection.experiments import (
    backups,
    builds,
    clients,
    clock,
    coding,
    crashes,
    keys,
    limits,
    network,
    power,
    replication,
    shutdown,
    storage,
    storms,
    upgrades,
)
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
    "storage": [
        Experiment(storage.data_disk_full),
        Experiment(storage.wal_disk_full),
    ],
    "network": [
        Experiment(network.link_delayed),
        Experiment(network.link_cut, fast=True),
        Experiment(network.link_half_open),
        Experiment(network.database_frozen),
        Experiment(network.commit_unanswered, fast=True),
    ],
    "limits": [
        Experiment(limits.pool_exhausted),
        Experiment(limits.statement_timeout, fast=True),
        Experiment(limits.lock_timeout),
        Experiment(limits.deadlock, fast=True),
    ],
    "clients": [
        Experiment(clients.slow_headers),
        Experiment(clients.slow_bodies),
        Experiment(clients.slow_readers),
    ],
    "storms": [
        Experiment(storms.created_and_deleted, fast=True),
    ],
    "shutdown": [
        Experiment(shutdown.terminated_in_flight, fast=True),
        Experiment(shutdown.terminated_under_load),
    ],
    "builds": [
        Experiment(builds.build_terminated),
        Experiment(builds.build_killed),
        Experiment(coding.coding_terminated),
        Experiment(coding.coding_killed),
    ],
    "replication": [
        Experiment(replication.failed_over_synchronously),
        Experiment(replication.failed_over_asynchronously),
        Experiment(replication.commit_cancelled),
    ],
    "backups": [
        Experiment(backups.dumped_and_restored),
        Experiment(backups.base_backup_restored),
        Experiment(backups.restored_to_a_point_in_time),
    ],
    "upgrades": [
        Experiment(upgrades.migration_interrupted, fast=True),
    ],
    "keys": [
        Experiment(keys.key_missing, fast=True),
        Experiment(keys.key_rotated),
    ],
    "clock": [
        Experiment(clock.clock_jumped),
    ],
}

EXPERIMENTS: dict[str, Experiment] = {experiment.name: experiment for experiment in chain(*GROUPS.values())}
