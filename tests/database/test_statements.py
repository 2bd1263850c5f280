"""What is compiled once is what would be compiled each time."""

from typing import Any

import pytest
import sqlalchemy as sa
from hypothesis import given, settings

import app.database.statements
from app.database.statements import Statement, compiled, compiled_once
from app.filters.parse import parse_filter
from tests.filters.documents import FORMS
from tests.filters.test_semantics import filters

number, text = sa.column("number", sa.Integer), sa.column("text", sa.Text)


@settings(deadline=None, max_examples=300)
@given(filters)
def test_conditions_of_any_filter(document: dict[str, Any]) -> None:
    """One after the other, so that most find those of another filter."""
    node = parse_filter(document, ())
    for conditions in FORMS.values():
        for condition in conditions(node):
            # By repr, since 1 and true are equal in Python.
            assert repr(compiled_once(condition)) == repr(compiled(condition))


def test_the_text_is_kept_and_the_values_are_not() -> None:
    first, second = (compiled_once(sa.and_(number == value, text == "a")) for value in (1, 2))
    assert first.text is second.text
    assert (first.values, second.values) == ({"number_1": 1, "text_1": "a"}, {"number_1": 2, "text_1": "a"})


def test_a_value_that_stands_in_several_places_is_bound_in_each() -> None:
    for value in (5, 7):
        twice = sa.literal(value)
        assert compiled_once(sa.or_(twice == number, twice < number)) == Statement(
            "%(param_1)b::INTEGER = number OR %(param_1)b::INTEGER < number", {"param_1": value}
        )


def test_what_differs_in_more_than_values_is_something_else() -> None:
    alike = [number == 1, number < 1, text == "1", sa.literal(1) == number, sa.literal(1, sa.BigInteger) == number]
    assert [compiled_once(condition) for condition in alike] == [compiled(condition) for condition in alike]


@pytest.fixture
def kept(monkeypatch: pytest.MonkeyPatch) -> dict[Any, Any]:
    kept: dict[Any, Any] = {}
    monkeypatch.setattr(app.database.statements, "_kept", kept)
    return kept


def test_what_was_kept_first_makes_room(kept: dict[Any, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(app.database.statements, "MAX_KEPT", 2)
    for condition in (number == 1, number < 1, number == 2, number > 1):
        compiled_once(condition)
    assert [form.text for form in kept.values()] == [f"number {sign} %(number_1)b::INTEGER" for sign in "<>"]


def test_long_texts_are_not_kept(kept: dict[Any, Any]) -> None:
    long = sa.or_(*(text == "a" for _ in range(200)))
    assert compiled_once(long) == compiled(long)
    assert kept == {}
