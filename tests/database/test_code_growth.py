import pytest

from app.database.catalog import Codes
from app.database.code_growth import Add, Begin, Retire, Step, Tail, next_step
from app.database.graph_growth import exact_vectors

DIMENSION = 384
FEW = exact_vectors(DIMENSION)


def codes(first: int, end: int, *, number: int | None = None, at_first: int | None = None) -> Codes:
    number = end - first if number is None else number
    return Codes(1, first, end, 3, number, number if at_first is None else at_first)


def tail(vectors: int, *, first: int = 0, end: int | None = None) -> Tail:
    return Tail(first, first + vectors if end is None else end, vectors)


CASES: list[tuple[str, Codes | None, Tail, Step]] = [
    ("a short tail is measured", None, tail(FEW), None),
    ("however many positions it has used", None, tail(FEW, end=1_000_000), None),
    ("a long one gets codes", None, tail(FEW + 1), Begin(0, FEW + 1, FEW + 1)),
    ("behind the graphs", None, tail(FEW + 1, first=1_000), Begin(1_000, FEW + 1_001, FEW + 1)),
    ("what comes is measured at first", codes(0, 9_000), tail(9_000 + FEW // 4), None),
    ("and added when it is worth it", codes(0, 9_000), tail(9_001 + FEW // 4), Add(9_001 + FEW // 4)),
    ("nothing has come", codes(0, 9_000), tail(9_000), None),
    ("thresholds are taken anew when there are many more", codes(0, 40_000, at_first=9_000), tail(40_000),
     Begin(0, 40_000, 40_000)),
    ("not before", codes(0, 36_000, at_first=9_000), tail(36_000), None),
    ("of a small beginning neither", codes(0, 4 * FEW, at_first=10), tail(4 * FEW), None),
    ("codes of what has gone are left behind", codes(0, 20_001), tail(10_000, end=20_001), Begin(0, 20_001, 10_000)),
    ("if they are many", codes(0, 20_000), tail(10_000, end=20_000), None),
    ("a graph holds some of them", codes(0, 20_000), tail(9_000, first=11_000), Begin(11_000, 20_000, 9_000)),
    ("a graph holds all of them", codes(0, 20_000), tail(10, first=20_000), Retire()),
    ("and more have come", codes(0, 20_000), tail(9_000, first=20_000), Begin(20_000, 29_000, 9_000)),
    ("most were deleted", codes(0, 20_000), tail(FEW // 2, end=20_000), Retire()),
]  # fmt: skip


@pytest.mark.parametrize(("known", "found", "step"), [case[1:] for case in CASES], ids=[case[0] for case in CASES])
def test_what_codes_need_next(known: Codes | None, found: Tail, step: Step) -> None:
    assert next_step(DIMENSION, known, found) == step


def test_a_growing_tail_is_coded_a_few_times_at_most() -> None:
    made, known = 0, None
    for end in range(500, 200_001, 500):
        match next_step(DIMENSION, known, tail(end)):
            case Begin():
                made, known = made + end, codes(0, end)
            case Add() if known is not None:
                made += end - known.end
                known = codes(0, end, at_first=known.number_at_first)
            case _:
                pass
    assert known is not None
    assert known.end > 200_000 - FEW // 2
    assert made < 2 * 200_000
