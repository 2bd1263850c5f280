"""`bench auth` calls stations one by one, which no other program does: it runs, whatever it prints."""

import json
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[1]
PROGRAM = "from scripts.benchmarks.auth import auth; auth(requests=80, clients=2, json=True)"


def test_the_cost_of_access_can_be_measured() -> None:
    done = subprocess.run([sys.executable, "-c", PROGRAM], cwd=ROOT, check=True, capture_output=True, text=True)  # noqa: S603
    figures = json.loads(done.stdout.splitlines()[-1])["figures"]
    assert {"one client", "2 clients", "of it: signature"} <= figures.keys()
    assert figures["of it: signature"] > 0
