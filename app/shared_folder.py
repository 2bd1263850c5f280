"""Where workers keep what they count, so that it outlives them, and what they must know of each other: small files.

In memory rather than on a disk, whose writing out would now and then keep a worker waiting.
"""

import fcntl
import mmap
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TypeAlias

from prometheus_client import values
from prometheus_client.multiprocess import mark_process_dead

SHARED_MEMORY = Path("/dev/shm")  # noqa: S108 - the folder that is made in it is private
PREFIX = "pgs3vectors-metrics-"
FOLDER = "PROMETHEUS_MULTIPROC_DIR"  # of prometheus_client
PLACE = "PGS3VECTORS_WORKER"

SharedNumbers: TypeAlias = "memoryview[float]"
"""Each of eight bytes, which are written at once."""


@contextmanager
def shared_folder() -> Iterator[Path]:
    """Gone with the server; what one left that was killed, the next removes."""
    place = SHARED_MEMORY if os.access(SHARED_MEMORY, os.W_OK) else Path(tempfile.gettempdir())
    remove_abandoned(place)
    folder = Path(tempfile.mkdtemp(prefix=PREFIX, dir=place))
    with (folder / "unlocked").open("wb") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        (folder / "unlocked").rename(folder / "lock")  # now whoever finds it finds it taken
        try:
            yield folder
        finally:
            shutil.rmtree(folder, ignore_errors=True)


def remove_abandoned(place: Path) -> None:
    """Of our own user's, those whose lock nobody holds."""
    for folder in place.glob(f"{PREFIX}*"):
        with suppress(OSError):
            if folder.lstat().st_uid == os.geteuid():
                with (folder / "lock").open("rb") as lock:
                    fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                    shutil.rmtree(folder, ignore_errors=True)


def invite(folder: Path, place: int) -> None:
    """The process that is begun next, to count there.

    By the place among the workers, not by process: who is begun again goes on where his predecessor ended.
    """
    os.environ |= {FOLDER: str(folder), PLACE: str(place)}


def folder_of_workers() -> Path:
    """Of the process that was invited."""
    return Path(os.environ[FOLDER])


def place_of_worker() -> int:
    return int(os.environ[PLACE])


def shared_numbers(name: str, number: int) -> SharedNumbers:
    """The same for all workers, 0 at first."""
    descriptor = os.open(folder_of_workers() / name, os.O_RDWR | os.O_CREAT, 0o600)
    try:
        os.ftruncate(descriptor, 8 * number)
        return memoryview(mmap.mmap(descriptor, 8 * number)).cast("d")
    finally:
        os.close(descriptor)


def accept() -> None:
    """Before the first metric is made; whoever was not invited counts for himself."""
    place = os.environ.get(PLACE)
    if place is not None:
        values.ValueClass = values.MultiProcessValue(lambda: place)  # type: ignore[no-untyped-call]


def forget_what_was_in_flight(folder: Path, place: int) -> None:
    """Of a worker that has died: what it was doing, not what it had done."""
    mark_process_dead(place, str(folder))  # type: ignore[no-untyped-call]
