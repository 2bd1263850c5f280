"""How good hybrid search is beside its two parts, by judgements that are derived from the data."""

from contextlib import closing
from statistics import mean

from scripts.benchmarks.corpus import corpus_of
from scripts.benchmarks.judgements import Judged, ndcg, recall, same_project, same_words
from scripts.benchmarks.run import Run
from scripts.benchmarks.searchable import TOP_K, found_texts, query, searchable_index
from scripts.benchmarks.vector_index import VectorIndex
from scripts.testbed.api import Connection

WAYS = {"vector": (False, True), "text": (True, False), "hybrid": (True, True)}
"""Whether text and vector are given."""


def relevance(run: Run) -> None:
    index = searchable_index(run)
    corpus = corpus_of(index.dataset)
    judgements = {
        "same words": same_words(index.dataset, corpus),
        "same project": same_project(index.dataset, corpus, run.options.seed),
    }
    for what, judged in judgements.items():
        if not judged:
            run.figure(f"{what}: nDCG@{TOP_K}", None, note="no query has an answer")
        for way in WAYS if judged else ():
            _report(run, index, f"{what}, {way}", judged, way)


def _report(run: Run, index: VectorIndex, what: str, judged: list[Judged], way: str) -> None:
    gains, recalls = [], []
    with run.steps.step(what, len(judged)) as step, closing(index.api.connect()) as connection:
        for one in judged:
            found = _found(connection, index, one, way)
            gains.append(ndcg(found, one.answers, TOP_K))
            recalls.append(recall(found, one.answers, TOP_K))
            step.advance()
    note = f"recall@{TOP_K} {mean(recalls):.3f}, {len(judged)} queries"
    run.figure(f"{what}: nDCG@{TOP_K}", mean(gains), "", note=note)


def _found(connection: Connection, index: VectorIndex, judged: Judged, way: str) -> list[str]:
    by_text, by_vector = WAYS[way]
    vector = judged.vector.tolist() if by_vector else None
    request = query(index, judged.text if by_text else None, vector, TOP_K + 1)
    return [vector.key for vector in found_texts(connection.exchange(request)) if vector.key != judged.itself]
