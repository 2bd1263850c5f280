import asyncio

import pytest

from app.database import heavy_slots
from app.database.engine import Database
from app.database.heavy_slots import HeavySlots
from app.database.pool import WAITING_PER_CONNECTION
from app.database.statements import Statement
from app.errors import ServiceUnavailableException


async def enter(slots: HeavySlots) -> None:
    async with slots:
        pass


async def test_what_takes_long_leaves_connections_to_the_others(database: Database) -> None:
    """Of four, one."""
    async with database.connection(heavy=True), database.connection(heavy=True), database.connection(heavy=True):
        waiting = asyncio.create_task(asyncio.wait_for(database.connection(heavy=True).__aenter__(), 60))
        for _ in range(10):
            await asyncio.sleep(0)
        assert not waiting.done()
        async with database.connection() as connection:
            assert await connection.run(Statement("SELECT 1", {})) == [(1,)]
        assert not waiting.done()
        waiting.cancel()


async def test_a_pool_of_one_serves_both() -> None:
    slots = HeavySlots(1)
    await enter(slots)
    await enter(slots)


async def test_nobody_waits_for_ever(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(heavy_slots, "WAIT_SECONDS", 0.01)
    slots = HeavySlots(1)
    async with slots:
        with pytest.raises(ServiceUnavailableException):
            await enter(slots)
    await enter(slots)


async def test_no_more_wait_than_may() -> None:
    slots = HeavySlots(1)
    async with slots:
        waiting = [asyncio.create_task(enter(slots)) for _ in range(WAITING_PER_CONNECTION)]
        await asyncio.sleep(0)
        with pytest.raises(ServiceUnavailableException):
            await enter(slots)
        waiting.pop().cancel()
        await asyncio.sleep(0)
        waiting.append(asyncio.create_task(enter(slots)))
    await asyncio.gather(*waiting)
    await enter(slots)
