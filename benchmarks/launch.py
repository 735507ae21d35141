"""Start the runs of a suite, each in its own process, and say how far they are."""

from __future__ import annotations

import csv
import heapq
import io
import os
import re
import shlex
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from types import FrameType
from typing import IO, Protocol

from benchmarks.expand import Known, Planned

DONE, ALREADY, FAILED, SKIPPED = "done", "already done", "failed", "skipped"
STATES = (DONE, ALREADY, FAILED, SKIPPED)
POLL = 0.1
"""Seconds between two looks at the processes; a run takes some ten seconds."""
GRACE = 30.0
"""Seconds that an interrupted run has to write down where it stopped."""
TABLE = "runs.csv"


@dataclass(frozen=True)
class Outcome:
    """What became of one run; a row of the suite's table."""

    budget: str
    dataset: str
    arm: str
    seed: int
    state: str
    seconds: float
    exit_code: int
    told: str
    """Why it failed or was skipped."""
    log: str
    directory: str
    command: str


class Interrupted(Exception):
    """Ctrl-C, or a request to end; the runs under way were stopped."""


class Estimate:
    """Wall time of runs, learnt from those that have finished."""

    def __init__(self) -> None:
        self._by_arm: dict[tuple[str, str, bool], list[float]] = {}
        self._seconds = self._cost = 0.0

    def learn(self, run: Planned, seconds: float) -> None:
        """Take in a run that was carried out."""
        self._by_arm.setdefault(self._kind(run), []).append(seconds)
        self._seconds += seconds
        self._cost += run.cost

    def of(self, run: Planned) -> float | None:
        """Expected seconds of a run: the mean of its like, else by its cost; None if unknown."""
        if alike := self._by_arm.get(self._kind(run)):
            return sum(alike) / len(alike)
        return run.cost * self._seconds / self._cost if self._cost else None

    def remaining(
        self, running: Sequence[tuple[Planned, float]], waiting: Sequence[Planned], workers: int
    ) -> float | None:
        """Expected seconds until all are done; `running` come with the seconds they have run."""
        left = [(self.of(run), ran) for run, ran in running]
        free = [max(0.0, expected - ran) for expected, ran in left if expected is not None]
        expected = [self.of(run) for run in waiting]
        if len(free) < len(left) or None in expected:
            return None
        free += [0.0] * (workers - len(free))
        heapq.heapify(free)
        for seconds in expected:
            heapq.heapreplace(free, free[0] + (seconds or 0.0))
        return max(free)

    @staticmethod
    def _kind(run: Planned) -> tuple[str, str, bool]:
        return run.arm.name, run.data.name, run.first and run.arm.shared_cost > 0


class Terminal(Protocol):
    """Where a launcher tells how far it is."""

    def say(self, text: str) -> None:
        """Show lines that stay."""
        ...

    def live(self, text: Callable[[], str]) -> None:
        """Show what `text` returns now in place of what was shown so last."""
        ...


@dataclass
class _Child:
    """A run under way."""

    known: Known
    process: subprocess.Popen[bytes]
    started: float
    log: Path
    file: IO[bytes]


