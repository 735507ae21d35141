"""A second folder of embeddings; see `trees.embeddings`."""

from __future__ import annotations

from trees.embeddings import make

__all__ = ["make"]
