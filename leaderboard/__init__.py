"""The leaderboard: stored results in, one page, one table and one tidy frame out."""

from __future__ import annotations

from leaderboard.collect import collect

__all__ = ["collect"]
