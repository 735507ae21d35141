"""Recorded race as groups: the named rules of the literature, over the vocabularies of all sets."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
import pandas as pd

from datasets.attributes import UNKNOWN, ordered
from datasets.base import ChestXrayDataset
from registry import unknown

LEFT_OUT = ""
"""What a rule returns for people whom its study left out."""
NOT_KNOWN = (
    "", "nan", "unknown", "unable to obtain", "patient declined to answer", "patient refused",
    "race and ethnicity unknown", "not specified",
)  # fmt: skip
NOT_HISPANIC = ("non-hispanic/non-latino", "not hispanic", "non-hispanic")
ORDER = (
    "White", "Black", "Hispanic", "Asian", "Native American", "Pacific Islander", "Non-White",
    "Other", UNKNOWN,
)  # fmt: skip
"""In which groups stand wherever they occur."""


def broad(race: str, ethnicity: str) -> str:
    """White, Black, Hispanic, Asian, Native American, Pacific Islander, Other or Unknown.

    Sub-groups join the group that their text begins with ("ASIAN - CHINESE", "BLACK/CAPE VERDEAN");
    whoever is recorded as Hispanic, in race or ethnicity, is Hispanic.
    """
    plain = race.replace("non-hispanic", "") if race not in NOT_KNOWN else ""
    if "hispanic" in plain or "latino" in plain or race == "south american":
        return "Hispanic"
    if ethnicity in ("hispanic/latino", "hispanic"):
        return "Hispanic"
    if race in NOT_KNOWN:
        return UNKNOWN
    if "hawaiian" in race or "pacific islander" in race:
        return "Pacific Islander"
    if "native" in race or "american indian" in race:
        return "Native American"
    for begins, group in (("white", "White"), ("black", "Black"), ("asian", "Asian")):
        if race.startswith(begins):
            return group
    return "Other"


def seyyed_kalantari(race: str, ethnicity: str) -> str:
    """White, Black, Hispanic, Asian, Native American or Other; people of unknown race left out.

    Source: Seyyed-Kalantari et al., Nat. Med. 2021;27:2176, Table 1.
    """
    group = broad(race, ethnicity)
    if group == UNKNOWN:
        return LEFT_OUT
    return "Other" if group == "Pacific Islander" else group


def glocker(race: str, ethnicity: str) -> str:
    """White, Asian or Black, and none that is recorded as Hispanic; everybody else left out.

    Where an ethnicity is recorded at all, it must say "not Hispanic".
    Source: Glocker et al., eBioMedicine 2023;89:104467, Methods (code of `chexploration`).
    """
    if ethnicity and ethnicity not in NOT_HISPANIC:
        return LEFT_OUT
    group = broad(race, "")
    return group if group in ("White", "Asian", "Black") else LEFT_OUT


def white_black_other(race: str, ethnicity: str) -> str:
    """White, Black or Other by how the text begins; unknown race is kept apart.

    Differs from the source: there unknown race joins Other.
    Source: Zhang et al., CHIL 2022, code `CXR_Fairness`.
    """
    return _begins(race, "White", "Black")


def white_black_asian_other(race: str, ethnicity: str) -> str:
    """White, Black, Asian or Other by how the text begins; unknown race is kept apart.

    Differs from the source: there unknown race joins Other.
    Source: Yang et al., Nat. Med. 2024;30:2838, code `shortcut-ood-fairness`.
    """
    return _begins(race, "White", "Black", "Asian")


def white_nonwhite(race: str, ethnicity: str) -> str:
    """White or Non-White; unknown race is kept apart.

    Source: Jin et al., FairMedFM, NeurIPS 2024; Zong et al., MEDFAIR, ICLR 2023.
    """
    group = _begins(race, "White")
    return "Non-White" if group == "Other" else group


def _begins(race: str, *groups: str) -> str:
    if race in NOT_KNOWN:
        return UNKNOWN
    return next((g for g in groups if race.startswith(g.casefold())), "Other")


RULES: Mapping[str, Callable[[str, str], str]] = {
    "broad": broad,
    "seyyed-kalantari-2021": seyyed_kalantari,
    "glocker-2023": glocker,
    "white-black-other": white_black_other,
    "white-black-asian-other": white_black_asian_other,
    "white-nonwhite": white_nonwhite,
}
"""By the name that `--data race_groups=NAME` takes; each gets casefolded race and ethnicity."""


@dataclass(frozen=True)
class RaceGroups(ChestXrayDataset):
    """A data set with recorded race, grouped by a named rule."""

    race_groups: str = "broad"
    """broad, seyyed-kalantari-2021, glocker-2023, white-black-other, white-black-asian-other, or
    white-nonwhite."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.race_groups not in RULES:
            raise unknown("rule of race groups", self.race_groups, RULES)

    def race_of(self, race: pd.Series, ethnicity: pd.Series | None = None) -> pd.Series:
        """The group of each recorded race (and ethnicity); "" for those the rule leaves out."""
        rule = RULES[self.race_groups]
        races = race.astype(object).fillna("").astype(str).str.strip().str.casefold()
        if ethnicity is None:
            known = {text: rule(text, "") for text in races.unique()}
            return races.map(known).rename("race")
        others = ethnicity.astype(object).fillna("").astype(str).str.strip().str.casefold()
        pairs = pd.MultiIndex.from_arrays([races, others])
        found = {pair: rule(*pair) for pair in pairs.unique()}
        values = np.array([found[pair] for pair in pairs], dtype=object)
        return pd.Series(values, index=race.index, name="race")


def in_order(groups: pd.Series) -> pd.Categorical[str]:
    """Groups of race in the order in which all data sets show them."""
    return ordered(groups, ORDER)
