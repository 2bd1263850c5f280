"""What a server does for as long as it lives goes on, whatever nobody foresaw."""

import asyncio
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NoReturn

import psycopg
import pytest
import structlog

from app import background
from app.background import lasting, next_pause
from app.database import text_searches
from app.full_text.searchable_key import SearchableKey
from tests.database.conftest import Library, Rows, database, library, rows
from tests.database.test_text_ranking import put, texts
from tests.server_process import running

__all__ = ["database", "library", "rows"]

HOUR = 3_600


@pytest.fixture
def lines() -> Iterator[list[Any]]:
    with structlog.testing.capture_logs() as captured:
        yield captured


@pytest.fixture
def pauses(monkeypatch: pytest.MonkeyPatch) -> Callable[[float], None]:
    def set_to(seconds: float) -> None:
        monkeypatch.setattr(background, "FIRST_PAUSE_SECONDS", seconds)
        monkeypatch.setattr(background, "LAST_PAUSE_SECONDS", seconds)

    return set_to


class Builder:
    """Fails as often as it is told to, and builds then."""

    def __init__(self, *failures: Exception) -> None:
        self.failures = list(failures)
        self.begun = 0
        self.failed = asyncio.Event()

    async def run(self) -> None:
        self.begun += 1
        if self.failures:
            self.failed.set()
            raise self.failures.pop(0)


async def test_what_failed_is_told_and_begun_again(lines: list[Any], pauses: Callable[[float], None]) -> None:
    pauses(0)
    error = KeyError("unforeseen")
    builder = Builder(error)
    await lasting(builder.run)
    assert builder.begun == 2
    assert lines == [
        {
            "event": "task_failed",
            "log_level": "error",
            "task": "Builder.run",
            "error": "KeyError",
            "again_in_seconds": 0,
            "exc_info": error,
        }
    ]


async def test_what_ends_by_itself_is_not_begun_again(lines: list[Any]) -> None:
    builder = Builder()
    await lasting(builder.run)
    assert (builder.begun, lines) == (1, [])


async def test_arguments_are_given_to_each_attempt(pauses: Callable[[float], None]) -> None:
    pauses(0)
    given: list[tuple[str, int]] = []

    async def tell(name: str, number: int) -> None:
        given.append((name, number))
        if len(given) < 3:
            raise ValueError(name)

    await lasting(tell, "movies", 7)
    assert given == [("movies", 7)] * 3


async def test_a_traceback_is_told_once(lines: list[Any], pauses: Callable[[float], None]) -> None:
    """Unless the exception comes from elsewhere than the one before."""
    pauses(0)
    causes = iter(["row", "row", "file", "file", "row"])

    def read(what: str) -> NoReturn:
        raise ValueError(what) if what == "row" else OSError(what)

    async def build() -> None:
        if what := next(causes, None):
            read(what)

    await lasting(build)
    assert [line["error"] for line in lines] == ["ValueError", "ValueError", "OSError", "OSError", "ValueError"]
    assert [line["exc_info"] is not None for line in lines] == [True, False, True, False, True]


@pytest.mark.parametrize(
    ("before", "seconds", "expected"),
    [
        pytest.param(0, 0, 1, id="the first pause is short"),
        pytest.param(1, 0, 2, id="the next is twice as long"),
        pytest.param(32, 5, 60, id="and none is longer than a minute"),
        pytest.param(60, 60, 60, id="however often it fails"),
        pytest.param(60, 61, 1, id="who went well for some time begins anew"),
    ],
)
def test_pauses_grow_and_are_bounded(before: float, seconds: float, expected: float) -> None:
    assert next_pause(before, seconds) == expected


async def test_who_is_cancelled_ends_at_once(lines: list[Any]) -> None:
    begun = asyncio.Event()

    async def build() -> None:
        begun.set()
        await asyncio.sleep(HOUR)

    task = asyncio.create_task(lasting(build))
    await begun.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert lines == []


async def test_who_is_cancelled_in_a_pause_ends_at_once(pauses: Callable[[float], None]) -> None:
    pauses(HOUR)
    builder = Builder(ValueError())
    task = asyncio.create_task(lasting(builder.run))
    await builder.failed.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert builder.begun == 1


async def test_who_breaks_something_when_cancelled_is_not_begun_again(
    lines: list[Any], pauses: Callable[[float], None]
) -> None:
    """As a connection that is closed in the middle of a statement."""
    pauses(0)
    attempts: list[int] = []
    begun = asyncio.Event()

    async def build() -> None:
        attempts.append(1)
        if len(attempts) > 1:
            return
        begun.set()
        try:
            await asyncio.sleep(HOUR)
        finally:
            raise ConnectionError

    task = asyncio.create_task(lasting(build))
    await begun.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert (len(attempts), lines) == (1, [])


async def test_a_time_limit_within_is_no_cancellation(lines: list[Any], pauses: Callable[[float], None]) -> None:
    pauses(0)
    attempts: list[int] = []

    async def build() -> None:
        attempts.append(1)
        if len(attempts) == 1:
            async with asyncio.timeout(0):
                await asyncio.sleep(HOUR)

    await lasting(build)
    assert (len(attempts), [line["error"] for line in lines]) == (2, ["TimeoutError"])


@pytest.mark.parametrize("failures", [1, 2, 9])
async def test_who_is_stopped_in_a_pause_is_begun_once_more(failures: int, pauses: Callable[[float], None]) -> None:
    """For what it does last, be it that it fails again."""
    pauses(HOUR)
    builder, stopping = Builder(*(ValueError() for _ in range(failures))), asyncio.Event()
    task = asyncio.create_task(lasting(builder.run, stopping=stopping))
    await builder.failed.wait()
    stopping.set()
    await task
    assert builder.begun == 2


async def test_a_server_goes_on_when_what_nobody_foresaw_is_mended(
    library: Library, rows: Rows, own_database_url: str, data_dir: Path
) -> None:
    """As an index of a newer version, which this one cannot read."""
    index = await library.create_index(2)
    await put(library.database, index, texts(20, seed=1))
    async with library.database.transaction() as connection:
        await text_searches.add(connection, index, [SearchableKey("title", "en")], "building")
    execute(own_database_url, "ALTER TABLE s3_vectors.vector_indexes DROP CONSTRAINT vector_indexes_index_mode_check")
    execute(own_database_url, "UPDATE s3_vectors.vector_indexes SET index_mode = 'LATER'")
    with running("--data-dir", str(data_dir), "--workers", "1", DATABASE_URL=own_database_url) as server:
        failing = {"GraphBuilding.run", "TextBackfill.run"}
        while failing:
            line = server.lines.get(timeout=60)
            failing -= {task for task in failing if "task_failed" in line and task in line}
        execute(own_database_url, "UPDATE s3_vectors.vector_indexes SET index_mode = 'ENHANCED'")
        end = time.monotonic() + 60
        while rows("SELECT FROM s3_vectors.text_search_configurations WHERE state <> 'active'"):
            assert time.monotonic() < end


def execute(url: str, statement: str) -> None:
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute(statement.encode())
