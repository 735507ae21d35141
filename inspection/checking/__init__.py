"""Checks of a downloaded tree: all that is wrong with it, not the first fault only."""
