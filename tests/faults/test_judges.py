"""A judge that finds nothing must be one that finds what is there."""

from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from scripts.fault_injection.answers import Answer
from scripts.fault_injection.catalogue import Experiment
from scripts.fault_injection.execution import perform
from scripts.fault_injection.ledger import LOST, PARTIAL, WRONG, Batch, Ledger, Window
from scripts.fault_injection.options import Options
from scripts.fault_injection.record import Record
from scripts.fault_injection.report import markdown
from scripts.fault_injection.trial import Judgement, NotHere, Result, Trial
from scripts.testbed.progress import quiet_steps

VERSION = 3
HEADERS = {"x-amzn-requestid": "id", "content-type": "application/json"}
UNAVAILABLE = HEADERS | {"x-amzn-errortype": "ServiceUnavailableException"}
RETRIED = UNAVAILABLE | {"retry-after": "1", "x-amz-retry-after": "1000"}


def batch() -> Batch:
    """Written, deleted, and written again; a fourth version was attempted."""
    return Batch(writer=1, number=7, present=[False, True, False, True, True], acknowledged=VERSION)


def moved(vectors: list[Any]) -> list[Any]:
    return [*vectors[1:], vectors[0] | {"data": {"float32": [0.0, 0.0, 0.0, 0.0]}}]


def described(vectors: list[Any]) -> list[Any]:
    return [vector | {"metadata": vector["metadata"] | {"more": 1}} for vector in vectors]


@pytest.mark.parametrize(
    ("found", "kind"),
    [
        (batch().written(3), None),
        (batch().written(4), None),
        ([], LOST),
        (batch().written(1), LOST),
        (batch().written(3)[1:], PARTIAL),
        (batch().written(3)[1:] + batch().written(4)[:1], PARTIAL),
        (batch().written(5), WRONG),
        (moved(batch().written(3)), WRONG),
        (described(batch().written(3)), WRONG),
    ],
    ids=[
        "as acknowledged",
        "as attempted",
        "all gone",
        "an older version",
        "one of five gone",
        "two versions at once",
        "a version that nobody wrote",
        "another vector",
        "other metadata",
    ],
)
def test_what_is_found_of_a_batch(found: list[Any], kind: str | None) -> None:
    finding = batch().judge(found, VERSION, batch().latest)
    assert (finding and finding.kind) == kind


def test_a_deleted_batch_may_not_come_back() -> None:
    deleted = Batch(writer=0, number=0, present=[False, True, False], acknowledged=2)
    assert deleted.judge([], 2, 2) is None
    finding = deleted.judge(deleted.written(1), 2, 2)
    assert finding is not None
    assert finding.kind == LOST


def test_vectors_that_nobody_wrote_are_found() -> None:
    stranger = Batch(writer=9, number=9, present=[False, True]).written(1)
    [finding] = Ledger(1).judge_all(stranger, Window({}, {}))
    assert finding.kind == WRONG


@pytest.mark.parametrize(
    ("status", "headers", "body", "fault"),
    [
        (200, HEADERS, b'{"vectors": []}', None),
        (503, RETRIED, b'{"message": "busy"}', None),
        (200, {"content-type": "application/json"}, b"{}", "no request id"),
        (200, HEADERS | {"content-type": "text/html"}, b"<html>", "no JSON"),
        (200, HEADERS, b"[", "no JSON object"),
        (503, UNAVAILABLE, b'{"message": "busy"}', "does not say when to retry"),
        (503, RETRIED, b"{}", "no message"),
        (500, RETRIED, b'{"message": "busy"}', "not in the model of this operation"),
        (500, HEADERS, b'{"message": "no type"}', "not in the model of this operation"),
        (404, HEADERS | {"x-amzn-errortype": "NoSuchException"}, b"{}", "not in the model of this operation"),
    ],
)
def test_an_answer_is_one_of_the_model(status: int, headers: dict[str, str], body: bytes, fault: str | None) -> None:
    assert Answer("GetVectors", status, headers, body).fault == fault


def test_an_error_that_the_fault_does_not_explain_is_kept() -> None:
    record = Record(frozenset({"ServiceUnavailableException"}))
    for error, status in (("ServiceUnavailableException", 503), ("InternalServerException", 500)):
        headers = RETRIED | {"x-amzn-errortype": error}
        record.note_answer("GetVectors", Answer("GetVectors", status, headers, b'{"message": ""}'))
    record.note_answer("GetVectors", None)
    assert record.answers == Counter(
        {("GetVectors", what): 1 for what in ("ServiceUnavailableException", "InternalServerException", "no answer")}
    )
    assert [what.split(":")[0] for what in record.irregular] == ["unexpected"]


def breaks_off(trial: Trial) -> None:
    """It fails by itself."""
    trial.judge("so far", passed=True)
    raise ConnectionResetError


def lacks_something(trial: Trial) -> None:
    """It cannot run here."""
    raise NotHere(f"No moon in {trial.folder}.")


def judges_nothing(_: Trial) -> None:
    """It forgets to."""


def is_happy(trial: Trial) -> None:
    """It passes."""
    assert not any(Path(trial.folder).iterdir())
    trial.judge("all is well", passed=True)


@pytest.mark.parametrize(
    ("run", "verdict"),
    [(breaks_off, "failed"), (lacks_something, "not run"), (judges_nothing, "failed"), (is_happy, "passed")],
)
def test_only_what_was_judged_has_passed(
    run: Callable[[Trial], None], verdict: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with quiet_steps() as steps, steps.step("") as step:
        result = perform(Experiment(run), step, Options(short=True))
    assert result.verdict == verdict
    assert ("ConnectionResetError" in capsys.readouterr().err) is (run is breaks_off)


def test_the_report_hides_neither_failures_nor_what_was_not_run() -> None:
    results = [
        Result("a", "A is broken.", acknowledged=1_234, judgements=[Judgement("no lie", passed=False, found="two")]),
        Result("b", "B is broken.", not_run="No root."),
        Result("c", "C is broken.", judgements=[Judgement("no lie", passed=True)]),
    ]
    page = markdown(results, "One run:")
    assert "| `a` | A is broken. | **failed** | 1,234 |" in page
    assert "| `b` | B is broken. | **not run** |" in page
    assert "1 passed, 1 failed, 1 not run" in page
    assert "- `a`: no lie: two" in page
    assert "- `b`: No root." in page
