"""`python -m datasets describe`: files, MLflow, the terminal, and what restricted data keep."""

from __future__ import annotations

import sys
from pathlib import Path
from xml.etree import ElementTree

import pandas as pd
import pytest

from datasets.__main__ import main
from registry import ROOT

sys.path.insert(0, str(ROOT / "tests" / "datasets"))

from trees import mimic_cxr

SMALL = [
    part
    for fold, n in (("train", 120), ("val", 60), ("audit", 60), ("test", 120))
    for part in ("--data", f"{fold}_patients={n}")
]


@pytest.fixture(scope="module")
def described(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    """The folder of a description of a small phantom, and the address of its store."""
    folder = tmp_path_factory.mktemp("described")
    uri = f"sqlite:///{folder}/store.db"
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("TRILEMMA_CACHE", str(folder / "cache"))
        code = main(["describe", "--dataset", "phantom", *SMALL, "--out", str(folder / "out"),
                     "--tracking-uri", uri])  # fmt: skip
    assert code == 0
    return folder / "out", uri


def test_a_page_tables_and_pictures_are_written(described: tuple[Path, str]) -> None:
    out, _ = described
    page = (out / "description.html").read_text()
    assert "SIMULATED" in page and "http://" not in page and "https://" not in page
    assert len(pd.read_csv(out / "prevalence.csv")) > 100
    for picture in (out / "figures").glob("*.svg"):
        ElementTree.parse(picture)
    assert {p.stem for p in (out / "figures").iterdir()} >= {"groups", "cooccurrence", "odds-race"}


def test_mlflow_holds_numbers_and_files(described: tuple[Path, str]) -> None:
    from mlflow import MlflowClient

    out, uri = described
    client = MlflowClient(tracking_uri=uri)
    experiment = client.get_experiment_by_name("datasets")
    (run,) = client.search_runs([experiment.experiment_id])
    assert run.data.metrics["patients"] == 360
    cells = pd.read_csv(out / "prevalence.csv", keep_default_na=False)
    whole = cells[(cells["labels"] == "recorded") & (cells["attribute"] == "")]
    edema = whole[whole["finding"] == "Edema"]["value"].astype(float).iloc[0]
    assert run.data.metrics["prevalence/Edema"] == pytest.approx(edema)
    assert len(run.data.metrics) <= 200
    kept = {f.path for f in client.list_artifacts(run.info.run_id)}
    assert {"description.html", "prevalence.csv", "figures"} <= kept


def test_nothing_that_is_kept_of_restricted_data_names_a_person_or_image(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    root, out = tmp_path / "tree", tmp_path / "out"
    root.mkdir()
    mimic_cxr.make(root)
    code = main(["describe", "--dataset", "mimic-cxr", "--data-root", str(root), "--out", str(out),
                 "--tracking-uri", f"sqlite:///{tmp_path}/store.db"])  # fmt: skip
    assert code == 0
    from datasets.mimic_cxr import MimicCxr

    frame = MimicCxr().table(root).frame
    names = {*frame["patient_id"].astype(str), *frame["image_id"].astype(str)}
    written = "".join(p.read_text() for p in out.rglob("*") if p.is_file())
    assert not [name for name in names if name in written]
    assert "withheld" in (out / "counts.csv").read_text()


@pytest.mark.parametrize(
    "arguments",
    [["--dataset", "fantom"], ["--dataset", "phantom", "--split", "thirds"],
     ["--dataset", "phantom", "--data", "female_share=2"], ["--dataset", "nih-cxr14"]],
)  # fmt: skip
def test_wrong_usage_is_one_sentence_and_writes_nothing(
    arguments: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "out"
    assert main(["describe", *arguments, "--out", str(out)]) == 2
    told = capsys.readouterr().err
    assert told.startswith("error: ") and told.count("\n") == 1
    assert not out.exists()
