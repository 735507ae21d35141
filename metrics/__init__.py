"""Metrics: every number with its count and its interval."""
