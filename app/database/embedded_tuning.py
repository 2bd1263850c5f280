"""Settings of the embedded PostgreSQL that depend on the machine."""

import os
from pathlib import Path

MB = 1024 * 1024


def tuned() -> dict[str, str]:
    """Memory is shared with clients, workers and the page cache, and only taken where it is used."""
    memory = memory_bytes()
    return {
        "max_connections": "100",
        "shared_buffers": megabytes(memory // 4, 128, 8 * 1024),
        "effective_cache_size": megabytes(memory // 2, 256, 64 * 1024),
        # A graph is built in it, 2 GB for a million vectors of 384 dimensions; builds take what they need.
        "maintenance_work_mem": megabytes(min(memory // 6, shared_memory_bytes() // 2), 16, 8 * 1024),
        "max_wal_size": "4GB",  # bulk loads into HNSW write much; the default would checkpoint all the time
        "checkpoint_timeout": "15min",
        "jit": "off",  # compiling costs more than any of our queries
        "log_checkpoints": "off",
    }


def megabytes(wanted: int, least: int, most: int) -> str:
    return f"{max(least, min(most, wanted // MB))}MB"


def memory_bytes(cgroup: Path = Path("/sys/fs/cgroup/memory.max")) -> int:
    installed = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    limit = cgroup.read_text().strip() if cgroup.exists() else "max"
    return installed if limit == "max" else min(installed, int(limit))


def shared_memory_bytes(mount: Path = Path("/dev/shm")) -> int:  # noqa: S108
    """A parallel HNSW build keeps its graph there; containers often have 64 MB."""
    if not mount.exists():
        return 1024 * MB
    status = os.statvfs(mount)
    return status.f_frsize * status.f_blocks
