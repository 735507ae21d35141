"""How names and numbers are written in a report; the only place that rounds."""

from __future__ import annotations

import math
from collections.abc import Sequence

from metrics.score import MACRO

MINUS = "\N{MINUS SIGN}"
EN_DASH = "\N{EN DASH}"
SPELLED = {"brier": "Brier"} | {
    name: name.upper()
    for name in ("auc", "auprc", "fnr", "fpr", "tpr", "tnr", "ppv", "npv", "ece", "citl", "f1")
}
BETTER = {
    "higher": "higher is better",
    "lower": "lower is better",
    "zero": "closer to 0 is better",
    "one": "closer to 1 is better",
}


def title(metric: str) -> str:
    """A metric's name in words: "worst_group_auc" is "worst group AUC"."""
    return " ".join(SPELLED.get(word, word) for word in metric.split("_"))


def quantity(metric: str) -> str:
    """What a contrast compares: "fnr_contrast_standardised" is "FNR standardised"."""
    return title(metric.replace("_contrast", ""))


def finding(name: str) -> str:
    """A finding's name; the average over findings in words."""
    return "mean over findings" if name == MACRO else name


def decimal(value: float, *, signed: bool = False, digits: int = 3) -> str:
    """A number with three decimals and a true minus; "n/a" where undefined."""
    if math.isnan(value):
        return "n/a"
    text = f"{value:+.{digits}f}" if signed else f"{value:.{digits}f}"
    if float(text) == 0:  # neither "-0.000" nor "+0.000": the sign would be noise
        text = text.lstrip("+-")
    return text.replace("-", MINUS)


def interval(low: float, high: float, *, signed: bool = False) -> str:
    """An interval, "0.829–0.856" or "−0.020 to +0.150"; empty where there is none."""
    if math.isnan(low) or math.isnan(high):
        return ""
    joint = " to " if signed or low < 0 else EN_DASH
    return decimal(low, signed=signed) + joint + decimal(high, signed=signed)


def p_value(value: float) -> str:
    """A p-value, "0.004" or "<0.001"; "n/a" where there is none."""
    return "<0.001" if value < 0.001 else decimal(value)


def pair(text: str) -> str:
    """A contrast as it is printed, with a true minus between the groups."""
    return text.replace(" - ", f" {MINUS} ")


def listed(items: Sequence[str], most: int = 0) -> str:
    """Items as "a, b and c"; beyond `most` as "a, b and 7 more"."""
    if most and len(items) > most:
        return f"{', '.join(items[:most])} and {len(items) - most} more"
    if len(items) < 2:
        return "".join(items)
    return f"{', '.join(items[:-1])} and {items[-1]}"


def counted(number: int, noun: str) -> str:
    """ "1 image" or "2,000 images"."""
    return f"{number:,} {noun}{'' if number == 1 else 's'}"
