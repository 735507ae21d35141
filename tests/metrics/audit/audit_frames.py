"""Tables as a user of the audit would have them."""

from __future__ import annotations

import numpy as np
import pandas as pd


def table(patients: int = 300, *, seed: int = 0, shift: float = 0.0) -> pd.DataFrame:
    """Two images per patient, two groups; `shift` lowers the scores of positive images in "M"."""
    rng = np.random.default_rng(seed)
    code = np.repeat(np.arange(patients), 2)
    sex = np.array(["F", "M"])[rng.integers(0, 2, patients)][code]
    label = rng.random(len(code)) < 0.4
    logit = 2.0 * label - 1 + rng.normal(size=len(code)) - shift * label * (sex == "M")
    return pd.DataFrame(
        {
            "patient": [f"p{seed}-{c}" for c in code],
            "label": label.astype(int),
            "score": 1 / (1 + np.exp(-logit)),
            "sex": sex,
        }
    )


def two_findings(**options: int) -> pd.DataFrame:
    """The same with findings Edema and Mass, scored as logits."""
    frame = table(**options)
    rng = np.random.default_rng(9)
    mass = (rng.random(len(frame)) < 0.5).astype(int)
    return frame.drop(columns=["label", "score"]).assign(
        label_Edema=frame["label"],
        score_Edema=np.log(frame["score"] / (1 - frame["score"])),
        label_Mass=mass,
        score_Mass=mass + rng.normal(size=len(frame)),
    )
