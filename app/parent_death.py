"""A child process that ends with its parent, however the parent ends."""

import ctypes
import multiprocessing
import os
import signal
import sys

PR_SET_PDEATHSIG = 1  # linux/prctl.h


def die_with_parent(parent: int | None = None, by: signal.Signals = signal.SIGKILL) -> None:
    """Linux only: the signal comes when the thread that started us ends, so that thread must live on."""
    if sys.platform != "linux":
        return
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, by, 0, 0, 0)
    if os.getppid() != (parent or starter()):  # it died before the kernel was asked
        os.kill(os.getpid(), by)


def starter() -> int:
    process = multiprocessing.parent_process()
    return process.pid if process and process.pid else os.getppid()
