"""What the words in anybody's table mean: labels, folds and groups."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pandas as pd

from datasets.attributes import SPELT, UNKNOWN, ordered, sexes
from datasets.csv_columns import Mapped, value_key
from datasets.csv_source import Source
from datasets.mentions import ABSENT, PRESENT, UNCERTAIN
from datasets.races import in_order

LABELS: Mapping[str, float] = {
    **dict.fromkeys(("1", "true", "yes", "y", "t", "present", "positive"), PRESENT),
    **dict.fromkeys(("0", "false", "no", "n", "f", "absent", "negative"), ABSENT),
    **dict.fromkeys(("-1", "uncertain"), UNCERTAIN),
    **dict.fromkeys(("", "nan", "na", "n/a", "null", "unknown"), np.nan),
}
"""What the words of a label column mean, case folded."""
FOLDS: Mapping[str, str] = {
    **dict.fromkeys(("train", "training"), "train"),
    **dict.fromkeys(("val", "valid", "validate", "validation", "dev"), "val"),
    **dict.fromkeys(("test", "testing"), "test"),
    **{"audit": "audit", "": "", "nan": "", "none": ""},
}
NOT_RECORDED = ("", "nan", "na", "n/a", "null", "unknown")
OTHER_SEX = (*NOT_RECORDED, "o", "other", "u", "x", "undetermined")
"""Recorded sexes that join "Unknown"; a code such as 1 must be explained."""
OTHERS = "*"
MOST_GROUPS = 50
"""Of an attribute; more are no groups but values, such as ages or dates."""


def meant(texts: pd.Series, mapped: Mapped, *names: str) -> pd.Series:
    """Texts with the values replaced that the mapping file explains under one of `names`.

    Under "*" it says what all others stand for; blanks stay blank unless explained as such.
    """
    meanings = next((mapped.values[name] for name in names if name in mapped.values), {})
    if not meanings:
        return texts
    others = meanings.get(OTHERS)
    distinct = {text: text if others is None or not text else others for text in texts.unique()}
    distinct |= {t: meanings[value_key(t)] for t in distinct if value_key(t) in meanings}
    return texts.map(distinct)


def mentioned(texts: pd.Series, source: Source) -> pd.Series:
    """1, 0, -1 or NaN from the words of a column of labels."""
    keys = texts.map({text: value_key(text) for text in texts.unique()})
    known = keys.isin(LABELS)
    if not known.all():
        raise source.wrong_value(texts[~known], "hold 1, 0, -1 (uncertain), yes, no or blanks")
    return keys.map(LABELS).astype(np.float64)


def groups(name: str, texts: pd.Series, source: Source) -> pd.Categorical[str]:
    """Group names in their order."""
    keys = texts.map({text: value_key(text) for text in texts.unique()})
    if name == "sex":
        known = keys.isin([*SPELT, *OTHER_SEX])
        if not known.all():
            raise source.wrong_value(texts[~known], "hold M, F, Male, Female, Other or blanks")
        return sexes(texts)
    values = texts.mask(keys.isin(NOT_RECORDED), UNKNOWN)
    names = sorted(set(values))
    if len(names) > MOST_GROUPS:
        raise ValueError(
            f"attribute {name!r} must have at most {MOST_GROUPS} groups, but its column in "
            f"{source.path} has {len(names)} values, such as {', '.join(names[:3])}; leave it out, "
            "or name a column of ages with --data age=COLUMN"
        )
    return in_order(values) if name == "race" else ordered(values, names)
