"""Hybrid search beside its two parts, by one client; rounds of the three alternate, and medians of rounds count."""

from statistics import median

from scripts.benchmarks.corpus import corpus_of
from scripts.benchmarks.run import Run
from scripts.benchmarks.searchable import query, searchable_index, searching_texts
from scripts.benchmarks.targets import HYBRID_BEHIND_BOTH_MS, Target
from scripts.benchmarks.vector_index import VectorIndex


def hybrid(run: Run) -> None:
    index = searchable_index(run)
    pairs = corpus_of(index.dataset).word_pairs(run.options.seed, len(index.dataset.queries))
    _beside_its_parts(run, index, "two words", pairs, HYBRID_BEHIND_BOTH_MS)
    _beside_its_parts(run, index, "queries of the file", list(index.dataset.query_texts), None)


def _beside_its_parts(run: Run, index: VectorIndex, what: str, texts: list[str], target: Target | None) -> None:
    vectors = [vector.tolist() for vector in index.dataset.queries]
    requests = {
        "text": [query(index, text) for text in texts],
        "vector": [query(index, None, vector) for vector in vectors],
        "hybrid": [query(index, text, vector) for text, vector in zip(texts, vectors, strict=True)],
    }
    rounds = [
        {
            name: run.asked_by(1, searching_texts(index, r), len(r), f"{what}, {name}").p50
            for name, r in requests.items()
        }
        for _ in range(run.options.rounds)
    ]
    for name in requests:
        run.figure(f"{what}: {name}, p50, 1 client", median(round_[name] for round_ in rounds), "ms")
    behind = [round_["hybrid"] - round_["text"] - round_["vector"] for round_ in rounds]
    note = ", ".join(f"{milliseconds:.1f}" for milliseconds in behind)
    run.figure(f"{what}: hybrid behind the sum of both", median(behind), "ms", target, note=note)
