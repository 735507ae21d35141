"""The order of a patient's studies in time, and the first image of each patient."""

from __future__ import annotations

import numpy as np
import pandas as pd


def visits(patient: pd.Series, study: pd.Series, time: pd.Series) -> np.ndarray:
    """Per image `(n,)` int64, the place of its study among those of its patient, from 0.

    Studies stand in order of the earliest `time` (any number that grows) of their images; those
    without a time stand last, those of one time in order of their ids.
    """
    frame = pd.DataFrame({"patient": patient.to_numpy(), "study": study.to_numpy(),
                          "time": time.to_numpy(dtype=np.float64)})  # fmt: skip
    groups = frame.groupby(["patient", "study"], sort=False, observed=True)
    number = groups.ngroup().to_numpy()
    # In order of their numbers, since neither sorts.
    studies = groups["time"].min().reset_index()
    placed = studies.sort_values(["patient", "time", "study"], kind="stable")
    rank = placed.groupby("patient", sort=False, observed=True).cumcount().sort_index()
    return rank.to_numpy(dtype=np.int64)[number]


def first_images(patient: pd.Series, time: pd.Series, image: pd.Series) -> np.ndarray:
    """True `(n,)` for the first image of each patient by `time`, at a tie by the id of the image.

    Images without a time stand last.
    """
    frame = pd.DataFrame({"patient": patient.to_numpy(), "image": image.to_numpy(),
                          "time": time.to_numpy(dtype=np.float64)})  # fmt: skip
    placed = frame.sort_values(["patient", "time", "image"], kind="stable")
    later = placed["patient"].duplicated().sort_index()
    return ~later.to_numpy(dtype=bool)
