import pytest

from app.filters.nodes import And, Bound, Exists, In, Node, NotIn, Or, Range
from app.filters.simplify import simplify

A, B = In("a", (1,)), In("b", (2,))
LOW, HIGH = Bound(">=", 1), Bound("<", 9)

SIMPLER: list[tuple[Node, Node]] = [
    (A, A),
    (In("a", (1, "1", 1, True, 1.0)), In("a", (1, "1", True, 1.0))),
    (And((A,)), A),
    (Or((And((A,)),)), A),
    (And((A, And((B, And((Exists("c", present=True),)))))), And((A, B, Exists("c", present=True)))),
    (And((A, Or((B, Exists("a", present=True))))), And((A, Or((B, Exists("a", present=True)))))),
    (Or((In("a", (1, 2)), B, Or((In("a", (True, 2)),)))), Or((In("a", (1, 2, True)), B))),
    (And((NotIn("a", (1,)), NotIn("b", (1,)), NotIn("a", (2,)))), And((NotIn("a", (1, 2)), NotIn("b", (1,))))),
    (And((Range("a", (LOW,)), Range("a", (HIGH,)))), Range("a", (LOW, HIGH))),
    (
        And(tuple(Range("a", (Bound(sign, number),)) for number in (-9, 2, 1.5) for sign in (">", ">=", "<", "<="))),
        Range("a", (Bound(">", 2), Bound("<", -9))),
    ),
    (And((Range("a", (Bound(">", 1e23),)), Range("a", (Bound(">=", 10**23),)))), Range("a", (Bound(">", 1e23),))),
]

# Of a list, another element may pass each test.
APART: list[Node] = [
    And((In("a", (1,)), In("a", (2,)))),
    Or((NotIn("a", (1,)), NotIn("a", (2,)))),
    Or((Range("a", (LOW,)), Range("a", (HIGH,)))),
    And((A, NotIn("a", (1,)))),
]


@pytest.mark.parametrize(("node", "simpler"), SIMPLER, ids=str)
def test_simpler(node: Node, simpler: Node) -> None:
    # By repr, since 1 and true are equal in Python.
    assert repr(simplify(node)) == repr(simpler)


@pytest.mark.parametrize("node", APART, ids=str)
def test_what_means_something_else_together_stays_apart(node: Node) -> None:
    assert simplify(node) == node
