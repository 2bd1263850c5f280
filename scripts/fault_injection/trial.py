"""One experiment as it runs: what it was given, what the judges said."""

from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from random import Random
from typing import Any, Literal

from msgspec import Struct, field

from scripts.fault_injection import deployment
from scripts.fault_injection.answers import UNAVAILABLE
from scripts.fault_injection.cluster import Cluster
from scripts.fault_injection.deployment import Deployment, until
from scripts.fault_injection.ledger import LOST, PARTIAL, WRONG
from scripts.fault_injection.load import DidNotRecover, Load, Traffic
from scripts.testbed.api import Api
from scripts.testbed.errors import ScriptError
from scripts.testbed.progress import Step

MOST_SHOWN = 3
LEAK_SECONDS = 30
BETWEEN_WRITES = 20

Verdict = Literal["passed", "failed", "not run"]


class NotHere(Exception):
    """This machine lacks what the experiment needs; the text says what."""


class Judgement(Struct, frozen=True):
    judge: str
    passed: bool
    found: str = ""


class Result(Struct):
    experiment: str
    what: str
    seconds: float = 0
    acknowledged: int = 0
    """Writes."""
    answers: Counter[str] = field(default_factory=Counter)
    """Of all clients, by error type."""
    recovered: list[float] = field(default_factory=list)
    """Seconds after which every client was served again, for each time that something was broken."""
    judgements: list[Judgement] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    not_run: str = ""

    @property
    def verdict(self) -> Verdict:
        """What nobody has judged has not passed."""
        if self.not_run:
            return "not run"
        return "passed" if self.judgements and all(j.passed for j in self.judgements) else "failed"

    @property
    def failed(self) -> list[Judgement]:
        return [judgement for judgement in self.judgements if not judgement.passed]


class Trial:
    """`short` is for the test suite: as many repetitions as show that the experiment and the server work."""

    def __init__(self, result: Result, folder: Path, step: Step, *, seed: int, short: bool) -> None:
        self.result = result
        self.folder = folder
        self.step = step
        self.seed = seed
        self.short = short
        self.random = Random(f"{seed} {result.experiment}")  # noqa: S311 - no secret

    def times(self, full: int, short: int) -> Iterator[int]:
        wanted = short if self.short else full
        for n in range(wanted):
            self.step.say(f"{self.result.experiment}, {n + 1} of {wanted}")
            yield n

    def judge(self, judge: str, passed: bool, found: object = "") -> bool:  # noqa: FBT001 - it is the verdict
        self.result.judgements.append(Judgement(judge, passed, str(found)))
        return passed

    def note(self, what: str) -> None:
        self.result.notes.append(what)

    def deployed(self, settings: dict[str, str] | None = None, **options: Any) -> AbstractContextManager[Deployment]:
        return deployment.deployed(self.folder, settings, **options)

    @contextmanager
    def load(
        self, *apis: Api, judged: bool = True, expected: frozenset[str] = UNAVAILABLE, **traffic: Any
    ) -> Iterator[Load]:
        """Judged when it ends, by what the first server says is stored then too."""
        load = Load(apis, Traffic(self.seed, expected=expected, **traffic))
        try:
            with load:
                load.wait_for(20)
                yield load
        except DidNotRecover as error:
            self.judge("serves again without hands", passed=False, found=error)
        if judged:
            self._judge_load(load, apis[0])

    def _judge_load(self, load: Load, api: Api) -> None:
        record = load.record
        self.count(load)
        try:
            load.judge_what_is_stored(api)
        except (ScriptError, OSError) as error:
            self.judge("what is stored can be read", passed=False, found=error)
        for judge, kind in (("no acknowledged write lost", LOST), ("no part of a batch", PARTIAL), ("no lie", WRONG)):
            found = [finding.what for finding in record.findings if finding.kind == kind]
            shown = "; ".join(found[:MOST_SHOWN]) or f"{record.acknowledged} writes, {record.reads} reads"
            self.judge(judge, not found, f"{len(found)}: {shown}" if found else shown)
        irregular = "; ".join(f"{times} x {what}" for what, times in record.irregular.most_common(MOST_SHOWN))
        self.judge("only errors of the model that the fault explains", not record.irregular, irregular)

    def count(self, load: Load) -> None:
        self.result.acknowledged += load.record.acknowledged
        for (_, error_type), times in load.record.answers.items():
            self.result.answers[error_type] += times

    def breaks(
        self,
        break_it: Callable[[Deployment, Load], None],
        *,
        full: int,
        short: int,
        within: float,
        settings: dict[str, str] | None = None,
    ) -> None:
        """Again and again under load; `break_it` ends when what it broke was made whole, if somebody outside has to."""
        with self.deployed(settings) as deployment:
            with self.load(deployment.api) as load:
                for _ in self.times(full, short):
                    load.wait_for(BETWEEN_WRITES)
                    break_it(deployment, load)
                    self.recovers(load, within)
            self.judge_leaks(deployment.cluster)

    def recovers(self, load: Load, within: float) -> None:
        """The fault is over: every client is served again, without hands."""
        seconds = load.recovers(within)
        self.result.recovered.append(seconds)
        self.judge(f"serves again without hands within {within:.0f} s", passed=True, found=f"{seconds:.1f} s")

    def judge_leaks(self, cluster: Cluster) -> None:
        """Nothing holds locks or transactions when nobody asks any more, and no half-built index is left."""
        with cluster.connect() as connection:

            def left() -> str:
                row = connection.execute(LEFT).fetchone()
                return ", ".join(f"{n} {what}" for n, what in zip(row or (), LEFT_NAMES, strict=True) if n)

            # Once is enough: background tasks have transactions of a moment all the time.
            nothing_left = until(lambda: not left(), LEAK_SECONDS)
            self.judge("nothing left behind in PostgreSQL", nothing_left, "" if nothing_left else left())


LEFT_NAMES = ("open transactions", "waiting locks", "invalid indexes")
LEFT = """
SELECT (SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()
        AND state LIKE 'idle in transaction%'),
    (SELECT count(*) FROM pg_locks WHERE NOT granted),
    (SELECT count(*) FROM pg_index WHERE NOT indisvalid)
"""
