"""What clients have written and were told, kept outside of the database: by it everything that is read is judged.

A batch is always written and deleted as a whole.  Each of its vectors says in metadata and in its components which
version of which batch it is.  One writer writes a batch, one version behind the other.
"""

from collections.abc import Iterable, Mapping
from random import Random
from threading import Lock
from typing import Any

from msgspec import Struct, field

BATCH = 5
DIMENSION = 4


Bounds = tuple[int, int]
"""The version that was acknowledged last, and the latest that was attempted."""


class Window(Struct, frozen=True):
    """What was written between two moments, by name of batch: it may be there, what was before must be."""

    least: Mapping[str, Bounds]
    most: Mapping[str, Bounds]


class Finding(Struct, frozen=True):
    """What was seen of a batch that must not be seen."""

    kind: str
    what: str


LOST, PARTIAL, WRONG = "acknowledged, but lost", "part of a batch", "wrong data"


class Batch(Struct):
    """Versions count from 1; what is before the first is absent."""

    writer: int
    number: int
    present: list[bool] = field(default_factory=lambda: [False])
    """By version; deletes are versions too."""
    acknowledged: int = 0
    doubtful: bool = False
    """It has had an unknown outcome: an earlier attempt may still take effect, so that nothing new is written."""

    @property
    def name(self) -> str:
        return f"{self.writer}-{self.number}"

    @property
    def latest(self) -> int:
        """Acknowledged or not."""
        return len(self.present) - 1

    @property
    def keys(self) -> list[str]:
        return [f"{self.name}-{i}" for i in range(BATCH)]

    def vector(self, version: int, i: int) -> list[float]:
        """Whole numbers that float32 holds."""
        return [float(self.writer + 1), float(self.number + 1), float(version), float(i + 1)]

    def written(self, version: int) -> list[dict[str, Any]]:
        return [
            {"key": key, "data": {"float32": self.vector(version, i)}, "metadata": self.metadata(version)}
            for i, key in enumerate(self.keys)
        ]

    def metadata(self, version: int) -> dict[str, Any]:
        return {"batch": self.name, "version": version}

    def judge(self, vectors: Iterable[Mapping[str, Any]], least: int, most: int) -> Finding | None:
        """All that was found of it, while versions from `least` (acknowledged) to `most` (attempted) may be there."""
        found = {vector["key"]: vector for vector in vectors}
        versions = {vector["metadata"]["version"] for vector in found.values()}
        allowed = f"{self.name}: {len(found)} of {BATCH} in {versions or 'no version'}, expected {least} to {most}"
        if not found:
            absent = not all(self.present[least : most + 1])
            return None if absent else Finding(LOST, allowed)
        if len(versions) > 1 or len(found) < BATCH:
            return Finding(PARTIAL, allowed)
        [version] = versions
        if version < least:
            return Finding(LOST, allowed)
        if version > most or not self.present[version] or not self._is_true(found, version):
            return Finding(WRONG, allowed)
        return None

    def _is_true(self, found: Mapping[str, Mapping[str, Any]], version: int) -> bool:
        metadata = self.metadata(version)
        if any(vector["metadata"] != metadata for vector in found.values()):
            return False
        stored = {key: vector["data"]["float32"] for key, vector in found.items() if "data" in vector}
        return all(stored.get(key, own) == own for i, key in enumerate(self.keys) for own in [self.vector(version, i)])


class Ledger:
    def __init__(self, writers: int) -> None:
        self._lock = Lock()
        self._batches: list[dict[int, Batch]] = [{} for _ in range(writers)]

    @property
    def batches(self) -> list[Batch]:
        with self._lock:
            return [batch for own in self._batches for batch in own.values()]

    @property
    def acknowledged(self) -> int:
        """Writes, deletes among them."""
        return sum(batch.acknowledged for batch in self.batches)

    def next_version(self, writer: int, random: Random) -> Batch:
        """A new batch, or one of the writer's own whose outcome is known, now with one more version."""
        with self._lock:
            own = self._batches[writer]
            known = [batch for batch in list(own.values())[-50:] if not batch.doubtful]
            if not known or random.random() < 0.5:
                batch = own[len(own)] = Batch(writer, len(own))
            else:
                batch = random.choice(known)
            deletes = batch.present[-1] and random.random() < 0.2
            batch.present.append(not deletes)
            return batch

    def some_batch(self, random: Random) -> Batch | None:
        with self._lock:
            own = random.choice(self._batches)
            return random.choice(list(own.values())[-100:]) if own else None

    def bounds(self) -> dict[str, Bounds]:
        """Of each batch that there is by now."""
        return {batch.name: (batch.acknowledged, batch.latest) for batch in self.batches}

    def judge_all(self, vectors: Iterable[Mapping[str, Any]], window: Window) -> list[Finding]:
        """Everything that is there."""
        found: dict[str, list[Mapping[str, Any]]] = {}
        for vector in vectors:
            found.setdefault(vector["metadata"]["batch"], []).append(vector)
        batches = [batch for batch in self.batches if batch.name in window.most]
        judged = [
            batch.judge(found.pop(batch.name, ()), window.least.get(batch.name, (0, 0))[0], window.most[batch.name][1])
            for batch in batches
        ]
        phantoms = [Finding(WRONG, f"{name} was not yet written") for name in found]
        return [finding for finding in judged if finding is not None] + phantoms
