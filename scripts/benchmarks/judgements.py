"""What should be found, derived from the data, since no file says so; each way has its own bias.

`same words`: of the queries of the file, a package is the answer to one with which it shares at least 60 % of all terms
of both.  That is known without vectors, and leans to the search for texts.

`same project`: a query is the text of a stored package with its vector, and the answers are the other packages of its
project, those with the same home page, which neither text nor vector knows of.
"""

import random
from collections import defaultdict
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
from msgspec import Struct

from scripts.benchmarks.corpus import Corpus, terms_of
from scripts.benchmarks.datasets import Dataset

SHARED_TERMS = 0.6
PROJECT = "homepage"
MAX_PROJECT, PROJECTS = 11, 500


class Judged(Struct, frozen=True):
    text: str
    vector: npt.NDArray[np.float32]
    answers: frozenset[str]
    itself: str | None = None
    """What was asked with, and is not counted among what was found."""


def same_words(dataset: Dataset, corpus: Corpus) -> list[Judged]:
    having: dict[str, list[str]] = defaultdict(list)
    for key, found in corpus.terms.items():
        for term in set(found):
            having[term].append(key)
    judged = []
    for text, vector in zip(dataset.query_texts, dataset.queries, strict=True):
        asked = set(terms_of(text))
        candidates = {key for term in asked for key in having[term]} if len(asked) > 1 else set()
        if answers := {key for key in candidates if _shared(asked, set(corpus.terms[key])) >= SHARED_TERMS}:
            judged.append(Judged(text, vector, frozenset(answers)))
    return judged


def _shared(some: set[str], others: set[str]) -> float:
    return len(some & others) / len(some | others)


def same_project(dataset: Dataset, corpus: Corpus, seed: int) -> list[Judged]:
    projects: dict[str, list[str]] = defaultdict(list)
    for key, metadata in zip(dataset.keys, dataset.metadata, strict=True):
        if key in corpus.texts and (home := metadata.get(PROJECT)):
            projects[home].append(key)
    several = [keys for keys in projects.values() if 2 <= len(keys) <= MAX_PROJECT]
    chance = random.Random(seed)  # noqa: S311 - the same for the same seed
    drawn = chance.sample(several, min(PROJECTS, len(several)))
    return [_of_project(dataset, corpus, chance.choice(keys), keys) for keys in drawn]


def _of_project(dataset: Dataset, corpus: Corpus, asked: str, keys: Sequence[str]) -> Judged:
    vector = dataset.vectors[dataset.rows[asked]]
    return Judged(corpus.texts[asked], vector, frozenset(keys) - {asked}, asked)


def ndcg(found: Sequence[str], answers: frozenset[str], top_k: int) -> float:
    """With a gain of 1 for an answer and 0 for all else."""
    discounts = 1 / np.log2(np.arange(top_k) + 2)
    gained = sum(discounts[place] for place, key in enumerate(found[:top_k]) if key in answers)
    return float(gained / discounts[: len(answers)].sum())


def recall(found: Sequence[str], answers: frozenset[str], top_k: int) -> float:
    """Of as many answers as could have been found."""
    return len(answers.intersection(found[:top_k])) / min(top_k, len(answers))
