"""What lies beside embeddings that were made of another data set: where they come from.

A folder of embeddings holds `embeddings.npy` (float32 `(n, width)`), `table.parquet` (row i is row
i of the stack) and `meta.json`, which is written last: where it is, the folder is complete.
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

STACK, TABLE, META = "embeddings.npy", "table.parquet", "meta.json"
FORMAT = 1
HOW_TO_MAKE = "python -m datasets embed writes such a folder"


@dataclass(frozen=True)
class Meta:
    """An embedding data set: its encoder, the data set it was made of, and what both imply."""

    encoder: Mapping[str, Any]
    """Name of the file, its digest, how it was built, and what it was shown."""
    width: int
    images: int
    dataset: str
    """Registered name of the source."""
    data_version: str
    data_fields: Mapping[str, Any]
    content: str
    """Digest of the source's pixels as the encoder saw them."""
    findings: tuple[str, ...]
    attributes: Mapping[str, tuple[str, ...]]
    """Groups of each attribute in their frozen order."""
    terms: str
    kind: str
    reidentification_allowed: bool
    ids: str
    """ "raw" as in the source, or "pseudonyms"."""
    unlearnable: tuple[str, ...] = ()
    """Findings that the source declares unlearnable at the size that the encoder saw."""
    primary_contrasts: Mapping[str, tuple[str, str]] = field(default_factory=dict)
    intersections: tuple[tuple[str, ...], ...] = ()
    dropped: Mapping[str, int] = field(default_factory=dict)
    notes: tuple[str, ...] = ()
    format: int = FORMAT

    def write(self, folder: Path) -> None:
        """Write `meta.json` in full or not at all."""
        draft = folder / f"{META}.part"
        held = {f.name: getattr(self, f.name) for f in dataclasses.fields(self)}
        # Mappings of data sets are often views, which cannot be copied or written as they are.
        draft.write_text(json.dumps(held, indent=1, default=dict) + "\n", encoding="utf-8")
        draft.replace(folder / META)

    @classmethod
    def read(cls, folder: Path) -> Meta:
        """What `meta.json` in a folder says.

        Raises:
            FileNotFoundError: the folder is no embedding data set, or not a complete one.
            ValueError: the file is damaged or of another format.
        """
        path = folder / META
        for name in (META, TABLE, STACK):
            if not (folder / name).is_file():
                raise FileNotFoundError(
                    f"a folder of embeddings must hold {name}, but {folder} does not; {HOW_TO_MAKE}"
                )
        try:
            held = json.loads(path.read_text(encoding="utf-8"))
            if held.get("format") != FORMAT:
                raise ValueError(f"its format is {held.get('format')!r}, not {FORMAT}")
            made = cls(**_tuples(held))
        except (ValueError, TypeError, AttributeError) as error:
            told = " ".join(str(error).split())
            raise ValueError(
                f"{path} must be what python -m datasets embed wrote, but {told}; make it again"
            ) from error
        # What protects people must not depend on a slip of the pen.
        if made.terms not in ("open", "restricted") or made.kind not in ("real", "simulated"):
            raise ValueError(
                f"{path} must name terms open or restricted and kind real or simulated, but names "
                f"{made.terms!r} and {made.kind!r}; make it again"
            )
        return made


def _tuples(value: Any) -> Any:
    """Lists of JSON as tuples, at any depth."""
    if isinstance(value, list):
        return tuple(map(_tuples, value))
    if isinstance(value, dict):
        return {name: _tuples(held) for name, held in value.items()}
    return value
