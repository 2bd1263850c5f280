"""Writing the audit log: a thread of its own takes records from a bounded queue, so that no answer waits for a disk."""

import json
import os
import sys
import time
from math import inf
from pathlib import Path
from queue import Full, Queue
from threading import Thread
from typing import Any, Protocol, TextIO

import structlog

from app.monitoring.metrics import AUDIT_LOST

QUEUE_RECORDS = 10_000
COMPLAIN_SECONDS = 60
CLOSE_SECONDS = 10

log = structlog.get_logger()


class AuditLog(Protocol):
    def write(self, record: dict[str, Any]) -> None: ...

    def close(self) -> None: ...


class NoAuditLog:
    """What the operator has turned off."""

    def write(self, record: dict[str, Any]) -> None: ...

    def close(self) -> None: ...


class AuditFile:
    """Lines are appended whole, so that all workers may share a file; a rotated file is opened again.

    `lost` counts the records that found the queue full or the disk failing; what is lost is said in the log.
    """

    def __init__(self, file: Path | None, stream: TextIO | None = None) -> None:
        """Without a file, the stream, or standard output."""
        self.lost = 0
        self._file = file
        self._descriptor = -1 if file else (stream or sys.stdout).fileno()
        self._queue: Queue[bytes | None] = Queue(QUEUE_RECORDS)
        self._broken = False
        self._complained = -inf
        self._thread = Thread(target=self._run, name="audit log", daemon=True)
        self._thread.start()

    def write(self, record: dict[str, Any]) -> None:
        """Never waits and never raises; in ASCII, so that no terminal obeys it and no reader sees lines in a line."""
        try:
            self._queue.put_nowait(json.dumps(record, separators=(",", ":")).encode() + b"\n")
        except Full:
            self._lose("the queue is full")

    def close(self) -> None:
        """What is queued is written first."""
        try:
            self._queue.put(None, timeout=CLOSE_SECONDS)
        except Full:
            return
        self._thread.join(CLOSE_SECONDS)

    def _run(self) -> None:
        while (line := self._queue.get()) is not None:
            try:
                self._append(line)
            except OSError as error:
                self._lose(error.strerror or "cannot be written")

    def _append(self, line: bytes) -> None:
        """In one write, which no other worker's comes into; a line that a full disk broke off is ended first."""
        if self._file is not None and not self._is_open(self._file):
            self._reopen(self._file)
        rest = b"\n" * self._broken + line
        while rest:
            rest = rest[os.write(self._descriptor, rest) :]
            self._broken = bool(rest)

    def _is_open(self, file: Path) -> bool:
        try:
            return self._descriptor >= 0 and os.path.samestat(file.stat(), os.fstat(self._descriptor))
        except FileNotFoundError:
            return False

    def _reopen(self, file: Path) -> None:
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1
        file.parent.mkdir(parents=True, exist_ok=True, mode=0o711)
        self._descriptor = os.open(file, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
        self._broken = False

    def _lose(self, reason: str) -> None:
        self.lost += 1
        AUDIT_LOST.inc()
        if time.monotonic() - self._complained > COMPLAIN_SECONDS:
            self._complained = time.monotonic()
            log.error("audit_records_lost", reason=reason, lost=self.lost)


def open_audit_log(destination: str, data_dir: Path) -> AuditLog:
    match destination:
        case "off":
            return NoAuditLog()
        case "stdout":
            return AuditFile(None)
        case "":
            return AuditFile(data_dir / "audit.log")
        case _:
            return AuditFile(Path(destination).expanduser())
