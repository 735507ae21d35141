"""Two ways of doing one thing, in turn, so that a machine whose speed drifts slows both alike."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass


@dataclass(frozen=True)
class Ratio:
    """How many times as fast as `reference` the measured way is: median and range over pairs."""

    name: str
    aim: str
    ours: float
    """Median seconds."""
    reference: float
    """Median seconds."""
    pairs: tuple[float, ...]

    def __str__(self) -> str:
        middle = statistics.median(self.pairs)
        return (
            f"{self.name}: {middle:.3g} x as fast (range {min(self.pairs):.3g}-"
            f"{max(self.pairs):.3g} of {len(self.pairs)} pairs; ours {self.ours:.3g} s, "
            f"reference {self.reference:.3g} s; aim {self.aim})"
        )


def side_by_side(
    name: str,
    aim: str,
    ours: Callable[[], object],
    reference: Callable[[], object],
    *,
    pairs: int = 5,
) -> Ratio:
    """Both ways once for warm-up, then in turn: A B, B A, A B, …"""
    ours()
    reference()
    times: list[tuple[float, float]] = []
    for pair in range(pairs):
        if pair % 2:
            b, a = seconds(reference), seconds(ours)
        else:
            a, b = seconds(ours), seconds(reference)
        times.append((a, b))
    return Ratio(
        name,
        aim,
        statistics.median(a for a, _ in times),
        statistics.median(b for _, b in times),
        tuple(b / a for a, b in times),
    )


def seconds(job: Callable[[], object]) -> float:
    """Seconds on the wall that a job takes."""
    started = time.perf_counter()
    job()
    return time.perf_counter() - started
