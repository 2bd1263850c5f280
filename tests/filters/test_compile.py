"""The manual of the compiler: the SQL of every form, and the parameters beside it."""

import json
from typing import Any

import pytest
from sqlalchemy import column, create_engine
from sqlalchemy.dialects.postgresql import JSONB

from app.filters.compile import (
    MAX_COMPARED,
    compile_estimate,
    compile_filter,
    compile_row_filter,
)
from app.filters.jsonb import Condition
from app.filters.nodes import And, Bound, Exists, In, Node, NotIn, Or, Range, RangeKey, StartsWith
from app.filters.range_conditions import successor

DIALECT = create_engine("postgresql+psycopg://", paramstyle="format").dialect
METADATA = column("metadata", JSONB)

JAZZ = In("genre", ("jazz",))
OLD = Range("year", (Bound("<", 1960),))
RECENT = Range("year", (Bound(">=", 2000), Bound("<", 2010)))
LONG = tuple(range(MAX_COMPARED + 1))
TEXTS = [str(value) for value in LONG]

CONSTANT = "metadata @@ CAST(%s::VARCHAR AS JSONPATH)"
IN_GIN = "metadata @@ (SELECT CAST(%s::VARCHAR AS JSONPATH) AS anon_1)"
IN_DOCUMENTS = "metadata @> ANY (CAST((SELECT CAST(%s::TEXT[] AS JSONB[]) AS anon_1) AS JSONB[]))"
DOCUMENTS = [f'{{"n": {value}}}' for value in LONG] + [f'{{"n": [{value}]}}' for value in LONG]
AS_ROW = f"coalesce({CONSTANT}, false)"
VALUE = "CASE jsonb_typeof(metadata -> %s) WHEN 'number' THEN metadata -> %s WHEN 'array' THEN 'true'::jsonb END"
YEAR = ["year", "year"]
BEGINNING = (
    "CASE jsonb_typeof(metadata -> %s) WHEN 'string' THEN nullif(left(metadata ->> %s, 64), '')"
    " WHEN 'array' THEN '' END"
    ' COLLATE "C"'
)
TITLE = ["title", "title"]
RANGED_KEYS = [RangeKey("year", "number"), RangeKey("title", "string")]
HASHED = (
    "CASE jsonb_typeof(metadata -> %s) WHEN 'array' THEN EXISTS (SELECT 1"
    " FROM jsonb_array_elements(metadata -> %s) AS element"
    " WHERE element.value = ANY (CAST(%s::TEXT[] AS JSONB[])))"
    " ELSE (metadata -> %s) = ANY (CAST(%s::TEXT[] AS JSONB[])) END"
)
HASHED_LONG = ["n", "n", TEXTS, "n", TEXTS]

BY_INDEX: dict[str, tuple[Node, str, list[Any]]] = {
    "an equality": (JAZZ, IN_GIN, ['$."genre" == "jazz"']),
    "all of a conjunction that has one": (
        And((JAZZ, RECENT, Exists("a", present=False))),
        IN_GIN,
        ['($."genre" == "jazz") && ($."year" >= 2000 && $."year" < 2010) && (!exists($."a"))'],
    ),
    "a disjunction of nothing else": (
        Or((JAZZ, In("year", (1959,)))),
        IN_GIN,
        ['($."genre" == "jazz") || ($."year" == 1959)'],
    ),
    "not a disjunction of anything else": (Or((JAZZ, OLD)), AS_ROW, ['($."genre" == "jazz") || ($."year" < 1960)']),
    "not a negation": (NotIn("genre", ("jazz",)), AS_ROW, ['!exists($."genre" ? (@ == "jazz"))']),
    "not the beginning of a text": (StartsWith("genre", "j"), AS_ROW, ['$."genre" starts with "j"']),
    "many values by their documents, lists behind": (
        In("n", LONG),
        IN_DOCUMENTS,
        [DOCUMENTS],
    ),
    "many values among alternatives": (
        Or((In("a", (1,)), In("n", LONG))),
        IN_GIN,
        ['($."a" == 1) || (exists($."n" ? (' + " || ".join(f"@ == {value}" for value in LONG) + ")))"],
    ),
    "beside it what it does not serve": (
        And((In("n", LONG), OLD)),
        f"{AS_ROW} AND ({IN_DOCUMENTS})",
        ['$."year" < 1960', DOCUMENTS],
    ),
    "many values to leave out row by row": (
        And((JAZZ, NotIn("n", LONG))),
        f"({IN_GIN}) AND coalesce(NOT coalesce({HASHED}, false), false)",
        ['$."genre" == "jazz"', *HASHED_LONG],
    ),
}

