"""Chest X-ray data sets. Import from the modules; this file imports nothing.

Hugging Face publishes a package of the same name. Libraries that look for it look for the two
classes below, so they stand here as stubs and `datasets` stays ours.
"""


class Dataset:
    """A stand-in for the class of Hugging Face's package; nothing here is one."""


class IterableDataset:
    """A stand-in for the class of Hugging Face's package; nothing here is one."""
