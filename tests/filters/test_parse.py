import json
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from app.errors import ValidationException, ValidationExceptionField
from app.filters.nodes import And, Bound, Exists, In, Node, NotIn, Or, Range, RangeKey, StartsWith, range_keys
from app.filters.parse import parse_filter
from app.index_modes import IndexMode
from app.limits import MAX_CLASSIC_FILTER_CONSTRAINTS, MAX_FILTER_CONSTRAINTS, MAX_FILTER_DEPTH

A = In("a", (1,))

ACCEPTED: list[tuple[str, Node]] = [
    ('{"genre": "jazz"}', In("genre", ("jazz",))),
    ('{"year": 1959}', In("year", (1959,))),
    ('{"live": true}', In("live", (True,))),
    ('{"genre": {"$eq": ""}}', In("genre", ("",))),
    ('{"genre": {"$ne": "jazz"}}', NotIn("genre", ("jazz",))),
    ('{"year": {"$gt": 1959}}', Range("year", (Bound(">", 1959),))),
    ('{"year": {"$gte": 1959.5}}', Range("year", (Bound(">=", 1959.5),))),
    ('{"year": {"$lt": -1}}', Range("year", (Bound("<", -1),))),
    ('{"year": {"$lte": 1e300}}', Range("year", (Bound("<=", 1e300),))),
    ('{"genre": {"$in": ["jazz", 5, 1.5, false]}}', In("genre", ("jazz", 5, 1.5, False))),
    ('{"genre": {"$nin": ["jazz"]}}', NotIn("genre", ("jazz",))),
    ('{"genre": {"$exists": true}}', Exists("genre", present=True)),
    ('{"genre": {"$exists": false}}', Exists("genre", present=False)),
    ('{"title": {"$startsWith": "So W"}}', StartsWith("title", "So W")),
    ('{"n": {"$gte": 0, "$lte": 5}}', Range("n", (Bound(">=", 0), Bound("<=", 5)))),
    ('{"n": {"$exists": true, "$ne": 5}}', And((Exists("n", present=True), NotIn("n", (5,))))),
    ('{"$and": [{"a": 1}]}', A),
    ('{"$or": [{"a": 1}, {"$and": [{"a": 1}, {"b": 1}]}]}', Or((A, And((A, In("b", (1,))))))),
    ('{"$or": [{"$or": [{"a": 1}, {"a": 2}]}, {"a": {"$in": [1, true]}}]}', In("a", (1, 2, True))),
    ('{"": "x"}', In("", ("x",))),
    ('{"loc.page": 5}', In("loc.page", (5,))),
    ('{"a": "NaN"}', In("a", ("NaN",))),
    ('{"a": 18446744073709551617}', In("a", (2**64 + 1,))),
    (r'{"a": "\ud83d\ude00"}', In("a", ("😀",))),
]

REFUSED = [
    "null",
    '"a"',
    "[]",
    "{}",
    '{"a": 1, "b": 2}',
    '{"$and": [{"a": 1, "b": 2}]}',
    '{"$and": [{"a": 1}], "b": "x"}',
    '{"$and": [{"a": 1}], "$or": [{"a": 1}]}',
    '{"$and": []}',
    '{"$or": {}}',
    '{"$or": {"a": 1}}',
    '{"$or": [1]}',
    '{"$or": [{}]}',
    '{"a": null}',
    '{"a": ["x"]}',
    '{"a": {}}',
    '{"a": {"x": 1}}',
    '{"a": {"$eq": "a", "x": 1}}',
    '{"a": {"$and": [{"b": 1}]}}',
    '{"a": {"$eg": 1}}',
    '{"a": {"$not": {"$eq": 1}}}',
    '{"a": {"$regex": "x"}}',
    '{"$schema": "x"}',
    '{"$eq": 1}',
    '{"$not": {"a": 1}}',
    '{"$nor": [{"a": 1}]}',
    '{"a": {"$eq": null}}',
    '{"a": {"$eq": ["x"]}}',
    '{"a": {"$eq": {"b": 1}}}',
    '{"a": {"$ne": null}}',
    '{"a": {"$gt": "5"}}',
    '{"a": {"$gt": "NaN"}}',
    '{"a": {"$gte": true}}',
    '{"a": {"$lt": null}}',
    '{"a": {"$lte": [1]}}',
    '{"a": {"$in": []}}',
    '{"a": {"$in": "x"}}',
    '{"a": {"$in": [null]}}',
    '{"a": {"$in": [["x"]]}}',
    '{"a": {"$nin": [{"x": 1}]}}',
    '{"a": {"$nin": []}}',
    '{"a": {"$exists": 1}}',
    '{"a": {"$exists": "true"}}',
    '{"a": {"$startsWith": 1}}',
    '{"a": {"$startsWith": ["x"]}}',
    r'{"a\u0000": 1}',
    r'{"a": "\u0000"}',
    r'{"a": {"$in": ["x", "\u0000"]}}',
    r'{"a": {"$startsWith": "\u0000"}}',
    r'{"a": "\ud800"}',
    r'{"\udfff": 1}',
    '{"a": NaN}',
    '{"a": {"$in": [Infinity]}}',
    '{"a": {"$gt": -Infinity}}',
    pytest.param('{"a": 1' + "0" * 309 + "}", id="an integer that no double can hold"),
]

NON_FILTERABLE = [
    '{"text": "x"}',
    '{"text": {"$exists": true}}',
    '{"$and": [{"a": 1}, {"text": "x"}]}',
    '{"$or": [{"a": 1}, {"$and": [{"text": {"$ne": "x"}}]}]}',
]


@pytest.mark.parametrize(("text", "node"), ACCEPTED)
def test_accepted(text: str, node: Node) -> None:
    # By repr, since 1, 1.0 and true are equal in Python.
    assert repr(parse_filter(json.loads(text), ["text"])) == repr(node)