BY_RANGE_INDEX: dict[str, tuple[Node, str, list[Any]]] = {
    "numbers below, and lists that are behind them": (
        OLD,
        f"(({VALUE} < CAST(%s::VARCHAR AS JSONB)) OR ({VALUE} = 'true'::jsonb)) AND {AS_ROW}",
        [*YEAR, "1960", *YEAR, '$."year" < 1960'],
    ),
    "numbers above, as far as the lists, and these": (
        Range("year", (Bound(">", 1960),)),
        f"(({VALUE} > CAST(%s::VARCHAR AS JSONB)) AND ({VALUE} < 'true'::jsonb) OR ({VALUE} = 'true'::jsonb))"
        f" AND {AS_ROW}",
        [*YEAR, "1960", *YEAR, *YEAR, '$."year" > 1960'],
    ),
    "both bounds as one range, beside what GIN serves": (
        And((JAZZ, RECENT)),
        f"(({VALUE} >= CAST(%s::VARCHAR AS JSONB)) AND ({VALUE} < CAST(%s::VARCHAR AS JSONB))"
        f" OR ({VALUE} = 'true'::jsonb)) AND ({IN_GIN})",
        [*YEAR, "2000", *YEAR, "2010", *YEAR, '($."genre" == "jazz") && ($."year" >= 2000 && $."year" < 2010)'],
    ),
    "an alternative": (
        Or((JAZZ, OLD)),
        f"({IN_GIN}) OR (({VALUE} < CAST(%s::VARCHAR AS JSONB)) OR ({VALUE} = 'true'::jsonb)) AND {AS_ROW}",
        ['$."genre" == "jazz"', *YEAR, "1960", *YEAR, '$."year" < 1960'],
    ),
    "texts that begin so, to the next that does not, and lists that stand for the empty one": (
        StartsWith("title", "So W"),
        f"(({BEGINNING} >= %s::VARCHAR) AND ({BEGINNING} < %s::VARCHAR) OR ({BEGINNING} = '')) AND {AS_ROW}",
        [*TITLE, "So W", *TITLE, "So X", *TITLE, '$."title" starts with "So W"'],
    ),
    "of a long beginning as much as the index has": (
        StartsWith("title", "😀" * 65),
        f"(({BEGINNING} >= %s::VARCHAR) AND ({BEGINNING} < %s::VARCHAR) OR ({BEGINNING} = '')) AND {AS_ROW}",
        [*TITLE, "😀" * 64, *TITLE, "😀" * 63 + "😁", *TITLE, '$."title" starts with ' + json.dumps("😀" * 65)],
    ),
    "not the empty beginning": (StartsWith("title", ""), AS_ROW, ['$."title" starts with ""']),
    "numbers and texts of one key apart": (
        And((StartsWith("year", "19"), OLD)),
        f"(({VALUE} < CAST(%s::VARCHAR AS JSONB)) OR ({VALUE} = 'true'::jsonb)) AND {AS_ROW}",
        [*YEAR, "1960", *YEAR, '($."year" starts with "19") && ($."year" < 1960)'],
    ),
    "other keys as before": (Range("size", (Bound("<", 5),)), AS_ROW, ['$."size" < 5']),
}

