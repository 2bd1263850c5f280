"""From text to terms: what is indexed, and what is looked for.

Words end where Unicode's default word boundaries say (UAX 29, without its colon); case and the compatible forms of
letters are folded; the languages that have one go through their Snowball stemmer.  Chinese, Japanese and Korean do not
write where a word ends: of these scripts every pair of neighbouring characters is a term, in every language.
"""

import unicodedata
from collections import Counter
from collections.abc import Iterable, Iterator
from functools import lru_cache
from itertools import pairwise
from typing import Literal, get_args

import regex
import Stemmer

from app.full_text.stop_words import stop_words

Language = Literal["en", "fr", "es", "pt", "it", "de", "nl", "zh", "ja", "ko"]
LANGUAGES = get_args(Language)

# An index whose terms were made by another version is built anew: whoever changes what comes out here raises it.
VERSION = 1

MAX_TERM_CHARACTERS = 255

_STEMMERS = {
    "en": "english",
    "fr": "french",
    "es": "spanish",
    "pt": "portuguese",
    "it": "italian",
    "de": "german",
    "nl": "dutch",
}
_ELIDING = {"fr", "it"}
"""Where an apostrophe ends a word: l'avion, dell'arte."""

_PAIRED = r"\p{Han}\p{Hiragana}\p{Katakana}\p{Hangul}ー"
_LETTER = rf"[[\p{{L}}\p{{N}}\p{{M}}_]--[{_PAIRED}]]"
_WORD = rf"{_LETTER}+(?:(?<=\p{{L}}\p{{M}}*)['.·](?=\p{{L}}){_LETTER}+|(?<=\p{{N}})['.,;](?=\p{{N}}){_LETTER}+)*"
_TOKENS = regex.compile(rf"(?V1)(?P<paired>[{_PAIRED}]+)|{_WORD}")
_APOSTROPHES = str.maketrans("’＇", "''")  # noqa: RUF001 - they are what is meant


def terms(text: str, language: Language | None) -> Iterator[str]:
    """In their order, as often as they come; `language` None is the standard analyzer, which does not stem."""
    folded = unicodedata.normalize("NFKC", text).casefold().translate(_APOSTROPHES)
    if language in _ELIDING:
        folded = folded.replace("'", " ")
    stopped = stop_words(language) if language else frozenset()
    for token in _TOKENS.finditer(folded):
        if token["paired"]:
            yield from _pairs(token["paired"])
        elif (word := token[0]) not in stopped:
            yield from _cut(stem(word, language))


def count_terms(texts: Iterable[str], language: Language | None) -> Counter[str]:
    return Counter(term for text in texts for term in terms(text, language))


@lru_cache(maxsize=20_000)
def stem(word: str, language: Language | None) -> str:
    """A stemmer is no longer in use when this returns, so that none is used by two at once."""
    name = _STEMMERS.get(language or "")
    stemmed: str = _stemmer(name).stemWord(word) if name else word
    return stemmed


@lru_cache
def _stemmer(name: str) -> Stemmer.Stemmer:
    return Stemmer.Stemmer(name, 0)


def _pairs(characters: str) -> Iterator[str]:
    if len(characters) == 1:
        yield characters
    for first, second in pairwise(characters):
        yield first + second


def _cut(word: str) -> Iterator[str]:
    """What is longer than any word comes in pieces: PostgreSQL's indexes bear no entry of any length."""
    for start in range(0, len(word), MAX_TERM_CHARACTERS):
        yield word[start : start + MAX_TERM_CHARACTERS]
