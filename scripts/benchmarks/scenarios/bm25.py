"""How long texts alone take, by one client: two words, two of the most frequent ones, and the queries of the file."""

from scripts.benchmarks.corpus import corpus_of
from scripts.benchmarks.run import Run
from scripts.benchmarks.searchable import query, searchable_index, searching_texts
from scripts.benchmarks.targets import BM25_MS, Target


def bm25(run: Run) -> None:
    index = searchable_index(run)
    corpus = corpus_of(index.dataset)
    asked: tuple[tuple[str, list[str], Target | None], ...] = (
        ("two words of a text", corpus.word_pairs(run.options.seed), BM25_MS),
        ("two of the 20 most frequent words", corpus.frequent_pairs(), None),
        ("queries of the file", list(index.dataset.query_texts), None),
    )
    for what, texts, target in asked:
        requests = [query(index, text) for text in texts]
        measured = run.asked_by(1, searching_texts(index, requests), len(requests), what)
        p95, p99 = measured.percentile(95), measured.percentile(99)
        note = f"p95 {p95:.2f}, p99 {p99:.2f} ms, {measured.per_second:,.0f} queries/s"
        run.figure(f"{what}, p50, 1 client", measured.p50, "ms", target, note=note)
