"""Many clients who ask the same thing at once, each over a connection of its own."""

from collections import Counter
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import closing
from typing import Any

from msgspec import Struct

from scripts.fault_injection.answers import UNAVAILABLE, Answer, Client, NoAnswer
from scripts.testbed.api import Api


class Crowd(Struct, frozen=True):
    answers: Sequence["Future[Answer | None]"]

    def types(self) -> Counter[str]:
        """How often each was told; waits for the last."""
        found = [answer.result() for answer in self.answers]
        return Counter("no answer" if answer is None else answer.type or "200" for answer in found)

    def faults(self, expected: frozenset[str] = UNAVAILABLE) -> list[str]:
        """Answers that are none of the model, or that the fault does not explain, and those that did not come."""
        return [fault for answer in self.answers if (fault := _fault(answer.result(), expected))]


def _fault(answer: Answer | None, expected: frozenset[str]) -> str:
    if answer is None:
        return "no answer"
    if answer.fault:
        return f"{answer.fault}: {answer}"
    return "" if answer.status == 200 or answer.type in expected else f"unexpected: {answer}"


def ask_at_once(api: Api, clients: int, operation: str, members: Callable[[int], Any], patience: float = 60) -> Crowd:
    """Returns at once."""

    def ask(number: int) -> Answer | None:
        with closing(Client(api, patience)) as client:
            try:
                return client.ask(operation, **members(number))
            except NoAnswer:
                return None

    executor = ThreadPoolExecutor(clients)
    try:
        return Crowd([executor.submit(ask, number) for number in range(clients)])
    finally:
        executor.shutdown(wait=False)
