"""The pictures of docs/phantom.md, each captioned SIMULATED.

python -m benchmarks.phantom_figures docs/images
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import torch

from datasets.phantom_cohort import FINDINGS, LESIONS, Cohort, make_cohort
from datasets.phantom_pictures import contact_sheet, outlined
from datasets.phantom_population import Population, write_recipe
from datasets.phantom_render import regions, render_population, render_rows
from datasets.pictures import save

DRAWN = (*LESIONS, "Support Devices")


def visits_sheet(population: Population, path: Path, *, patients: int = 7, visits: int = 3) -> None:
    """Write a sheet with one patient per column and one visit per row."""
    cohort = make_cohort(population)
    many = np.flatnonzero(np.bincount(cohort.patient) >= visits)[:patients]
    rows = np.array([np.searchsorted(cohort.patient, many) + visit for visit in range(visits)])
    titles = [f"p{cohort.patient[r]:06d}-v{cohort.visit[r] + 1}" for r in rows.ravel()]
    images = render_population(population, rows.ravel(), 160)
    save(contact_sheet(images, columns=patients, titles=titles), path)


def findings_sheet(population: Population, path: Path) -> None:
    """Write a sheet with each finding alone, plain and with its mask, its box and the lungs."""
    cohort = make_cohort(population)
    rows = np.repeat([example(cohort, finding) for finding in DRAWN], 2)
    titles = np.repeat(DRAWN, 2).tolist()
    with TemporaryDirectory() as folder:
        recipe = write_recipe(population, Path(folder))
        images, where = render_rows(recipe, rows, 224), regions(recipe, rows, 224)
    pictures = outlined(images, where, titles)
    pictures[::2] = images[::2, ..., None]
    save(contact_sheet(pictures, columns=4, titles=titles), path)


def example(cohort: Cohort, finding: str) -> int:
    """The row of a well exposed image with a severe case of this finding and no other."""
    scene, setting = cohort.scene, cohort.scene.acquisition
    severity = {
        "Cardiomegaly": scene.enlargement,
        "Pleural Effusion": scene.effusion.severity,
        "Consolidation": scene.consolidation.severity,
        "Pneumothorax": scene.pneumothorax.severity,
        "Lung Lesion": scene.nodule.severity,
        "Fracture": scene.fracture.severity,
        "Edema": scene.edema.severity,
        "Support Devices": -scene.device.kind,
    }[finding]
    drawn = cohort.truth[:, [FINDINGS.index(name) for name in DRAWN]]
    alone = cohort.truth[:, FINDINGS.index(finding)] & (drawn.sum(1) == 1)
    plain = (setting.noise < 0.018) & (abs(setting.gamma - 1) < 0.1) & (abs(setting.exposure) < 0.1)
    rows = np.flatnonzero(alone & plain & (cohort.attributes.race == 0))
    wanted = np.quantile(severity[rows], 0.85)
    return int(rows[np.abs(severity[rows] - wanted).argmin()])


def main(arguments: Sequence[str] | None = None) -> int:
    """Write both pictures; returns 0."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    folder = parser.parse_args(arguments).folder
    torch.set_num_threads(1)
    visits_sheet(Population(), folder / "phantom_sheet.png")
    findings_sheet(Population(), folder / "phantom_findings.png")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
