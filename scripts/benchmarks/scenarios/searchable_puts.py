"""PutVectors into empty indexes with one searchable key and without, alternating; the median of ratios counts."""

from statistics import median

from scripts.benchmarks.datasets import Dataset
from scripts.benchmarks.putting import put_all, signed_batches
from scripts.benchmarks.run import Run
from scripts.benchmarks.searchable import SEARCHABLE
from scripts.benchmarks.targets import SEARCHABLE_PUTS_TO_PLAIN


def searchable_puts(run: Run, *, rows: int) -> None:
    """So few rows that no graph is built beside them."""
    dataset = run.dataset.first(rows)
    rounds = [
        (_rate(run, dataset, f"plain-{i}", ()), _rate(run, dataset, f"searchable-{i}", (SEARCHABLE,)))
        for i in range(run.options.rounds)
    ]
    run.figure("without a searchable key", median(plain for plain, _ in rounds), "vectors/s")
    run.figure("with one", median(searchable for _, searchable in rounds), "vectors/s")
    ratios = [searchable / plain for plain, searchable in rounds]
    note = ", ".join(f"{ratio:.2f}" for ratio in ratios)
    run.figure("with one to without", median(ratios), "x", SEARCHABLE_PUTS_TO_PLAIN, note=note)


def _rate(run: Run, dataset: Dataset, name: str, searchable: tuple[dict[str, str], ...]) -> float:
    index = run.new_index(name, dataset, searchable)
    requests = signed_batches(run, index)
    run.connection.execute("CHECKPOINT")
    started, ended = put_all(run, index, requests, f"putting {len(dataset):,} vectors into {name}")
    index.api.call("DeleteIndex", **index.members)
    return len(dataset) / (ended - started)
