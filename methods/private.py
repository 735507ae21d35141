"""Private training: how patients are drawn, what is minimised, and the books that are kept.

The unit of privacy is the patient. At every step each patient is drawn with the same probability,
independently of all others, and lends one image; that image's gradient is clipped, and noise is
added to the sum. Validation patients choose the epoch and set thresholds: they are not covered.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from typing import Any, ClassVar, cast

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils.data import BatchSampler, Sampler

from methods.base import Batch, Kit
from methods.loader import EpochShuffle, Rows, batched_loader
from methods.objective import Objective


class PatientPoisson(Sampler[list[int]]):
    """Batches of rows: at every step each patient is drawn with probability `rate`, by one image.

    Which image that is, is drawn once per epoch. Sizes vary from step to step, and a batch may be
    empty. All choices depend on seed and epoch alone.

    Source: Abadi et al., Deep Learning with Differential Privacy, CCS 2016, section 3.1 ("lots").
    """

    def __init__(self, patients: np.ndarray, batch_size: int, seed: int) -> None:
        ids, self._patient_of_row = np.unique(patients, return_inverse=True)
        self.patients = len(ids)
        self.steps = max(1, round(self.patients / batch_size))
        self.seed = seed
        self.epoch = 0

    @property
    def rate(self) -> float:
        """The probability with which a patient is drawn at a step."""
        return 1 / self.steps

    def set_epoch(self, epoch: int) -> None:
        """Say which epoch begins."""
        self.epoch = epoch

    def __len__(self) -> int:
        return self.steps

    def __iter__(self) -> Iterator[list[int]]:
        rng = np.random.default_rng([self.seed, 4, self.epoch])
        shuffled = rng.permutation(len(self._patient_of_row))
        # The first row of each patient in a random order is a random row of that patient.
        first = np.unique(self._patient_of_row[shuffled], return_index=True)[1]
        row_of_patient = shuffled[first]
        for _ in range(self.steps):
            drawn = rng.random(self.patients) < self.rate
            yield row_of_patient[drawn].tolist()


class PerSampleCrossEntropy(Objective):
    """Mean over rows of each row's cross-entropy; an unknown label adds 0.

    The denominator is rows times findings, never the number of known labels: that would make one
    row's gradient depend on what is known of its neighbours.
    """

    per_sample: ClassVar[bool] = True

    def forward(self, net: nn.Module, batch: Batch) -> Tensor:
        """The scalar loss; 0 for an empty batch."""
        logits, known = net(batch.images, batch.groups), ~batch.labels.isnan()
        losses = F.binary_cross_entropy_with_logits(
            logits.float(), batch.labels.nan_to_num(), reduction="none"
        )
        return (losses * known).sum() / max(1, losses.numel())


@dataclass(frozen=True)
class Mechanism:
    """What is done to each step's gradients, and the chance by which it fails to protect.

    `noise` is the noise multiplier (standard deviation of the sum over `max_grad_norm`), 0 for
    none; `max_grad_norm` bounds the L2 norm of a patient's gradient.
    """

    noise: float
    max_grad_norm: float
    delta: float


class Accounted(Objective):
    """A per-sample objective that keeps the books: its extra state is the accountant's history.

    `accountant` is that of Opacus, told of every step by the optimiser.
    """

    per_sample: ClassVar[bool] = True

    def __init__(self, inner: Objective, accountant: Any, mechanism: Mechanism) -> None:
        super().__init__()
        self.inner = inner
        self.accountant = accountant
        self.mechanism = mechanism
        self._norms: list[Tensor] = []

    def forward(self, net: nn.Module, batch: Batch) -> Tensor:
        """The scalar loss of the objective within."""
        loss: Tensor = self.inner(net, batch)
        return loss

    def record(self, optimizer: Any) -> None:
        """Note the norms `(patients,)` of a step's gradients, then let the gradients go."""
        of_each = [
            torch.linalg.vector_norm(p.grad_sample.flatten(1), dim=1) for p in optimizer.params
        ]
        self._norms.append(torch.linalg.vector_norm(torch.stack(of_each), dim=0).cpu())
        for parameter in optimizer.params:
            parameter.grad_sample = None

    def measured(self) -> dict[str, float]:
        """The privacy loss of all steps so far, and what clipping did in the last epoch.

        The norms are read off the patients' own gradients: they are for the eyes of whoever holds
        the data, and not covered by the guarantee.
        """
        norms, steps = torch.cat(self._norms or [torch.zeros(0)]), len(self._norms)
        self._norms = []
        history = self.accountant.history
        loss, bound = privacy_loss(history, self.mechanism.delta)
        return {
            "epsilon": loss,
            "epsilon_rdp": bound,
            "delta": self.mechanism.delta,
            "noise_multiplier": self.mechanism.noise,
            "sampling_rate": history[-1][1] if history else math.nan,
            "steps": float(sum(entry[2] for entry in history)),
            "patients_per_step": len(norms) / max(1, steps),
            "gradient_norm": norms.mean().item(),
            "share_clipped": (norms > self.mechanism.max_grad_norm).float().mean().item(),
        }

    def get_extra_state(self) -> dict[str, Any]:
        """The accountant's history: noise multiplier, sampling rate and number of steps."""
        return dict(self.accountant.state_dict())

    def set_extra_state(self, state: dict[str, Any]) -> None:
        """Go on from a stored history."""
        self.accountant.load_state_dict(state)


