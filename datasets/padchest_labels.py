"""PadChest's labels, and the findings that groups of them make; labels are compared whole.

The words of a label are no guide: "atypical pneumonia" is a pneumonia, "pseudonodule" is no nodule,
and "subcutaneous emphysema" is none of the lung. So each finding lists what it is made of.
"""

from __future__ import annotations

import ast
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pandas as pd

NO_FINDING, NORMAL = "No Finding", "normal"
EXCLUDE, SUBOPTIMAL, UNCHANGED = "exclude", "suboptimal study", "unchanged"
SAYS_NOTHING = frozenset({EXCLUDE, SUBOPTIMAL, UNCHANGED, ""})
"""Labels about the report rather than about the image."""
CONSOLIDATION = ("consolidation", "air bronchogram")

GROUPS: Mapping[str, tuple[str, ...]] = {
    "Atelectasis": (
        "atelectasis", "total atelectasis", "lobar atelectasis", "segmental atelectasis",
        "laminar atelectasis", "round atelectasis", "atelectasis basal",
    ),
    "Cardiomegaly": ("cardiomegaly",),
    "Consolidation": CONSOLIDATION,
    "Edema": ("pulmonary edema",),
    "Emphysema": ("emphysema",),
    "Fibrosis": ("pulmonary fibrosis", "post radiotherapy changes", "asbestosis signs"),
    "Fracture": (
        "fracture", "clavicle fracture", "humeral fracture", "vertebral fracture", "rib fracture",
        "callus rib fracture",
    ),
    "Hernia": ("hiatal hernia",),
    "Infiltration": (
        "infiltrates", "interstitial pattern", "ground glass pattern",
        "reticular interstitial pattern", "reticulonodular interstitial pattern",
        "miliary opacities", "alveolar pattern", *CONSOLIDATION,
    ),
    "Mass": ("mass", "mediastinal mass", "breast mass", "pleural mass", "pulmonary mass",
             "soft tissue mass"),
    "Nodule": ("nodule", "multiple nodules"),
    "Pleural Effusion": (
        "pleural effusion", "loculated pleural effusion", "loculated fissural effusion",
        "hydropneumothorax", "empyema", "hemothorax",
    ),
    "Pleural Thickening": (
        "pleural thickening", "apical pleural thickening", "calcified pleural thickening",
    ),
    "Pneumonia": ("pneumonia", "atypical pneumonia"),
    "Pneumothorax": ("pneumothorax", "hydropneumothorax"),
    "Support Devices": (
        "electrical device", "dual chamber device", "single chamber device", "pacemaker", "dai",
        "catheter", "central venous catheter", "central venous catheter via subclavian vein",
        "central venous catheter via jugular vein", "central venous catheter via umbilical vein",
        "reservoir central venous catheter", "NSG tube", "endotracheal tube", "tracheostomy tube",
        "chest drain tube",
    ),
    "Tuberculosis": ("tuberculosis", "tuberculosis sequelae"),
    NO_FINDING: (NORMAL,),
}  # fmt: skip
"""Labels by finding: a label with all that stand below it in the tree of Bustos et al. 2020.

Differs from the tree: "hydropneumothorax", there below pleural effusion, is a pneumothorax too, and
"hiatal hernia" and the support devices (electrical devices, catheters, tubes) are groups of ours.
"""


def parsed(path: Path, column: pd.Series) -> tuple[np.ndarray, list[frozenset[str]]]:
    """Which set of labels each row has `(n,)` int64, and the sets.

    A text is a Python list of texts, with blanks around some; blank or "nan" is the empty set.

    Raises:
        ValueError: a text is no such list; the message names row and value.
    """
    codes, texts = pd.factorize(column)
    sets: list[frozenset[str]] = []
    for code, text in enumerate(texts):
        labels = _labels(text)
        if labels is None:
            row = int(np.flatnonzero(codes == code)[0])
            raise ValueError(
                f"column 'Labels' of {path} must hold lists such as ['normal'], but row {row + 1} "
                f"(line {row + 2}) holds {text[:60]!r}; restore the file"
            )
        sets.append(labels)
    return codes, sets


def _labels(text: str) -> frozenset[str] | None:
    if text.casefold() in ("", "nan"):
        return frozenset()
    try:
        held = ast.literal_eval(text)
    except (ValueError, SyntaxError, MemoryError, RecursionError):
        return None
    if not isinstance(held, list) or not all(isinstance(label, str) for label in held):
        return None
    return frozenset(label.strip() for label in held) - {""}


def says_nothing(labels: frozenset[str]) -> str:
    """Why a report with these labels tells no findings of its image; "" where it does."""
    if not labels:
        return "no labels"
    if EXCLUDE in labels:
        return "report not usable (exclude)"
    if labels <= SAYS_NOTHING:
        return "report tells no findings (unchanged, suboptimal study)"
    return ""
