"""Whose processor time a measurement took."""

from scripts.benchmarks.deployment import Deployment
from scripts.testbed.processes import Process, Processor, processor

WORKERS, POSTGRES, CLIENT = "workers", "PostgreSQL", "this client"


class Meter:
    """Between entering and leaving."""

    def __init__(self, deployment: Deployment) -> None:
        self._deployment = deployment
        self.seconds: dict[str, float] = {}

    def __enter__(self) -> None:
        self._before = self._read()

    def __exit__(self, *_: object) -> None:
        after = self._read()
        self.seconds = {who: after[who].since(before) for who, before in self._before.items()}

    def _read(self) -> dict[str, Processor]:
        workers, postgres = self._deployment.server.workers, self._deployment.postgres
        return {WORKERS: processor(workers), POSTGRES: processor(postgres), CLIENT: processor([Process()])}
