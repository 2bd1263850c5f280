"""Writing the audit log: a thread of its own takes records from a bounded queue, so that no answer waits for a disk."""

import os
import sys
import time
from pathlib import Path
from queue import Empty, Full, Queue
from threading import Thread
from typing import Any, Protocol

import msgspec
import structlog

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

    def __init__(self, file: Path | None) -> None:
        """Without a file, standard output."""
        self.lost = 0
        self._file = file
        self._descriptor = -1 if file else sys.stdout.fileno()
        self._queue: Queue[bytes | None] = Queue(QUEUE_RECORDS)
        self._complained = 0.0
        self._thread = Thread(target=self._run, name="audit log", daemon=True)
        self._thread.start()

    def write(self, record: dict[str, Any]) -> None:
        """Never waits and never raises."""
        try:
            self._queue.put_nowait(msgspec.json.encode(record) + b"\n")
        except Full:
            self._lose(1, "the queue is full")

    def close(self) -> None:
        """What is queued is written first."""
        try:
            self._queue.put(None, timeout=CLOSE_SECONDS)
        except Full:
            return
        self._thread.join(CLOSE_SECONDS)

    def _run(self) -> None:
        while (line := self._queue.get()) is not None:
            lines = [line, *self._waiting()]
            try:
                self._append(b"".join(lines))
            except OSError as error:
                self._lose(len(lines), error.strerror or "cannot be written")

    def _waiting(self) -> list[bytes]:
        """What has come meanwhile goes in one write; the mark of the end stays behind."""
        lines = []
        try:
            for _ in range(100):
                if (line := self._queue.get_nowait()) is None:
                    self._queue.put_nowait(None)
                    break
                lines.append(line)
        except (Empty, Full):
            pass
        return lines

    def _append(self, lines: bytes) -> None:
        if self._file is not None and not self._is_open(self._file):
            self._reopen(self._file)
        while lines:
            lines = lines[os.write(self._descriptor, lines) :]

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

    def _lose(self, records: int, reason: str) -> None:
        self.lost += records
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
