import asyncio

import pytest

from app import arrivals
from app.arrivals import Arrival, Arrivals, Owner
from app.errors import ServiceUnavailableException, TooManyRequestsException

ALICE, ELSEWHERE, BOB = ("10.0.0.1", "ALICE"), ("10.0.0.2", "ALICE"), ("10.0.0.1", "BOB")


@pytest.fixture(autouse=True)
def _short(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(arrivals, "WAIT_SECONDS", 0.05)


def arrival(room: Arrivals, owner: Owner) -> Arrival:
    arrival = Arrival(room)
    arrival.owner = owner
    return arrival


async def arrives(room: Arrivals, owner: Owner, size: int) -> bool:
    with arrival(room, owner) as body:
        await body.make_room(size)
        return True


async def test_an_owner_over_his_share_is_told_so_and_others_are_served() -> None:
    room = Arrivals(10, share=5)
    with arrival(room, ALICE) as body:
        await body.make_room(5)
        with pytest.raises(TooManyRequestsException):
            await arrives(room, ALICE, 1)
        assert await arrives(room, ELSEWHERE, 5)
        assert await arrives(room, BOB, 5)
    assert await arrives(room, ALICE, 5)


async def test_where_all_room_is_taken_the_server_has_no_capacity() -> None:
    room = Arrivals(10, share=5)
    with arrival(room, ALICE) as first, arrival(room, BOB) as second:
        await first.make_room(5)
        await second.make_room(5)
        with pytest.raises(ServiceUnavailableException):
            await arrives(room, ELSEWHERE, 1)
    assert await arrives(room, ELSEWHERE, 5)


async def test_whoever_waits_comes_in_when_another_leaves(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(arrivals, "WAIT_SECONDS", 60)
    room = Arrivals(5, share=5)
    with arrival(room, ALICE) as body:
        await body.make_room(5)
        waiting = [asyncio.create_task(arrives(room, owner, 5)) for owner in (ALICE, BOB, ELSEWHERE)]
        await asyncio.sleep(0)
        waiting[1].cancel()
    assert await waiting[0]
    assert await waiting[2]


async def test_a_body_asks_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(arrivals, "WAIT_SECONDS", 60)
    with arrival(Arrivals(5, share=5), ALICE) as body:
        await body.make_room(5)
        await body.make_room(5)


async def test_no_stranger_is_remembered() -> None:
    room = Arrivals(10, share=5)
    for i in range(100):
        await arrives(room, ("10.0.0.1", str(i)), 1)
    with arrival(room, ALICE) as body:
        await body.make_room(5)
        with pytest.raises(TooManyRequestsException):
            await arrives(room, ALICE, 1)
        late = asyncio.create_task(arrives(room, ALICE, 1))
        await asyncio.sleep(0)
        late.cancel()
        await asyncio.gather(late, return_exceptions=True)
    assert room._shares == {}  # noqa: SLF001 - what could grow
