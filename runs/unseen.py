"""Stored weights are never tested on patients that they were trained or chosen on."""

from __future__ import annotations

from collections.abc import Sequence

import pandas as pd

from datasets.split import Folds
from datasets.union import JOIN, parts_of
from options import plain
from runs.foreign import Foreign
from runs.plan import Plan
from tracking.pseudonyms import Pseudonyms
from tracking.rundir import SPLIT, RunDirectory

LEARNT = ("train", "val")
"""Folds that a model is trained or chosen on."""


def check_unseen(plan: Plan, trained: RunDirectory, folds: Sequence[Folds]) -> None:
    """Nothing where no test patient of the plan's own data is one that the run learnt from.

    Data sets are compared by name, parts of unions one by one.

    Raises:
        ValueError: some are; the message holds a pseudonym.
    """
    earlier, name = trained.record(), plan.dataset.registered_name
    if plan.dataset.kind == "simulated" and (
        earlier.dataset != name or earlier.data_fields != plain(plan.dataset)
    ):
        # Another simulated cohort has other people under the same ids.
        return
    for part, parted in enumerate(folds):
        ids = pd.Series(parted.test.patients, dtype=str)
        _refuse(trained, ids, name, part, f"test patients of part {part + 1}")


def check_others_unseen(trained: RunDirectory, tests: Sequence[Foreign]) -> None:
    """The same for patients of the data sets that the plan names beside its own.

    Raises:
        ValueError: some are such patients; the message holds a pseudonym.
    """
    for foreign in tests:
        if foreign.placed.dataset.kind == "simulated":
            continue
        # Patients who chose the model may set its thresholds too, as those of its own data do.
        for fold, learnt in ((foreign.val, ("train",)), (foreign.test, LEARNT)):
            ids = pd.Series(fold.patients, dtype=str).str.removeprefix(f"{foreign.name}/")
            whose = f"{fold.name} patients of {foreign.name}"
            _refuse(trained, ids, foreign.name, 0, whose, learnt)


def _refuse(
    trained: RunDirectory,
    ids: pd.Series,
    name: str,
    part: int,
    whose: str,
    learnt: tuple[str, ...] = LEARNT,
) -> None:
    earlier = trained.record().dataset
    listed = pd.read_csv(trained.path / SPLIT, dtype=str)
    used = listed[(listed["part"] == str(part)) & listed["fold"].isin(learnt)]
    tested = Pseudonyms(trained.path.parents[2], earlier).of(called(ids, name, earlier))
    shared = set(tested) & set(used["patient_id"])
    if shared:
        raise ValueError(
            "--from-run must be tested on patients that the run did not train on, but "
            f"{len(shared)} of {len(ids)} {whose} are among them (pseudonym {sorted(shared)[0]}); "
            "use the same split"
        )


def called(ids: pd.Series, name: str, earlier: str) -> pd.Series:
    """Patient ids of the data set `name` as a run on the data set `earlier` has them.

    Those of a union begin with the name of the part, and so do, in every run, those of a data set
    that validates in place of its own patients.

    >>> called(pd.Series(["7"]), "a", "a").tolist(), called(pd.Series(["7"]), "a", "a+b").tolist()
    (['7'], ['a/7'])
    """
    whole = ids if JOIN in name else f"{parts_of(name)[0]}/" + ids
    return whole if JOIN in earlier else whole.str.removeprefix(f"{earlier}/")
