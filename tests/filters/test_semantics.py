"""Compiled filters run in PostgreSQL choose what the reference evaluator chooses."""

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sqlalchemy import Connection

from app.filters.compile import MAX_COMPARED
from app.limits import MAX_FILTER_CONSTRAINTS
from tests.filters.documents import chosen, fill
from tests.filters.reference import constraints, matches

Document = dict[str, Any]

# Few, so that generated filters and metadata meet; not all of them have range indexes.
KEYS = ["a", "a.b", 'q"']
# So many that they are looked up in a hash table.
ABSENT = [f"absent {number}" for number in range(MAX_COMPARED)]
STRINGS = ["", "a", "ab", "5", "true", '"', "\\", "%", "a%", "a_", "ä", "a\u0308"]
NUMBERS = [0, -0.0, 1, 1.0, 5, 1e23, 10**23, 1e300, 5e-324, 2**53 + 1, -(2**64) - 1]

TEXTS = [
    "",
    "a.b",
    "a-b",
    "a b",
    "*",
    "ключ",
    "😀",
    "\x01\n\u2028",
    'a"b',
    "a'b",
    "\\",
    "\\u0041",
    "%s %(a)s",
    ":param",
    "' OR true --",
    "'; DROP TABLE documents; --",
    '" || true || $."a',
    '" ? (@ > 0) . **',
]

# Each row: metadata, the filters that match it, the filters that do not.
CASES: dict[str, tuple[Document, list[Document], list[Document]]] = {
    "a list matches on any element": (
        {"a": ["x", "y"]},
        [{"a": "x"}, {"a": {"$eq": "y"}}, {"a": {"$in": ["z", "y"]}}, {"a": {"$startsWith": "y"}}],
        [{"a": "z"}, {"a": {"$ne": "x"}}, {"a": {"$nin": ["z", "y"]}}, {"a": {"$startsWith": "z"}}],
    ),
    "a range looks for any element, and each bound for its own": (
        {"a": [1, 9]},
        [{"a": {"$gt": 8}}, {"a": {"$lt": 2}}, {"a": {"$gt": 4, "$lt": 6}}],
        [{"a": {"$gt": 9}}, {"a": {"$lt": 1}}],
    ),
    "a number is not its text": (
        {"a": 5, "b": "5"},
        [{"a": 5}, {"b": "5"}, {"a": {"$ne": "5"}}],
        [{"a": "5"}, {"b": 5}, {"a": {"$startsWith": "5"}}, {"b": {"$gte": 5}}],
    ),
    "true is neither 1 nor its text": (
        {"a": True, "b": 1},
        [{"a": True}, {"b": 1}, {"a": {"$nin": [1, "true"]}}],
        [{"a": 1}, {"a": "true"}, {"b": True}, {"a": {"$gte": 0}}],
    ),
    "1 is 1.0": (
        {"a": 1, "b": 1.0},
        [{"a": 1.0}, {"b": 1}, {"a": {"$lte": 1.0}}, {"b": {"$in": [1]}}],
        [{"a": {"$ne": 1.0}}, {"b": {"$gt": 1}}],
    ),
    "many values are looked up by type and number as well": (
        {"a": 5, "b": ["x", "y"], "c": "5"},
        [
            {"a": {"$in": [*ABSENT, 5.0]}},
            {"a": {"$nin": [*ABSENT, "5"]}},
            {"b": {"$in": [*ABSENT, "y"]}},
            {"c": {"$nin": [*ABSENT, 5]}},
            {"d": {"$nin": ABSENT + ABSENT}},
        ],
        [{"a": {"$nin": [*ABSENT, 5.0]}}, {"b": {"$nin": [*ABSENT, "y"]}}, {"d": {"$in": [*ABSENT, 5]}}],
    ),
    "tests of one key are not one test of a list": (
        {"a": [1, 9]},
        [{"$and": [{"a": 1}, {"a": 9}]}, {"$or": [{"a": 2}, {"a": 9}]}, {"$and": [{"a": {"$ne": 2}}, {"a": 1}]}],
        [
            {"$or": [{"a": 2}, {"a": 3}]},
            {"$and": [{"a": {"$ne": 1}}, {"a": {"$ne": 2}}]},
            {"$and": [{"a": 1}, {"a": 2}]},
        ],
    ),
    "strings are compared by case and in full": (
        {"a": "Jazz"},
        [{"a": "Jazz"}, {"a": {"$startsWith": "Ja"}}, {"a": {"$startsWith": ""}}],
        [{"a": "jazz"}, {"a": "Ja"}, {"a": {"$startsWith": "ja"}}, {"a": {"$startsWith": "J%"}}],
    ),
    "a prefix is only text, whatever it holds": (
        {"a": r"100%_\x", "b": "ключ 😀", "c": ["", "x", "ärger"], "d": 100, "e": [1, 2], "f": False},
        [
            *({"a": {"$startsWith": r"100%_\x"[:length]}} for length in range(8)),
            *({"b": {"$startsWith": "ключ 😀"[:length]}} for length in range(7)),
            {"c": {"$startsWith": "ä"}},
            {"c": {"$startsWith": ""}},
            {"$and": [{"a": {"$startsWith": "1"}}, {"c": {"$startsWith": "ärg"}}]},
            {"$or": [{"d": {"$startsWith": "1"}}, {"b": {"$startsWith": "кл"}}]},
        ],
        [
            {"a": {"$startsWith": "%"}},
            {"a": {"$startsWith": "100__"}},
            {"a": {"$startsWith": r"100%\_"}},
            {"a": {"$startsWith": r"100%_\\"}},
            {"a": {"$startsWith": r"100%_\x "}},
            {"b": {"$startsWith": "Ключ"}},
            {"b": {"$startsWith": "ключ 😁"}},
            {"c": {"$startsWith": "a"}},
            {"c": {"$startsWith": "a\u0308"}},
            {"d": {"$startsWith": ""}},
            {"e": {"$startsWith": ""}},
            {"f": {"$startsWith": "f"}},
            {"g": {"$startsWith": ""}},
        ],
    ),
    "a range of another type is no match, not an error": (
        {"a": "x", "b": ["x"], "c": False},
        [{"$or": [{"a": {"$gt": 0}}, {"c": False}]}],
        [{"a": {"$gt": 0}}, {"b": {"$lt": 0}}, {"c": {"$lte": 0}}, {"$and": [{"a": {"$gt": 0}}, {"c": False}]}],
    ),
    "a missing key matches only what is negative": (
        {},
        [{"a": {"$ne": 1}}, {"a": {"$nin": [1]}}, {"a": {"$exists": False}}],
        [{"a": 1}, {"a": {"$gte": 0}}, {"a": {"$startsWith": ""}}, {"a": {"$exists": True}}],
    ),
    "a key exists whatever its value": (
        {"a": False, "b": "", "c": 0},
        [{"a": {"$exists": True}}, {"b": {"$exists": True}}, {"c": {"$exists": True}}],
        [{"a": {"$exists": False}}, {"b": {"$exists": False}}, {"c": {"$exists": False}}],
    ),
    "a dot is not a path": (
        {"a.b": 5},
        [{"a.b": 5}, {"a.b": {"$gte": 5}}, {"a.b": {"$exists": True}}],
        [{"a": {"$exists": True}}, {"a": 5}, {"b": 5}],
    ),
    "large numbers keep all their digits": (
        {"a": 2**53 + 1, "b": 1e300},
        [{"a": 2**53 + 1}, {"a": {"$gt": 2**53}}, {"b": 10**300}, {"b": {"$lt": 1.1e300}}],
        [{"a": 2**53}, {"a": {"$lte": 2**53}}, {"b": {"$gt": 1e300}}],
    ),
}

