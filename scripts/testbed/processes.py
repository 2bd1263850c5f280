"""Processor time and memory of the server's workers and of PostgreSQL, as the kernel counts them."""

from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path
from typing import TypeAlias

import psutil
from msgspec import Struct

Process: TypeAlias = psutil.Process

MIB = 1024 * 1024


def workers_of(server: int) -> list[Process]:
    """Children of `pgs3vectors serve` that multiprocessing has spawned; it also has one that tracks resources."""
    return [child for child in Process(server).children() if _is_spawned(child)]


def _is_spawned(process: Process) -> bool:
    with suppress(psutil.Error):  # it has just ended
        return any("spawn_main" in argument for argument in process.cmdline())
    return False


def postgres_of(backend: int) -> list[Process]:
    """The postmaster of a backend and all its children; none where PostgreSQL runs on another machine."""
    with suppress(psutil.Error):
        postmaster = Process(backend).parent()
        if postmaster and "postgres" in postmaster.name():
            return [postmaster, *postmaster.children()]
    return []


class Processor(Struct, frozen=True):
    """Seconds since these processes began; a process that ended in between takes its share with it."""

    seconds: dict[int, float]

    def since(self, before: "Processor") -> float:
        return sum(seconds - before.seconds.get(pid, 0) for pid, seconds in self.seconds.items())


def processor(processes: Iterable[Process]) -> Processor:
    seconds = {}
    for process in processes:
        with suppress(psutil.NoSuchProcess):
            times = process.cpu_times()
            seconds[process.pid] = times.user + times.system
    return Processor(seconds)


def idle_seconds() -> float:
    """Of all cores together, since the machine began."""
    times = psutil.cpu_times()
    return float(times.idle + getattr(times, "iowait", 0))


def resident_mib(process: Process) -> float:
    return float(process.memory_info().rss / MIB)


def peak_resident_mib(process: Process) -> float:
    """Since the process began."""
    lines = Path(f"/proc/{process.pid}/status").read_text().splitlines()
    [kib] = [line.split()[1] for line in lines if line.startswith("VmHWM:")]
    return int(kib) / 1024


def proportional_mib(processes: Iterable[Process]) -> float:
    """What they hold together: memory that several share counts once."""
    held = 0
    for process in processes:
        with suppress(psutil.NoSuchProcess):
            held += process.memory_full_info().pss
    return held / MIB
