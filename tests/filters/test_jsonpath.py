"""The manual of the predicates: what PostgreSQL is asked for every operator."""

import pytest

from app.filters.jsonpath import jsonpath
from app.filters.nodes import And, Bound, Exists, In, Node, NotIn, Or, Range, StartsWith

GOLDEN: list[tuple[Node, str]] = [
    (In("genre", ("jazz",)), '$."genre" == "jazz"'),
    (In("year", (1959, "live", True)), 'exists($."year" ? (@ == 1959 || @ == "live" || @ == true))'),
    (NotIn("genre", ("jazz",)), '!exists($."genre" ? (@ == "jazz"))'),
    (NotIn("genre", ("jazz", 5)), '!exists($."genre" ? (@ == "jazz" || @ == 5))'),
    (Range("year", (Bound(">=", 1e300),)), '$."year" >= 1e+300'),
    (Range("year", (Bound(">", -5), Bound("<", 9.5))), '$."year" > -5 && $."year" < 9.5'),
    (Exists("genre", present=True), 'exists($."genre")'),
    (Exists("genre", present=False), '!exists($."genre")'),
    (StartsWith("the title", 'Só "What"'), r'$."the title" starts with "S\u00f3 \"What\""'),
    (
        And((Exists("a", present=True), Or((In("b", (1,)), Range("c", (Bound("<", 2),)))))),
        '(exists($."a")) && (($."b" == 1) || ($."c" < 2))',
    ),
]


@pytest.mark.parametrize(("node", "predicate"), GOLDEN, ids=[type(node).__name__ for node, _ in GOLDEN])
def test_golden(node: Node, predicate: str) -> None:
    assert jsonpath(node) == predicate
