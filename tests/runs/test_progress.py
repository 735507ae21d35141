"""The progress line: what it says, and what it leaves out."""

from __future__ import annotations

import io

import pytest

from runs.progress import Progress, duration


class Clock:
    """A clock that the test moves."""

    now = 0.0

    def __call__(self) -> float:
        return self.now


class Terminal(io.StringIO):
    """A stream that says that it is a terminal."""

    def isatty(self) -> bool:
        return True


def test_remaining_time_is_what_is_left_at_the_rate_so_far() -> None:
    clock, out = Clock(), io.StringIO()
    progress = Progress("preparing images", stream=out, clock=clock)
    progress(0, 1000)
    clock.now = 10
    progress(200, 1000)
    assert out.getvalue().splitlines() == [
        "preparing images: 0 of 1,000",
        "preparing images: 200 of 1,000 (20/s, 40 s left)",
    ]


def test_what_an_earlier_call_did_does_not_count_for_the_rate() -> None:
    clock, out = Clock(), io.StringIO()
    progress = Progress("preparing images", stream=out, clock=clock)
    progress(900, 1000)
    clock.now = 10
    progress(1000, 1000)
    assert out.getvalue().splitlines()[-1] == "preparing images: 1,000 of 1,000 (10/s)"


def test_a_log_gets_a_line_per_tenth() -> None:
    clock, out = Clock(), io.StringIO()
    progress = Progress("preparing images", stream=out, clock=clock)
    for done in range(101):
        clock.now += 0.1
        progress(done, 100)
    assert len(out.getvalue().splitlines()) == 11


def test_slow_work_gets_a_line_per_minute() -> None:
    clock, out = Clock(), io.StringIO()
    progress = Progress("preparing images", stream=out, clock=clock)
    for done in range(5):
        progress(done, 1_000_000)
        clock.now += 61
    assert len(out.getvalue().splitlines()) == 5


def test_a_terminal_gets_one_line_that_is_written_over() -> None:
    clock, out = Clock(), Terminal()
    progress = Progress("preparing images", stream=out, clock=clock)
    for done in (0, 1, 2):
        progress(done, 2)
        clock.now += 1
    written = out.getvalue()
    assert written.count("\r") == 2 and written.count("\n") == 1
    assert {len(line.rstrip("\r")) for line in written.splitlines()} == {79}


@pytest.mark.parametrize(
    ("seconds", "told"),
    [(0.4, "0 s"), (59.6, "1 min"), (61, "1 min 1 s"), (601, "10 min"), (3600, "1 h"),
     (3599.9, "1 h"), (100_000, "27 h 47 min")],
)  # fmt: skip
def test_durations_are_told_in_words(seconds: float, told: str) -> None:
    assert duration(seconds) == told
