"""`python -m leaderboard` as a user calls it."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from registry import ROOT


def run(*arguments: str, output: Path | None = None) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, **({"TRILEMMA_OUTPUT": str(output)} if output else {})}
    return subprocess.run(
        [sys.executable, "-m", "leaderboard", *arguments],
        cwd=ROOT,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )


def test_it_writes_beside_the_results_and_says_what_comes_next(
    output: Path, tmp_path: Path
) -> None:
    done = run("--output", str(output), "--out", str(tmp_path / "site"))
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "site" / "index.html").is_file()
    assert str(tmp_path / "site" / "index.html") in done.stdout
    assert "next: open" in done.stdout
    assert "broken_json" in done.stderr


def test_an_empty_output_directory_is_no_error(tmp_path: Path) -> None:
    done = run(output=tmp_path)
    assert done.returncode == 0
    assert "no finished runs yet" in done.stdout
    assert (tmp_path / "leaderboard" / "index.html").is_file()


def test_a_missing_output_directory_is_wrong_usage(tmp_path: Path) -> None:
    done = run("--output", str(tmp_path / "absent"))
    assert done.returncode == 2
    assert len(done.stderr.strip().splitlines()) == 1
    assert "python runner.py" in done.stderr


def test_an_unknown_experiment_is_wrong_usage(output: Path) -> None:
    done = run("--output", str(output), "--experiment", "defualt")
    assert done.returncode == 2
    assert "did you mean 'default'" in done.stderr


def test_help_teaches() -> None:
    done = run("--help")
    assert done.returncode == 0
    for word in ("--experiment", "--out", "--output", "index.html", "exit status", "examples"):
        assert word in done.stdout
