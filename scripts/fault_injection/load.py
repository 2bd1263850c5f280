"""Clients who write and read on the signed API, side by side, while something is being broken."""

import time
from collections.abc import Callable, Sequence
from random import Random
from threading import Event, Thread
from typing import Any, Self

from msgspec import Struct

from scripts.fault_injection.answers import UNAVAILABLE, Client
from scripts.fault_injection.callers import BUCKET, INDEX, NAMES, Caller, Reader, Writer
from scripts.fault_injection.ledger import DIMENSION, Ledger, Window
from scripts.fault_injection.record import Record
from scripts.testbed.api import Api, ApiError
from scripts.testbed.errors import ScriptError

POLL_SECONDS = 0.02
PAGE = 1000
ENDING_SECONDS = 150


class DidNotRecover(ScriptError):
    """What was waited for did not come within the time that an experiment allows."""


class Traffic(Struct, frozen=True):
    """How many clients of each kind; what a client does by chance follows from the seed."""

    seed: int
    writers: int = 4
    readers: int = 2
    expected: frozenset[str] = UNAVAILABLE
    patience: float = 60
    """Of a client with an answer."""


class Load:
    """`apis` are the servers; each client begins with another."""

    def __init__(self, apis: Sequence[Api], traffic: Traffic) -> None:
        self.ledger = Ledger(traffic.writers)
        self.record = Record(traffic.expected)
        self._apis = apis
        self._traffic = traffic
        self._callers = [self._caller(number) for number in range(traffic.writers + traffic.readers)]
        self._stopping = Event()
        self._errors: list[BaseException] = []
        self._threads = [Thread(target=self._run, args=(caller,), daemon=True) for caller in self._callers]

    def _caller(self, number: int) -> Caller:
        first = number % len(self._apis)
        clients = [Client(api, self._traffic.patience) for api in (*self._apis[first:], *self._apis[:first])[:2]]
        random = Random(f"{self._traffic.seed} {number}")  # noqa: S311 - no secret
        if number < self._traffic.writers:
            return Writer(number, clients, self.ledger, self.record, random)
        return Reader(clients, self.ledger, self.record, random)

    def __enter__(self) -> Self:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def _run(self, caller: Caller) -> None:
        try:
            while not self._stopping.is_set():
                caller.step(self._stopping)
        except BaseException as error:  # noqa: BLE001 - raised again by whoever waits
            self._errors.append(error)
        finally:
            caller.close()

    def stop(self) -> None:
        self._stopping.set()
        deadline = time.monotonic() + ENDING_SECONDS
        for thread in self._threads:
            thread.join(max(0, deadline - time.monotonic()))
        if any(thread.is_alive() for thread in self._threads):
            raise ScriptError(f"A client did not end within {ENDING_SECONDS} s.")
        if self._errors:
            raise self._errors[0]

    def wait_for(self, acknowledged: int, within: float = 60) -> None:
        """So many writes more."""
        wanted = self.record.acknowledged + acknowledged
        self.wait_until(
            lambda: self.record.acknowledged >= wanted, within, f"{acknowledged} more writes are acknowledged"
        )

    def recovers(self, within: float) -> float:
        """Seconds until every client has been served; the second answer is to a request that began after this call."""
        started, before = time.monotonic(), [caller.served for caller in self._callers]
        self.wait_until(
            lambda: all(c.served >= then + 2 for c, then in zip(self._callers, before, strict=True)),
            within,
            "every client is served again",
        )
        return time.monotonic() - started

    def is_answered(self, within: float) -> None:
        """Every client gets an answer, whatever it is; the second is to a request that began after this call."""
        before = [caller.answered for caller in self._callers]
        self.wait_until(
            lambda: all(c.answered >= then + 2 for c, then in zip(self._callers, before, strict=True)),
            within,
            "every client is answered",
        )

    def wait_until(self, reached: Callable[[], bool], within: float, what: str) -> None:
        deadline = time.monotonic() + within
        while not reached():
            if self._errors:
                raise self._errors[0]
            if time.monotonic() > deadline:
                raise DidNotRecover(f"Not within {within:.0f} s: {what}.")
            time.sleep(POLL_SECONDS)

    def judge_what_is_stored(self, api: Api) -> None:
        """When the last client has ended: every vector that there is, against the ledger."""
        bounds = self.ledger.bounds()
        self.record.findings += self.ledger.judge_all(list_vectors(api), Window(bounds, bounds))


def create_index(api: Api, index: str = INDEX, dimension: int = DIMENSION) -> None:
    """In the bucket of all experiments."""
    if not api.call("ListVectorBuckets")["vectorBuckets"]:
        api.call("CreateVectorBucket", vectorBucketName=BUCKET)
    shape: dict[str, Any] = {"dataType": "float32", "dimension": dimension, "distanceMetric": "euclidean"}
    api.call("CreateIndex", **NAMES | {"indexName": index}, **shape)


def list_vectors(api: Api, index: str = INDEX) -> list[Any]:
    asked: dict[str, Any] = NAMES | {"indexName": index, "maxResults": PAGE, "returnData": True, "returnMetadata": True}
    vectors, token = [], None
    while True:
        page = called(api, "ListVectors", asked | {"nextToken": token})
        vectors += page["vectors"]
        token = page.get("nextToken")
        if token is None:
            return vectors


def called(api: Api, operation: str, members: dict[str, Any], within: float = 30) -> Any:
    """The members of the answer, asked for again as long as the server is unavailable."""
    deadline = time.monotonic() + within
    while True:
        try:
            return api.call(operation, **members)
        except (ApiError, OSError):
            if time.monotonic() > deadline:
                raise
            time.sleep(POLL_SECONDS)
