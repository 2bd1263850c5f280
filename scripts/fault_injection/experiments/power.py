"""The power fails under load: what has not reached the device of the data directory is gone.

All processes of PostgreSQL are stopped at once, the device is copied, the processes are killed, and PostgreSQL starts
on the copy.  Two settings that lose data must be caught at it, or the experiment would prove nothing.
"""

from collections.abc import Iterator
from contextlib import contextmanager

from scripts.fault_injection.cluster import Cluster, ClusterError, Storage
from scripts.fault_injection.deployment import Deployment
from scripts.fault_injection.ledger import LOST
from scripts.fault_injection.load import Load
from scripts.fault_injection.trial import Trial
from scripts.fault_injection.volume import Volume, mounted
from scripts.testbed.errors import ScriptError

MEGABYTES = 768
DATABASE_SECONDS = 15
WRITES = 300
TRIES = 3


def power_cut(trial: Trial) -> None:
    """The power fails under load, with PostgreSQL's own settings."""
    with _on_a_volume(trial) as (deployment, volume):
        with trial.load(deployment.api) as load:
            for _ in trial.times(3, 1):
                load.wait_for(WRITES)
                cut_power(deployment.cluster, volume)
                deployment.cluster.start()
                trial.recovers(load, DATABASE_SECONDS)
        trial.judge_leaks(deployment.cluster)


def power_cut_without_fsync(trial: Trial) -> None:
    """The same with fsync = off, which must be caught losing what was acknowledged."""
    _control(trial, fsync="off")


def power_cut_with_asynchronous_commit(trial: Trial) -> None:
    """The same with synchronous_commit = off, which must be caught losing what was acknowledged."""
    _control(trial, synchronous_commit="off")


def cut_power(cluster: Cluster, volume: Volume) -> None:
    cluster.freeze()
    snapshot = volume.snapshot()
    cluster.kill_frozen()
    volume.put_back(snapshot)


@contextmanager
def _on_a_volume(trial: Trial) -> Iterator[tuple[Deployment, Volume]]:
    with (
        mounted(trial.folder, MEGABYTES) as volume,
        trial.deployed(storage=Storage(data=volume.mount)) as deployment,
    ):
        yield deployment, volume


def _control(trial: Trial, **settings: str) -> None:
    """What was there before is safe; a cut may come in the moment when nothing is missing, so there are some tries."""
    with _on_a_volume(trial) as (deployment, volume):
        with deployment.cluster.connect() as connection:
            connection.execute("CHECKPOINT")
        deployment.cluster.set(**settings)
        for _ in range(TRIES):
            with trial.load(deployment.api, judged=False) as load:
                load.wait_for(WRITES)
                cut_power(deployment.cluster, volume)
            lost = _lost(deployment, load)
            trial.count(load)
            if lost:
                break
        trial.judge("the loss is caught", lost != "", lost)
        trial.note(lost)


def _lost(deployment: Deployment, load: Load) -> str:
    """In words."""
    try:
        deployment.cluster.start()
        load.judge_what_is_stored(deployment.api)
    except (ClusterError, ScriptError) as error:
        return f"nothing can be read: {error}"
    lost = [finding for finding in load.record.findings if finding.kind == LOST]
    return f"caught: {len(lost)} of {len(load.ledger.batches)} batches" if lost else ""