keys = st.sampled_from(KEYS)
strings = st.sampled_from(STRINGS) | st.text(st.characters(codec="utf-8", exclude_characters="\0"), max_size=5)
numbers = st.sampled_from(NUMBERS) | st.integers() | st.floats(allow_nan=False, allow_infinity=False)
scalars = strings | numbers | st.booleans()
lists = st.builds(
    lambda values, others: values + others,
    st.lists(scalars, min_size=1, max_size=3),
    st.sampled_from([[], ABSENT]),
)
metadata = st.dictionaries(
    keys, scalars | st.lists(strings, min_size=1, max_size=3) | st.lists(numbers, min_size=1, max_size=3), max_size=4
)
tests = st.fixed_dictionaries(
    {},
    optional={
        "$eq": scalars,
        "$ne": scalars,
        "$gt": numbers,
        "$gte": numbers,
        "$lt": numbers,
        "$lte": numbers,
        "$in": lists,
        "$nin": lists,
        "$exists": st.booleans(),
        "$startsWith": strings,
    },
).filter(bool)
fields = st.dictionaries(keys, scalars | tests, min_size=1, max_size=1)
filters = st.recursive(
    fields,
    lambda inner: st.dictionaries(
        st.sampled_from(["$and", "$or"]), st.lists(inner, min_size=1, max_size=3), min_size=1, max_size=1
    ),
    max_leaves=6,
).filter(lambda document: constraints(document) <= MAX_FILTER_CONSTRAINTS)


@pytest.mark.parametrize("name", CASES)
def test_named_cases(connection: Connection, name: str) -> None:
    stored, matching, others = CASES[name]
    fill(connection, [stored])
    for expected, filters_of_case in [([0], matching), ([], others)]:
        for document in filters_of_case:
            assert chosen(connection, document) == expected, document
            assert matches(document, stored) is bool(expected), document


@pytest.mark.parametrize("text", TEXTS)
def test_any_text_is_only_data(connection: Connection, text: str) -> None:
    rows: list[Document] = [{text: text}, {text: ["x", text]}, {text: 5}, {text + "~": text}, {"~": "~", "a": 5}]
    fill(connection, rows)
    for test in [{"$eq": text}, {"$ne": text}, {"$startsWith": text}, {"$gte": 5}, {"$exists": False}]:
        assert chosen(connection, {text: test}) == [i for i, row in enumerate(rows) if matches({text: test}, row)]


@settings(deadline=None, max_examples=300)
@given(st.lists(metadata, min_size=1, max_size=20), filters)
def test_reference(connection: Connection, rows: list[Document], document: Document) -> None:
    fill(connection, rows)
    assert chosen(connection, document) == [i for i, row in enumerate(rows) if matches(document, row)]
