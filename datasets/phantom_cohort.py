"""The causal tables of the phantom: attributes, findings, recorded labels and scene parameters.

    sex, age, race -> insurance
    sex, age, patient -> anatomy -> image
    age, race (prevalence_shift), site -> true finding -> image; its contrast depends on race, sex
    race (race_acquisition), site -> gamma, exposure, sharpness, noise -> image
    race A and pneumothorax -> support device -> image
    true finding, race, insurance (underdiagnosis) -> recorded label

Every number comes from named columns of counter-based random matrices with one row per patient:
patient i is the same person for any number of patients and under any knob.
"""

from __future__ import annotations

from dataclasses import dataclass, fields
from functools import lru_cache

import numpy as np
from scipy.special import ndtri

from datasets.phantom_population import Population
from datasets.phantom_traits import Acquisition, Anatomy, Device, Lesion, Pose, Scene

FINDINGS = (
    "Cardiomegaly", "Pleural Effusion", "Consolidation", "Pneumothorax", "Lung Lesion", "Fracture",
    "Lung Opacity", "Edema", "No Finding", "Support Devices",
)  # fmt: skip
LESIONS = (
    "Cardiomegaly", "Pleural Effusion", "Consolidation", "Pneumothorax", "Lung Lesion", "Fracture",
    "Edema",
)  # fmt: skip
"""Findings that are drawn; the others follow from them."""
OPACITIES = ("Consolidation", "Lung Lesion", "Edema")
"""Children of Lung Opacity. Source: Irvin et al., CheXpert, AAAI 2019, Fig. 1."""
GROWS_WITH_AGE = ("Cardiomegaly", "Pleural Effusion", "Fracture", "Edema")
SEXES = ("Male", "Female")
AGE_BANDS = ("20-39", "40-59", "60-79", "80+")
RACES = ("A", "B", "C")
INSURANCES = ("Private", "Medicare", "Medicaid")

MAX_VISITS = 4
_VISIT_EDGES = (0.30, 0.60, 0.85)
"""Chances of at most 1, 2, 3 images per patient; 2.25 on average."""
_WIDTH = 96
"""Columns of each random matrix; fixed, so that a new name at the end of a list moves nothing."""
_PERSON, _UNRELATED, _ANATOMY, _VISIT, _VISIT_ANATOMY = 1, 2, 3, 4, 5
_PERSON_NAMES = (
    "sex", "age early", "age late", "age spread", "race", "insurance", "visits",
    *(f"propensity {name}" for name in LESIONS),
)  # fmt: skip
_VISIT_NAMES = (
    *(f"{what} {name}" for what in ("chance", "severity", "side", "height", "depth", "missed")
      for name in LESIONS),
    "device", "device kind", "device place", "device contrast",
    *(item.name for item in fields(Pose)), *(item.name for item in fields(Acquisition)),
    "collimated",
)  # fmt: skip


@dataclass(frozen=True)
class Cohort:
    """All images of a population, one row each, sorted by patient and visit."""

    patient: np.ndarray
    """Patient number `(n,)`, from 0."""
    visit: np.ndarray
    """Visit number `(n,)`, from 0."""
    attributes: Attributes
    """As recorded, `(n,)` each."""
    truth: np.ndarray
    """True findings `(n, findings)` bool."""
    recorded: np.ndarray
    """Recorded findings `(n, findings)` bool."""
    scene: Scene[np.ndarray]

    def __len__(self) -> int:
        return len(self.patient)


@dataclass(frozen=True)
class Attributes:
    """Sex, race and insurance as codes, age in whole years; arrays of one length."""

    sex: np.ndarray
    age: np.ndarray
    race: np.ndarray
    insurance: np.ndarray

    def at(self, rows: np.ndarray) -> Attributes:
        """The attributes of some rows, in that order."""
        return Attributes(self.sex[rows], self.age[rows], self.race[rows], self.insurance[rows])

    @property
    def age_band(self) -> np.ndarray:
        """Codes of `AGE_BANDS`."""
        return np.searchsorted([40, 60, 80], self.age, side="right")


@dataclass(frozen=True)
class Draws:
    """Named columns of uniform draws in (0, 1), `(n, width)`."""

    names: tuple[str, ...]
    table: np.ndarray

    def uniform(self, name: str) -> np.ndarray:
        """Uniform draws `(n,)`."""
        return self.table[:, self.names.index(name)]

    def normal(self, name: str) -> np.ndarray:
        """The same draws as standard normal numbers `(n,)`."""
        return np.asarray(ndtri(self.uniform(name)))


