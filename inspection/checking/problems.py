"""What is wrong with a data set: one record per kind of fault, however often it occurs."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

ERROR, WARNING, NOTE = "error", "warning", "note"
SEVERITIES = (ERROR, WARNING, NOTE)
"""A run would stop or its numbers would be wrong; a run goes on, with fewer or weaker numbers; good
to know."""
SHOWN = 5
"""Examples that are told."""


@dataclass(frozen=True)
class Problem:
    """A kind of fault: `rule` names it in a word or two, `text` is one sentence without ids."""

    severity: str
    rule: str
    text: str
    remedy: str = ""
    count: int = 1
    examples: tuple[str, ...] = ()
    """At most five; they may hold file names and ids."""
    reason: str = ""
    """What was raised, which may name rows and ids too."""

    def without_ids(self) -> Problem:
        """The same without what may name a person or an image."""
        return replace(self, examples=(), reason="")


def problem(
    severity: str,
    rule: str,
    text: str,
    remedy: str = "",
    *,
    of: Sequence[object] = (),
    reason: BaseException | None = None,
) -> Problem:
    """A problem that occurs in each of `of`, of which the first few are its examples."""
    told = tuple(str(one) for one in list(of)[:SHOWN])
    why = "" if reason is None else " ".join(str(reason).split()) or type(reason).__name__
    return Problem(severity, rule, text, remedy, max(1, len(of)), told, why)


def ordered(problems: Iterable[Problem]) -> tuple[Problem, ...]:
    """Errors first, then warnings, then notes; each in the order in which it was found."""
    return tuple(sorted(problems, key=lambda p: SEVERITIES.index(p.severity)))


def counted(problems: Sequence[Problem]) -> str:
    """How many of each severity there are, in words.

    >>> counted([problem("error", "a", "b"), problem("note", "a", "b")])
    '1 error and 1 note'
    """
    from metrics.audit import words

    told = [
        words.counted(n, severity)
        for severity in SEVERITIES
        if (n := sum(p.severity == severity for p in problems))
    ]
    return words.listed(told) or "nothing was found"
