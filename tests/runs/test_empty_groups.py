"""A group without anybody, from the table to the scores: a name with its count, and no number."""

from __future__ import annotations

from functools import partial

import numpy as np
import pandas as pd
import pytest
from PIL import Image

import runner
from metrics.bootstrap import PatientBootstrap


@pytest.fixture(scope="module")
def scores(tmp_path_factory: pytest.TempPathFactory) -> pd.DataFrame:
    """Scores of a short run on 140 people of 42 to 76 years, seventy in each of two bands."""
    place = tmp_path_factory.mktemp("run")
    root = place / "data"
    root.mkdir()
    rng, lines = np.random.default_rng(0), ["path,patient_id,sex,age,Edema"]
    for i in range(140):
        Image.fromarray(rng.integers(0, 255, (40, 40), np.uint8)).save(root / f"{i}.png")
        age = 42 + i % 15 + 20 * (i % 2)
        lines.append(f"{i}.png,p{i},{'MF'[i // 2 % 2]},{age},{i // 4 % 2}")
    (root / "list.csv").write_text("\n".join(lines) + "\n")
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr("runs.pipeline.PatientBootstrap", partial(PatientBootstrap, replicates=20))
        code = runner.main(
            ["--method", "erm", "--dataset", "csv", "--data-root", str(root), "--folds", "2",
             "--set", "epochs=1", "--set", "image_size=32", "--device", "cpu",
             "--output", str(place / "output"), "--tracking-uri", f"sqlite:///{place}/mlflow.db"]
        )  # fmt: skip
    assert code == runner.DONE
    (path,) = (place / "output").glob("csv/erm/*/scores.parquet")
    return pd.read_parquet(path)


def of_band(scores: pd.DataFrame, *bands: str) -> pd.DataFrame:
    return scores[(scores["attribute"] == "age_band") & scores["group"].isin(bands)]


def test_bands_without_anybody_are_undefined_with_a_count_and_a_note(scores: pd.DataFrame) -> None:
    empty = of_band(scores, "0-19", "20-39", "80+")
    assert set(empty["group"]) == {"0-19", "20-39", "80+"}
    assert empty["value"].isna().all() and (empty["n"] == 0).all()
    assert (empty["note"].str.len() > 0).all()


def test_bands_without_anybody_take_nothing_from_the_others(scores: pd.DataFrame) -> None:
    held = of_band(scores, "40-59", "60-79")
    auc = held[(held["metric"] == "auc") & (held["finding"] == "Edema")]
    assert np.isfinite(auc["value"]).all() and auc["n"].tolist() == [70, 70]
    gap = scores[(scores["attribute"] == "age_band") & (scores["metric"] == "auc_gap")]
    assert np.isclose(gap["value"], abs(np.diff(auc["value"])[0])).all()
