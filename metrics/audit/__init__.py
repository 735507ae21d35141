"""Audits of anybody's predictions: `python -m metrics audit FILE`, or `audit(frame)`."""

from metrics.audit.engine import Audit, audit

__all__ = ["Audit", "audit"]
