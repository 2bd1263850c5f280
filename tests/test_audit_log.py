import json
import os
import resource
import stat
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from threading import Thread
from typing import Any

import pytest

from app.audit_log import QUEUE_RECORDS, AuditFile, NoAuditLog, open_audit_log

MEGABYTE = 1024 * 1024
HOSTILE = [
    "\r\n{}",
    "\x1b[2J",
    '"}\n{"',
    "\\",
    "\x00",
    "\x7f",
    "\u0085",
    "\u2028",
    "\u2029",
    "\x9b31m",
    "é千😀",
    "\ud800",
]


def records(file: Path) -> list[Any]:
    return [json.loads(line) for line in file.read_text("ascii").splitlines()]


def write_all(file: Path, written: list[dict[str, Any]]) -> AuditFile:
    audit_file = AuditFile(file)
    for record in written:
        audit_file.write(record)
    audit_file.close()
    return audit_file


def wait_until(condition: Callable[[], bool]) -> None:
    """The writer has a thread of its own."""
    for _ in range(3_000):
        if condition():
            return
        time.sleep(0.01)
    raise TimeoutError


def test_what_is_queued_is_written_before_it_closes(tmp_path: Path) -> None:
    numbers = [{"number": number} for number in range(2_000)]
    assert write_all(tmp_path / "audit.log", numbers).lost == 0
    assert records(tmp_path / "audit.log") == numbers


@pytest.mark.parametrize("text", HOSTILE, ids=ascii)
def test_a_record_is_one_line_of_ascii_whatever_is_in_it(tmp_path: Path, text: str) -> None:
    hostile = {text: [text, {"userAgent": text}]}
    write_all(tmp_path / "audit.log", [hostile, {"next": 1}])
    written = (tmp_path / "audit.log").read_bytes()
    assert written.count(b"\n") == len(written.splitlines()) == 2
    assert not {byte for byte in written.replace(b"\n", b"") if not 0x20 <= byte <= 0x7F}
    assert records(tmp_path / "audit.log") == [hostile, {"next": 1}]


def test_the_file_and_its_folder_are_made_for_their_owner_alone(tmp_path: Path) -> None:
    file = tmp_path / "var/log/audit.log"
    write_all(file, [{}])
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert stat.S_IMODE(file.parent.stat().st_mode) & 0o022 == 0


def test_what_is_there_is_kept(tmp_path: Path) -> None:
    for number in range(3):
        write_all(tmp_path / "audit.log", [{"number": number}])
    assert records(tmp_path / "audit.log") == [{"number": 0}, {"number": 1}, {"number": 2}]


def test_writers_who_share_a_file_tear_no_lines(tmp_path: Path) -> None:
    def write(writer: int) -> None:
        write_all(tmp_path / "audit.log", [{"writer": writer, "text": str(n % 10) * n * 10} for n in range(500)])

    threads = [Thread(target=write, args=(writer,)) for writer in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    found = records(tmp_path / "audit.log")
    for writer in range(4):
        assert [len(r["text"]) for r in found if r["writer"] == writer] == [n * 10 for n in range(500)]


def test_of_a_file_that_was_moved_or_removed_a_new_one_is_made(tmp_path: Path) -> None:
    file, moved = tmp_path / "audit.log", tmp_path / "audit.log.1"
    audit_file = AuditFile(file)
    audit_file.write({"number": 0})
    wait_until(lambda: file.exists() and records(file) == [{"number": 0}])
    file.rename(moved)
    audit_file.write({"number": 1})
    wait_until(lambda: file.exists() and records(file) == [{"number": 1}])
    file.unlink()
    audit_file.write({"number": 2})
    audit_file.close()
    assert records(moved) == [{"number": 0}]
    assert records(file) == [{"number": 2}]
    assert audit_file.lost == 0


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="a disk that is always full")
def test_a_full_disk_loses_records_and_counts_them() -> None:
    assert write_all(Path("/dev/full"), [{"number": number} for number in range(1_234)]).lost == 1_234


def test_a_path_that_cannot_be_written_loses_records_until_it_can(tmp_path: Path) -> None:
    folder = tmp_path / "folder"
    folder.write_text("a file where a folder should be")
    audit_file = AuditFile(folder / "audit.log")
    for number in range(7):
        audit_file.write({"number": number})
    wait_until(lambda: audit_file.lost == 7)
    folder.unlink()
    audit_file.write({"number": 7})
    audit_file.close()
    assert audit_file.lost == 7
    assert records(folder / "audit.log") == [{"number": 7}]


def test_a_line_that_a_full_disk_broke_off_spoils_no_other(tmp_path: Path) -> None:
    file, audit_file = tmp_path / "audit.log", AuditFile(tmp_path / "audit.log")
    with disk_of(MEGABYTE):
        for number in range(3):
            audit_file.write({"number": number, "text": "x" * 400_000})
        wait_until(lambda: audit_file.lost == 1)
    audit_file.write({"number": 3})
    audit_file.close()
    first, second, broken, last = file.read_text().splitlines()
    assert [json.loads(line)["number"] for line in (first, second, last)] == [0, 1, 3]
    assert broken.startswith('{"number":2,"text":"xxx')
    assert audit_file.lost == 1


@contextmanager
def disk_of(size: int) -> Iterator[None]:
    """No file grows further: to whoever writes, the same as a disk that fills up."""
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, limits[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)


def test_a_full_queue_loses_records_and_counts_them(tmp_path: Path) -> None:
    """A pipe that nobody reads holds up whoever opens it, as a disk that does not answer."""
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    audit_file, sent = AuditFile(pipe), QUEUE_RECORDS + 100
    for number in range(sent):
        audit_file.write({"number": number})
    lost = audit_file.lost
    assert lost in (99, 100)  # one may be in the writer's hands
    with pipe.open() as reader:
        numbers = [json.loads(reader.readline())["number"] for _ in range(sent - lost)]
    assert numbers == sorted(numbers)
    assert len(set(numbers)) + audit_file.lost == sent
    audit_file.close()


@pytest.mark.parametrize(
    ("destination", "file"),
    [
        pytest.param("", "data/audit.log", id="unset"),
        pytest.param("{folder}/other.json", "other.json", id="a path"),
        pytest.param("off", None, id="off"),
    ],
)
def test_the_setting_says_where_it_goes(tmp_path: Path, destination: str, file: str | None) -> None:
    audit_log = open_audit_log(destination.format(folder=tmp_path), tmp_path / "data")
    audit_log.write({"number": 1})
    audit_log.close()
    made = {str(path.relative_to(tmp_path)) for path in tmp_path.rglob("*") if path.is_file()}
    assert made == ({file} if file else set())
    assert isinstance(audit_log, NoAuditLog) is (destination == "off")


def test_standard_output_takes_it_too(capfd: pytest.CaptureFixture[str]) -> None:
    sys.stdout.flush()
    audit_log = open_audit_log("stdout", Path("nowhere"))
    audit_log.write({"number": 1})
    audit_log.close()
    assert capfd.readouterr().out == '{"number":1}\n'
