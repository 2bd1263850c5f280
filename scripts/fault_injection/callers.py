"""The clients of a load, each with connections of its own, who judge what they are told.

Writers put and delete batches, ask again until a write is acknowledged, and then look whether it is there.  Readers get
and query batches that others write.
"""

from collections.abc import Mapping, Sequence
from random import Random
from threading import Event
from typing import Any

from scripts.fault_injection.answers import Answer, Client, NoAnswer
from scripts.fault_injection.ledger import WRONG, Batch, Finding, Ledger
from scripts.fault_injection.record import Record

BUCKET, INDEX = "faults", "batches"
NAMES = {"vectorBucketName": BUCKET, "indexName": INDEX}
PAUSE_SECONDS = 0.05
READ_AGAIN = 0.2


class Caller:
    def __init__(self, clients: Sequence[Client], ledger: Ledger, record: Record, random: Random) -> None:
        """The first client is asked; another may be of another server."""
        self.answered = 0
        self.served = 0
        self._clients = clients
        self._ledger = ledger
        self._record = record
        self._random = random

    def step(self, stopping: Event) -> None:
        raise NotImplementedError

    def close(self) -> None:
        for client in self._clients:
            client.close()

    def _ask(self, client: Client, operation: str, **members: Any) -> Answer | None:
        """None if it was not served."""
        answer: Answer | None = None
        try:
            answer = client.ask(operation, **NAMES, **members)
            self.answered += 1
        except NoAnswer:
            self._record.note_unanswered(client.sent_at)
        self._record.note_answer(operation, answer)
        return answer if answer is not None and answer.status == 200 else None

    def _get(self, client: Client, batch: Batch) -> bool:
        least = batch.acknowledged
        answer = self._ask(client, "GetVectors", keys=batch.keys, returnData=True, returnMetadata=True)
        if answer is not None:
            self._record.note_read(batch.judge(answer.members["vectors"], least, batch.latest))
        return answer is not None

    def _query(self, client: Client, batch: Batch) -> bool:
        """By filter, so that the batch is all that there is."""
        least = batch.acknowledged
        asked = {"topK": 100, "filter": {"batch": batch.name}, "returnDistance": True, "returnMetadata": True}
        answer = self._ask(client, "QueryVectors", queryVector={"float32": batch.vector(least, 0)}, **asked)
        if answer is not None:
            vectors = answer.members["vectors"]
            self._record.note_read(batch.judge(vectors, least, batch.latest) or _wrong_distance(vectors, least))
        return answer is not None


class Writer(Caller):
    def __init__(self, number: int, clients: Sequence[Client], ledger: Ledger, record: Record, random: Random) -> None:
        super().__init__(clients, ledger, record, random)
        self._number = number

    def step(self, stopping: Event) -> None:
        batch = self._ledger.next_version(self._number, self._random)
        version = batch.latest
        while (answer := self._attempt(batch, version)) is None:
            batch.doubtful = True
            if stopping.wait(PAUSE_SECONDS):
                return
        batch.acknowledged = version
        self._record.note_acknowledgement()
        self.served += 1
        if answer.members:
            self._record.note_read(Finding(WRONG, str(answer)))
        if self._random.random() < READ_AGAIN:
            self._get(self._clients[-1], batch)

    def _attempt(self, batch: Batch, version: int) -> Answer | None:
        if batch.present[version]:
            return self._ask(self._clients[0], "PutVectors", vectors=batch.written(version))
        return self._ask(self._clients[0], "DeleteVectors", keys=batch.keys)


class Reader(Caller):
    def step(self, stopping: Event) -> None:
        batch = self._ledger.some_batch(self._random)
        look = self._random.choice([self._get, self._query])
        if batch is not None and look(self._clients[0], batch):
            self.served += 1
        else:
            stopping.wait(PAUSE_SECONDS)


def _wrong_distance(vectors: Sequence[Mapping[str, Any]], asked: int) -> Finding | None:
    """Squares of whole numbers: the query was the vector before the first, of the version that was asked for."""
    for vector in vectors:
        moved, i = vector["metadata"]["version"] - asked, int(vector["key"].rsplit("-", 1)[1])
        if vector["distance"] != moved**2 + i**2:
            return Finding(WRONG, f"{vector} is {moved**2 + i**2} from version {asked}")
    return None
