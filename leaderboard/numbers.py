"""How numbers are written on the page; the only place that rounds."""

from __future__ import annotations

import math

from leaderboard.aggregate import Estimate

MINUS = "\N{MINUS SIGN}"
EN_DASH = "\N{EN DASH}"
NOT_MEASURED = "not measured"


def decimal(value: float, *, signed: bool = False, digits: int = 3) -> str:
    """A number with three decimals, a true minus and, where `signed`, a plus: "+0.153"."""
    text = f"{value:+.{digits}f}" if signed else f"{value:.{digits}f}"
    if float(text) == 0:  # neither "-0.000" nor "+0.000": the sign would be noise
        text = text.lstrip("+-")
    return text.replace("-", MINUS)


def chance(p: float) -> str:
    """A p-value: "0.136", or "< 0.001"."""
    return "< 0.001" if p < 0.001 else decimal(p)


def interval(low: float, high: float, *, signed: bool = False) -> str:
    """An interval, "0.829–0.856" or "−0.020 to +0.150"; empty where there is none."""
    if math.isnan(low) or math.isnan(high):
        return ""
    joint = " to " if signed else EN_DASH
    return decimal(low, signed=signed) + joint + decimal(high, signed=signed)


def undefined(estimate: Estimate | None) -> str:
    """Why a number is not there."""
    return NOT_MEASURED if estimate is None else estimate.note


def count(value: float) -> str:
    """A whole number with thin groups of three, "161,000"; "n/a" where unknown."""
    return "n/a" if math.isnan(value) else f"{value:,.0f}"


def duration(seconds: float) -> str:
    """A duration in its two largest units, "1 min 01 s"; "n/a" where unknown."""
    if math.isnan(seconds):
        return "n/a"
    if seconds < 60:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    if minutes < 60:
        return f"{minutes} min {rest:02d} s"
    return f"{minutes // 60} h {minutes % 60:02d} min"


def pair(text: str) -> str:
    """A contrast as it is printed, with a true minus between the groups."""
    return text.replace(" - ", f" {MINUS} ")
