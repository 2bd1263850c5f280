"""The clock of the server jumps, by the library of Debian's package libfaketime, which reads an offset from a file."""

import time
from contextlib import closing
from email.utils import parsedate_to_datetime
from pathlib import Path

from scripts.fault_injection.answers import REFUSED, UNAVAILABLE, Answer, Client
from scripts.fault_injection.deployment import Deployment, until
from scripts.fault_injection.experiments.storage import serving
from scripts.fault_injection.trial import NotHere, Trial

LIBRARY = "libfaketimeMT.so.1"
PLACES = ("/usr/lib/*/faketime", "/usr/lib/faketime", "/usr/local/lib/faketime")
MINUTES = 20
# Of an answer that was under way, and of a machine that is busy.
SLACK_SECONDS = 10
RECOVERY_SECONDS = 15
TEXTS = {MINUTES: "Signature expired: ", -MINUTES: "Signature not yet current: "}


def clock_jumped(trial: Trial) -> None:
    """The server's clock jumps by 20 minutes there and back, either way."""
    offset = trial.folder / "offset"
    offset.write_text("+0")
    environment = {
        "LD_PRELOAD": str(library()),
        "FAKETIME_TIMESTAMP_FILE": str(offset),
        "FAKETIME_NO_CACHE": "1",
        "FAKETIME_DONT_FAKE_MONOTONIC": "1",
    }
    with trial.deployed(environment=environment) as deployment:
        before = serving(deployment)
        with trial.load(deployment.api, expected=UNAVAILABLE | {REFUSED}) as load:
            for _ in trial.times(3, 1):
                for minutes, text in TEXTS.items():
                    offset.write_text(f"{minutes * 60:+}")
                    _judge_refusal(trial, deployment, minutes, text)
                    offset.write_text("+0")
                    trial.recovers(load, RECOVERY_SECONDS)
        trial.judge("no process has ended", serving(deployment) == before)
        trial.judge_leaks(deployment.cluster)


def library() -> Path:
    for place in PLACES:
        for found in Path("/").glob(f"{place[1:]}/{LIBRARY}"):
            return found
    raise NotHere("It sets the server's clock, which takes Debian's package libfaketime.")


def _judge_refusal(trial: Trial, deployment: Deployment, minutes: int, text: str) -> None:
    """By the date in the answer a client can set its own clock."""
    with closing(Client(deployment.api)) as client:

        def refusal() -> Answer:
            return client.ask("ListVectorBuckets")

        until(lambda: refusal().status != 200, RECOVERY_SECONDS)
        answer = refusal()
        # The server makes its date once a second.
        is_right = until(lambda: _is_right(refusal(), minutes), RECOVERY_SECONDS)
    told = answer.type == REFUSED and str(answer.members.get("message")).startswith(text)
    trial.judge(f"{minutes:+} minutes: the signature is refused as AWS refuses it", told, answer)
    trial.judge(f"{minutes:+} minutes: the answer says what time it is there", is_right, answer.headers.get("date"))


def _is_right(answer: Answer, minutes: int) -> bool:
    date = parsedate_to_datetime(answer.headers["date"]).timestamp() if "date" in answer.headers else 0
    return abs(date - time.time() - minutes * 60) < SLACK_SECONDS
