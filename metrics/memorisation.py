"""Memorisation: do synthetic images resemble training patients more than patients never seen?"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from metrics.auroc import auroc
from metrics.bootstrap import PatientBootstrap, percentile_interval
from metrics.score import Score
from registry import METRICS

COPY_QUANTILE = 0.01
"""Share of held-out images that are as near to a training image as what is called a copy."""
COMPARED_TOGETHER = 1024
"""Rows whose similarities to all others are held in memory at once."""


@METRICS.register(
    "release_memorisation_auc", direction="lower", unit="probability", input="release"
)
def release_memorisation_auc(releases: Releases) -> Score:
    """How well the released images tell training patients from patients that were held out.

    A patient's score is the largest cosine between an image of theirs and a released one, in the
    embedding of a verifier trained on a third set of patients; the AUC is of training against
    held-out patients, as many of each. 0.5 is a guess: no memorisation that this attack can see,
    which is no proof that there is none.

    Source: Dar et al., Unconditional Latent Diffusion Models Memorize Patient Imaging Data, 2024
    (arXiv 2402.01054), the patient-wise distances; Carlini et al., Extracting Training Data from
    Diffusion Models, USENIX Security 2023, section 5 (members against others).
    """
    member = np.concatenate([part.members for part in releases.parts])
    codes, patients = releases.patient_codes
    # Column 0 weighs everybody once: the value itself; the others are the replicates.
    weights = np.insert(PatientBootstrap(patients).weights, 0, 1, axis=1)[codes]
    parts = np.repeat(np.arange(len(releases.parts)), [len(p.members) for p in releases.parts])
    scores = np.concatenate([part.scores for part in releases.parts])
    found = auroc(scores, member.astype(np.float32), weights, parts)
    low, high = percentile_interval(found[1:])
    inside = int(member.sum())
    return Score(
        metric="release_memorisation_auc", value=float(found[0]), n=len(member), positives=inside,
        negatives=len(member) - inside, low=float(low), high=float(high),
        note=f"against {sum(len(p.released) for p in releases.parts)} released images",
    )  # fmt: skip


@METRICS.register("release_copy_share", direction="lower", unit="rate", input="release")
def release_copy_share(releases: Releases) -> Score:
    """Share of released images that lie nearer to a training image than nearly all others do.

    Nearer, in the same embedding, than the nearest 1 % of held-out images do. About 0.01 is what
    images of independent patients would have.

    Source: Dar et al., 2024 (arXiv 2402.01054), the rule for copies. Differs: the limit
    is the 99th percentile of held-out images, theirs the 95th, and the embedding a verifier's.
    """
    copies = np.concatenate([part.copies for part in releases.parts])
    return Score(
        metric="release_copy_share", value=float(copies.mean()),
        note=f"{int(copies.sum())} of {len(copies)} released images",
    )  # fmt: skip


@dataclass(frozen=True)
class Real:
    """Unit embeddings `(n, width)` of real images, with the patients `(n,)` of the rows."""

    embeddings: np.ndarray
    patients: np.ndarray

    def sampled(self, patients: int, rng: np.random.Generator) -> Real:
        """The images of so many patients, drawn at random."""
        chosen = rng.choice(np.unique(self.patients), patients, replace=False)
        kept = np.isin(self.patients, chosen)
        return Real(self.embeddings[kept], self.patients[kept])

    def scored(self, released: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Distinct patients, and the largest cosine of an image of each to a released one."""
        names, codes = np.unique(self.patients, return_inverse=True)
        scores = np.full(len(names), -np.inf)
        np.maximum.at(scores, codes, nearest(self.embeddings, released))
        return names, scores


@dataclass(frozen=True)
class Release:
    """Of one part: what was released, `(n, width)` unit embeddings, and the real images of patients
    that the generator has learnt from, and of others. No patient is in both."""

    released: np.ndarray
    training: Real
    held_out: Real

    @cached_property
    def _judged(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Patients, scores and membership; as many patients of each kind."""
        each = min(len(np.unique(r.patients)) for r in (self.training, self.held_out))
        rng = np.random.default_rng([0, 0x3E3])
        kinds = [r.sampled(each, rng).scored(self.released) for r in (self.training, self.held_out)]
        names, scores = (np.concatenate(both) for both in zip(*kinds, strict=True))
        return names, scores, np.arange(2 * each) < each

    @property
    def patients(self) -> np.ndarray:
        """Names of the judged patients `(patients,)`."""
        return self._judged[0]

    @property
    def scores(self) -> np.ndarray:
        """The largest cosine of each judged patient to a released image `(patients,)`."""
        return self._judged[1]

    @property
    def members(self) -> np.ndarray:
        """Whether the generator has learnt from each judged patient `(patients,)`."""
        return self._judged[2]

    @cached_property
    def copies(self) -> np.ndarray:
        """Whether each released image is called a copy of a training image `(n,)`."""
        others = nearest(self.held_out.embeddings, self.training.embeddings)
        limit = np.quantile(others, 1 - COPY_QUANTILE)
        return nearest(self.released, self.training.embeddings) > limit


@dataclass(frozen=True)
class Releases:
    """The releases of all parts of a run."""

    parts: tuple[Release, ...]

    @property
    def patient_codes(self) -> tuple[np.ndarray, int]:
        """Which patient each judged row is, over all parts, and how many there are."""
        names, codes = np.unique(
            np.concatenate([part.patients for part in self.parts]), return_inverse=True
        )
        return codes, len(names)


def memorisation_scores(parts: Sequence[Release]) -> list[Score]:
    """Scores of every registered metric of a release."""
    releases = Releases(tuple(parts))
    return [METRICS.get(name)(releases) for name in release_metrics()]


def undefined_memorisation(reason: str) -> list[Score]:
    """The same scores as NaN with a note, where there is nothing to compare with."""
    return [Score(metric=name, value=np.nan, note=reason) for name in release_metrics()]


def release_metrics() -> list[str]:
    """Names of the registered metrics of a release, sorted."""
    return [n for n, e in METRICS.entries().items() if e.facts.get("input") == "release"]


def nearest(embeddings: np.ndarray, others: np.ndarray) -> np.ndarray:
    """The largest cosine of each unit vector `(n, width)` to one of `others` `(m, width)`."""
    blocks = range(0, len(embeddings), COMPARED_TOGETHER)
    parts = [(embeddings[b : b + COMPARED_TOGETHER] @ others.T).max(axis=1) for b in blocks]
    return np.concatenate([np.empty(0, np.float32), *parts])
