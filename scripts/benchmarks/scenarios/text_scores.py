"""Scores and order of two-word searches, held against another implementation of BM25."""

from contextlib import closing

from scripts.benchmarks.corpus import corpus_of
from scripts.benchmarks.reference_bm25 import ReferenceBm25
from scripts.benchmarks.run import Run
from scripts.benchmarks.searchable import TOP_K, found_texts, query, searchable_index
from scripts.benchmarks.targets import BM25_ERROR, NONE_AT_ALL

QUERIES = 200


def text_scores(run: Run) -> None:
    index = searchable_index(run)
    corpus = corpus_of(index.dataset)
    texts = corpus.word_pairs(run.options.seed, QUERIES) + list(index.dataset.query_texts[:QUERIES])
    with run.steps.step("indexing by bm25s"):
        reference = ReferenceBm25(corpus)
    verdicts = []
    with run.steps.step("comparing with bm25s", len(texts)) as step, closing(index.api.connect()) as connection:
        for text in texts:
            found = found_texts(connection.exchange(query(index, text)))
            verdicts.append(reference.judge(text, found, TOP_K))
            step.advance()
    of = f"{QUERIES} of two words, {len(texts) - QUERIES} of the file"
    run.figure("greatest error of a score", max(verdict.error for verdict in verdicts), "", BM25_ERROR, note=of)
    other = sum(not verdict.same for verdict in verdicts)
    run.figure(f"queries with another top {TOP_K} than bm25s", other, "", NONE_AT_ALL, note=of)
