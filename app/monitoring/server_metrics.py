"""What the supervisor knows of this server: its workers, and whether it is ready."""

from collections.abc import Iterator

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from app.monitoring.health import Health, Supervised


class ServerMetrics(Collector):
    def __init__(self, health: Health, workers: Supervised) -> None:
        self._health = health
        self._workers = workers

    def collect(self) -> Iterator[Metric]:
        up, all_of_them = self._workers.up
        yield GaugeMetricFamily("pgs3vectors_workers", "Processes that should serve.", value=all_of_them)
        yield GaugeMetricFamily("pgs3vectors_workers_up", "Processes that give signs of life.", value=up)
        yield CounterMetricFamily(
            "pgs3vectors_worker_deaths", "How often one ended and was begun again.", value=self._workers.deaths
        )
        yield GaugeMetricFamily("pgs3vectors_ready", "What /readyz answers.", value=self._health.is_ready)
        checks = GaugeMetricFamily("pgs3vectors_check", "1 for a check of /readyz that is well.", labels=["check"])
        for name, told in self._health.report["checks"].items():
            checks.add_metric([name], told == "ok")
        yield checks
