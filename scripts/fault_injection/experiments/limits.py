"""PostgreSQL takes too long or says no: time limits, deadlocks, and more requests than connections."""

from contextlib import closing
from http import HTTPStatus
from http.client import HTTPConnection, HTTPException

import psycopg

from scripts.fault_injection.crowd import ask_at_once
from scripts.fault_injection.deployment import Deployment, until
from scripts.fault_injection.slow_index import SLOW, put, query, slow_index
from scripts.fault_injection.trial import Trial
from scripts.testbed.api import HOST
from scripts.testbed.ports import free_port

WAITING_SECONDS = 20
RECOVERY_SECONDS = 15
ANSWER_SECONDS = 30
CROWD = 60
SERVED, TIMED_OUT, UNAVAILABLE = "200", "RequestTimeoutException", "ServiceUnavailableException"


def pool_exhausted(trial: Trial) -> None:
    """Queries that cannot go on take every connection of a small pool, and many more wait for one."""
    port = free_port()
    with slow_index(trial, POOL_SIZE="2", WORKERS="2", OPERATOR_PORT=str(port)) as deployment:
        with trial.load(deployment.api) as load:
            with deployment.locked(SLOW):
                crowd = ask_at_once(deployment.api, CROWD, "QueryVectors", query, ANSWER_SECONDS)
                until(lambda: deployment.waiting() > 0, WAITING_SECONDS)
                alive = _status(port, "/livez")
                trial.judge("the server still says that it lives", alive == HTTPStatus.OK, alive)
                told = crowd.types()
            trial.judge(f"all {CROWD} are told within {ANSWER_SECONDS} s", not crowd.faults(), crowd.faults()[:3])
            trial.note(", ".join(f"{times} x {what}" for what, times in told.items()))
            trial.recovers(load, RECOVERY_SECONDS)
        trial.judge_leaks(deployment.cluster)


def statement_timeout(trial: Trial) -> None:
    """A write and a query take longer than PGS3VECTORS_STATEMENT_TIMEOUT_SECONDS."""
    with slow_index(trial, STATEMENT_TIMEOUT_SECONDS="1") as deployment:
        _judge_blocked(trial, deployment, TIMED_OUT)


def lock_timeout(trial: Trial) -> None:
    """A write and a query wait for a lock longer than the server lets them."""
    with slow_index(trial) as deployment:
        _judge_blocked(trial, deployment, UNAVAILABLE)


def _judge_blocked(trial: Trial, deployment: Deployment, expected: str) -> None:
    """And the connections on which they failed serve the next requests."""
    with trial.load(deployment.api) as load:
        for _ in trial.times(5, 1):
            for operation, members in (("PutVectors", put), ("QueryVectors", query)):
                with deployment.locked(SLOW):
                    crowd = ask_at_once(deployment.api, 4, operation, members, ANSWER_SECONDS)
                    told = crowd.types()
                right = told == {expected: 4} and not crowd.faults()
                trial.judge(f"{operation} is told {expected}", right, crowd.faults() or dict(told))
                after = ask_at_once(deployment.api, 20, operation, members).types()
                trial.judge(f"the next {operation} are served", after == {SERVED: 20}, dict(after))
        trial.recovers(load, RECOVERY_SECONDS)
    trial.judge_leaks(deployment.cluster)


def deadlock(trial: Trial) -> None:
    """A write and somebody in psql wait for each other; the write is the one that PostgreSQL breaks off."""
    patient = {"deadlock_timeout": "3s"}  # so that the circle is closed before the write looks for one
    with slow_index(trial, postgres=patient) as deployment:
        lock_row = f"SELECT FROM {deployment.table(SLOW)} WHERE key = %s FOR UPDATE".encode()
        with trial.load(deployment.api) as load:
            for _ in trial.times(3, 1):
                with psycopg.connect(deployment.cluster.url(), options="-c deadlock_timeout=60s") as connection:
                    connection.execute(lock_row, ["b"])
                    crowd = ask_at_once(deployment.api, 1, "PutVectors", put, ANSWER_SECONDS)
                    until(lambda: deployment.waiting() > 0, WAITING_SECONDS)
                    connection.execute(lock_row, ["a"])
                    connection.commit()
                    told = crowd.types()
                right = not crowd.faults()
                trial.judge("the write is retried, or told 503", right, crowd.faults() or dict(told))
            found = "deadlock detected" in deployment.cluster.log.read_text()
            trial.judge("PostgreSQL finds a deadlock, or this would prove nothing", found)
            trial.recovers(load, RECOVERY_SECONDS)
        trial.judge_leaks(deployment.cluster)


def _status(port: int, path: str) -> int | str:
    """Of an operator endpoint."""
    with closing(HTTPConnection(HOST, port, timeout=ANSWER_SECONDS)) as connection:
        try:
            connection.request("GET", path)
            return connection.getresponse().status
        except (OSError, HTTPException) as error:
            return f"{type(error).__name__}: {error}"
