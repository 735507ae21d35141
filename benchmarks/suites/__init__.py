"""Suites: names and settings of many runs, as data."""
