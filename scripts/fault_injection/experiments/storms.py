"""The same index is created and deleted again and again, while others write to it and query it."""

from contextlib import closing
from threading import Event, Lock
from typing import Any

from scripts.fault_injection.answers import UNAVAILABLE, Answer, Client, NoAnswer
from scripts.fault_injection.callers import BUCKET
from scripts.fault_injection.deployment import Deployment
from scripts.fault_injection.trial import Trial
from scripts.testbed.side_by_side import Job, side_by_side

NAMES = {"vectorBucketName": BUCKET, "indexName": "again"}
DIMENSIONS = 5
WRITERS = READERS = 2
# No index now, or one of another dimension.
EXPLAINED = UNAVAILABLE | {"NotFoundException", "ValidationException"}


def created_and_deleted(trial: Trial) -> None:
    """An index of always the same name, with another dimension each time."""
    with trial.deployed({"WORKERS": "2"}) as deployment:
        with trial.load(deployment.api):
            storm = Storm(deployment, 10 if trial.short else 100)
            writers: list[Job[None]] = [storm.write] * WRITERS
            readers: list[Job[None]] = [storm.query] * READERS
            side_by_side([storm.recreate], beside=[*writers, *readers])
        trial.judge("nothing of a deleted index is seen", not storm.old, storm.old[:3])
        trial.judge("the storm's errors are explained", not storm.irregular, storm.irregular[:3])
        trial.judge("there was something to see", storm.seen > 0, f"{storm.seen} vectors, {storm.written} writes")
        trial.judge_leaks(deployment.cluster)


class Storm:
    """An epoch begins when the index of the one before has been deleted, and before its own is created."""

    def __init__(self, deployment: Deployment, epochs: int) -> None:
        self.old: list[str] = []
        self.irregular: list[str] = []
        self.seen = self.written = 0
        self._deployment = deployment
        self._epochs = epochs
        self._epoch = 0
        self._last_epoch: dict[str, int] = {}
        """In which a vector can have been written at the latest."""
        self._lock = Lock()

    @property
    def _dimension(self) -> int:
        return 2 + self._epoch % DIMENSIONS

    def recreate(self, stopping: Event) -> None:
        with closing(Client(self._deployment.api)) as client:
            while self._epoch < self._epochs and not stopping.is_set():
                shape = {"dataType": "float32", "dimension": self._dimension, "distanceMetric": "euclidean"}
                self._until_done(client, "CreateIndex", "ConflictException", **shape)
                wanted = self.written + 5
                while self.written < wanted and not stopping.is_set():
                    stopping.wait(0.01)
                self._until_done(client, "DeleteIndex", "NotFoundException")
                self._epoch += 1

    def write(self, stopping: Event) -> None:
        with closing(Client(self._deployment.api)) as client:
            while not stopping.is_set():
                with self._lock:
                    key = str(len(self._last_epoch))
                    self._last_epoch[key] = self._epochs
                vector = {"key": key, "data": {"float32": [1] * self._dimension}}
                answer = self._ask(client, "PutVectors", EXPLAINED, vectors=[vector])
                self._last_epoch[key] = self._epoch
                self.written += answer is not None and answer.status == 200

    def query(self, stopping: Event) -> None:
        with closing(Client(self._deployment.api)) as client:
            while not stopping.is_set():
                epoch, vector = self._epoch, {"float32": [1] * self._dimension}
                answer = self._ask(client, "QueryVectors", EXPLAINED, topK=100, queryVector=vector)
                if answer is None or answer.status != 200:
                    continue
                for found in answer.members["vectors"]:
                    self.seen += 1
                    if self._last_epoch[found["key"]] < epoch:
                        self.old.append(f"{found['key']} of {self._last_epoch[found['key']]} in {epoch}")

    def _until_done(self, client: Client, operation: str, already: str, **members: Any) -> None:
        """`already` answers an attempt behind one of unknown outcome; to a first attempt it would be wrong."""
        expected = UNAVAILABLE
        while True:
            answer = self._ask(client, operation, expected, **members)
            if answer is not None and (answer.status == 200 or answer.type == already):
                return
            expected = UNAVAILABLE | {already}

    def _ask(self, client: Client, operation: str, expected: frozenset[str], **members: Any) -> Answer | None:
        try:
            answer = client.ask(operation, **NAMES, **members)
        except NoAnswer as error:
            self.irregular.append(f"{operation}: {error}")
            return None
        if answer.fault or (answer.status != 200 and answer.type not in expected):
            self.irregular.append(str(answer))
        return answer