ORDERS = (*(1 + x / 10 for x in range(1, 100)), *range(12, 64), 64, 96, 128, 192, 256, 384, 512)
"""Rényi orders: those of Opacus, and larger ones for small epsilon."""


def privacy_loss(history: list[tuple[float, float, int]], delta: float) -> tuple[float, float]:
    """Epsilon at `delta` by the PRV and by the Rényi accountant; infinite without noise.

    `history` holds (noise multiplier, sampling rate, steps). Neighbouring data differ in one
    patient that is there or not.
    """
    from opacus.accountants import PRVAccountant, RDPAccountant

    if not history:
        return 0.0, 0.0
    if any(noise == 0 for noise, _, _ in history):
        return math.inf, math.inf
    tight, loose = PRVAccountant(), RDPAccountant()
    tight.history = loose.history = history
    with warnings.catch_warnings(), np.errstate(divide="ignore", invalid="ignore"):
        warnings.simplefilter("ignore")
        return float(tight.get_epsilon(delta)), float(loose.get_epsilon(delta, list(ORDERS)))


@cache
def noise_for(epsilon: float, delta: float, rate: float, steps: int) -> float:
    """The noise multiplier with which `steps` steps spend at most `epsilon`, by the PRV accountant.

    0 for an infinite epsilon. Source: Gopi et al., Numerical Composition of Differential Privacy,
    NeurIPS 2021.
    """
    from opacus.accountants.utils import get_noise_multiplier

    if math.isinf(epsilon):
        return 0.0
    with warnings.catch_warnings(), np.errstate(divide="ignore", invalid="ignore"):
        warnings.simplefilter("ignore")
        return float(
            get_noise_multiplier(
                target_epsilon=epsilon,
                target_delta=delta,
                sample_rate=rate,
                steps=steps,
                accountant="prv",
            )
        )


def privately(kit: Kit, sampler: PatientPoisson, mechanism: Mechanism) -> Kit:
    """A kit that trains by clipped gradients of Poisson-drawn patients with noise.

    Raises:
        ValueError: something of the kit breaks the accounting; the message says what.
    """
    from opacus import PrivacyEngine

    refuse(kit)
    with warnings.catch_warnings():
        # Opacus says that its noise is pseudo-random; the method's docstring says what follows.
        warnings.filterwarnings("ignore", message="Secure RNG")
        engine = PrivacyEngine(accountant="prv")
    # The first layer's input needs no gradient, and torch warns of that at the first step.
    warnings.filterwarnings("ignore", message="Full backward hook is firing")
    net, optimizer, loader = engine.make_private(
        module=kit.net,
        optimizer=kit.optimizer,
        data_loader=batched_loader(cast(Rows, kit.loader.dataset), sampler),
        noise_multiplier=mechanism.noise,
        max_grad_norm=mechanism.max_grad_norm,
        # The loader draws by Poisson already, and patients rather than rows.
        poisson_sampling=False,
    )
    net.forbid_grad_accumulation()
    net.GRAD_SAMPLERS = {**net.GRAD_SAMPLERS, nn.Conv2d: convolution_gradients}
    # Opacus took rows for patients.
    optimizer.expected_batch_size = sampler.patients * sampler.rate
    objective = Accounted(kit.objective, engine.accountant, mechanism)
    account = optimizer.step_hook

    def after(stepping: Any) -> None:
        account(stepping)
        objective.record(stepping)

    optimizer.attach_step_hook(after)
    return Kit(net=net, objective=objective, optimizer=optimizer, loader=loader)


