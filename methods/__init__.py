"""Methods: each a frozen dataclass that overrides one or two of the named stages."""

STAGES = ("view", "data", "network", "objective", "harden", "decide", "release")
"""The stages in the order in which `fit` runs them."""
