"""The build of an HNSW graph breaks off; searches stay exact meanwhile, and the graph is built again."""

from scripts.fault_injection.cluster import Cluster
from scripts.fault_injection.deployment import Deployment, until
from scripts.fault_injection.large_index import BreakOff, broken_off, fill, graphs, judge_searches, rows
from scripts.fault_injection.trial import Trial

BUILDERS = "SELECT pid FROM pg_stat_progress_create_index"
BUILD_SECONDS, AGAIN_SECONDS, DATABASE_SECONDS = 60, 120, 15


def build_terminated(trial: Trial) -> None:
    """The builder's connection is ended by pg_terminate_backend."""
    _break_build(trial, Cluster.terminate_backends)


def build_killed(trial: Trial) -> None:
    """The builder's backend gets kill -9, as from the out-of-memory killer; PostgreSQL restarts itself."""
    _break_build(trial, Cluster.kill_backends)


def _break_build(trial: Trial, break_off: BreakOff) -> None:
    with trial.deployed() as deployment:
        fill(deployment)
        with trial.load(deployment.api) as load:
            for _ in trial.times(2, 1):
                started = broken_off(deployment, BUILDERS, break_off, BUILD_SECONDS)
                broken = until(lambda: graphs(deployment, valid=False) > 0 or _failed(deployment), BUILD_SECONDS)
                trial.judge("a build is broken off, or this would prove nothing", started and broken)
                trial.recovers(load, DATABASE_SECONDS)
                judge_searches(trial, deployment, "searches stay exact")
            built = until(lambda: graphs(deployment, valid=True) > 0, AGAIN_SECONDS)
            trial.judge(f"the graph is built again within {AGAIN_SECONDS} s", built)
            judge_searches(trial, deployment, "every vector is found by the graph")
        trial.judge_leaks(deployment.cluster)


def _failed(deployment: Deployment) -> bool:
    return rows(deployment, "SELECT FROM s3_vectors.hnsw_graphs WHERE state = 'failed'") != []