@pytest.mark.parametrize("text", REFUSED)
def test_refused(text: str) -> None:
    assert refusal(json.loads(text)) == "Invalid filter"


@pytest.mark.parametrize("text", NON_FILTERABLE)
def test_non_filterable_keys_are_refused_wherever_they_stand(text: str) -> None:
    assert refusal(json.loads(text)) == "Invalid use of non-filterable metadata in filter"


# By mode, how many constraints there may be.
BOUNDS = [(IndexMode.ENHANCED, MAX_FILTER_CONSTRAINTS), (IndexMode.CLASSIC, MAX_CLASSIC_FILTER_CONSTRAINTS)]
modes = pytest.mark.parametrize(("mode", "bound"), BOUNDS)

# So many constraints each.
COUNTED: list[tuple[Any, int]] = [
    ({"a": 1}, 1),
    ({"a": {"$ne": 1}}, 1),
    ({"a": {"$exists": False}}, 1),
    ({"a": {"$gte": 1, "$lt": 2}}, 2),
    ({"a": {"$in": [1, 2, 3]}}, 3),
    ({"a": {"$nin": [1, 1]}}, 2),
    ({"a": {"$in": [1, 2], "$exists": True}}, 3),
    ({"$and": [{"a": 1}, {"a": 1}]}, 2),
    ({"$or": [{"$and": [{"a": 1}, {"a": {"$in": [1, 2]}}]}, {"a": 1}]}, 4),
]


def too_many(bound: int) -> str:
    return f"The filter has more than {bound} constraints, of which each value that it compares is one"


@modes
@pytest.mark.parametrize(("document", "constraints"), COUNTED, ids=str)
def test_each_value_that_is_compared_is_a_constraint(
    document: Any, constraints: int, mode: IndexMode, bound: int
) -> None:
    """As many beside it as there may be, and one more."""
    rest = [{"b": 1}] * (bound - constraints)
    parse_filter({"$or": [document, *rest]}, (), mode)
    assert refusal({"$or": [document, *rest, {"b": 1}]}, mode) == too_many(bound)
    assert refusal({"$or": [{"b": 1}, *rest, document]}, mode) == too_many(bound)


@modes
def test_bounds_are_inclusive(mode: IndexMode, bound: int) -> None:
    parse_filter(nested(MAX_FILTER_DEPTH), (), mode)
    parse_filter({"a": {"$in": [1] * bound}}, (), mode)


def test_prefixes_are_of_enhanced_indexes_only() -> None:
    for document in ({"a": {"$startsWith": "x"}}, {"$or": [{"b": 1}, {"a": {"$exists": True, "$startsWith": ""}}]}):
        parse_filter(document, ())
        assert refusal(document, IndexMode.CLASSIC) == "Invalid filter"


@pytest.mark.parametrize("mode", IndexMode)
@pytest.mark.parametrize(
    "build",
    [
        pytest.param(lambda: nested(MAX_FILTER_DEPTH + 1), id="one level too deep"),
        pytest.param(lambda: nested(10_000), id="10,000 levels"),
        pytest.param(lambda: {"a": {f"${i}": 1 for i in range(100_000)}}, id="100,000 operators"),
    ],
)
def test_what_is_no_filter_is_refused_however_large(build: Callable[[], Any], mode: IndexMode) -> None:
    assert refusal(build(), mode) == "Invalid filter"


@modes
@pytest.mark.parametrize(
    "build",
    [
        pytest.param(lambda: {"$or": [{"a": 1}] * 10_000}, id="10,000 nodes"),
        pytest.param(lambda: {"$or": [{"a": {"$in": [1] * 100}}] * 100}, id="100 lists of 100 values"),
        pytest.param(lambda: {"a": {"$in": [1] * 100_000}}, id="$in of 100,000 values"),
    ],
)
def test_oversized_filters_are_refused(build: Callable[[], Any], mode: IndexMode, bound: int) -> None:
    assert refusal(build(), mode) == too_many(bound)


class Counted(list[Any]):
    """How much of it has been read."""

    read = 0

    def __iter__(self) -> Iterator[Any]:
        for item in super().__iter__():
            self.read += 1
            yield item


@modes
def test_oversized_filters_are_refused_before_they_have_been_read(mode: IndexMode, bound: int) -> None:
    operands, values = Counted([{"a": 1}] * 100_000), Counted([1] * 100_000)
    assert refusal({"$or": operands}, mode) == too_many(bound)
    assert operands.read == bound + 1
    assert refusal({"a": {"$in": values}}, mode) == too_many(bound)
    assert values.read == 0


def test_keys_of_ranges_are_found_wherever_they_stand() -> None:
    ranges = [{"a": {"$gt": 1}}, {"$and": [{"b": {"$gt": 0, "$lt": 9}}, {"c": 1}]}, {"d": {"$ne": 1}}]
    prefixes = [{"a": {"$startsWith": "x"}}, {"e": {"$startsWith": ""}}]
    expected = {RangeKey("a", "number"), RangeKey("b", "number"), RangeKey("a", "string")}
    assert range_keys(parse_filter({"$or": [*ranges, *prefixes]}, ())) == expected


def nested(depth: int) -> dict[str, Any]:
    document: dict[str, Any] = {"a": 1}
    for _ in range(depth - 1):
        document = {"$and": [document]}
    return document


def refusal(document: Any, mode: IndexMode = IndexMode.ENHANCED) -> str | None:
    with pytest.raises(ValidationException) as raised:
        parse_filter(document, ["text"], mode)
    error = raised.value
    assert error.field_list == (ValidationExceptionField("filter", str(error.message)),)
    return error.message
