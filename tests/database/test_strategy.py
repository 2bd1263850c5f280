import pytest

from app.database.catalog import Graph
from app.database.graphs import DRAFT_EF_CONSTRUCTION, FINAL_EF_CONSTRUCTION
from app.database.strategy import (
    MANY,
    MAX_EF_SEARCH,
    Approximate,
    Exact,
    choose,
    ef_search,
    filter_first_up_to,
    more_thorough,
)

GOOD = Graph(1, 0, 63_667, FINAL_EF_CONSTRUCTION, 63_666)
DRAFT = Graph(1, 0, 63_667, DRAFT_EF_CONSTRUCTION, 63_666)
LINE = filter_first_up_to(63_666, 10)


@pytest.mark.parametrize(
    ("top_k", "recall_target", "expected"),
    [
        (1, 0.98, 101),
        (10, 0.5, 40),
        (10, 0.9, 40),
        (10, 0.95, 64),
        (10, 0.98, 160),
        (10, 0.99, 320),
        (10, 0.999, MAX_EF_SEARCH),
        (100, 0.9, 200),
        (100, 0.98, 254),
    ],
)
def test_ef_search_follows_top_k_and_the_recall_target(top_k: int, recall_target: float, expected: int) -> None:
    assert ef_search(top_k, recall_target) == expected


@pytest.mark.parametrize(
    ("graphs", "matches", "expected"),
    [
        ((GOOD,), None, 160),
        ((DRAFT,), None, 320),
        ((GOOD, DRAFT), None, 320),
        ((GOOD,), 63_666, 160),
        ((GOOD,), 42_444, 240),
        ((GOOD,), 36_380, 280),
        ((GOOD,), 31_832, 280),
        ((GOOD,), LINE + 1, 280),
        ((GOOD,), LINE, None),
        ((GOOD,), 0, None),
        ((), None, None),
        ((), 63_666, None),
    ],
)
def test_few_matches_are_filtered_first_and_many_found_through_the_graph(
    graphs: tuple[Graph, ...], matches: int | None, expected: int | None
) -> None:
    """None is exact."""
    match choose(graphs, matches, 10, 0.98):
        case Approximate(ef, _):
            assert ef == expected
        case Exact(why):
            assert (expected, bool(why)) == (None, True)


def test_values_that_range_indexes_know_are_filtered_first_for_more_matches() -> None:
    line = filter_first_up_to(63_666, 10, are_values_indexed=True)
    assert (LINE, line) == (5_546, 8_070)
    assert isinstance(choose((GOOD,), line, 10, 0.98, are_values_indexed=True), Exact)
    assert choose((GOOD,), line + 1, 10, 0.98, are_values_indexed=True) == Approximate(280, iterative=True)


@pytest.mark.parametrize(("matches", "many"), [(None, False), (MANY - 1, False), (MANY, True), (LINE, True)])
def test_a_statement_that_takes_longer_to_plan_is_for_many_matches(matches: int | None, *, many: bool) -> None:
    chosen = choose((), None, 10, 0.98) if matches is None else choose((GOOD,), matches, 10, 0.98)
    assert isinstance(chosen, Exact)
    assert chosen.many is many


@pytest.mark.parametrize(("vectors", "line"), [(10_000, 2_500), (63_666, 5_546), (1_000_000, 20_500)])
@pytest.mark.parametrize("top_k", [1, 10, 100])
def test_the_line_between_both_moves_with_the_root_of_the_vectors(vectors: int, line: int, top_k: int) -> None:
    assert filter_first_up_to(vectors, top_k) == line


@pytest.mark.parametrize(
    ("vectors", "matches", "top_k", "expected"),
    [
        (63_666, None, 200, Approximate(400)),
        (63_666, None, 500, Approximate(1_000)),
        (63_666, None, 501, Approximate(1_000, iterative=True)),
        (63_666, None, 2_000, Approximate(1_000, iterative=True)),
        (63_666, None, 2_200, None),
        (63_666, None, 10_000, None),
        (63_666, 63_666, 2_000, Approximate(1_000, iterative=True)),
        (63_666, 31_000, 300, Approximate(1_000, iterative=True)),
        (63_666, 31_000, 500, None),
        (63_666, 7_689, 101, None),
        (1_000_000, None, 10_000, Approximate(1_000, iterative=True)),
        (1_000_000, 500_000, 10_000, None),
        (9_000, None, 10_000, None),
    ],
)
def test_of_many_pages_all_are_measured_sooner(
    vectors: int, matches: int | None, top_k: int, expected: Approximate | None
) -> None:
    """None is exact."""
    chosen = choose([Graph(1, 0, vectors + 1, FINAL_EF_CONSTRUCTION, vectors)], matches, top_k, 0.98)
    assert (chosen if isinstance(chosen, Approximate) else None) == expected


@pytest.mark.parametrize(
    ("graphs", "coded", "matches", "top_k", "expected"),
    [
        ((), 60_000, None, 10, Approximate(160, True, 120)),
        ((), 60_000, None, 100, Approximate(254, True, 1_200)),
        ((GOOD,), 60_000, None, 10, Approximate(160, False, 120)),
        ((DRAFT,), 60_000, None, 10, Approximate(320, False, 240)),
        ((GOOD,), 959, None, 10, Approximate(160, False, 0)),
        ((), 60_000, 60_000, 10, Approximate(160, True, 120)),
        ((), 60_000, 30_000, 10, Approximate(280, True, 240)),
        ((), 60_000, 20_000, 10, Approximate(280, True, 480)),
        ((), 60_000, 7_500, 100, Approximate(444, True, 0)),
        ((), 60_000, 5_000, 10, None),
    ],
)
def test_codes_choose_what_is_worth_being_measured(
    graphs: tuple[Graph, ...], coded: int, matches: int | None, top_k: int, expected: Approximate | None
) -> None:
    """None is exact; where all that have a code are measured, none is chosen."""
    chosen = choose(graphs, matches, top_k, 0.98, coded=coded)
    assert (chosen if isinstance(chosen, Approximate) else None) == expected


def test_what_comes_short_is_searched_further_in_the_graph_and_then_exactly() -> None:
    unfiltered = choose((GOOD,), None, 10, 0.98)
    assert unfiltered == Approximate(160)
    assert more_thorough(Approximate(160)) == Approximate(160, iterative=True)
    assert isinstance(more_thorough(Approximate(160, iterative=True)), Exact)
    assert choose((GOOD,), 63_666, 10, 0.98) == Approximate(160, iterative=True)
