"""Which contrasts are away from zero when all are tested together."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from scipy.stats import norm

from metrics.audit.contrasts import contrasts, is_pair, sides

GROUPS = {"sex": ("F", "M"), "race": ("A", "B", "C")}


def rows(*given: tuple[str, str, str, float, float]) -> pd.DataFrame:
    """Scores from metric, finding, group, value and standard error."""
    frame = pd.DataFrame(given, columns=["metric", "finding", "group", "value", "se"])
    attribute = np.where(frame["group"].str.contains("M"), "sex", "race")
    return frame.assign(
        attribute=attribute,
        labels="recorded",
        note="",
        low=frame["value"] - 1.959964 * frame["se"],
        high=frame["value"] + 1.959964 * frame["se"],
    )


def test_averages_and_single_findings_are_families_of_their_own() -> None:
    found = contrasts(
        rows(
            ("fnr_contrast", "macro", "M - F", 0.10, 0.04),
            ("fnr_contrast", "Edema", "M - F", 0.10, 0.04),
            ("fnr_contrast", "Mass", "M - F", 0.11, 0.05),
            ("fnr_contrast", "macro", "B - A", 0.01, 0.04),
        ),
        GROUPS,
    )
    p = 2 * norm.sf(2.5)
    assert found["headline"].tolist() == [True, False, False, True]
    assert found["holm"].iloc[0] == pytest.approx(2 * p)
    assert found["verdict"].tolist() == ["differs", "differs", "differs", "inconclusive"]


def test_one_finding_is_the_headline_and_its_average_is_not_tested() -> None:
    found = contrasts(
        rows(
            ("fnr_contrast", "Edema", "M - F", 0.1, 0.04),
            ("fnr_contrast", "macro", "M - F", 0.1, 0.04),
        ),
        GROUPS,
    )
    assert found["finding"].tolist() == ["Edema"]
    assert found["holm"].iloc[0] == pytest.approx(2 * norm.sf(2.5))


def test_the_same_contrast_with_its_sign_turned_is_tested_once() -> None:
    found = contrasts(
        rows(
            ("fnr_contrast", "macro", "M - F", 0.1, 0.04),
            ("tpr_contrast", "macro", "M - F", -0.1, 0.04),
            ("fnr_contrast", "Edema", "M - F", 0.2, 0.04),
            ("fnr_contrast", "Mass", "M - F", 0.0, 0.04),
        ),
        GROUPS,
    )
    assert found["verdict"].tolist()[:2] == ["differs", "echo"]
    assert found["holm"].iloc[0] == pytest.approx(2 * norm.sf(2.5))


def test_a_detectable_contrast_is_found_with_eighty_percent_chance() -> None:
    given = [("fnr_contrast", "macro", g, 0.0, 0.04) for g in ("M - F", "B - A", "C - A")]
    given += [("fnr_contrast", f, "M - F", 0.0, 0.1) for f in ("Edema", "Mass")]
    found = contrasts(rows(*given), GROUPS)
    size = found["detectable"].iloc[0]
    # Three tests: Bonferroni's bound of the first step of Holm.
    power = norm.sf(norm.isf(0.05 / 6) - size / 0.04)
    assert power == pytest.approx(0.8, abs=1e-3)


def test_a_contrast_that_never_varied_is_inconclusive() -> None:
    found = contrasts(rows(("fnr_contrast", "Edema", "M - F", 0.1, 0.0)), GROUPS)
    assert found["verdict"].iloc[0] == "inconclusive"
    assert np.isnan(found["holm"].iloc[0])


def test_a_group_with_a_dash_in_its_name_is_no_contrast() -> None:
    assert not is_pair("Asian - Other", ("Asian - Other", "White"))
    assert is_pair("White - Asian - Other", ("Asian - Other", "White"))


def test_the_sides_of_a_contrast_are_groups_even_with_dashes() -> None:
    known = ("Asian - Other", "White")
    assert sides("White - Asian - Other", known) == ("White", "Asian - Other")
    assert sides("Asian - Other - White", known) == ("Asian - Other", "White")
