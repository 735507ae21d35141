"""Every registered method as its user runs it: killed in the middle, run again, ranked (slow)."""

from __future__ import annotations

import signal
import time
from pathlib import Path

import pandas as pd
import pytest
from test_end_to_end import SMALL, Place

from methods.compose import method_class
from registry import METHODS, ROOT

pytestmark = pytest.mark.slow
OURS = [name for name, entry in METHODS.entries().items() if entry.file.is_relative_to(ROOT)]


def small(name: str) -> list[str]:
    """The arguments of a run of seconds."""
    fields = getattr(method_class(name), "smallest", {})
    return [*SMALL, *(word for k, v in fields.items() for word in ("--set", f"{k}={v}"))]


@pytest.mark.parametrize("name", OURS)
def test_a_killed_run_continues_to_identical_predictions(
    name: str, tmp_path: Path, session_cache: Path
) -> None:
    whole, broken = (Place(tmp_path / n, session_cache) for n in ("whole", "broken"))
    for place in (whole, broken):
        place.path.mkdir()
    whole.run("--method", name, *small(name))
    process = broken.start("--method", name, *small(name))
    deadline = time.monotonic() + 300
    while not list(broken.output.rglob("checkpoint.pt")):
        assert time.monotonic() < deadline and process.poll() is None
        time.sleep(0.01)
    process.send_signal(signal.SIGKILL)
    process.wait()
    said = broken.run("--method", name, *small(name))
    assert "continuing at epoch" in said
    tables = [
        pd.read_parquet(place.directories(name)[0] / "predictions.parquet")
        for place in (whole, broken)
    ]
    columns = [c for c in tables[0] if c.startswith(("logit:", "decision:"))]
    assert tables[0][columns].equals(tables[1][columns])
    broken.run(program="leaderboard")
    assert name in (broken.output / "leaderboard" / "leaderboard.md").read_text()