@lru_cache(maxsize=4)
def make_cohort(population: Population) -> Cohort:
    """The cohort of a population. Its arrays are shared between callers: do not write to them."""
    n = population.patients
    person = Draws(_PERSON_NAMES, _matrix(population, _PERSON, (n,)))
    people = _attributes(population, person)
    shown = people
    if population.permute_attributes:
        # A fresh draw is a permutation among infinitely many people, and stays the same as n grows.
        unrelated = Draws(_PERSON_NAMES, _matrix(population, _UNRELATED, (n,)))
        shown = _attributes(population, unrelated)
    visits = 1 + np.searchsorted(_VISIT_EDGES, person.uniform("visits"))
    patient = np.repeat(np.arange(n), visits)
    visit = np.concatenate([np.arange(count) for count in visits])
    draws = Draws(_VISIT_NAMES, _matrix(population, _VISIT, (n, MAX_VISITS))[patient, visit])
    of_image = people.at(patient)
    truth = _true_findings(population, of_image, person.table[patient], draws)
    return Cohort(
        patient=patient,
        visit=visit,
        attributes=shown.at(patient),
        truth=_with_derived(truth),
        recorded=_with_derived(_recorded(population, of_image, truth, draws)),
        scene=_scene(population, of_image, truth, draws, patient, visit),
    )


def _matrix(population: Population, stream: int, shape: tuple[int, ...]) -> np.ndarray:
    rng = np.random.Generator(np.random.Philox(key=[population.cohort, stream]))
    return np.clip(rng.random((*shape, _WIDTH)), 1e-6, 1 - 1e-6)


def _attributes(population: Population, person: Draws) -> Attributes:
    age = 20 + 35 * (person.uniform("age early") + person.uniform("age late"))
    age = np.floor(np.clip(age + 6 * person.normal("age spread"), 20, 90)).astype(np.int64)
    edges = np.cumsum(population.race_shares)[:-1]
    race = np.searchsorted(edges, person.uniform("race"), side="right")
    medicare = np.where(age > 65, 0.75, 0.08)
    medicaid = np.where(age > 65, 0.10, np.where(race == RACES.index("B"), 0.42, 0.25))
    u = person.uniform("insurance")
    return Attributes(
        sex=(person.uniform("sex") < population.female_share).astype(np.int64),
        age=age,
        race=race,
        insurance=np.where(u < medicare, 1, np.where(u < medicare + medicaid, 2, 0)),
    )


def _true_findings(
    population: Population, people: Attributes, person: np.ndarray, draws: Draws
) -> dict[str, np.ndarray]:
    """Presence of each drawn finding and of devices; a Gaussian copula ties a patient's visits."""
    repeated = Draws(_PERSON_NAMES, person)
    found = {}
    for number, name in enumerate(LESIONS):
        log_odds = _log_odds(population, people, name)
        # The other site sees more of every second finding and less of the rest.
        log_odds = log_odds + population.site * (0.5 if number % 2 == 0 else -0.5)
        shared = 0.9 if name == "Cardiomegaly" else 0.5
        latent = np.sqrt(shared) * repeated.normal(f"propensity {name}")
        latent = latent + np.sqrt(1 - shared) * draws.normal(f"chance {name}")
        found[name] = latent < ndtri(1 / (1 + np.exp(-log_odds)))
    share = np.full(len(people.age), population.device_share)
    in_a = np.where(
        found["Pneumothorax"],
        population.device_share_a_with_pneumothorax,
        population.device_share_a_without_pneumothorax,
    )
    share = np.where(people.race == RACES.index("A"), in_a, share)
    found["Support Devices"] = draws.uniform("device") < share
    return found


def _log_odds(population: Population, people: Attributes, name: str) -> np.ndarray:
    prevalence = {
        "Cardiomegaly": population.prevalence_cardiomegaly,
        "Pleural Effusion": population.prevalence_effusion,
        "Consolidation": population.prevalence_consolidation,
        "Pneumothorax": population.prevalence_pneumothorax,
        "Lung Lesion": population.prevalence_lesion,
        "Fracture": population.prevalence_fracture,
        "Edema": population.prevalence_edema,
    }[name]
    shift = {
        "Pneumothorax": population.prevalence_shift_pneumothorax_b,
        "Consolidation": population.prevalence_shift_consolidation_b,
    }.get(name, 0.0)
    log_odds = np.log(prevalence / (1 - prevalence)) + shift * (people.race == RACES.index("B"))
    if name in GROWS_WITH_AGE:
        log_odds = log_odds + 0.35 * _age_units(people)
    return log_odds


def _recorded(
    population: Population, people: Attributes, truth: dict[str, np.ndarray], draws: Draws
) -> dict[str, np.ndarray]:
    kept = np.where(people.race == RACES.index("B"), 1 - population.underdiagnosis_b, 1.0)
    insured = people.insurance == INSURANCES.index("Medicaid")
    kept = kept * np.where(insured, 1 - population.underdiagnosis_medicaid, 1.0)
    recorded = dict(truth)
    for name in LESIONS:
        recorded[name] = truth[name] & (draws.uniform(f"missed {name}") < kept)
    return recorded


