"""Methods: each a frozen dataclass that overrides one or two of the named stages."""