def convolution_gradients(
    layer: nn.Conv2d, activations: list[Tensor], backprops: Tensor
) -> dict[nn.Parameter, Tensor]:
    """Per-sample gradients of a convolution, whatever the memory layout of its input.

    Opacus 1.6 unfolds by strides that it works out for rows lying one after the other; in the
    channels-last layout of our networks it would read wrong pixels, and say nothing.
    """
    from opacus.grad_sample.conv import compute_conv_grad_sample

    gradients: dict[nn.Parameter, Tensor] = compute_conv_grad_sample(
        layer, [a.contiguous() for a in activations], backprops
    )
    return gradients


def refuse(kit: Kit) -> None:
    """Raise on what no accountant can account for, with the reason.

    Raises:
        ValueError: weighted sampling, repeated rows, an objective that couples rows or has
            parameters of its own, or a network without per-sample gradients.
    """
    batches = kit.loader.batch_sampler
    drawn_by = batches.sampler if isinstance(batches, BatchSampler) else batches
    if not isinstance(drawn_by, EpochShuffle):
        raise ValueError(
            "private training must draw every patient with the same probability, but the loader "
            f"draws by {type(drawn_by).__name__}; leave the sampling to the method"
        )
    ids, counts = np.unique(cast(Rows, kit.loader.dataset).image_ids, return_counts=True)
    if (counts > 1).any():
        raise ValueError(
            f"training rows must not repeat, but {(counts > 1).sum()} of {len(ids)} images do "
            f"(first: {', '.join(ids[counts > 1][:5])}), and a repeated row is drawn more often "
            "than the accountant assumes; train without resampling"
        )
    name = type(kit.objective).__name__
    if not kit.objective.per_sample:
        raise ValueError(
            f"the objective must be a mean over rows of terms of one row each, but {name} does "
            "not say so (per_sample), and a gradient that mixes patients cannot be clipped per "
            "patient; use the method's own objective"
        )
    if any(p.requires_grad for p in kit.objective.parameters()):
        raise ValueError(
            f"an objective must have no trained parameters of its own, but {name} has, and their "
            "gradients would be neither clipped nor noised; use the method's own objective"
        )
    if errors := _network_errors(kit.net):
        raise ValueError(
            f"the network must have per-sample gradients, but it has not: {errors[0]}; "
            "use --set backbone=small_cnn or resnet9"
        )


def _network_errors(net: nn.Module) -> list[str]:
    from opacus import GradSampleModule
    from opacus.validators import ModuleValidator

    # Opacus validates a network in training mode alone.
    net.train()
    found = [*ModuleValidator.validate(net, strict=False)]
    found += GradSampleModule.validate(net, strict=False)
    # Opacus looks at layers with trained parameters alone; statistics need none.
    found += [
        f"{m} normalises by statistics of other patients"
        for m in net.modules()
        if isinstance(m, nn.modules.batchnorm._NormBase)
        and (isinstance(m, nn.modules.batchnorm._BatchNorm) or m.track_running_stats)
    ]
    return [" ".join(str(error).split()).rstrip(".") for error in found]


def couples_rows(backbone: str) -> bool:
    """Whether a backbone has BatchNorm, and so a row's output hangs on its neighbours."""
    from backbones import BUILDERS, build

    with torch.device("meta"):
        net = build(backbone, 1, inputs=0 if backbone in BUILDERS else 8)
    return any(isinstance(m, nn.modules.batchnorm._BatchNorm) for m in net.modules())