def _with_derived(found: dict[str, np.ndarray]) -> np.ndarray:
    """All findings `(n, findings)` bool, from those that are drawn."""
    opacity = np.logical_or.reduce([found[name] for name in OPACITIES])
    none = ~np.logical_or.reduce([found[name] for name in LESIONS])
    full = {**found, "Lung Opacity": opacity, "No Finding": none}
    return np.stack([full[name] for name in FINDINGS], axis=1)


def _age_units(people: Attributes) -> np.ndarray:
    return (people.age - 55) / 20


def _scene(
    population: Population,
    people: Attributes,
    truth: dict[str, np.ndarray],
    draws: Draws,
    patient: np.ndarray,
    visit: np.ndarray,
) -> Scene[np.ndarray]:
    contrast = np.full(len(patient), population.lesion_strength)
    contrast = contrast * np.where(
        people.race == RACES.index("B"), population.lesion_contrast_b, 1.0
    )
    contrast = contrast * np.where(people.sex == 1, population.lesion_contrast_female, 1.0)

    def lesion(name: str) -> Lesion[np.ndarray]:
        return Lesion(
            contrast=truth[name] * contrast,
            severity=0.15 + 0.85 * draws.uniform(f"severity {name}"),
            side=np.where(draws.uniform(f"side {name}") < 0.5, -1.0, 1.0),
            height=draws.uniform(f"height {name}"),
            depth=draws.uniform(f"depth {name}"),
        )

    heart = lesion("Cardiomegaly")
    return Scene(
        anatomy=_anatomy(population, people, patient, visit),
        pose=_pose(draws),
        acquisition=_acquisition(population, people, draws),
        enlargement=heart.contrast * (0.040 + 0.085 * heart.severity),
        effusion=lesion("Pleural Effusion"),
        consolidation=lesion("Consolidation"),
        pneumothorax=lesion("Pneumothorax"),
        nodule=lesion("Lung Lesion"),
        fracture=lesion("Fracture"),
        edema=lesion("Edema"),
        device=Device(
            present=truth["Support Devices"].astype(float),
            kind=np.floor(3 * draws.uniform("device kind")),
            place=draws.normal("device place"),
            contrast=0.6 + 0.8 * draws.uniform("device contrast"),
        ),
    )


def _anatomy(
    population: Population, people: Attributes, patient: np.ndarray, visit: np.ndarray
) -> Anatomy[np.ndarray]:
    names = tuple(item.name for item in fields(Anatomy))
    n, shared = population.patients, population.anatomy_identity
    persistent = Draws(names, _matrix(population, _ANATOMY, (n,)))
    passing = None
    if shared < 1:
        passing = Draws(names, _matrix(population, _VISIT_ANATOMY, (n, MAX_VISITS))[patient, visit])
    values = []
    for item in fields(Anatomy):
        normal = persistent.normal(item.name)[patient]
        if passing is not None:
            normal = np.sqrt(shared) * normal + np.sqrt(1 - shared) * passing.normal(item.name)
        values.append(item.metadata["trait"].draw(normal, people.sex, _age_units(people)))
    return Anatomy(*values)


def _pose(draws: Draws) -> Pose[np.ndarray]:
    normal = draws.normal
    return Pose(
        rotation=0.035 * normal("rotation"),
        zoom=1 + 0.035 * normal("zoom"),
        shift_x=0.025 * normal("shift_x"),
        shift_y=0.03 * normal("shift_y"),
        yaw=0.022 * normal("yaw"),
        inspiration=0.035 * normal("inspiration"),
        anteroposterior=(draws.uniform("anteroposterior") < 0.35).astype(float),
    )


def _acquisition(
    population: Population, people: Attributes, draws: Draws
) -> Acquisition[np.ndarray]:
    """Display and detector; race moves it as another mix of scanners would, at no anatomy."""
    darker = np.array([0.0, 0.9, -0.8])[people.race] * population.race_acquisition
    sharper = np.array([0.0, 0.6, 0.9])[people.race] * population.race_acquisition
    site, normal, uniform = population.site, draws.normal, draws.uniform
    return Acquisition(
        gamma=np.exp(0.10 * normal("gamma") + 0.16 * darker + 0.12 * site),
        exposure=0.10 * normal("exposure") + 0.05 * darker - 0.10 * site,
        sharpness=np.clip(0.5 + 0.2 * normal("sharpness") + 0.34 * sharper + 0.5 * site, 0, 2.5),
        noise=0.017 * np.exp(0.20 * normal("noise") + 0.14 * sharper + 0.35 * site),
        window=1 + 0.08 * normal("window"),
        collimation=np.where(
            uniform("collimated") < 0.25, 0.02 + 0.06 * uniform("collimation"), -0.5
        ),
        collimated_edge=np.floor(4 * uniform("collimated_edge")),
        gas=np.clip(0.5 + 0.4 * normal("gas"), 0, 1),
        gas_x=0.02 * normal("gas_x"),
        marker=(uniform("marker") < 0.6).astype(float),
        marker_x=(-0.80 if site else 0.84) + 0.05 * normal("marker_x"),
        marker_y=-0.86 + 0.05 * normal("marker_y"),
    )
