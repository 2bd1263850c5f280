"""Which file it was, in which state: an import goes on with no other."""

from hashlib import sha256
from pathlib import Path

# Both ends of a Parquet file, and of a ZIP archive, say what is between them.
END_BYTES = 1024 * 1024


def fingerprint(path: Path) -> str:
    """By size, time of change, and both ends: reading all of it would take as long as importing it."""
    status = path.stat()
    digest = sha256(f"{status.st_size} {status.st_mtime_ns}".encode())
    with path.open("rb") as file:
        digest.update(file.read(END_BYTES))
        file.seek(max(0, status.st_size - END_BYTES))
        digest.update(file.read(END_BYTES))
    return f"file sha256:{digest.hexdigest()}"
