"""A filter that is kept is the one that was asked, whatever was asked before."""

from typing import Any

import pytest
from msgspec.structs import replace

from app.database.catalog import Index
from app.database.filter_conditions import MAX_KEPT, MAX_KEPT_CHARACTERS, Use, conditions_of, filtered
from app.database.statements import Statement, compiled, renamed
from app.database.vector_table import table_of
from app.filters.compile import compile_filter, compile_parts, compile_row_filter
from app.filters.nodes import RangeKey
from app.filters.parse import parse_filter
from tests.database.conftest import Library

RANGED_KEYS = frozenset({RangeKey("a", "number"), RangeKey("a", "string")})
# To Python those of a line are equal, or nearly so.
ALIKE: list[dict[str, Any]] = [
    *({"a": {"$eq": value}} for value in (1, True, 1.0, "1", "true")),
    *({"a": {"$eq": value}} for value in (0, False, -0.0, "")),
    *({"a": {operator: [1, 2]}} for operator in ("$in", "$nin")),
    *({"a": {"$in": values}} for values in ([1, True], [True, 1], ["1, 2"], ["1", "2"])),
    *({operator: [{"a": 1}, {"b": 2}]} for operator in ("$and", "$or")),
    *({"a": {operator: 1}} for operator in ("$lt", "$lte", "$gt", "$gte")),
    *({"a": {"$exists": value}} for value in (True, False)),
    *({"a": {"$startsWith": prefix}} for prefix in ("b", "B", "b'", 'b"')),
]


@pytest.fixture
async def index(library: Library) -> Index:
    return await library.create_index(1)


def made_anew(index: Index, document: dict[str, Any], use: Use) -> tuple[Statement, ...]:
    node, metadata = parse_filter(document, ()), table_of(index).c.metadata
    conditions = {
        Use.FIRST: [compile_filter(node, metadata, index.ranged_keys)],
        Use.PARTS: compile_parts(node, metadata, index.ranged_keys),
        Use.ROW_BY_ROW: [compile_row_filter(node, metadata)],
    }[use]
    return tuple(renamed(compiled(condition), f"filter_{number}_") for number, condition in enumerate(conditions))


@pytest.mark.parametrize("use", Use)
@pytest.mark.parametrize("ranged_keys", [frozenset(), RANGED_KEYS], ids=["without range indexes", "with range indexes"])
def test_conditions_are_those_of_the_filter(index: Index, use: Use, ranged_keys: frozenset[RangeKey]) -> None:
    index = replace(index, ranged_keys=ranged_keys)
    for _ in range(2):
        for document in ALIKE:
            assert repr(conditions_of(index, parse_filter(document, ()), use)) == repr(made_anew(index, document, use))


def test_a_filter_that_is_asked_again_is_compiled_once(index: Index) -> None:
    asked = [conditions_of(index, parse_filter({"$or": [{"a": 1}, {"a": 2}]}, ()), Use.FIRST) for _ in range(2)]
    assert asked[0] is asked[1]
    assert conditions_of(index, parse_filter({"a": {"$in": [1, 2]}}, ()), Use.FIRST) is asked[0]


async def test_each_index_has_conditions_of_its_own(library: Library) -> None:
    node = parse_filter({"a": 1}, ())
    of_two = [conditions_of(await library.create_index(1, name=f"index-{i}"), node, Use.FIRST) for i in (1, 2)]
    assert of_two[0] != of_two[1]


def test_long_filters_are_not_kept(index: Index) -> None:
    node = parse_filter({"a": {"$eq": "x" * MAX_KEPT_CHARACTERS}}, ())
    asked = [conditions_of(index, node, Use.FIRST) for _ in range(2)]
    assert asked[0] == asked[1]
    assert asked[0] is not asked[1]


def test_what_was_not_asked_for_longest_makes_room(index: Index) -> None:
    first, asked_between = (parse_filter({"a": value}, ()) for value in ("first", "asked between"))
    kept = [conditions_of(index, node, Use.FIRST) for node in (first, asked_between)]
    for number in range(MAX_KEPT - 1):
        conditions_of(index, asked_between, Use.FIRST)
        conditions_of(index, parse_filter({"a": number}, ()), Use.FIRST)
    assert conditions_of(index, asked_between, Use.FIRST) is kept[1]
    assert conditions_of(index, first, Use.FIRST) is not kept[0]


def test_what_is_kept_is_not_changed_by_who_uses_it(index: Index) -> None:
    conditions = conditions_of(index, parse_filter({"a": 1}, ()), Use.FIRST)
    before = repr(conditions)
    statement = filtered(Statement("SELECT WHERE $filter$", {"other": 1}), conditions)
    assert statement.text.startswith("SELECT WHERE (")
    assert statement.values.keys() == {"other", *conditions[0].values}
    assert repr(conditions) == before
