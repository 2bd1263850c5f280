# ruff: noqa: RUF001 - ambiguous letters are what an analyzer is about
import pytest

from app.full_text.analyzer import LANGUAGES, MAX_TERM_CHARACTERS, VERSION, Language, count_terms, terms
from app.full_text.stop_words import stop_words


@pytest.mark.parametrize(
    ("language", "text", "expected"),
    [
        (None, "Real-time strategy, 2nd EDITION", "real time strategy 2nd edition"),
        (None, "node.js v1.2.3 costs $3,141.59 in the U.S.A.", "node.js v1.2.3 costs 3,141.59 in the u.s.a"),
        (None, "End.Begin snake_case key:value", "end.begin snake_case key value"),
        (None, "ＦＵＬＬ ｗｉｄｔｈ ﬁne", "full width fine"),
        (None, "café CAFE\u0301 naïve", "café café naïve"),
        (None, "हिन्दी में खोज", "हिन्दी में खोज"),
        (None, "Привет, мир!", "привет мир"),
        (None, "!? -- …", ""),
        (None, "", ""),
        ("en", "The dog's quick foxes can't jump", "dog quick fox can't jump"),
        ("en", "The dog’s running", "dog run"),
        ("fr", "L'avion d’Air France n'arrive pas aujourd'hui", "avion air franc arriv aujourd hui"),
        ("es", "Las canciones más populares", "cancion popular"),
        ("pt", "As bibliotecas não estavam abertas", "bibliotec estav abert"),
        ("it", "L'arte dell'antica città", "arte antic citt"),
        ("de", "Straßenbahnen fahren über die Häuser", "strassenbahn fahr haus"),
        ("nl", "De snelle fietsen van het meisje", "snel fiets meis"),
        (
            "ja",
            "東京都に行きました。C++とpython3を使う",
            "東京 京都 都に に行 行き きま まし した c と python3 を使 使う",
        ),
        ("zh", "全文搜索引擎", "全文 文搜 搜索 索引 引擎"),
        ("ko", "한국어 검색", "한국 국어 검색"),
        ("zh", "水", "水"),
        ("en", "search 全文搜索 engines", "search 全文 文搜 搜索 engin"),
    ],
)
def test_a_text_becomes_terms(language: Language | None, text: str, expected: str) -> None:
    assert " ".join(terms(text, language)) == expected, f"what comes out has changed: raise VERSION above {VERSION}"


def test_terms_are_counted_over_all_texts() -> None:
    assert count_terms(["games and a game", "gaming"], "en") == {"game": 3}


def test_what_is_longer_than_any_word_comes_in_pieces_that_an_index_bears() -> None:
    pieces = list(terms("x" * (2 * MAX_TERM_CHARACTERS + 1), None))
    assert [len(piece) for piece in pieces] == [MAX_TERM_CHARACTERS, MAX_TERM_CHARACTERS, 1]


@pytest.mark.parametrize("language", LANGUAGES)
def test_stop_words_are_no_terms(language: Language) -> None:
    assert list(terms(" ".join(sorted(stop_words(language))), language)) == []


def test_every_language_that_writes_words_has_stop_words() -> None:
    assert {language for language in LANGUAGES if not stop_words(language)} == {"zh", "ja", "ko"}
