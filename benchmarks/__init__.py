"""Suites, studies and speed: names and settings only."""