class Launcher:
    """Runs of one suite on some workers, one process and one log file each."""

    def __init__(
        self, runs: Sequence[Known], *, folder: Path, budget: str, workers: int, terminal: Terminal
    ) -> None:
        self.runs, self.folder, self.budget, self.workers = runs, folder, budget, workers
        self.terminal = terminal
        self.estimate = Estimate()
        self.outcomes: list[Outcome] = []
        self._children: list[_Child] = []
        self._requests = 0
        """How often the launcher was asked to end."""
        self._started = time.monotonic()

    def go(self) -> list[Outcome]:
        """Start all runs that are not done, and wait; what became of every one.

        A run that fails is written down and the others go on.

        Raises:
            Interrupted: Ctrl-C or SIGTERM; the runs under way were stopped and can be continued.
            ValueError: the same suite is being run by another process.
        """
        from filelock import FileLock, Timeout

        (self.folder / "logs").mkdir(parents=True, exist_ok=True)
        try:
            with FileLock(self.folder / ".lock", timeout=0), self._told_to_end():
                self._go()
        except Timeout:
            raise ValueError(
                f"a suite must be run by one process at a time, but another one runs it in "
                f"{self.folder}; wait for it, or choose another --output"
            ) from None
        return self.outcomes

    def _go(self) -> None:
        waiting = []
        for known in self.runs:
            if known.skipped:
                self._note(known, SKIPPED, told=known.skipped)
            elif known.done and known.directory:
                self.estimate.learn(
                    known.planned, known.directory.record().seconds.get("total", 0.0)
                )
                self._note(known, ALREADY)
            else:
                waiting.append(known)
        self._store()
        try:
            while (waiting or self._children) and not self._requests:
                while waiting and len(self._children) < self.workers:
                    self._children.append(self._start(waiting.pop(0)))
                time.sleep(POLL)
                self.terminal.live(self._running)
                for child in [c for c in self._children if c.process.poll() is not None]:
                    self._children.remove(child)
                    self._finish(child, waiting)
        finally:
            self._stop()
        if self._requests:
            raise Interrupted

    def _start(self, known: Known) -> _Child:
        run = known.planned
        name = f"{self.budget}-{run.data.name}-{run.arm.slug}-seed-{run.plan.seed}.log"
        log = self.folder / "logs" / name
        file = log.open("wb")
        process = subprocess.Popen(
            run.executed(),
            stdin=subprocess.DEVNULL,
            stdout=file,
            stderr=subprocess.STDOUT,
            env=_environment(run),
            # Its own group: Ctrl-C reaches this process alone, which then stops each run once.
            start_new_session=True,
        )
        return _Child(known, process, time.monotonic(), log, file)

    def _finish(self, child: _Child, waiting: Sequence[Known]) -> None:
        child.file.close()
        seconds, code = time.monotonic() - child.started, child.process.returncode
        text = child.log.read_text(encoding="utf-8", errors="replace")
        state, told = DONE, ""
        if code:
            state, told = FAILED, _why(code, text)
        elif re.search(r"^already done: ", text, re.MULTILINE):
            state = ALREADY
        else:
            self.estimate.learn(child.known.planned, seconds)
        self._note(child.known, state, seconds=seconds, code=code, told=told, log=child.log)
        self._store()
        self._tell(child, state, told, seconds, waiting)

    def _tell(
        self, child: _Child, state: str, told: str, seconds: float, waiting: Sequence[Known]
    ) -> None:
        now = time.monotonic()
        running = [(c.known.planned, now - c.started) for c in self._children]
        left = self.estimate.remaining(running, [k.planned for k in waiting], self.workers)
        rest = "nothing left" if not (running or waiting) else (
            "time left unknown yet" if left is None else f"about {clock(left)} left"
        )  # fmt: skip
        total = len(self.runs)
        self.terminal.say(
            f"[{len(self.outcomes):>{len(str(total))}} of {total}] {state:<12} "
            f"{child.known.planned.name}, {clock(seconds)}   "
            f"(elapsed {clock(now - self._started)}, {rest})"
        )
        if told:
            self.terminal.say(f"    {told}\n    {child.log}")

    def _running(self) -> str:
        """The runs under way, how long they have run, and the last words of each."""
        now = time.monotonic()
        return " | ".join(
            f"{c.known.planned.name} {clock(now - c.started)} {_last_words(c.log)}"
            for c in self._children
        )

    def _note(
        self, known: Known, state: str, *, seconds: float = 0.0, code: int = 0, told: str = "",
        log: Path | None = None,
    ) -> None:  # fmt: skip
        run = known.planned
        self.outcomes.append(
            Outcome(
                budget=self.budget, dataset=run.data.name, arm=run.arm.name, seed=run.plan.seed,
                state=state, seconds=round(seconds, 1), exit_code=code, told=told,
                log=str(log or ""), directory=str(known.directory.path if known.directory else ""),
                command=shlex.join(run.command()),
            )
        )  # fmt: skip

    def _store(self) -> None:
        """The table of the suite's runs: what is known now, and earlier rows of other runs."""
        path = self.folder / TABLE
        names = [f.name for f in fields(Outcome)]
        rows = [{k: str(v) for k, v in asdict(o).items()} for o in self.outcomes]
        now = {_identity(row) for row in rows}
        if path.is_file():
            with path.open(newline="", encoding="utf-8") as file:
                earlier = list(csv.DictReader(file))
            rows = [r for r in earlier if {*names} <= {*r} and _identity(r) not in now] + rows
        text = io.StringIO()
        writer = csv.DictWriter(text, names, extrasaction="ignore", lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)
        partial = path.with_suffix(".partial")
        partial.write_text(text.getvalue(), encoding="utf-8")
        partial.replace(path)

    def _stop(self) -> None:
        """Interrupt every run once, as Ctrl-C does, then end what does not end by itself."""
        if self._children:
            self.terminal.say(f"stopping {len(self._children)} runs")
        for number in (signal.SIGINT, signal.SIGKILL):
            for child in self._children:
                _signal_group(child.process.pid, number)
            deadline, asked = time.monotonic() + GRACE, self._requests
            # Asked once more, there is no more patience.
            while time.monotonic() < deadline and self._requests <= asked:
                if all(child.process.poll() is not None for child in self._children):
                    break
                time.sleep(POLL)
        for child in self._children:
            child.process.wait()
            child.file.close()
        self._children.clear()

    @contextmanager
    def _told_to_end(self) -> Iterator[None]:
        """Ctrl-C, SIGTERM and a closed terminal are counted, and never cut a step in two."""

        def count(number: int, frame: FrameType | None) -> None:
            self._requests += 1

        numbers = [signal.SIGINT, signal.SIGTERM]
        if signal.getsignal(signal.SIGHUP) is not signal.SIG_IGN:
            # Under nohup it is ignored, and stays so.
            numbers.append(signal.SIGHUP)
        before = {number: signal.signal(number, count) for number in numbers}
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)


