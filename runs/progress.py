"""How far long work has come, and how long it will still take."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from typing import TextIO

QUIET = 60.0
"""Seconds after which a log gets a line although no tenth of the work is done."""


class Progress:
    """A line that counts up on a terminal; elsewhere a line per tenth, or per minute if slower.

    Called with units done and units in all. What is done at the first call was done before, so it
    counts for neither the rate nor the time that remains.
    """

    def __init__(
        self,
        what: str,
        *,
        stream: TextIO | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.what = what
        self._stream = stream
        self._clock = clock
        self._begun: tuple[float, int] | None = None
        self._told = (-1, 0.0)

    def __call__(self, done: int, total: int) -> None:
        stream, now = self._stream or sys.stderr, self._clock()
        if self._begun is None:
            self._begun = (now, done)
        tenth, terminal = 10 * done // max(1, total), stream.isatty()
        if not terminal and tenth == self._told[0] and now - self._told[1] < QUIET:
            return
        self._told = (tenth, now)
        text = f"{self.what}: {done:,} of {total:,}{self._rate(now, done, total)}"
        # A shorter line would leave the end of a longer one behind it.
        end = "\r" if terminal and done < total else "\n"
        print(f"{text:<79}" if terminal else text, end=end, file=stream, flush=True)

    def _rate(self, now: float, done: int, total: int) -> str:
        begun, before = self._begun or (now, done)
        fresh, seconds = done - before, now - begun
        if fresh <= 0 or seconds <= 0:
            return ""
        rate = fresh / seconds
        per_second = f"{rate:.0f}" if rate >= 10 else f"{rate:.1f}"
        left = "" if done >= total else f", {duration((total - done) / rate)} left"
        return f" ({per_second}/s{left})"


def duration(seconds: float) -> str:
    """Seconds in words, two units at most.

    >>> duration(8), duration(150), duration(9000)
    ('8 s', '2 min 30 s', '2 h 30 min')
    """
    whole = max(0, round(seconds))
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min" + (f" {whole % 60} s" if whole % 60 and whole < 600 else "")
    hours, minutes = divmod(round(whole / 60), 60)
    return f"{hours} h" + (f" {minutes} min" if minutes else "")
