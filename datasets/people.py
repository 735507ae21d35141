"""One person under several ids: ids are united, so that folds stay disjoint by person."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd

from datasets import tabular
from datasets.faults import image_names
from datasets.folds import SOURCE
from datasets.images import find_faults, open_images
from datasets.split import IMAGE_ROOT, Split

PAIRS_FILE = "same_person.csv"
PAIR_COLUMNS = ("patientid_a", "patientid_b")
COPY = "copy of another image"
THUMBNAIL = 64
"""Side in pixels at which pictures are compared; equal files are equal at any side."""

log = logging.getLogger(__name__)


def unite(ids: Iterable[str], pairs: Iterable[tuple[str, str]]) -> dict[str, str]:
    """Each id with the id that stands for its person: the one that comes first in `ids`.

    >>> unite(["7", "8", "9"], [("9", "8")])
    {'7': '7', '8': '8', '9': '8'}
    """
    place = {name: i for i, name in enumerate(dict.fromkeys(ids))}
    parent = {name: name for name in place}

    def head(name: str) -> str:
        while parent[name] != name:
            parent[name] = parent[parent[name]]
            name = parent[name]
        return name

    for a, b in pairs:
        if a in parent and b in parent:
            first, second = sorted((head(a), head(b)), key=place.__getitem__)
            parent[second] = first
    return {name: head(name) for name in place}


def listed_pairs(root: Path) -> list[tuple[str, str]]:
    """Pairs of ids of one person that `same_person.csv` below `root` lists; none without the file.

    Raises:
        ValueError: a column is missing.
    """
    path = root / PAIRS_FILE
    return read_pairs(path) if path.is_file() else []


def pairs_of(table: Split) -> list[tuple[str, str]]:
    """Pairs of ids of one person that lie with the images of a table, of each part of a union."""
    if SOURCE not in table.attributes or IMAGE_ROOT not in table.frame:
        return listed_pairs(table.root)
    below = table.frame[[SOURCE, IMAGE_ROOT]].astype(str).drop_duplicates()
    return [
        (f"{name}/{a}", f"{name}/{b}")
        for name, root in below.itertuples(index=False)
        for a, b in listed_pairs(Path(root))
    ]


def read_pairs(path: Path) -> list[tuple[str, str]]:
    """Pairs of ids of one person from the columns `patientid_a` and `patientid_b` of a csv file.

    Raises:
        ValueError: the file is damaged, a column is missing, or a row lacks an id.
    """
    listed = tabular.read(path, {name: (name,) for name in PAIR_COLUMNS})
    lacking = (listed == "").any(axis=1).to_numpy()
    if lacking.any():
        row = int(np.flatnonzero(lacking)[0])
        a, b = listed.iloc[row]
        raise ValueError(
            f"every row of {path} must hold two ids, but row {row + 1} (line {row + 2}) holds "
            f"{a!r} and {b!r}; fill or delete it"
        )
    return [(str(a), str(b)) for a, b in listed.itertuples(index=False)]


def as_persons(table: Split, pairs: Iterable[tuple[str, str]] = ()) -> Split:
    """The table with one `patient_id` per person and each picture once.

    Ids are united where `pairs` lists them, and where one picture stands under both. Later copies
    of a picture are dropped and counted: found again, they would prove nothing about linkage.
    """
    ids = table.frame["patient_id"].astype(str)
    first = _first_showing(table)
    shared = zip(ids, ids.iloc[first], strict=True)
    person = unite(ids, [*pairs, *shared])
    united = sum(name != head for name, head in person.items())
    if united:
        log.info("%s: %d patient ids united with another id of that person", table.name, united)
    original = first == np.arange(len(table))
    dropped = Counter(table.dropped) + Counter({COPY: int((~original).sum())})
    frame = table.frame.assign(patient_id=ids.map(person))
    return replace(table.with_frame(frame[original]), dropped=dict(dropped))


def _first_showing(table: Split) -> np.ndarray:
    """Per row `(n,)` int64, the first row that shows the same picture, pixel by pixel.

    A row whose picture is unreadable or empty is compared by its path alone.
    """
    paths = image_names(table).to_numpy()
    faulty = {fault.path for fault in find_faults(table, THUMBNAIL)}
    readable = np.array([path not in faulty for path in paths], dtype=bool)
    shown: list[object] = list(paths)
    pixels = open_images(table.where(readable), THUMBNAIL).take()
    for row, picture in zip(np.flatnonzero(readable), pixels, strict=True):
        if picture.min() < picture.max():
            shown[row] = picture.tobytes()
    codes, _ = pd.factorize(np.array(shown, dtype=object))
    _, starts = np.unique(codes, return_index=True)
    return starts[codes]
