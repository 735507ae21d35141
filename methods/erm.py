"""Empirical risk minimisation, the reference of every comparison."""

from __future__ import annotations

from dataclasses import dataclass

from methods.base import Method
from registry import METHODS


@METHODS.register("erm")
@dataclass(frozen=True)
class Erm(Method):
    """Empirical risk minimisation: every stage as it comes.

    Source: Vapnik, Principles of risk minimization for learning theory, NeurIPS 1991.
    """
