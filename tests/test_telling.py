"""When what was answered is told of: soon, in order, and all of it."""

import asyncio

import pytest

from app.audit import Event
from app.limits import LARGE_BODY_BYTES
from app.observation import Observation
from app.request_log import Line, RequestLog
from app.slow_queries import SlowQueries
from app.telling import LATER_SECONDS, MAX_KEPT, Answered, Telling

SCOPE = {"method": "POST", "raw_path": b"/QueryVectors"}


class Written(RequestLog, frozen=True, kw_only=True):
    ids: list[str]

    def write(self, line: Line) -> None:
        if line.id == "unwritable":
            raise ValueError(line.id)
        self.ids.append(line.id)


@pytest.fixture
def ids() -> list[str]:
    """Of the requests that were told of."""
    return []


@pytest.fixture
def telling(ids: list[str]) -> Telling:
    return Telling(Written(is_on=True, as_json=True, ids=ids), SlowQueries(0), None)


def answered(name: str, observation: Observation | None = None) -> Answered:
    return Answered(Event(request_id=name, name="QueryVectors"), observation or Observation(), SCOPE)


async def test_requests_are_told_of_together_in_the_order_of_their_answers(telling: Telling, ids: list[str]) -> None:
    for name in "abc":
        telling.add(answered(name))
    assert ids == []
    await asyncio.sleep(2 * LATER_SECONDS)
    assert ids == ["a", "b", "c"]
    telling.add(answered("d"))
    await asyncio.sleep(2 * LATER_SECONDS)
    assert ids == ["a", "b", "c", "d"]


@pytest.mark.parametrize(
    "large", [Observation(received_bytes=LARGE_BODY_BYTES), Observation(sent_bytes=LARGE_BODY_BYTES)]
)
async def test_a_large_request_is_told_of_at_once(telling: Telling, ids: list[str], large: Observation) -> None:
    telling.add(answered("small"))
    telling.add(answered("large", large))
    assert ids == ["small", "large"]


async def test_many_are_told_of_at_once(telling: Telling, ids: list[str]) -> None:
    for number in range(MAX_KEPT):
        assert ids == []
        telling.add(answered(str(number)))
    assert len(ids) == MAX_KEPT


async def test_one_that_cannot_be_told_of_keeps_no_other_from_it(telling: Telling, ids: list[str]) -> None:
    async with telling.running():
        for name in ("a", "unwritable", "b"):
            telling.add(answered(name))
    assert ids == ["a", "b"]


async def test_the_last_are_told_of_when_the_worker_ends(telling: Telling, ids: list[str]) -> None:
    async with telling.running():
        telling.add(answered("last"))
    assert ids == ["last"]
