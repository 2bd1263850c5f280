from datetime import UTC, datetime, timedelta

import pytest

from app.errors import ValidationException
from app.page_tokens import LIFETIME, PageTokens

NOW = datetime(2026, 1, 1, tzinfo=UTC)
TOKENS = PageTokens(b"k" * 32)
BOUND = ("ListIndexes", "arn", "prefix")


def test_a_token_opens_for_the_request_it_was_sealed_for() -> None:
    assert TOKENS.open(TOKENS.seal("after", BOUND, NOW), str, BOUND, NOW) == "after"


def test_it_tells_nothing_and_is_never_the_same() -> None:
    assert "after" not in TOKENS.seal("after", BOUND, NOW)
    assert TOKENS.seal("after", BOUND, NOW) != TOKENS.seal("after", BOUND, NOW)


def test_a_changed_character_is_noticed_wherever_it_stands() -> None:
    token = TOKENS.seal("after", BOUND, NOW)
    for i, character in enumerate(token[:-1]):  # the last one carries bits that base64 ignores
        changed = token[:i] + ("A" if character != "A" else "B") + token[i + 1 :]
        with pytest.raises(ValidationException, match="Invalid nextToken"):
            TOKENS.open(changed, str, BOUND, NOW)


@pytest.mark.parametrize("length", [0, 1, 11, 12, 27])
def test_a_truncated_token_is_refused(length: int) -> None:
    with pytest.raises(ValidationException):
        TOKENS.open(TOKENS.seal("after", BOUND, NOW)[:length], str, BOUND, NOW)


def test_another_request_another_key_and_a_later_day_are_refused() -> None:
    token = TOKENS.seal("after", BOUND, NOW)
    late = NOW + LIFETIME + timedelta(seconds=2)
    attempts = ((TOKENS, ("ListIndexes", "arn", ""), NOW), (PageTokens(b"x" * 32), BOUND, NOW), (TOKENS, BOUND, late))
    for tokens, bound_to, now in attempts:
        with pytest.raises(ValidationException):
            tokens.open(token, str, bound_to, now)


def test_a_token_may_have_a_lifetime_of_its_own() -> None:
    token, minutes = TOKENS.seal("after", BOUND, NOW), timedelta(minutes=10)
    assert TOKENS.open(token, str, BOUND, NOW + minutes, minutes) == "after"
    with pytest.raises(ValidationException, match="Invalid nextToken"):
        TOKENS.open(token, str, BOUND, NOW + minutes + timedelta(seconds=1), minutes)


def test_documents_are_the_same_in_any_order_of_their_keys() -> None:
    token = TOKENS.seal("after", [{"a": 1, "b": {"c": 2, "d": 3}}], NOW)
    assert TOKENS.open(token, str, [{"b": {"d": 3, "c": 2}, "a": 1}], NOW) == "after"
    with pytest.raises(ValidationException):
        TOKENS.open(token, str, [{"b": {"d": 3, "c": 2.0}, "a": 1}], NOW)


def test_the_longest_key_fits_the_longest_token_of_list_vectors() -> None:
    assert len(TOKENS.seal((-(2**63), "中" * 341), BOUND, NOW)) <= 2048
    assert len(TOKENS.seal("n" * 63, BOUND, NOW)) <= 512
