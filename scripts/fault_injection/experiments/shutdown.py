"""SIGTERM: what was asked is answered, and then the server is gone."""

import signal
import socket
import time

from scripts.fault_injection.crowd import ask_at_once
from scripts.fault_injection.deployment import Deployment, until
from scripts.fault_injection.slow_index import SLOW, put, slow_index
from scripts.fault_injection.trial import Trial
from scripts.testbed.api import HOST
from scripts.testbed.server import END_SECONDS

IN_FLIGHT = 6
WAITING_SECONDS = 20
# Less than the server waits for a lock.
REFUSING_SECONDS = 2
RECOVERY_SECONDS = 15


def terminated_in_flight(trial: Trial) -> None:
    """SIGTERM while writes wait for a lock, which is released when the server takes no more connections."""
    with slow_index(trial, WORKERS="2") as deployment:
        for _ in trial.times(3, 1):
            with deployment.locked(SLOW):
                crowd = ask_at_once(deployment.api, IN_FLIGHT, "PutVectors", put)
                until(lambda: deployment.waiting() >= IN_FLIGHT, WAITING_SECONDS)
                in_flight = deployment.waiting()
                deployment.server.popen.send_signal(signal.SIGTERM)
                until(lambda: not _listens(deployment), REFUSING_SECONDS)
            told = crowd.types()
            trial.judge("the writes are in flight", in_flight == IN_FLIGHT, in_flight)
            trial.judge("every write in flight is served", told == {"200": IN_FLIGHT}, dict(told))
            _judge_end(trial, deployment)
            deployment.server.start()
        trial.judge_leaks(deployment.cluster)


def terminated_under_load(trial: Trial) -> None:
    """SIGTERM under load; the server is started again."""
    with trial.deployed({"WORKERS": "2"}) as deployment:
        with trial.load(deployment.api) as load:
            for _ in trial.times(10, 2):
                load.wait_for(20)
                before, signalled = len(load.record.unanswered), time.monotonic()
                deployment.server.popen.send_signal(signal.SIGTERM)
                _judge_end(trial, deployment)
                failed = [sent for sent in load.record.unanswered[before:] if sent < signalled]
                trial.judge("nothing in flight fails", not failed, f"{len(failed)} unanswered")
                deployment.server.start()
                trial.recovers(load, RECOVERY_SECONDS)
        trial.judge_leaks(deployment.cluster)


def _judge_end(trial: Trial, deployment: Deployment) -> None:
    until(lambda: deployment.server.popen.poll() is not None, END_SECONDS)
    code = deployment.server.popen.poll()
    trial.judge(f"the server ends within {END_SECONDS} s with 0", code == 0, code)


def _listens(deployment: Deployment) -> bool:
    try:
        socket.create_connection((HOST, deployment.server.port), timeout=1).close()
    except OSError:
        return False
    return True
