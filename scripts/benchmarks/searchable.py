"""The metadata key that is searched for text, and requests that ask for it."""

import time
from collections.abc import Callable, Sequence
from math import nan
from typing import Any

import msgspec
from msgspec import Struct

from app.full_text.analyzer import Language
from scripts.benchmarks.ground_truth import Found
from scripts.benchmarks.run import Run
from scripts.benchmarks.vector_index import HttpSearch, VectorIndex
from scripts.testbed.api import Body
from scripts.testbed.errors import ScriptError

KEY = "text"
LANGUAGE: Language = "en"
SEARCHABLE: dict[str, str] = {"metadataKey": KEY, "language": LANGUAGE}
TOP_K = 10
POLL_SECONDS = 0.05


class NotSearchable(ScriptError):
    """The backfill had not ended when patience was over."""


class FoundText(Struct, rename="camel", frozen=True):
    key: str
    scores: dict[str, Any] = {}

    @property
    def bm25(self) -> float:
        """Of the one key."""
        return float(self.scores["bm25Scores"][0]["score"])


class Answer(Struct, frozen=True):
    vectors: list[FoundText]


class HttpTextSearch(HttpSearch):
    def found(self, answer: Body) -> list[Found]:
        """What only texts have found has no distance."""
        return [Found(vector.key, nan) for vector in found_texts(answer)]


def found_texts(answer: Body) -> list[FoundText]:
    return msgspec.json.decode(answer, type=Answer).vectors


def searching_texts(index: VectorIndex, requests: list[bytes]) -> Callable[[], HttpTextSearch]:
    return lambda: HttpTextSearch(index.api.connect(), requests)


def query(index: VectorIndex, text: str | None, vector: Sequence[float] | None = None, top_k: int = TOP_K) -> bytes:
    """By text, by vector, or by both."""
    members: dict[str, Any] = {}
    if text is not None:
        members |= {"queryTexts": [{"metadataKey": KEY, "text": text[:1024]}], "returnScores": True}
    if vector is not None:
        members |= {"queryVector": {"float32": list(vector)}, "returnDistance": True}
    return index.request("QueryVectors", topK=top_k, **members)


def searchable_index(run: Run) -> VectorIndex:
    """That of the run, made searchable now, unless a scenario has done so."""
    index = run.index
    if not _configurations(index):
        make_searchable(run, index)
    return index


def make_searchable(run: Run, index: VectorIndex) -> float:
    """Seconds until the backfill was over."""
    started = time.perf_counter()
    added = {"textSearchConfigurations": [SEARCHABLE]}
    index.api.call("UpdateMetadataConfiguration", **index.members, add=added)
    with run.steps.step(f"making {len(index.dataset):,} texts searchable"):
        while _configurations(index)[0]["status"] != "ACTIVE":
            if time.perf_counter() > started + run.options.patience:
                raise NotSearchable(f"{KEY} was not searchable after {run.options.patience:.0f} s.")
            time.sleep(POLL_SECONDS)
    return time.perf_counter() - started


def _configurations(index: VectorIndex) -> list[dict[str, Any]]:
    described = index.api.call("GetIndex", **index.members)["index"]
    found: list[dict[str, Any]] = described.get("metadataConfiguration", {}).get("textSearchConfigurations", [])
    return found
