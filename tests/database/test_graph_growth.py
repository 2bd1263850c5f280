from typing import Any

import pytest

from app.database.catalog import Graph
from app.database.graph_growth import (
    ABSORBED_PER_SECOND,
    MAX_CODED,
    MIN_CODED,
    MIN_CODED_DIMENSION,
    Absorb,
    Build,
    Forget,
    Step,
    Survey,
    exact_vectors,
    next_step,
)
from app.database.graphs import DRAFT_EF_CONSTRUCTION as DRAFT
from app.database.graphs import FINAL_EF_CONSTRUCTION as FINAL

DIMENSION = 384
FEW = exact_vectors(DIMENSION)
NEVER = float("inf")


def graphs(*sizes: int, first: int = 0, ef_construction: int = FINAL) -> dict[str, Any]:
    """Side by side from `first` on, all of their vectors alive."""
    made, position = [], first
    for i, size in enumerate(sizes):
        made.append(Graph(i, position, position + size, ef_construction, size))
        position += size
    return {"graphs": tuple(made), "alive": sizes, "end": position}


def surveyed(tail: int, rate: float, **more: Any) -> Survey:
    known: dict[str, Any] = {"dimension": DIMENSION, "graphs": (), "alive": (), "end": 0} | more
    known["end"] += tail
    return Survey(tail=tail, written_per_second=rate, **known)


CASES: list[tuple[str, Survey, Step]] = [
    ("a small index needs no graph", surveyed(FEW, 0), None),
    ("a large one gets its first graph", surveyed(FEW + 1, 0), Build(0, FEW + 1, FINAL)),
    ("in haste while it is written to", surveyed(FEW + 1, 100), Build(0, FEW + 1, DRAFT)),
    ("codes do while it grows faster", surveyed(MIN_CODED, 500), None),
    ("until there are too many", surveyed(MIN_CODED + 1, 500), Build(0, MIN_CODED + 1, DRAFT)),
    ("more than come in a minute", surveyed(150_000, 2_500), None),
    ("or are ever looked at", surveyed(MAX_CODED + 1, 10_000), Build(0, MAX_CODED + 1, DRAFT)),
    ("which is all that counts before anybody knows", surveyed(MAX_CODED, NEVER), None),
    ("without codes it is built at once", surveyed(20_001, 500, dimension=MIN_CODED_DIMENSION - 1),
     Build(0, 20_001, DRAFT)),
    ("nothing is left to do", surveyed(0, 0, **graphs(50_000)), None),
    ("a short tail is absorbed", surveyed(10, 0, **graphs(50_000)), Absorb()),
    ("also under light writes", surveyed(10, ABSORBED_PER_SECOND, **graphs(50_000)), Absorb()),
    ("but not while it grows faster", surveyed(10, ABSORBED_PER_SECOND + 1, **graphs(50_000)), None),
    (
        "a long tail gets a graph of its own behind a much larger one",
        surveyed(20_000, 100, **graphs(1_000_000)),
        Build(1_000_000, 1_020_000, DRAFT),
    ),
    (
        "or one together with a graph of its size",
        surveyed(20_000, 100, **graphs(1_000_000, 40_000)),
        Build(1_000_000, 1_060_000, DRAFT),
    ),
    ("or with all", surveyed(20_000, 100, **graphs(100_000, 40_000)), Build(0, 160_000, DRAFT)),
    ("a graph of replaced vectors goes with it", surveyed(20_000, 100, **graphs(1_000_000) | {"alive": (100_000,)}),
     Build(0, 1_020_000, DRAFT)),
    ("what was built in haste is built well at rest", surveyed(0, 0, **graphs(50_000, ef_construction=DRAFT)),
     Build(0, 50_000, FINAL)),
    ("not before", surveyed(0, 100, **graphs(50_000, ef_construction=DRAFT)), None),
    ("pieces become one at rest", surveyed(0, 0, **graphs(50_000, 10_000)), Build(0, 60_000, FINAL)),
    ("unless they are of no weight", surveyed(0, 0, **graphs(50_000, 5_000)), None),
    ("a gap is closed at rest", surveyed(0, 0, **graphs(50_000, first=9_000)), Build(0, 59_000, FINAL)),
    ("half of it was deleted", surveyed(0, 0, **graphs(50_000) | {"alive": (24_000,)}), Build(0, 50_000, FINAL)),
    ("nearly all of it was deleted", surveyed(0, 0, **graphs(50_000) | {"alive": (100,)}), Forget()),
]  # fmt: skip


@pytest.mark.parametrize(("survey", "step"), [case[1:] for case in CASES], ids=[case[0] for case in CASES])
def test_what_an_index_needs_next(survey: Survey, step: Step) -> None:
    assert next_step(survey) == step


@pytest.mark.parametrize(("dimension", "vectors"), [(1, 20_000), (384, 5_461), (1_536, 1_365), (4_096, 1_000)])
def test_small_is_a_question_of_bytes(dimension: int, vectors: int) -> None:
    assert exact_vectors(dimension) == vectors


def test_growing_indexes_have_few_graphs_and_build_each_vector_a_few_times() -> None:
    """A million vectors that come 10,000 at a time, the builder looking after each of them."""
    built, known = 0, graphs()
    for _ in range(100):
        survey = surveyed(10_000, 2_500, **known)
        step = next_step(survey)
        if isinstance(step, Build):
            kept = [g for g in survey.graphs if g.end <= step.first]
            sizes = [g.vectors for g in kept] + [step.end - step.first]
            built += sizes[-1]
            known = graphs(*sizes, ef_construction=DRAFT)
        assert len(survey.graphs) <= 5
    assert built <= 1_000_000 * 6