def clock(seconds: float) -> str:
    """Seconds as minutes and seconds, or hours, minutes and seconds."""
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"


def _identity(row: dict[str, str]) -> tuple[str, ...]:
    return tuple(row[name] for name in ("budget", "dataset", "arm", "seed"))


def _why(code: int, text: str) -> str:
    """Why a run failed, in one line: what it said of its failure, else its last line."""
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    told = [line for line in lines if line.startswith(("failed: ", "error: "))] or lines
    last = told[-1] if told else "it said nothing"
    if code < 0:
        return f"ended by {signal.Signals(-code).name}; its last line: {last}"
    return f"exit code {code}: {last}"


def _last_words(log: Path) -> str:
    """The last line that a run has printed so far."""
    with log.open("rb") as file:
        file.seek(max(0, log.stat().st_size - 500))
        lines = file.read().decode(errors="replace").split("\n")
    return next((line.strip() for line in reversed(lines) if line.strip()), "")


def _environment(run: Planned) -> dict[str, str]:
    """The environment of a run: one thread, and bytecode kept between the runs."""
    environment = {"OMP_NUM_THREADS": "1", **os.environ}
    if sys.dont_write_bytecode:
        # Without bytecode every run compiles 8000 files of the libraries again, for 8 s. Kept in
        # the cache it does not litter what was to stay clean.
        from datasets.images import cache_dir

        environment.pop("PYTHONDONTWRITEBYTECODE", None)
        environment.setdefault("PYTHONPYCACHEPREFIX", str(cache_dir().resolve() / "bytecode"))
    if run.choice.tracking_uri:
        # With its password, which the command does not show to everybody on the machine.
        environment["MLFLOW_TRACKING_URI"] = run.choice.tracking_uri
    return environment


def _signal_group(group: int, number: int) -> None:
    try:
        os.killpg(group, number)
    except ProcessLookupError:
        return
