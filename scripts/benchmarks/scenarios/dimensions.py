"""Long vectors, beyond what pgvector's HNSW takes as they are: recall, and distances to the fifth digit."""

from itertools import product
from typing import get_args

from scripts.benchmarks.datasets import Metric
from scripts.benchmarks.ground_truth import ground_truth, score
from scripts.benchmarks.run import Run
from scripts.benchmarks.synthetic import synthetic_dataset
from scripts.benchmarks.targets import DISTANCE_ERROR, NONE_AT_ALL, RECALL_AT_10

DIMENSIONS = 1_536, 4_096
TOP_K = 10


def dimensions(run: Run, *, rows: int) -> None:
    for dimension, metric in product(DIMENSIONS, get_args(Metric)):
        dataset = synthetic_dataset(
            rows, dimension, metric, seed=run.options.seed, folder=run.deployment.folder, steps=run.steps
        )
        index = run.filled_index(f"{metric}-{dimension}", dataset)
        asked = run.each_once(index, index.queries(TOP_K))
        scored = score(ground_truth(dataset, TOP_K), asked.found)
        what = f"{dimension:,} dimensions, {metric}"
        run.figure(f"{what}: recall@10", scored.recall, "", RECALL_AT_10, note=f"p50 {asked.p50:.2f} ms")
        run.figure(f"{what}: answers without 10 rows", scored.incomplete, "answers", NONE_AT_ALL)
        run.figure(f"{what}: greatest error of a distance", scored.distance_error, "", DISTANCE_ERROR)
