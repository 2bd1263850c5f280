import asyncio
import threading
import time
from functools import partial

import pytest

from app import large_bodies
from app.large_bodies import Room, decoded, in_strides, let_others_pass, room_for
from app.limits import LARGE_BODY_BYTES

SMALL, LARGE = memoryview(bytes(LARGE_BODY_BYTES - 1)), memoryview(bytes(LARGE_BODY_BYTES))


def thread_of(_: memoryview) -> int:
    return threading.get_ident()


async def test_large_bodies_are_decoded_in_one_other_thread() -> None:
    here = threading.get_ident()
    assert await decoded(thread_of, SMALL) == here
    others = await asyncio.gather(*[decoded(thread_of, LARGE) for _ in range(8)])
    assert len(set(others)) == 1
    assert here not in others


async def test_they_come_one_behind_the_other() -> None:
    begun: list[int] = []
    finished: list[int] = []

    def decode(number: int, _: memoryview) -> None:
        assert begun == finished
        begun.append(number)
        time.sleep(0)
        finished.append(number)

    await asyncio.gather(*[decoded(partial(decode, number), LARGE) for number in range(20)])
    assert finished == list(range(20))


async def test_the_event_loop_goes_on_meanwhile() -> None:
    told = threading.Event()
    waiting = asyncio.create_task(decoded(lambda _: told.wait(30), LARGE))
    await asyncio.sleep(0)
    told.set()
    assert await waiting


async def test_a_failure_is_that_of_its_own_body() -> None:
    def fail(_: memoryview) -> None:
        raise RecursionError

    results = await asyncio.gather(decoded(fail, LARGE), decoded(len, LARGE), return_exceptions=True)
    assert isinstance(results[0], RecursionError)
    assert results[1] == LARGE_BODY_BYTES


async def test_whoever_leaves_before_the_turn_comes_holds_up_nobody() -> None:
    told = threading.Event()
    first = asyncio.create_task(decoded(lambda _: told.wait(30), LARGE))
    second, third = (asyncio.create_task(decoded(len, LARGE)) for _ in range(2))
    await asyncio.sleep(0)
    second.cancel()
    told.set()
    assert await first
    assert await third == LARGE_BODY_BYTES
    assert second.cancelled()


async def test_pauses_are_made_in_that_thread_only(monkeypatch: pytest.MonkeyPatch) -> None:
    paused: list[int] = []
    monkeypatch.setattr(large_bodies, "STRIDE_SECONDS", 0)
    monkeypatch.setattr(time, "sleep", lambda _: paused.append(threading.get_ident()))
    let_others_pass()
    await decoded(lambda _: let_others_pass(), SMALL)
    assert paused == []
    other, _ = await asyncio.gather(decoded(thread_of, LARGE), decoded(lambda _: let_others_pass(), LARGE))
    assert paused == [other]


async def test_other_tasks_come_between_strides(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(large_bodies, "STRIDE_SECONDS", 0)
    steps: list[str] = []
    step = steps.append

    async def walk(name: str) -> None:
        async for item in in_strides("123"):
            step(name + item)

    await asyncio.gather(walk("a"), walk("b"))
    assert steps == ["a1", "b1", "a2", "b2", "a3", "b3"]


class Guest:
    """Stays in the room until told to leave."""

    def __init__(self, room: Room, size: int) -> None:
        self.inside = False
        self.leave = asyncio.Event()
        self.task = asyncio.create_task(self._visit(room, size))

    async def _visit(self, room: Room, size: int) -> None:
        async with room.of(size):
            self.inside = True
            await self.leave.wait()


async def settled() -> None:
    for _ in range(10):
        await asyncio.sleep(0)


async def inside(guests: list[Guest]) -> list[bool]:
    await settled()
    return [guest.inside for guest in guests]


async def end(guests: list[Guest]) -> None:
    for guest in guests:
        guest.leave.set()
    await asyncio.gather(*[guest.task for guest in guests], return_exceptions=True)


async def test_nobody_overtakes() -> None:
    room = Room(10)
    guests = [Guest(room, size) for size in (8, 5, 1)]
    assert await inside(guests) == [True, False, False]
    guests[0].leave.set()
    assert await inside(guests) == [True, True, True]
    await end(guests)


async def test_what_is_larger_than_the_room_is_alone_in_it() -> None:
    room = Room(10)
    guests = [Guest(room, size) for size in (1, 1000, 1)]
    assert await inside(guests) == [True, False, False]
    guests[0].leave.set()
    assert await inside(guests) == [True, True, False]
    guests[1].leave.set()
    assert await inside(guests) == [True, True, True]
    await end(guests)


@pytest.mark.parametrize("waiting", [False, True], ids=["inside", "waiting"])
async def test_whoever_is_cancelled_leaves_the_room_to_the_next(waiting: bool) -> None:  # noqa: FBT001 - a case
    room = Room(10)
    guests = [Guest(room, size) for size in (4, 10, 6)]
    assert await inside(guests) == [True, False, False]
    guests[1 if waiting else 0].task.cancel()
    assert await inside(guests) == ([True, False, True] if waiting else [True, True, False])
    await end(guests)


async def test_a_turn_that_comes_together_with_the_cancellation_is_passed_on() -> None:
    room = Room(10)
    async with room.of(10):
        guests = [Guest(room, 10) for _ in range(2)]
        await settled()
    guests[0].task.cancel()
    assert await inside(guests) == [False, True]
    await end(guests)


async def test_small_requests_wait_for_no_room(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(large_bodies, "_room", Room(10))
    async with room_for(len(LARGE)):
        waiting = asyncio.create_task(room_for(len(LARGE)).__aenter__())
        await settled()
        assert not waiting.done()
        async with room_for(len(SMALL)):
            waiting.cancel()
    await settled()
    assert waiting.cancelled()


async def test_failures_give_the_room_back() -> None:
    room = Room(10)
    for _ in range(3):
        with pytest.raises(ZeroDivisionError):
            async with room.of(10):
                raise ZeroDivisionError
    guests = [Guest(room, 10)]
    assert await inside(guests) == [True]
    await end(guests)
