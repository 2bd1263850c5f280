import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.policy.patterns import ANY, ONE, _automaton, matcher, with_wildcards


def reference(pattern: str, text: str) -> bool:
    """Row by row: `reached[n]` says whether what was read of the pattern matches the first n characters."""
    reached = [True] + [False] * len(text)
    for symbol in pattern:
        if symbol == ANY:
            reached = [any(reached[: n + 1]) for n in range(len(reached))]
        else:
            reached = [False] + [r and symbol in (ONE, c) for r, c in zip(reached, text, strict=False)]
    return reached[-1]


# Each row: a pattern, the texts that match it, the texts that do not.
CASES: dict[str, tuple[str, list[str], list[str]]] = {
    "no wildcard": ("abc", ["abc"], ["", "ab", "abcd", "ABC"]),
    "nothing": ("", [""], ["a"]),
    "any text": ("*", ["", "a", "a:b/c", "*"], []),
    "one character": ("?", ["a", "?", "é", "😀"], ["", "ab"]),
    "front": ("*c", ["c", "abc"], ["", "cd"]),
    "back": ("a*", ["a", "abc"], ["", "ba"]),
    "middle": ("a*c", ["ac", "abcc", "abbc"], ["a", "c", "acb"]),
    "both ends do not overlap": ("ab*ba", ["abba", "abxba"], ["aba", "ab", "ba"]),
    "parts come in order": ("*a*b*", ["ab", "xaybz"], ["ba", "a", "b"]),
    "the last part is not the first one that fits": ("*ab*abc", ["ababc", "abababc"], ["abc", "abab"]),
    "parts do not overlap": ("*aa*aa*", ["aaaa", "aa-aa"], ["aaa"]),
    "stars in a row": ("a***b", ["ab", "axb"], ["a"]),
    "at least two": ("??*", ["ab", "abc"], ["", "a"]),
    "one among any": ("a*?c", ["abc", "abbc", "a?c"], ["ac"]),
    "ones between": ("a?c?e", ["abcde"], ["abcd", "acce", "abcdef"]),
    "star and one": ("*?*", ["a", "ab"], [""]),
    "dots and brackets are text": ("a.[b]+", ["a.[b]+"], ["axb"]),
    "lines are text": ("a*b?c", ["a\nb\nc"], ["a\nbc"]),
}


@pytest.mark.parametrize("name", CASES)
def test_wildcards(name: str) -> None:
    pattern, matching, others = CASES[name]
    for expected, texts in [(True, matching), (False, others)]:
        for text in texts:
            assert matcher(with_wildcards(pattern))(text) is expected, text
            assert reference(with_wildcards(pattern), text) is expected, text


@pytest.mark.parametrize("character", "*?")
def test_what_is_no_wildcard_is_a_character(character: str) -> None:
    assert matcher(character)(character)
    assert not matcher(character)("a")
    assert matcher(f"{ONE}{character}{ANY}")(f"a{character}a")


patterns = st.text(st.sampled_from(["a", "b", ANY, ONE]), max_size=12)
texts = st.text(st.sampled_from("ab"), max_size=16)


@given(patterns, texts)
def test_both_implementations_do_what_the_reference_does(pattern: str, text: str) -> None:
    assert matcher(pattern)(text) is _automaton(pattern)(text) is reference(pattern, text)


@given(st.text(), st.text())
def test_any_text_is_matched_by_itself_and_only_by_itself(text: str, other: str) -> None:
    assert matcher(text)(text)
    assert _automaton(text)(text)
    assert matcher(text)(other) is _automaton(text)(other) is (text == other)


# These take a matcher that backtracks longer than anyone waits.
@pytest.mark.parametrize(
    "pattern",
    [
        pytest.param("*a" * 10_000 + "*b", id="ever more of the same letter"),
        pytest.param("*" * 20_000 + "b", id="stars"),
        pytest.param("*?" * 10_000, id="more ones than letters"),
        pytest.param("*?a" * 5_000 + "b", id="ones between"),
        pytest.param("?" * 16_384 + "b", id="ones"),
        pytest.param("*" + "a" * 8_000 + "b" + "a" * 8_000 + "*", id="a long part that almost fits"),
    ],
)
@pytest.mark.parametrize("text", [pytest.param("a" * 16_384, id="same"), pytest.param("ab" * 8_192, id="changing")])
def test_no_pattern_takes_forever(pattern: str, text: str) -> None:
    for match in (matcher(with_wildcards(pattern)), _automaton(with_wildcards(pattern))):
        assert match(text) in {True, False}
