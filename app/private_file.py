"""Files that only their owner may read, written whole or not at all."""

import os
import secrets
from contextlib import suppress
from pathlib import Path


def write_once(file: Path, text: str) -> None:
    """The first wins: two servers that start together end with the same file."""
    file.parent.mkdir(parents=True, exist_ok=True, mode=0o711)
    unfinished = file.with_suffix(f".{secrets.token_hex(4)}")
    with os.fdopen(os.open(unfinished, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as output:
        output.write(text)
        output.flush()
        os.fsync(output.fileno())
    with suppress(FileExistsError):
        os.link(unfinished, file)
    unfinished.unlink()
