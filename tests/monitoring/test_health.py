import pytest
from msgspec import Struct

from app.monitoring.health import CHECKS, FAILURES, NOT_KNOWN, SILENT_SECONDS, SUCCESSES, Check, Health

DOWN = "unreachable"


class Fleet(Struct):
    """Workers that do what a test says."""

    is_draining: bool = False
    deaths: int = 0
    up: tuple[int, int] = (2, 2)
    silent_seconds: float = 0


def healthy(fleet: Fleet) -> Health:
    health = Health(fleet)
    for check in CHECKS:
        health.see(check, None)
    return health


@pytest.mark.parametrize(
    ("seen", "told"),
    [
        pytest.param([], NOT_KNOWN, id="nothing is known before the first look"),
        pytest.param([DOWN], DOWN, id="the first look counts at once"),
        pytest.param([DOWN, None], None, id="and so does the first that finds it well"),
        pytest.param([None, *[DOWN] * (FAILURES - 1)], None, id="a failure or two are forgiven"),
        pytest.param([None, *[DOWN] * FAILURES], DOWN, id="more are told"),
        pytest.param([None, DOWN, DOWN, None, DOWN, DOWN], None, id="not in a row, they are forgiven"),
        pytest.param([None, *[DOWN] * FAILURES, None], DOWN, id="after a failure it must be well for some time"),
        pytest.param([None, *[DOWN] * FAILURES, *[None] * SUCCESSES], None, id="and then it is"),
        pytest.param([None, *[DOWN] * FAILURES, "too old"], "too old", id="another problem replaces the first"),
    ],
)
def test_a_check_is_steady(seen: list[str | None], told: str | None) -> None:
    check = Check()
    for problem in seen:
        check.see(problem)
    assert check.problem == told


@pytest.mark.parametrize("check", CHECKS)
def test_each_check_is_named_and_one_that_fails_is_enough(check: str) -> None:
    health = healthy(Fleet())
    assert (health.is_ready, health.report["checks"][check]) == (True, "ok")
    for _ in range(FAILURES):
        health.see(check, DOWN)
    assert (health.is_ready, health.report["checks"][check]) == (False, DOWN)
    assert health.is_alive
    assert health.has_started


def test_what_has_never_been_ready_has_not_started() -> None:
    health = Health(Fleet())
    health.see("database", None)
    assert not health.has_started
    assert health.is_alive


def test_who_drains_is_not_ready_but_alive_however_long() -> None:
    fleet = Fleet()
    health = healthy(fleet)
    fleet.is_draining, fleet.silent_seconds = True, 10 * SILENT_SECONDS
    assert health.report["checks"]["shutdown"] == "draining"
    assert not health.is_ready
    assert health.is_alive


@pytest.mark.parametrize(("silent_seconds", "is_alive"), [(SILENT_SECONDS - 1, True), (SILENT_SECONDS, False)])
def test_a_server_none_of_whose_workers_gives_a_sign_is_dead(silent_seconds: float, is_alive: bool) -> None:  # noqa: FBT001
    assert healthy(Fleet(silent_seconds=silent_seconds)).is_alive is is_alive
