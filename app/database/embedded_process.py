"""Processes of the embedded PostgreSQL: they end with this one, and run as who they must."""

import os
import signal
import subprocess
from pathlib import Path
from typing import IO

import structlog

from app.parent_death import die_with_parent
from app.unprivileged import User

FAST_SHUTDOWN_SECONDS = 60
ENVIRONMENT = ("PATH", "TZ", "TMPDIR", "LD_LIBRARY_PATH")  # no PGDATA, PGOPTIONS or the like

log = structlog.get_logger()


def spawn(
    command: list[str | Path], end_by: signal.Signals, *, user: User | None, log_file: Path, lock: int
) -> subprocess.Popen[bytes]:
    """In a session of its own, since control-C in the terminal must reach the HTTP server first."""
    launcher = os.getpid()
    with fresh(log_file) as output:
        return subprocess.Popen(  # noqa: S603 - the command is ours
            command,
            cwd=log_file.parent,
            env={name: os.environ[name] for name in ENVIRONMENT if name in os.environ} | {"LC_ALL": "C"},
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            pass_fds=[lock],
            start_new_session=True,
            user=user.uid if user else None,
            group=user.gid if user else None,
            extra_groups=[] if user else None,
            preexec_fn=lambda: die_with_parent(launcher, end_by),  # noqa: PLW1509 - no lock is taken in it
        )


def fresh(log_file: Path) -> IO[bytes]:
    """The log before is kept; statements that failed are in it, so nobody else may read it."""
    if log_file.exists():
        log_file.replace(log_file.with_suffix(".log.1"))
    log_file.touch(mode=0o600)
    return log_file.open("wb")


def last_words(log_file: Path) -> str:
    lines = log_file.read_text(errors="replace").splitlines() or [""]
    return next((line for line in reversed(lines) if "FATAL" in line or "error:" in line), lines[-1])


def end(process: subprocess.Popen[bytes]) -> None:
    """Fast shutdown writes a checkpoint; immediate shutdown leaves it to recovery."""
    process.send_signal(signal.SIGINT)
    try:
        process.wait(FAST_SHUTDOWN_SECONDS)
    except subprocess.TimeoutExpired:
        log.warning("PostgreSQL does not stop; forcing it")
        process.send_signal(signal.SIGQUIT)
        process.wait()
