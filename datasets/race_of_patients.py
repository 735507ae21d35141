"""One group of race per patient, from records that may disagree or be missing."""

from __future__ import annotations

from dataclasses import dataclass

import pandas as pd

from datasets.attributes import UNKNOWN
from datasets.changing import CHANGES, ChangingAttributes, settled
from datasets.races import LEFT_OUT, NOT_KNOWN, RaceGroups

NO_RULE = "(left out)"
"""Stands for the verdict of a rule until each patient has one."""


@dataclass(frozen=True)
class RaceOfPatients(RaceGroups, ChangingAttributes):
    """A data set that records the race of a patient, perhaps several times."""

    def race_of_patients(
        self, asked: pd.Index[str], patient: pd.Series, race: pd.Series, ethnicity: pd.Series
    ) -> tuple[pd.Series, pd.Series]:
        """The group of each patient of `asked`, and why a policy leaves them out ("" if none does).

        `patient`, `race` and `ethnicity` `(n,)` are records in the order of the file. Patients are
        settled by groups, so that sub-groups of one are no change. Whom nobody recorded gets what
        the rule makes of an unknown race.
        """
        groups = self.race_of(race, ethnicity)
        nothing = race.str.casefold().isin(NOT_KNOWN) & groups.isin([LEFT_OUT, UNKNOWN])
        # What the rule leaves out is a value like others, or a patient recorded both ways would
        # count as constant; what is not known is none.
        groups = groups.replace(LEFT_OUT, NO_RULE).mask(nothing, UNKNOWN)
        verdict = str(self.race_of(pd.Series([""]), pd.Series([UNKNOWN])).iloc[0]) or NO_RULE
        found = settled(patient, groups, self.changing).reindex(asked).fillna(UNKNOWN)
        found = found.replace(UNKNOWN, verdict)
        why = pd.Series("", index=asked)
        why = why.mask(found == "", f"{CHANGES} race")
        return found, why.mask(found == NO_RULE, f"race left out by {self.race_groups}")
