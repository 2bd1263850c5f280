"""What a scrape says, read by the parser of Prometheus's own client."""

import urllib.request

from msgspec import Struct
from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.parser import text_string_to_metric_families
from prometheus_client.registry import Collector


class Figures(Struct, frozen=True):
    text: str

    def __call__(self, name: str, **labels: str) -> float:
        """The sum of all samples of that name with these labels and any others; there must be one."""
        found = self._samples(name, labels)
        assert found, f"{name} {labels} is not in\n{self.text}"
        return sum(found)

    def has(self, name: str, **labels: str) -> bool:
        return bool(self._samples(name, labels))

    def _samples(self, name: str, labels: dict[str, str]) -> list[float]:
        return [
            sample.value
            for family in text_string_to_metric_families(self.text)
            for sample in family.samples
            if sample.name == f"pgs3vectors_{name}" and labels.items() <= sample.labels.items()
        ]

    @property
    def labels(self) -> dict[str, set[str]]:
        """The values of each label."""
        values: dict[str, set[str]] = {}
        for family in text_string_to_metric_families(self.text):
            for sample in family.samples:
                for label, value in sample.labels.items():
                    values.setdefault(label, set()).add(value)
        return values


def scraped(url: str) -> Figures:
    with urllib.request.urlopen(f"{url}/metrics", timeout=10) as answer:  # noqa: S310 - our own server
        assert answer.headers["content-type"].startswith("text/plain; version=0.0.4")
        return Figures(answer.read().decode())


def collected(collector: Collector) -> Figures:
    registry = CollectorRegistry()
    registry.register(collector)
    return Figures(generate_latest(registry).decode())
