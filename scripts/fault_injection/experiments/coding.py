"""Codes break off while they are made; searches stay exact meanwhile, and the codes are made again."""

from collections.abc import Iterator
from contextlib import closing, contextmanager

from scripts.fault_injection.cluster import Cluster
from scripts.fault_injection.deployment import Deployment, until
from scripts.fault_injection.large_index import BreakOff, broken_off, fill, graphs, judge_searches, rows
from scripts.fault_injection.trial import Trial

# While they are in a transaction that writes.
CODERS = "SELECT pid FROM pg_stat_activity WHERE application_name = 'pgs3vectors-coder' AND backend_xid IS NOT NULL"
CODING_SECONDS, DATABASE_SECONDS, GRAPH_SECONDS = 30, 15, 120


def coding_terminated(trial: Trial) -> None:
    """The coder's connection is ended by pg_terminate_backend while it writes codes."""
    _break_coding(trial, Cluster.terminate_backends)


def coding_killed(trial: Trial) -> None:
    """The coder's backend gets kill -9 while it writes codes; PostgreSQL restarts itself."""
    _break_coding(trial, Cluster.kill_backends)


def _break_coding(trial: Trial, break_off: BreakOff) -> None:
    with trial.deployed() as deployment:
        fill(deployment)
        with trial.load(deployment.api) as load:
            for _ in trial.times(3, 1):
                with _no_graph(deployment):
                    before = _codes_broken_off(deployment, break_off)
                trial.recovers(load, DATABASE_SECONDS)
                with _no_graph(deployment):  # the first snapshot may have gone with its backend
                    judge_searches(trial, deployment, "searches stay exact")
                    again = until(lambda: _codes(deployment) > 0, CODING_SECONDS)
                    trial.judge(f"there are codes again within {CODING_SECONDS} s", again)
                    # What has been begun took a number and left nothing.
                    is_proof = _codes(deployment) > before + 1
                    trial.judge("codes are broken off, or this would prove nothing", is_proof)
                    judge_searches(trial, deployment, "every vector is found by its code")
            built = until(lambda: graphs(deployment, valid=True) > 0, GRAPH_SECONDS)
            trial.judge(f"a graph takes their place within {GRAPH_SECONDS} s", built)
        trial.judge_leaks(deployment.cluster)


@contextmanager
def _no_graph(deployment: Deployment) -> Iterator[None]:
    """While somebody has an older snapshot, none gets valid: it would take the place of codes."""
    with closing(deployment.cluster.connect()) as connection:
        connection.execute("BEGIN ISOLATION LEVEL REPEATABLE READ")
        connection.execute("SELECT 1")
        yield


def _codes_broken_off(deployment: Deployment, break_off: BreakOff) -> int:
    """The number of the codes that were there before."""
    until(lambda: _codes(deployment) > 0, CODING_SECONDS)
    before = _codes(deployment)
    rows(deployment, "UPDATE s3_vectors.vector_codes SET state = 'retired', retirement_time = now() RETURNING id")
    broken_off(deployment, CODERS, break_off, CODING_SECONDS)
    return before


def _codes(deployment: Deployment) -> int:
    """The number of those that searches use; 0 where there are none."""
    ready = rows(deployment, "SELECT id FROM s3_vectors.vector_codes WHERE state = 'ready'")
    return max((row[0] for row in ready), default=0)
