"""The texts of a data set as the server reads them, and words of theirs to ask for."""

import random
from collections import Counter
from functools import cached_property, lru_cache
from itertools import combinations

from app.full_text.analyzer import terms
from scripts.benchmarks.datasets import Dataset
from scripts.benchmarks.searchable import KEY, LANGUAGE

TWO_WORDS, FREQUENT_WORDS = 500, 20


class Corpus:
    def __init__(self, dataset: Dataset) -> None:
        found = [(key, metadata.get(KEY)) for key, metadata in zip(dataset.keys, dataset.metadata, strict=True)]
        self.texts = {key: text for key, text in found if isinstance(text, str) and terms_of(text)}

    @cached_property
    def terms(self) -> dict[str, list[str]]:
        return {key: terms_of(text) for key, text in self.texts.items()}

    def word_pairs(self, seed: int, count: int = TWO_WORDS) -> list[str]:
        """Two different words of one text each, so that frequent words are asked for as often as they are written."""
        chance, texts = random.Random(seed), list(self.texts.values())  # noqa: S311 - the same for the same seed
        pairs: list[str] = []
        while len(pairs) < count:
            words = _words(chance.choice(texts))
            if len(words) > 1:
                pairs.append(" ".join(chance.sample(sorted(words.values()), 2)))
        return pairs

    def frequent_pairs(self) -> list[str]:
        """Every two of the terms that most texts have, as words."""
        counted: Counter[str] = Counter()
        written: dict[str, str] = {}
        for text in self.texts.values():
            words = _words(text)
            counted.update(words.keys())
            written |= words
        frequent = [written[term] for term, _ in counted.most_common(FREQUENT_WORDS)]
        return [" ".join(pair) for pair in combinations(frequent, 2)]


@lru_cache(maxsize=1)
def corpus_of(dataset: Dataset) -> Corpus:
    """To read all texts takes seconds."""
    return Corpus(dataset)


def terms_of(text: str) -> list[str]:
    return list(terms(text, LANGUAGE))


def _words(text: str) -> dict[str, str]:
    """By their terms; what is no term, or several, is left out."""
    return {found[0]: word for word in text.split() if len(found := terms_of(word)) == 1}
