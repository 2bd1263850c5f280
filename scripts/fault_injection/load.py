"""Writers and readers on the signed API, who judge every answer while something is being broken.

Writers put and delete batches, ask again until a write is acknowledged, and then look whether it is there.  Readers get
and query batches that others write.
"""

import time
from collections import Counter
from collections.abc import Callable, Sequence
from random import Random
from threading import Event, Lock, Thread
from typing import Any, Self

from msgspec import Struct

from scripts.fault_injection.answers import UNAVAILABLE, Answer, Client, NoAnswer
from scripts.fault_injection.ledger import DIMENSION, WRONG, Batch, Finding, Ledger
from scripts.testbed.api import Api, ApiError
from scripts.testbed.errors import ScriptError

BUCKET, INDEX = "faults", "batches"
NAMES = {"vectorBucketName": BUCKET, "indexName": INDEX}
PAUSE_SECONDS = 0.05
POLL_SECONDS = 0.02
PAGE = 1000
ENDING_SECONDS = 150
MOST_KEPT = 20


class DidNotRecover(ScriptError):
    """Within the time that an experiment allows."""


class Traffic(Struct, frozen=True):
    """How many clients of each kind, and what a client does by chance follows from the seed."""

    seed: int
    writers: int = 4
    readers: int = 2
    expected: frozenset[str] = UNAVAILABLE
    """Error types that the fault explains."""
    patience: float = 60
    """Of a client with an answer."""


def create_index(api: Api, index: str = INDEX, dimension: int = DIMENSION) -> None:
    api.call("CreateVectorBucket", vectorBucketName=BUCKET)
    api.call(
        "CreateIndex",
        vectorBucketName=BUCKET,
        indexName=index,
        dataType="float32",
        dimension=dimension,
        distanceMetric="euclidean",
    )


class Load:
    """`apis` are the servers; each client begins with another."""

    def __init__(self, apis: Sequence[Api], traffic: Traffic) -> None:
        self.ledger = Ledger(traffic.writers)
        self.answers: Counter[str] = Counter()
        self.findings: list[Finding] = []
        self.irregular: Counter[str] = Counter()
        self.reads = 0
        self.acknowledged = 0
        self._apis = apis
        self._traffic = traffic
        self._lock = Lock()
        self._stopping = Event()
        jobs = [(self._write, n) for n in range(traffic.writers)] + [(self._read, n) for n in range(traffic.readers)]
        self._done: list[int] = [0] * len(jobs)
        self._errors: list[BaseException] = []
        self._threads = [Thread(target=self._run, args=(n, *job), daemon=True) for n, job in enumerate(jobs)]

    def __enter__(self) -> Self:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

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
        wanted = self.acknowledged + acknowledged
        self._wait(lambda: self.acknowledged >= wanted, within, f"{acknowledged} more writes")

    def recovers(self, within: float) -> float:
        """Seconds until every client has had two requests served that nobody had begun before; one may be under way."""
        started, before = time.monotonic(), list(self._done)
        self._wait(
            lambda: all(now >= then + 2 for now, then in zip(self._done, before, strict=True)), within, "every client"
        )
        return time.monotonic() - started

    def _wait(self, reached: Callable[[], bool], within: float, what: str) -> None:
        deadline = time.monotonic() + within
        while not reached():
            if self._errors:
                raise self._errors[0]
            if time.monotonic() > deadline:
                raise DidNotRecover(f"Not served again within {within:.0f} s: {what}.")
            time.sleep(POLL_SECONDS)

    def _run(self, number: int, job: Callable[[int, int, Random, list[Client]], None], own: int) -> None:
        clients = [Client(api, self._traffic.patience) for api in (*self._apis[own:], *self._apis[:own])[:2]]
        random = Random(f"{self._traffic.seed} {number}")  # noqa: S311 - no secret
        try:
            while not self._stopping.is_set():
                job(number, own, random, clients)
        except BaseException as error:  # noqa: BLE001 - raised again by whoever waits
            self._errors.append(error)
        finally:
            for client in clients:
                client.close()

    def _write(self, number: int, writer: int, random: Random, clients: list[Client]) -> None:
        batch = self.ledger.next_version(writer, random)
        version = batch.latest
        while (answer := self._attempt(clients[0], batch, version)) is None:
            batch.doubtful = True
            if self._stopping.wait(PAUSE_SECONDS):
                return
        batch.acknowledged = version
        with self._lock:
            self.acknowledged += 1
        self._done[number] += 1
        if answer.members:
            self._find(Finding(WRONG, str(answer)))
        if random.random() < 0.2:
            self._get(clients[-1], batch)

    def _read(self, number: int, _: int, random: Random, clients: list[Client]) -> None:
        batch = self.ledger.some_batch(random)
        served = batch is not None and (self._get if random.random() < 0.5 else self._query)(clients[0], batch)
        if served:
            self._done[number] += 1
        else:
            self._stopping.wait(PAUSE_SECONDS)

    def _attempt(self, client: Client, batch: Batch, version: int) -> Answer | None:
        if batch.present[version]:
            return self._ask(client, "PutVectors", vectors=batch.written(version))
        return self._ask(client, "DeleteVectors", keys=batch.keys)

    def _get(self, client: Client, batch: Batch) -> bool:
        least = batch.acknowledged
        answer = self._ask(client, "GetVectors", keys=batch.keys, returnData=True, returnMetadata=True)
        if answer is not None:
            self._judge(batch, answer.members["vectors"], least)
        return answer is not None

    def _query(self, client: Client, batch: Batch) -> bool:
        """By filter, so that the batch is all that there is; distances are squares of whole numbers."""
        least = batch.acknowledged
        asked = {"topK": 100, "filter": {"batch": batch.name}, "returnDistance": True, "returnMetadata": True}
        answer = self._ask(client, "QueryVectors", queryVector={"float32": batch.vector(least, 0)}, **asked)
        if answer is None:
            return False
        vectors = answer.members["vectors"]
        self._judge(batch, vectors, least)
        for vector in vectors:
            moved, i = vector["metadata"]["version"] - least, int(vector["key"].rsplit("-", 1)[1])
            if vector["distance"] != moved**2 + i**2:
                self._find(Finding(WRONG, f"{vector} is {moved**2 + i**2} from version {least}"))
        return True

    def _judge(self, batch: Batch, vectors: Sequence[Any], least: int) -> None:
        with self._lock:
            self.reads += 1
        if (finding := batch.judge(vectors, least, batch.latest)) is not None:
            self._find(finding)

    def _find(self, finding: Finding) -> None:
        with self._lock:
            self.findings.append(finding)

    def _ask(self, client: Client, operation: str, **members: Any) -> Answer | None:
        """None if it was not served."""
        try:
            answer = client.ask(operation, **NAMES, **members)
        except NoAnswer:
            self._count("no answer")
            return None
        self._count(answer.type or "200")
        unexpected = answer.status != 200 and answer.type not in self._traffic.expected
        if fault := answer.fault or ("unexpected" if unexpected else None):
            with self._lock:
                self.irregular[f"{fault}: {answer}"] += 1
        return answer if answer.status == 200 else None

    def _count(self, what: str) -> None:
        with self._lock:
            self.answers[what] += 1

    def judge_what_is_stored(self, api: Api) -> None:
        """When the last client has ended: every vector that there is, against the ledger."""
        self.findings += self.ledger.judge_all(list_vectors(api))


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
