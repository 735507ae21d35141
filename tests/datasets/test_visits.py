"""The order of studies, and first images."""

from __future__ import annotations

import numpy as np
import pandas as pd

from datasets.visits import first_images, visits


def test_studies_are_counted_per_patient_by_their_earliest_image() -> None:
    patient = pd.Series(["b", "a", "a", "a", "b"])
    study = pd.Series(["1", "9", "2", "9", "3"])
    time = pd.Series([5.0, 9.0, 2.0, 1.0, 4.0])
    assert visits(patient, study, time).tolist() == [1, 0, 1, 0, 0]


def test_studies_of_one_time_stand_by_id_and_those_without_last() -> None:
    patient = pd.Series(["a"] * 3)
    time = pd.Series([np.nan, 3.0, 3.0])
    assert visits(patient, pd.Series(["1", "3", "2"]), time).tolist() == [2, 1, 0]


def test_one_study_id_of_two_patients_is_two_studies() -> None:
    patient = pd.Series(["a", "a", "b"])
    assert visits(patient, pd.Series(["1", "2", "2"]), pd.Series([1.0, 2.0, 2.0])).tolist() == [
        0, 1, 0
    ]  # fmt: skip


def test_the_first_image_is_the_earliest_then_the_first_by_name() -> None:
    patient = pd.Series(["a", "a", "a", "b", "b"])
    time = pd.Series([2.0, 1.0, 1.0, np.nan, 7.0])
    image = pd.Series(["1", "3", "2", "4", "5"])
    assert first_images(patient, time, image).tolist() == [False, False, True, False, True]
