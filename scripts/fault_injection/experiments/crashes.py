"""What serves is killed under load: a worker, the whole server, a backend, the postmaster."""

from scripts.fault_injection.deployment import Deployment, until
from scripts.fault_injection.load import Load
from scripts.fault_injection.trial import Trial

WORKER_SECONDS = 30
# Recovery of a small cluster takes a second or two.
DATABASE_SECONDS = 15
UNAVAILABLE = "ServiceUnavailableException"


def worker_killed(trial: Trial) -> None:
    """One of two workers gets kill -9; the other serves until a new one has come."""

    def kill(deployment: Deployment, _: Load) -> None:
        workers = deployment.server.workers
        trial.random.choice(workers).kill()
        back = until(lambda: len(deployment.server.workers) == len(workers), WORKER_SECONDS)
        if not back:
            trial.judge("a new worker comes", back, f"{len(deployment.server.workers)} of {len(workers)}")

    trial.breaks(kill, full=50, short=3, within=WORKER_SECONDS, settings={"WORKERS": "2"})


def server_killed(trial: Trial) -> None:
    """The server and all its workers get kill -9; it is started again."""

    def kill(deployment: Deployment, _: Load) -> None:
        deployment.server.kill()
        deployment.server.start()

    trial.breaks(kill, full=5, short=1, within=WORKER_SECONDS)


def connections_terminated(trial: Trial) -> None:
    """Every connection of the server is ended by pg_terminate_backend."""

    def terminate(deployment: Deployment, _: Load) -> None:
        deployment.cluster.terminate_backends(backends(deployment))

    trial.breaks(terminate, full=20, short=3, within=DATABASE_SECONDS)


def backend_killed(trial: Trial) -> None:
    """A backend of the server gets kill -9, as from the out-of-memory killer; PostgreSQL restarts itself."""

    def kill(deployment: Deployment, _: Load) -> None:
        deployment.cluster.kill_backends([trial.random.choice(backends(deployment))])

    trial.breaks(kill, full=10, short=2, within=DATABASE_SECONDS)


def postmaster_killed(trial: Trial) -> None:
    """The postmaster gets kill -9; it is started again."""

    def kill(deployment: Deployment, _: Load) -> None:
        deployment.cluster.kill()
        deployment.cluster.start()

    trial.breaks(kill, full=10, short=2, within=DATABASE_SECONDS)


def postgres_stopped(trial: Trial) -> None:
    """PostgreSQL is shut down immediately and stays away until clients are told so; it is started again."""

    def stop(deployment: Deployment, load: Load) -> None:
        deployment.cluster.stop_immediately()
        told = load.record.count(UNAVAILABLE)
        load.wait_until(lambda: load.record.count(UNAVAILABLE) > told, WORKER_SECONDS, "somebody is told 503")
        deployment.cluster.start()

    trial.breaks(stop, full=5, short=1, within=DATABASE_SECONDS)


def backends(deployment: Deployment) -> list[int]:
    """All that there are; that of the connection which asks is not among them."""
    with deployment.cluster.connect() as connection:
        rows = connection.execute(
            "SELECT pid FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()"
        )
        return [row[0] for row in rows]
