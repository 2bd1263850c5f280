"""The primary is lost, and a standby takes its place; the server is given both addresses."""

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

from scripts.fault_injection.cluster import DATABASE, SUPERUSER, Cluster
from scripts.fault_injection.crowd import ask_at_once
from scripts.fault_injection.deployment import Deployment, until
from scripts.fault_injection.ledger import LOST, PARTIAL, WRONG
from scripts.fault_injection.load import create_index
from scripts.fault_injection.slow_index import SLOW, put
from scripts.fault_injection.trial import Trial
from scripts.testbed.api import HOST
from scripts.testbed.errors import ScriptError

FAILOVER_SECONDS = 30
STREAMING_SECONDS = 30
BEHIND = 20

STREAMING = "SELECT FROM pg_stat_replication WHERE state = 'streaming' AND sync_state = %s"
CANCEL_WAITING = "SELECT pg_cancel_backend(pid) FROM pg_stat_activity WHERE wait_event = 'SyncRep'"


def failed_over_synchronously(trial: Trial) -> None:
    """Kill -9 of the primary with a synchronous standby, which is promoted."""
    with _replicated(trial, synchronous=True) as (deployment, standby):
        with trial.load(deployment.api) as load:
            load.wait_for(50)
            deployment.cluster.kill()
            _promote(standby)
            trial.recovers(load, FAILOVER_SECONDS)
        trial.judge_leaks(standby)


def failed_over_asynchronously(trial: Trial) -> None:
    """Kill -9 of the primary with an asynchronous standby that was cut off, some writes behind, and is promoted."""
    with _replicated(trial, synchronous=False) as (deployment, standby):
        with trial.load(deployment.api, judged=False) as load:
            load.wait_for(50)
            standby.set(primary_conninfo="")
            load.wait_for(BEHIND)
            deployment.cluster.kill()
            _promote(standby)
            trial.recovers(load, FAILOVER_SECONDS)
        trial.count(load)
        load.judge_what_is_stored(deployment.api)
        found = {kind: [f for f in load.record.findings if f.kind == kind] for kind in (LOST, PARTIAL, WRONG)}
        trial.judge("what it has is whole and true", not found[PARTIAL] and not found[WRONG], found[PARTIAL])
        lost = len(set(found[LOST]))
        trial.judge("the loss of asynchronous replication is seen, or this would prove nothing", lost > 0, lost)
        trial.note(f"{lost} acknowledged writes lost, as is to be expected of asynchronous replication")
        trial.judge_leaks(standby)


def commit_cancelled(trial: Trial) -> None:
    """A commit waits for a standby that does not answer, and is cancelled: it may not be acknowledged."""
    with _replicated(trial, synchronous=True) as (deployment, standby):
        create_index(deployment.api, SLOW, 2)
        standby.freeze()
        try:
            crowd = ask_at_once(deployment.api, 1, "PutVectors", put)
            until(lambda: _cancel_waiting(deployment), STREAMING_SECONDS)
            told = crowd.types()
        finally:
            standby.thaw()
        trial.judge("the write is not acknowledged", told["200"] == 0, dict(told))
        trial.judge("it is told as the model has it", not crowd.faults(), crowd.faults())
        with trial.load(deployment.api) as load:
            trial.recovers(load, FAILOVER_SECONDS)
        trial.judge_leaks(deployment.cluster)


@contextmanager
def _replicated(trial: Trial, *, synchronous: bool) -> Iterator[tuple[Deployment, Cluster]]:
    with ExitStack() as stack:
        standby = stack.enter_context(Cluster(trial.folder / "standby"))

        def both(primary: Cluster) -> str:
            standby.copy(primary, "--write-recovery-conf")
            standby.start()
            if synchronous:
                primary.set(synchronous_standby_names="*")
            _wait_until_streaming(primary, "sync" if synchronous else "async")
            where = f"{HOST}:{primary.port},{HOST}:{standby.port}"
            return f"postgresql://{SUPERUSER}:{primary.password}@{where}/{DATABASE}?target_session_attrs=read-write"

        deployment = stack.enter_context(trial.deployed(database_url=both))
        yield deployment, standby


def _wait_until_streaming(primary: Cluster, state: str) -> None:
    with primary.connect() as connection:

        def streams() -> bool:
            found = connection.execute(
                "SELECT FROM pg_stat_replication WHERE state = 'streaming' AND sync_state = %s", [state]
            )
            return found.rowcount == 1

        if not until(streams, STREAMING_SECONDS):
            raise ScriptError("The standby does not stream.")


def _promote(standby: Cluster) -> None:
    with standby.connect("postgres") as connection:
        connection.execute("SELECT pg_promote()")


def _cancel_waiting(deployment: Deployment) -> bool:
    """Whether a commit was waiting for the standby."""
    with deployment.cluster.connect() as connection:
        return (
            connection.execute(
                "SELECT pg_cancel_backend(pid) FROM pg_stat_activity WHERE wait_event = 'SyncRep'"
            ).rowcount
            > 0
        )
