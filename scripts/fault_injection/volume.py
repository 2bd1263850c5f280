"""A file system in a file, on a loop device: it can be full, and it can lose what was not yet written to it."""

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from msgspec import Struct

from scripts.fault_injection.trial import NotHere

BLOCK = 4096
NEEDED = ("mkfs.ext4", "mount", "umount", "losetup", "cp")
# The journal is left alone meanwhile, so that only what PostgreSQL has flushed is there after a power cut.

OPTIONS = "loop,noatime,commit=300"


class Volume(Struct, frozen=True):
    image: Path
    mount: Path

    @property
    def filler(self) -> Path:
        return self.mount / "filler"

    def fill(self) -> None:
        """To the last block."""
        with self.filler.open("wb", buffering=0) as file:
            for size in (2**20, BLOCK):
                with suppress(OSError):
                    while file.write(bytes(size)):
                        pass

    def make_room(self) -> None:
        self.filler.unlink()

    def snapshot(self) -> Path:
        """What has reached the device by now; nobody may write meanwhile."""
        copy = self.image.with_suffix(".cut")
        _run("cp", "--sparse=always", str(self.image), str(copy))
        return copy

    def put_back(self, snapshot: Path) -> None:
        _run("umount", str(self.mount))
        snapshot.replace(self.image)
        _run("mount", "-o", OPTIONS, str(self.image), str(self.mount))


@contextmanager
def mounted(folder: Path, megabytes: int) -> Iterator[Volume]:
    """Raises NotHere."""
    if sys.platform != "linux" or os.geteuid() != 0:
        raise NotHere("It mounts a file system, which takes root on Linux.")
    if missing := [program for program in NEEDED if shutil.which(program) is None]:
        raise NotHere(f"It mounts a file system, and there is no {', '.join(missing)}.")
    volume = Volume(folder / "volume.img", folder / "volume")
    volume.mount.mkdir(mode=0o711)
    with volume.image.open("wb") as image:
        image.truncate(megabytes * 2**20)
    _run("mkfs.ext4", "-q", "-m", "0", "-E", "lazy_itable_init=0,lazy_journal_init=0", str(volume.image))
    try:
        _run("mount", "-o", OPTIONS, str(volume.image), str(volume.mount))
    except subprocess.CalledProcessError as error:
        raise NotHere(f"It mounts a file system, which fails here: {error.stderr.strip()}") from error
    try:
        yield volume
    finally:
        _run("umount", str(volume.mount))


def _run(*command: str) -> None:
    subprocess.run(command, check=True, capture_output=True, text=True)  # noqa: S603 - the commands are ours
