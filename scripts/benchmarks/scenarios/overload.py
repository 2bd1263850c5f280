"""What small searches wait while many more heavy requests come than the pool has connections.

Heavy ones are pages of ListVectors with data and metadata: of PostgreSQL a hundred times what a search takes.
"""

from contextlib import closing
from threading import Event

from scripts.benchmarks.measuring import Measurement, ask_each_once
from scripts.benchmarks.run import Run
from scripts.benchmarks.vector_index import VectorIndex
from scripts.testbed.errors import ScriptError
from scripts.testbed.side_by_side import Job, side_by_side

HEAVY_CLIENTS = 64
PAGE = 1_000
TOP_K = 10


class NotIdle(ScriptError):
    """Nothing was asked."""


def overload(run: Run) -> None:
    index = run.index
    requests = index.queries(TOP_K)
    with run.steps.step("searches on an idle server"):
        [idle], _ = side_by_side([_searching(run, index, requests)])
    listings: list[Job[int]] = [_listing(index)] * HEAVY_CLIENTS
    with run.steps.step(f"searches beside {HEAVY_CLIENTS} clients that list"):
        [busy], pages = side_by_side([_searching(run, index, requests)], beside=listings)
    if not idle.answers or not busy.answers:
        raise NotIdle("No search was answered in time.")
    run.figure("searches, 1 client, p50 on an idle server", idle.p50, "ms")
    note = f"{sum(pages) / busy.seconds:.0f} pages/s"
    run.figure(f"p50 beside {HEAVY_CLIENTS} clients that list", busy.p50, "ms", note=note)
    run.figure(f"p99 beside {HEAVY_CLIENTS} clients that list", busy.percentile(99), "ms")
    run.figure("p50 beside them, to idle", busy.p50 / idle.p50, "x")


def _searching(run: Run, index: VectorIndex, requests: list[bytes]) -> Job[Measurement]:
    seconds = run.options.seconds * run.options.rounds

    def search(_: Event) -> Measurement:
        with closing(index.searching(requests)()) as client:
            return ask_each_once(client, range(len(requests)), seconds)

    return search


def _listing(index: VectorIndex) -> Job[int]:
    """How many pages were answered; all ask for the first, which is signed once."""
    page = index.request("ListVectors", maxResults=PAGE, returnData=True, returnMetadata=True)

    def listing(stopping: Event) -> int:
        pages = 0
        with closing(index.api.connect()) as connection:
            while not stopping.is_set():
                connection.exchange(page)
                pages += 1
        return pages

    return listing
