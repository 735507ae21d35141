"""Our package names against libraries that ship or expect the same names."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
OURS = ("benchmarks", "datasets", "inspection", "metrics", "methods", "leaderboard", "runs",
        "tracking")  # fmt: skip
PROBE = """
import sys
sys.path.insert(0, {root!r})
{setup}
import {names}
for module in ({names},):
    assert module.__file__.startswith({root!r}), module.__file__
"""


def run(code: str, cwd: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", code], cwd=cwd, capture_output=True, text=True, timeout=300
    )


def test_our_packages_win_from_another_directory(tmp_path: Path) -> None:
    code = PROBE.format(root=str(ROOT), setup="", names=", ".join(OURS))
    done = run(code, tmp_path)
    assert done.returncode == 0, done.stderr


def test_our_packages_win_with_hugging_face_datasets_installed(tmp_path: Path) -> None:
    theirs = tmp_path / "site" / "datasets"
    theirs.mkdir(parents=True)
    (theirs / "__init__.py").write_text("class Dataset: theirs = True\n")
    setup = f"sys.path.append({str(theirs.parent)!r})"
    done = run(PROBE.format(root=str(ROOT), setup=setup, names=", ".join(OURS)), tmp_path)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize(
    "code",
    [
        "import opacus, benchmarks; assert opacus.PrivacyEngine and 'site-packages' not in "
        "benchmarks.__path__[0]",
        "from diffusers import UNet2DModel; import torch; "
        "net = UNet2DModel(sample_size=8, in_channels=1, out_channels=1, block_out_channels=(8, 8),"
        " norm_num_groups=4, down_block_types=('DownBlock2D',) * 2,"
        " up_block_types=('UpBlock2D',) * 2);"
        " assert net(torch.zeros(1, 1, 8, 8), 0).sample.shape == (1, 1, 8, 8)",
        "import torch; from peft import LoraConfig, get_peft_model; "
        "net = get_peft_model(torch.nn.Sequential(torch.nn.Linear(4, 4)),"
        " LoraConfig(r=1, target_modules=['0'])); assert net(torch.zeros(1, 4)).shape == (1, 4)",
        "import mlflow, pandas; "
        "data = mlflow.data.from_pandas(pandas.DataFrame({'a': [1.5]})); assert data.digest",
        "from transformers import CLIPTextConfig; assert CLIPTextConfig().vocab_size",
    ],
    ids=["opacus", "diffusers", "peft", "mlflow", "transformers"],
)
def test_libraries_work_beside_our_names(code: str, tmp_path: Path) -> None:
    done = run(f"import sys; sys.path.insert(0, {str(ROOT)!r}); import datasets; {code}", tmp_path)
    assert done.returncode == 0, done.stderr
