"""How a process computes."""

from __future__ import annotations

import platform
import subprocess
import sys

import pytest

from registry import ROOT

FAULTS = """
import resource, sys, numpy as np
from runs.process import keep_freed_memory
if sys.argv[1] == "keep":
    assert keep_freed_memory()
def step():
    kept = [np.ones(12 * 2**20, np.uint8) for _ in range(4)]
step()
before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
for _ in range(10):
    step()
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="the settings are those of glibc")
def test_freed_memory_is_used_again_without_new_pages() -> None:
    faults = {
        how: int(
            subprocess.run(
                [sys.executable, "-c", FAULTS, how],
                cwd=ROOT, capture_output=True, text=True, check=True,
            ).stdout
        )
        for how in ("keep", "return")
    }  # fmt: skip
    assert faults["keep"] * 10 < faults["return"], faults
