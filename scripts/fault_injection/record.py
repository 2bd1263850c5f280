"""What all clients of a load were told, and what of it must not be."""

from collections import Counter
from threading import Lock

from scripts.fault_injection.answers import Answer
from scripts.fault_injection.ledger import Finding

SERVED, NO_ANSWER = "200", "no answer"


class Record:
    def __init__(self, expected: frozenset[str]) -> None:
        """`expected` are the error types that the fault explains."""
        self.answers: Counter[tuple[str, str]] = Counter()
        """By operation and error type; 200 and none at all are types here."""
        self.irregular: Counter[str] = Counter()
        self.findings: list[Finding] = []
        self.unanswered: list[float] = []
        """When requests were sent whole to which no answer came."""
        self.acknowledged = 0
        self.reads = 0
        self._expected = expected
        self._lock = Lock()

    def count(self, error_type: str, *operations: str) -> int:
        """Without operations, of all."""
        with self._lock:
            return sum(
                n for (o, t), n in self.answers.items() if t == error_type and (o in operations or not operations)
            )

    def refused(self, *operations: str) -> int:
        """Answered, but not served."""
        with self._lock:
            return sum(n for (o, t), n in self.answers.items() if t not in (SERVED, NO_ANSWER) and o in operations)

    def not_served(self) -> int:
        """Refused, or without any answer."""
        with self._lock:
            return sum(n for (_, t), n in self.answers.items() if t != SERVED)

    def note_answer(self, operation: str, answer: Answer | None) -> None:
        what = NO_ANSWER if answer is None else answer.type or SERVED
        with self._lock:
            self.answers[operation, what] += 1
            if answer is not None and (fault := self._fault(answer)):
                self.irregular[f"{fault}: {answer}"] += 1

    def note_unanswered(self, sent_at: float | None) -> None:
        if sent_at is not None:
            with self._lock:
                self.unanswered.append(sent_at)

    def note_acknowledgement(self) -> None:
        with self._lock:
            self.acknowledged += 1

    def note_read(self, finding: Finding | None) -> None:
        with self._lock:
            self.reads += 1
            if finding is not None:
                self.findings.append(finding)

    def _fault(self, answer: Answer) -> str | None:
        unexpected = answer.status != 200 and answer.type not in self._expected
        return answer.fault or ("unexpected" if unexpected else None)
