"""Writes give way to searches, whichever workers both come to."""

import asyncio
import fcntl
import os
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path

import pytest

from app import pacing
from app.pacing import Pacing
from app.shared_folder import SharedNumbers

HOUR = 3_600
ONE_A_SECOND = 1

Worker = Callable[[], Pacing]


@pytest.fixture
def worker(tmp_path: Path) -> Worker:
    """One more of a server on two cores."""
    last_search = numbers()
    return lambda: Pacing(tmp_path, last_search, ONE_A_SECOND, 2)


def numbers() -> SharedNumbers:
    return memoryview(bytearray(8)).cast("d")


@pytest.fixture
def endless(monkeypatch: pytest.MonkeyPatch) -> None:
    """After one search, the next is always expected."""
    monkeypatch.setattr(pacing, "SEARCHING_SECONDS", HOUR)


@asynccontextmanager
async def written(*workers: Pacing, vectors: int = 0) -> AsyncIterator[None]:
    """By each of them, all at the same time."""
    async with AsyncExitStack() as stack:
        for one in workers:
            await stack.enter_async_context(one.writing(vectors))
        yield


async def waits(write: asyncio.Task[None]) -> bool:
    """Several looks for a turn later."""
    await asyncio.wait([write], timeout=5 * pacing.POLL_SECONDS)
    return not write.done()


async def write(worker: Pacing, vectors: int = 0) -> None:
    async with worker.writing(vectors):
        pass


async def test_without_searches_all_write_at_once(worker: Worker) -> None:
    one, other = worker(), worker()
    async with written(one, one, other, vectors=HOUR), written(one, other):
        pass


@pytest.mark.usefixtures("endless")
@pytest.mark.parametrize("searched", ["by the same", "by the other"])
@pytest.mark.parametrize("waiting", ["the same", "the other"])
async def test_beside_searches_one_of_two_workers_writes(worker: Worker, searched: str, waiting: str) -> None:
    one, other = worker(), worker()
    (one if searched == "by the same" else other).note_search()
    async with one.writing(0):
        second = asyncio.create_task(write(one if waiting == "the same" else other))
        assert await waits(second)
    await second


@pytest.mark.usefixtures("endless")
async def test_a_turn_lasts_as_long_as_the_rate_asks_for(worker: Worker) -> None:
    one = worker()
    one.note_search()
    await write(one, HOUR)
    second = asyncio.create_task(write(worker()))
    assert await waits(second)
    second.cancel()


@pytest.mark.usefixtures("endless")
async def test_four_cores_have_two_turns(tmp_path: Path) -> None:
    one, other = (Pacing(tmp_path, last_search, ONE_A_SECOND, 4) for last_search in [numbers()] * 2)
    one.note_search()
    async with written(one, other):
        third = asyncio.create_task(write(one))
        assert await waits(third)
    await third


@pytest.mark.usefixtures("endless")
async def test_those_who_wait_go_on_when_nobody_searches_any_more(
    worker: Worker, monkeypatch: pytest.MonkeyPatch
) -> None:
    one = worker()
    one.note_search()
    await write(one, HOUR)
    second = asyncio.create_task(write(one))
    assert await waits(second)
    monkeypatch.setattr(pacing, "SEARCHING_SECONDS", 0)
    await second


@pytest.mark.usefixtures("endless")
async def test_nobody_waits_for_ever(worker: Worker, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pacing, "WAIT_SECONDS", 0.01)
    one = worker()
    one.note_search()
    await write(one, HOUR)
    await write(one)
    await write(worker())


@pytest.mark.usefixtures("endless")
async def test_a_write_that_fails_or_is_cancelled_gives_its_turn_back(worker: Worker) -> None:
    one = worker()
    one.note_search()
    with pytest.raises(RuntimeError, match="disk full"):
        async with one.writing(0):
            raise RuntimeError("disk full")
    await write(one)
    async with one.writing(0):
        waiting = asyncio.create_task(write(one))
        assert await waits(waiting)
        waiting.cancel()
    await write(worker())


@pytest.mark.usefixtures("endless")
async def test_the_turn_of_a_worker_that_died_is_free(worker: Worker, tmp_path: Path) -> None:
    one = worker()
    one.note_search()
    dying = os.open(tmp_path / "turn-0", os.O_RDWR)
    fcntl.flock(dying, fcntl.LOCK_EX)
    second = asyncio.create_task(write(one))
    assert await waits(second)
    os.close(dying)  # as the kernel does for it
    await second


async def test_zero_lets_all_write(tmp_path: Path) -> None:
    one = Pacing(tmp_path, numbers(), 0, 2)
    one.note_search()
    async with written(one, one, vectors=HOUR):
        pass
