"""DP-SGD: clipped gradients of patients, and noise, for a bound on what a model tells of anyone."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar, cast

from methods.base import Context, Kit, Method, Task, tunable
from registry import METHODS

if TYPE_CHECKING:
    from methods.loader import Rows
    from methods.objective import Objective

NEVER = 1000
"""A patience that no run exhausts."""


@METHODS.register("dpsgd")
@dataclass(frozen=True)
class DpSgd(Method):
    """ERM whose steps are clipped per patient and noised: (epsilon, delta)-differential privacy.

    The unit is the patient, there or not with all images. At every step each patient is drawn with
    the same probability and lends one image. delta is 1 / (10 x training patients). The number of
    epochs is fixed beforehand and the noise solved for all of them, so that validation may choose
    any epoch. Not covered: validation and test patients, the number of training patients, choices
    of hyper-parameters, and the run's log, which shows losses and norms as they were.

    Noise and sampling come from the seed, which is part of the mechanism's randomness: whoever
    knows it can take the noise away. For a release it must be random and secret. The generator is
    torch's, not a cryptographic one.

    Source: Abadi et al., Deep Learning with Differential Privacy, CCS 2016, algorithm 1; the
    setting of Tayebi Arasteh et al., Commun. Med. 2024;4:46, Methods, "DP training". Differs: AdamW
    takes the noised step; the unit is the patient, where theirs is the image.
    """

    # Means of training patients would be released without noise.
    standardises: ClassVar[bool] = False

    epsilon: float = 8.0
    """Target privacy loss in [0.1, 100]; inf clips without noise, which guarantees nothing."""
    noise_multiplier: float | None = None
    """Noise in place of the target, at least 0.3; none: solved from epsilon."""
    max_grad_norm: float = tunable(1.0, low=0.1, high=10.0, log=True)
    """Largest L2 norm of a patient's gradient."""
    batch_size: int = tunable(128, choices=(64, 128, 256, 512))
    """Patients per step, expected."""
    epochs: int = tunable(60, low=10, high=120)
    lr: float = tunable(1e-2, low=1e-3, high=5e-2, log=True)
    patience: int = NEVER
    """No early stop: the noise is solved for all epochs."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if not (0.1 <= self.epsilon <= 100 or (math.isinf(self.epsilon) and self.epsilon > 0)):
            raise ValueError(
                f"epsilon must lie in [0.1, 100] or be inf (no noise), but got {self.epsilon}"
            )
        # With less noise the privacy loss is in the hundreds, and accountants leave their range.
        if self.noise_multiplier is not None and not 0.3 <= self.noise_multiplier <= 1e4:
            raise ValueError(
                f"noise_multiplier must lie in [0.3, 10000], but got {self.noise_multiplier}; "
                "epsilon=inf clips without noise"
            )
        if not 0 < self.max_grad_norm < math.inf:
            raise ValueError(f"max_grad_norm must be above 0, but got {self.max_grad_norm}")

    def skip(self, task: Task) -> str | None:
        """A sentence if a combined method, or the backbone, breaks the accounting."""
        from methods.private import couples_rows

        for part in type(self).__mro__:
            if reason := vars(part).get("unaccounted"):
                name = vars(part).get("registered_name") or part.__name__
                return f"private training cannot account for {name}: {reason}"
        if couples_rows(self.backbone):
            return (
                f"backbone {self.backbone!r} has BatchNorm, where a sample's normalised value "
                "depends on its neighbours, so no gradient belongs to one patient; use "
                "--set backbone=small_cnn or resnet9"
            )
        return None

    def objective(self, task: Task) -> Objective:
        """Cross-entropy whose every term depends on one row alone."""
        from methods.private import PerSampleCrossEntropy

        return PerSampleCrossEntropy()

    def harden(self, kit: Kit, ctx: Context) -> Kit:
        """Per-sample gradients, clipping, noise and the accountants, by Opacus."""
        from methods.private import Mechanism, PatientPoisson, noise_for, privately

        sampler = PatientPoisson(
            cast("Rows", kit.loader.dataset).patients, self.batch_size, ctx.seed
        )
        delta, steps = 1 / (10 * sampler.patients), self.epochs * sampler.steps
        noise = self.noise_multiplier or noise_for(self.epsilon, delta, sampler.rate, steps)
        ctx.log.info(
            "%d steps, each draws %d patients with probability %.4f; noise multiplier %.3f, "
            "clipping norm %g, delta %.2g",
            steps, sampler.patients, sampler.rate, noise, self.max_grad_norm, delta,
        )  # fmt: skip
        return privately(kit, sampler, Mechanism(noise, self.max_grad_norm, delta))
