"""All vectors of an index at another endpoint: its segments side by side, page by page."""

import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from queue import Full, Queue
from typing import Any

import numpy as np
from msgspec import Struct

from app.interchange.batches import Batch, InvalidSource
from app.interchange.endpoint import Endpoint

PAGE_ROWS = 1_000
WAIT_SECONDS = 0.2


class Page(Struct, frozen=True):
    segment: int
    next_token: str | None
    """None behind the last page of the segment."""
    batch: Batch


class Segments:
    """`tokens` says where each goes on: by a token, from its beginning (an empty text), or not at all (None)."""

    def __init__(self, endpoint: Endpoint, index: dict[str, str], tokens: list[str | None]) -> None:
        self._endpoint = endpoint
        self._index = index
        self._tokens = tokens
        self._pages: Queue[Page | BaseException | None] = Queue(2 * len(tokens))
        self._stopping = threading.Event()

    def pages(self) -> Iterator[Page]:
        """In any order, but those of one segment in theirs."""
        open_ = [segment for segment, token in enumerate(self._tokens) if token is not None]
        with ThreadPoolExecutor(max(1, len(open_)), thread_name_prefix="segment") as threads:
            try:
                for segment in open_:
                    threads.submit(self._read, segment)
                ended = 0
                while ended < len(open_):
                    match self._pages.get():
                        case Page() as page:
                            yield page
                        case None:
                            ended += 1
                        case error:
                            raise error
            finally:
                self._stopping.set()

    def _read(self, segment: int) -> None:
        try:
            token = self._tokens[segment] or None
            while not self._stopping.is_set():
                vectors, token = self._page(segment, token)
                self._hand_over(Page(segment, token, batch(vectors)))
                if token is None:
                    break
        except BaseException as error:  # noqa: BLE001 - whoever reads the pages raises it
            self._hand_over(error)
        else:
            self._hand_over(None)

    def _page(self, segment: int, token: str | None) -> tuple[list[Any], str | None]:
        members: dict[str, Any] = {"maxResults": PAGE_ROWS, "returnData": True, "returnMetadata": True}
        if len(self._tokens) > 1:
            members |= {"segmentCount": len(self._tokens), "segmentIndex": segment}
        if token:
            members["nextToken"] = token
        try:
            answer = self._endpoint.call_patiently("list_vectors", **self._index, **members)
        except InvalidSource as error:
            if token and "ValidationException" in str(error) and token == self._tokens[segment]:
                return self._page(segment, None)  # a token that is too old: what is there already is written again
            raise
        return answer["vectors"], answer.get("nextToken")

    def _hand_over(self, what: Page | BaseException | None) -> None:
        while not self._stopping.is_set():
            with suppress(Full):
                self._pages.put(what, timeout=WAIT_SECONDS)
                break


def batch(vectors: list[Any]) -> Batch:
    data = [vector.get("data", {}).get("float32") for vector in vectors]
    lengths = {None if numbers is None else len(numbers) for numbers in data}
    with np.errstate(over="ignore"):
        matrix: Any = [None if numbers is None else np.array(numbers, np.float32) for numbers in data]
    return Batch(
        first_row=1,
        keys=[vector["key"] for vector in vectors],
        vectors=np.stack(matrix) if len(lengths) == 1 and None not in lengths else matrix,
        metadata=[vector.get("metadata") for vector in vectors],
        size=len(vectors),
    )
