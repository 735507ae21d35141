"""The door `python -m datasets`: what it offers, and how it refuses."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from datasets.__main__ import COMMANDS, ROOT, commands, main


def test_help_needs_no_heavy_library(tmp_path: Path) -> None:
    code = (
        "import sys; from datasets.__main__ import main\n"
        "try: main(['--help'])\n"
        "except SystemExit: pass\n"
        "assert not {'torch', 'pandas', 'numpy'} & set(sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert all(name in done.stdout for name in commands())


def test_a_command_whose_file_is_absent_is_not_offered() -> None:
    there = {p.stem for p in (ROOT / "inspection").glob("*.py")}
    assert set(commands()) == there & set(COMMANDS)


@pytest.mark.parametrize("name", sorted(commands()))
def test_every_command_explains_itself(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stop:
        main([name, "--help"])
    assert stop.value.code == 0
    assert "--dataset" in capsys.readouterr().out


@pytest.mark.parametrize("arguments", [[], ["nothing"], ["--dataset", "phantom"]])
def test_wrong_usage_is_one_sentence(
    arguments: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(arguments) == 2
    told = capsys.readouterr().err
    assert told.startswith("error: ") and told.count("\n") == 1