BY_ROW: dict[str, tuple[Node, str, list[Any]]] = {
    "one predicate for all": (
        Or((JAZZ, RECENT)),
        AS_ROW,
        ['($."genre" == "jazz") || ($."year" >= 2000 && $."year" < 2010)'],
    ),
    "many values by their hashes": (In("n", LONG), f"coalesce({HASHED}, false)", HASHED_LONG),
    "many values beside one predicate for the rest": (
        And((JAZZ, NotIn("n", LONG), OLD)),
        f"coalesce(({CONSTANT}) AND NOT coalesce({HASHED}, false), false)",
        ['($."genre" == "jazz") && ($."year" < 1960)', *HASHED_LONG],
    ),
}

# Texts that would be something else, were they ever pasted.
HOSTILE = ["' OR true --", '" || true || $."a', "%s", ":param", "$$", "\\"]


@pytest.mark.parametrize("name", BY_INDEX)
def test_what_gin_serves(name: str) -> None:
    node, sql, parameters = BY_INDEX[name]
    assert compiled(compile_filter(node, METADATA)) == (sql, parameters)


@pytest.mark.parametrize("name", BY_RANGE_INDEX)
def test_what_range_indexes_serve(name: str) -> None:
    node, sql, parameters = BY_RANGE_INDEX[name]
    assert compiled(compile_filter(node, METADATA, RANGED_KEYS)) == (sql, parameters)


@pytest.mark.parametrize("name", BY_ROW)
def test_what_is_evaluated_row_by_row(name: str) -> None:
    node, sql, parameters = BY_ROW[name]
    assert compiled(compile_row_filter(node, METADATA)) == (sql, parameters)


def test_what_is_estimated_is_one_constant_predicate() -> None:
    sql, [predicate] = compiled(compile_estimate(And((JAZZ, NotIn("n", LONG))), METADATA))
    assert sql == CONSTANT
    assert predicate.startswith('($."genre" == "jazz") && (!exists($."n" ? (@ == 0 || ')


@pytest.mark.parametrize("text", HOSTILE)
def test_sql_is_the_same_whatever_key_and_value_are(text: str) -> None:
    pairs: list[tuple[Node, Node]] = [
        (In(text, (text,)), In("a", ("a",))),
        (In(text, (text,) * 9), In("a", ("a",) * 9)),
        (NotIn(text, (text,) * 9), NotIn("a", ("a",) * 9)),
        (StartsWith(text, text), StartsWith("a", "a")),
        (Range(text, (Bound("<", 5),)), Range("a", (Bound("<", -0.5),))),
        (Exists(text, present=True), Exists("a", present=True)),
    ]
    for node, harmless in pairs:
        for conditions in zip(forms(node, text), forms(harmless, "a"), strict=True):
            sql, expected = (compiled(condition)[0] for condition in conditions)
            assert sql == expected


@pytest.mark.parametrize(
    ("prefix", "behind"),
    [
        ("a", "b"),
        ("az", "a{"),
        ("\x7f", "\x80"),
        ("ключ", "клюш"),
        ("a\ud7ff", "a\ue000"),
        ("a\uffff", "a\U00010000"),
        ("a\U0010ffff\U0010ffff", "b"),
        ("\U0010ffff", ""),
    ],
)
def test_the_next_text_that_does_not_begin_so(prefix: str, behind: str) -> None:
    assert successor(prefix) == behind


def forms(node: Node, key: str) -> list[Condition]:
    return [
        compile_filter(node, METADATA),
        compile_filter(node, METADATA, [RangeKey(key, "number"), RangeKey(key, "string")]),
        compile_row_filter(node, METADATA),
        compile_estimate(node, METADATA),
    ]


def compiled(condition: Condition) -> tuple[str, list[Any]]:
    result = condition.compile(dialect=DIALECT)
    return str(result).replace(" \n", " "), [result.params[name] for name in result.positiontup or ()]
