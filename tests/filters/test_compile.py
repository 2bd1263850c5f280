"""The manual of the compiler: the SQL of every operator, and the parameters beside it."""

from typing import Any

import pytest
from sqlalchemy import column, create_engine
from sqlalchemy.dialects.postgresql import JSONB

from app.filters.compile import compile_filter
from app.filters.nodes import And, Compare, Equals, Exists, In, Node, NotEquals, NotIn, Or, StartsWith

DIALECT = create_engine("postgresql+psycopg://", paramstyle="format").dialect

GOLDEN: list[tuple[Node, str, list[Any]]] = [
    (
        Equals("genre", "jazz"),
        "metadata @> ANY (%s::JSONB[])",
        [[{"genre": "jazz"}, {"genre": ["jazz"]}]],
    ),
    (
        NotEquals("genre", "jazz"),
        "NOT (metadata @> ANY (%s::JSONB[]))",
        [[{"genre": "jazz"}, {"genre": ["jazz"]}]],
    ),
    (
        In("year", (1959, "live")),
        "metadata @> ANY (%s::JSONB[])",
        [[{"year": 1959}, {"year": [1959]}, {"year": "live"}, {"year": ["live"]}]],
    ),
    (
        NotIn("year", (1959,)),
        "NOT (metadata @> ANY (%s::JSONB[]))",
        [[{"year": 1959}, {"year": [1959]}]],
    ),
    (
        Compare("year", ">=", 1e300),
        "metadata @@ CAST(%s::VARCHAR AS JSONPATH)",
        ['$."year" >= 1e+300'],
    ),
    (
        StartsWith("the title", 'Só "What"'),
        "metadata @@ CAST(%s::VARCHAR AS JSONPATH)",
        [r'$."the title" starts with "S\u00f3 \"What\""'],
    ),
    (
        Exists("genre", present=True),
        "jsonb_exists(metadata, %s::VARCHAR)",
        ["genre"],
    ),
    (
        Exists("genre", present=False),
        "NOT jsonb_exists(metadata, %s::VARCHAR)",
        ["genre"],
    ),
    (
        And((Compare("year", ">", 1959), Compare("year", "<", 1970))),
        "(metadata @@ CAST(%s::VARCHAR AS JSONPATH)) AND (metadata @@ CAST(%s::VARCHAR AS JSONPATH))",
        ['$."year" > 1959', '$."year" < 1970'],
    ),
    (
        And((Exists("a", present=True), Or((Exists("b", present=True), Compare("year", ">", 0))))),
        (
            "jsonb_exists(metadata, %s::VARCHAR)"
            " AND (jsonb_exists(metadata, %s::VARCHAR) OR (metadata @@ CAST(%s::VARCHAR AS JSONPATH)))"
        ),
        ["a", "b", '$."year" > 0'],
    ),
]

# Texts that would be something else, were they ever pasted.
HOSTILE = ["' OR true --", '" || true || $."a', "%s", ":param", "$$", "\\"]


@pytest.mark.parametrize(("node", "sql", "parameters"), GOLDEN, ids=[type(node).__name__ for node, _, _ in GOLDEN])
def test_golden_sql(node: Node, sql: str, parameters: list[Any]) -> None:
    assert compiled(node) == (sql, parameters)


@pytest.mark.parametrize("text", HOSTILE)
def test_sql_is_the_same_whatever_key_and_value_are(text: str) -> None:
    pairs: list[tuple[Node, Node]] = [
        (Equals(text, text), Equals("a", "a")),
        (StartsWith(text, text), StartsWith("a", "a")),
        (Compare(text, "<", 5), Compare("a", "<", -0.5)),
        (Exists(text, present=True), Exists("a", present=True)),
    ]
    for node, harmless in pairs:
        assert compiled(node)[0] == compiled(harmless)[0]


def compiled(node: Node) -> tuple[str, list[Any]]:
    condition = compile_filter(node, column("metadata", JSONB))
    result = condition.compile(dialect=DIALECT)
    return str(result), [result.params[name] for name in result.positiontup or ()]
