"""Private training: what the accountant is told is what was done to the patients' gradients."""

from __future__ import annotations

import copy
import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from opacus.accountants import RDPAccountant
from opacus.grad_sample import GradSampleModule
from opacus.optimizers import DPOptimizer
from scipy.optimize import brentq
from scipy.special import log_ndtr, logsumexp
from scipy.stats import norm
from torch import Tensor, nn
from torch.func import functional_call, grad, vmap
from torch.nn.functional import binary_cross_entropy_with_logits
from torch.utils.data import BatchSampler, DataLoader, WeightedRandomSampler

import backbones
import methods.loader
import runner
from datasets.split import Folds
from methods.base import Batch, Context, Kit, Task
from methods.compose import method_class
from methods.dpsgd import DpSgd
from methods.fit import _kit, fit
from methods.loader import Rows, _as_batch, start_epoch, training_loader
from methods.objective import MaskedCrossEntropy
from methods.private import (
    ORDERS,
    Accounted,
    PatientPoisson,
    PerSampleCrossEntropy,
    convolution_gradients,
    noise_for,
    privacy_loss,
)
from methods.train import ImageClassifier, Schedule, Validated, train
from metrics.training import training_scores

SMALL = DpSgd(image_size=32, epochs=3, batch_size=15)
"""On the 60 toy patients: four steps an epoch, each patient with probability 1/4."""
pytestmark = pytest.mark.filterwarnings("ignore:Full backward hook is firing")
BATCH_NORM = ("densenet121", "resnet18", "resnet50")

# ---------------------------------------------------------------- the accountants


def log_moment(order: float, rate: float, noise: float) -> float:
    """log A(order) of the sampled Gaussian, from its definition.

    A is the mean over z ~ N(0, noise^2) of ((1 - q) + q exp((2z - 1) / (2 noise^2)))^order; for a
    whole order that is the sum over k of binom(order, k) (1-q)^(order-k) q^k exp((k^2-k) / (2
    noise^2)) (Mironov, Talwar & Zhang 2019, section 3.3).
    """
    if float(order).is_integer():
        whole = int(order)
        terms = [
            math.log(math.comb(whole, k))
            + (k * math.log(rate) if k else 0.0)
            + ((whole - k) * math.log1p(-rate) if k < whole else 0.0)
            + (k * k - k) / (2 * noise**2)
            for k in range(whole + 1)
        ]
        top = max(terms)
        return top + math.log(math.fsum(math.exp(t - top) for t in terms))

    # The trapezoidal rule is exact to rounding for a smooth integrand that dies at both ends.
    z = np.linspace(-12 * noise, order + 12 * noise, 20001)
    ratio = math.log(rate) + (2 * z - 1) / (2 * noise**2)
    log_terms = order * np.logaddexp(math.log1p(-rate), ratio) + norm.logpdf(z, 0, noise)
    return float(logsumexp(log_terms) + math.log(z[1] - z[0]))


def independent_rdp(rate: float, noise: float, steps: int, delta: float) -> float:
    """Epsilon by Rényi accounting, written anew; conversion by Balle et al. 2020, theorem 21."""
    found = []
    for order in ORDERS:
        spent = steps * log_moment(order, rate, noise) / (order - 1)
        found.append(
            spent + math.log1p(-1 / order) - (math.log(delta) + math.log(order)) / (order - 1)
        )
    return min(found)


@pytest.mark.parametrize(
    ("rate", "noise", "steps", "delta"),
    [(1 / 7, 1.38, 210, 1 / 19000), (1 / 7, 2.81, 210, 1 / 19000), (0.25, 10.8, 160, 1e-5),
     (0.01, 1.1, 5000, 1e-5), (0.5, 0.82, 4, 1 / 600)],
)  # fmt: skip
def test_renyi_epsilon_equals_an_independent_computation(
    rate: float, noise: float, steps: int, delta: float
) -> None:
    found = privacy_loss([(noise, rate, steps)], delta)[1]
    assert found == pytest.approx(independent_rdp(rate, noise, steps, delta), rel=1e-3)


def test_the_independent_computation_would_notice_a_tenth_less_noise() -> None:
    found = privacy_loss([(1.38 * 0.9, 1 / 7, 210)], 1e-5)[1]
    assert found != pytest.approx(independent_rdp(1 / 7, 1.38, 210, 1e-5), rel=0.05)


@pytest.mark.parametrize("delta", [1e-3, 1 / 19000, 1e-6])
@pytest.mark.parametrize(("rate", "steps"), [(0.5, 8), (0.25, 240), (1 / 7, 210), (1 / 60, 1800)])
@pytest.mark.parametrize("noise", [0.6, 1.4, 5.0])
def test_prv_is_never_above_renyi(rate: float, steps: int, noise: float, delta: float) -> None:
    tight, loose = privacy_loss([(noise, rate, steps)], delta)
    assert 0 < tight <= loose < math.inf


def gaussian_delta(epsilon: float, mu: float) -> float:
    """The delta of the Gaussian mechanism with sensitivity over noise `mu`, exactly.

    Source: Balle & Wang, Improving the Gaussian Mechanism, ICML 2018, theorem 8.
    """
    above = math.exp(log_ndtr(mu / 2 - epsilon / mu))
    return float(above - math.exp(epsilon + log_ndtr(-mu / 2 - epsilon / mu)))


def test_prv_bounds_composed_gaussians_from_above_and_tightly() -> None:
    noise, steps, delta = 4.3, 20, 1e-5
    exact = brentq(lambda e: gaussian_delta(e, math.sqrt(steps) / noise) - delta, 0.01, 50)
    assert exact <= privacy_loss([(noise, 1.0, steps)], delta)[0] <= exact + 0.03


def test_prv_bounds_one_sampled_gaussian_from_above_and_tightly() -> None:
    noise, rate, delta = 0.8, 0.2, 1e-5

    def exact_delta(epsilon: float) -> float:
        # Removing a patient: (1-q) N(0) + q N(1) against N(0) beyond e^epsilon.
        shifted = math.log((math.exp(epsilon) - 1 + rate) / rate)
        return rate * gaussian_delta(shifted, 1 / noise) - delta

    exact = brentq(exact_delta, 0.01, 50)
    assert exact <= privacy_loss([(noise, rate, 1)], delta)[0] <= exact + 0.03


@pytest.mark.parametrize("target", [1.0, 3.0, 8.0])
def test_the_solved_noise_spends_the_target_and_no_more(target: float) -> None:
    noise = noise_for(target, 1 / 19000, 0.25, 240)
    assert target - 0.02 < privacy_loss([(noise, 0.25, 240)], 1 / 19000)[0] <= target
    assert noise_for(math.inf, 1e-5, 0.25, 240) == 0


def test_no_step_costs_nothing_and_no_noise_costs_everything() -> None:
    assert privacy_loss([], 1e-5) == (0, 0)
    assert privacy_loss([(1.0, 0.1, 5), (0.0, 0.1, 1)], 1e-5) == (math.inf, math.inf)


# ---------------------------------------------------------------- what was really done


@dataclass
class Realised:
    """What the steps of one training did, worked out beside Opacus.

    Per step: patients drawn; how far the sum of clipped gradients is from what torch.func gives,
    as a share; and the noise of the mean gradient. Per drawn patient: the norm after clipping.
    """

    accounted: list[tuple[float, float, int]] = field(default_factory=list)
    sizes: list[int] = field(default_factory=list)
    norms: list[float] = field(default_factory=list)
    sum_errors: list[float] = field(default_factory=list)
    noise: list[Tensor] = field(default_factory=list)


def private_kit(method: DpSgd, folds: Folds, ctx: Context) -> Kit:
    torch.manual_seed(ctx.seed)
    net = method.network(ctx.task, folds, ctx).to(memory_format=torch.channels_last)
    return _kit(method, net, Rows(folds.train, ctx.task, method.image_size), ctx)


def one_by_one(net: nn.Module, batch: Batch) -> list[list[Tensor]]:
    """The gradient of every row alone, by plain autograd on plain tensors."""
    found = []
    for row in range(len(batch.labels)):
        alone = Batch(*(t[row : row + 1].contiguous() for t in batch))
        loss = PerSampleCrossEntropy()(net, alone)
        found.append([g.clone() for g in torch.autograd.grad(loss, list(net.parameters()))])
    return found


def vectorised(net: nn.Module, batch: Batch) -> list[Tensor]:
    """The same, `(rows, ...)` for each parameter, by torch.func."""
    weights = {name: p.detach() for name, p in net.named_parameters()}

    def loss(weights: dict[str, Tensor], image: Tensor, label: Tensor) -> Tensor:
        logits = functional_call(net, weights, (image[None], None))[0]
        return binary_cross_entropy_with_logits(logits, label)

    every = vmap(grad(loss), in_dims=(None, 0, 0))
    return list(every(weights, batch.images.contiguous(), batch.labels).values())


def realise(method: DpSgd, folds: Folds, ctx: Context) -> Realised:
    """Train by the suite's own loop and look at every step from outside."""
    kit = private_kit(method, folds, ctx)
    assert isinstance(kit.objective, Accounted) and isinstance(kit.optimizer, DPOptimizer)
    twin = method.network(ctx.task, folds, ctx)
    found, batches, account = Realised(), [], kit.optimizer.step_hook
    kit.objective.register_forward_pre_hook(lambda module, given: batches.append(given[1]))
    patients = len(folds.train.patients)

    def look(optimizer: DPOptimizer) -> None:
        twin.load_state_dict(kit.net._module.state_dict())  # type: ignore[union-attr]
        size = len(batches[-1].labels)
        gradients = vectorised(twin, batches[-1]) if size else []
        lengths = (
            torch.stack([g.flatten(1).norm(dim=1) for g in gradients]).norm(dim=0)
            if size
            else torch.zeros(0)
        )
        shares = (method.max_grad_norm / lengths).clamp(max=1)
        expected = [torch.einsum("n,n...->...", shares, g) for g in gradients]
        expected = expected or [torch.zeros_like(p) for p in optimizer.params]
        off = [p.summed_grad - e for p, e in zip(optimizer.params, expected, strict=True)]
        found.sizes.append(size)
        found.norms.extend((lengths * shares).tolist())
        if size:
            error, whole = (math.hypot(*(t.norm().item() for t in ts)) for ts in (off, expected))
            found.sum_errors.append(error / whole)
        rate = 1 / len(kit.loader)
        found.noise.append(
            torch.cat([
                # Beside Opacus' own sum: how far that is from the true one is looked at apart.
                (p.grad - p.summed_grad.div(patients * rate).detach()).flatten()
                for p in optimizer.params
            ])
        )  # fmt: skip
        account(optimizer)

    kit.optimizer.attach_step_hook(look)
    schedule = Schedule(epochs=method.epochs, patience=99, seed=ctx.seed, device="cpu")
    train(kit, lambda net: Validated(0.5, 0.5), schedule, ctx.log)
    found.accounted = list(kit.objective.accountant.history)
    return found


def check(found: Realised, method: DpSgd, patients: int) -> None:
    """That clipping, noise and sampling were what the accountant was told.

    Every tolerance is four standard errors of what chance alone does.
    """
    [(noise, rate, steps)] = found.accounted
    assert steps == len(found.sizes), "the accountant must be told of every step"
    assert max(found.norms) <= method.max_grad_norm * (1 + 1e-6), "norms must be bounded"
    sizes, variance = np.array(found.sizes), patients * rate * (1 - rate)
    assert abs(sizes.mean() - patients * rate) < 4 * math.sqrt(variance / steps), (
        "patients must be drawn at the rate the accountant was told"
    )
    assert abs(sizes.var(ddof=1) / variance - 1) < 4 * math.sqrt(2 / (steps - 1)), (
        "batch sizes must vary as those of independent draws"
    )
    drawn = torch.cat(found.noise)
    wanted = noise * method.max_grad_norm / (patients * rate)
    assert wanted > 0
    assert drawn.std().item() == pytest.approx(wanted, rel=4 / math.sqrt(2 * len(drawn)) + 1e-3), (
        "the noise must be as large as the accountant was told"
    )
    assert abs(drawn.mean().item()) < 4 * wanted / math.sqrt(len(drawn)), "noise has mean 0"
    # Last: without noise a network ends with hardly a gradient, and its shares are rounding.
    assert max(found.sum_errors) < 1e-2, "gradients must be clipped one by one"


LONG = replace(SMALL, epochs=10, max_grad_norm=0.3, epsilon=20.0)


def test_clipping_noise_and_sampling_are_as_accounted(folds: Folds, ctx: Context) -> None:
    found = realise(LONG, folds, ctx)
    assert any(n > 0.99 * LONG.max_grad_norm for n in found.norms), "clipping must bite"
    check(found, LONG, len(folds.train.patients))


def no_noise(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(
        "opacus.optimizers.optimizer._generate_noise",
        lambda std, reference, **rest: torch.zeros_like(reference),
    )


def half_noise(monkeypatch: pytest.MonkeyPatch) -> None:
    from opacus.optimizers import optimizer

    true = optimizer._generate_noise
    monkeypatch.setattr(
        optimizer, "_generate_noise",
        lambda std, reference, **rest: true(std / 2, reference, **rest),
    )  # fmt: skip


def doubled_rate(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(PatientPoisson, "rate", property(lambda self: 2 / self.steps))


def doubled_draws(monkeypatch: pytest.MonkeyPatch) -> None:
    """Twice as many patients, though all else believes the right rate."""
    true = PatientPoisson.__iter__

    def more(self: PatientPoisson) -> Iterator[list[int]]:
        halves = copy.copy(self)
        halves.seed += 1000
        for a, b in zip(true(self), true(halves), strict=True):
            yield sorted({*a, *b})

    monkeypatch.setattr(PatientPoisson, "__iter__", more)


def fixed_sizes(monkeypatch: pytest.MonkeyPatch) -> None:
    """A shuffle cut into equal pieces, accounted as if by Poisson."""

    def cut(self: PatientPoisson) -> Iterator[list[int]]:
        order = np.random.default_rng(self.epoch).permutation(self.patients)
        for piece in np.array_split(order, self.steps):
            yield (2 * piece).tolist()  # the toy patients have two rows each

    monkeypatch.setattr(PatientPoisson, "__iter__", cut)


def loose_clipping(monkeypatch: pytest.MonkeyPatch) -> None:
    true = DPOptimizer.clip_and_accumulate

    def loose(self: DPOptimizer) -> None:
        bound, self.max_grad_norm = self.max_grad_norm, 1000 * self.max_grad_norm
        true(self)
        self.max_grad_norm = bound

    monkeypatch.setattr(DPOptimizer, "clip_and_accumulate", loose)


def rows_for_patients(monkeypatch: pytest.MonkeyPatch) -> None:
    """The denominator that Opacus takes from the length of the table."""
    true = DPOptimizer.scale_grad

    def scaled(self: DPOptimizer) -> None:
        true(self)
        for p in self.params:
            p.grad /= 2

    monkeypatch.setattr(DPOptimizer, "scale_grad", scaled)


def layout_of_opacus(monkeypatch: pytest.MonkeyPatch) -> None:
    from opacus.grad_sample.conv import compute_conv_grad_sample

    monkeypatch.setattr("methods.private.convolution_gradients", compute_conv_grad_sample)


@pytest.mark.parametrize(
    ("plant", "complaint"),
    [
        (no_noise, "noise must be as large"),
        (half_noise, "noise must be as large"),
        (doubled_rate, "drawn at the rate"),
        (doubled_draws, "drawn at the rate"),
        (fixed_sizes, "must vary as those of independent draws"),
        (loose_clipping, "clipped one by one"),
        (rows_for_patients, "noise must be as large"),
        (layout_of_opacus, "clipped one by one"),
    ],
    ids=lambda value: getattr(value, "__name__", ""),
)
def test_a_planted_fault_is_noticed(
    plant: Callable[[pytest.MonkeyPatch], None],
    complaint: str,
    folds: Folds,
    ctx: Context,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    plant(monkeypatch)
    found = realise(LONG, folds, ctx)
    with pytest.raises(AssertionError, match=complaint):
        check(found, LONG, len(folds.train.patients))


@pytest.mark.parametrize("backbone", ["small_cnn", "resnet9"])
@pytest.mark.parametrize("layout", [torch.channels_last, torch.contiguous_format])
def test_gradients_per_sample_equal_those_of_each_row_alone(
    backbone: str, layout: torch.memory_format
) -> None:
    torch.manual_seed(0)
    net = ImageClassifier.build(backbone, 3)
    alone = copy.deepcopy(net)
    wrapped = GradSampleModule(net.to(memory_format=layout))
    wrapped.GRAD_SAMPLERS = {**wrapped.GRAD_SAMPLERS, nn.Conv2d: convolution_gradients}
    labels = torch.tensor([[0.0, 1, math.nan], [1, 1, 1], [math.nan] * 3, [0, 0, 1.0]])
    images = torch.randn(4, 1, 32, 32).contiguous(memory_format=layout)
    batch = Batch(images, labels, torch.zeros(4, 2, dtype=torch.long))
    PerSampleCrossEntropy()(wrapped, batch).backward()
    for row, gradients in enumerate(one_by_one(alone, batch)):
        for parameter, expected in zip(net.parameters(), gradients, strict=True):
            found = parameter.grad_sample[row]
            assert torch.allclose(found, expected, rtol=1e-3, atol=1e-6)


def test_opacus_alone_still_misreads_the_channels_last_layout() -> None:
    # Once this fails, Opacus has been mended and `convolution_gradients` can go.
    torch.manual_seed(0)
    net = ImageClassifier.build("small_cnn", 3)
    alone = copy.deepcopy(net)
    wrapped = GradSampleModule(net.to(memory_format=torch.channels_last))
    batch = Batch(torch.randn(4, 1, 32, 32), torch.ones(4, 3), torch.zeros(4, 2, dtype=torch.long))
    PerSampleCrossEntropy()(wrapped, batch).backward()
    expected = one_by_one(alone, batch)[0]
    assert not all(
        torch.allclose(p.grad_sample[0], g, rtol=1e-3, atol=1e-6)
        for p, g in zip(net.parameters(), expected, strict=True)
    )


# ---------------------------------------------------------------- drawing patients


def test_each_draw_takes_one_image_of_a_patient(folds: Folds) -> None:
    patients = folds.train.frame["patient_id"].to_numpy(str)
    sampler = PatientPoisson(patients, 15, seed=0)
    assert (sampler.patients, sampler.steps, sampler.rate) == (60, 4, 0.25)
    for batch in sampler:
        assert len({patients[row] for row in batch}) == len(batch)


def test_a_patient_lends_the_same_image_within_an_epoch_and_any_over_epochs() -> None:
    patients = np.array(["a", "a", "a", "b"])
    sampler, seen = PatientPoisson(patients, 1, seed=5), []
    for epoch in range(600):
        sampler.set_epoch(epoch)
        rows = {row for batch in sampler for row in batch if row < 3}
        assert len(rows) <= 1
        seen.extend(rows)
    counts = np.bincount(seen, minlength=3)
    assert (counts > counts.sum() / 3 - 4 * math.sqrt(counts.sum() * 2 / 9)).all()


def test_draws_depend_on_seed_and_epoch_alone(folds: Folds, ctx: Context) -> None:
    kit = private_kit(SMALL, folds, ctx)

    def epoch(number: int) -> list[list[int]]:
        start_epoch(kit.loader, number)
        return list(kit.loader.batch_sampler)  # type: ignore[arg-type]

    first = epoch(0)
    np.random.default_rng(0).random(3)
    assert epoch(1) != first and epoch(0) == first
    other = private_kit(SMALL, folds, replace(ctx, seed=1))
    assert list(other.loader.batch_sampler) != first  # type: ignore[arg-type]


def test_a_patient_is_drawn_independently_of_all_others(folds: Folds) -> None:
    patients = np.arange(40).astype(str)
    sampler, draws = PatientPoisson(patients, 10, seed=0), []
    for epoch in range(500):
        sampler.set_epoch(epoch)
        draws += [np.isin(np.arange(40), batch) for batch in sampler]
    drawn = np.array(draws, float)
    error = math.sqrt(0.25 * 0.75 / len(drawn))
    assert np.abs(drawn.mean(0) - 0.25).max() < 4.5 * error
    together = np.corrcoef(drawn, rowvar=False)[np.triu_indices(40, 1)]
    assert np.abs(together).max() < 5 / math.sqrt(len(drawn))
    consecutive = [np.corrcoef(a, b)[0, 1] for a, b in pairwise(drawn[:400])]
    assert abs(np.mean(consecutive)) < 4 / math.sqrt(40 * len(consecutive))


def test_rows_read_from_disk_make_empty_batches_too(
    folds: Folds, ctx: Context, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(methods.loader, "RESIDENT_BYTES", 0)
    assert Rows(folds.train, ctx.task, 32).__getitems__([]).images.shape == (0, 1, 32, 32)


def test_an_empty_batch_is_a_step_with_noise_that_is_accounted(folds: Folds, ctx: Context) -> None:
    method = replace(SMALL, epochs=1, batch_size=2)
    found = realise(method, folds, ctx)
    empty = [noise for size, noise in zip(found.sizes, found.noise, strict=True) if size == 0]
    assert empty and all(noise.std() > 0 for noise in empty)
    [(_, rate, steps)] = found.accounted
    assert (rate, steps) == (1 / 30, 30)
    _, history = fit(method, folds, ctx)
    assert all(math.isfinite(v) for v in history.rows[0].values())


# ---------------------------------------------------------------- whole trainings


def test_training_spends_the_target_once_all_epochs_are_done(folds: Folds, ctx: Context) -> None:
    _, history = fit(SMALL, folds, ctx)
    spent = [row["epsilon"] for row in history.rows]
    assert len(spent) == 3 and spent == sorted(spent)
    assert 7.9 < spent[-1] <= 8 and spent[0] < 6
    last = history.rows[-1]
    assert last["epsilon"] <= last["epsilon_rdp"]
    assert last["delta"] == 1 / 600 and last["steps"] == 12 and last["sampling_rate"] == 0.25
    assert 0 <= last["share_clipped"] <= 1 and last["gradient_norm"] > 0


def test_given_noise_takes_the_place_of_the_target(folds: Folds, ctx: Context) -> None:
    _, history = fit(replace(SMALL, noise_multiplier=2.5), folds, ctx)
    last = history.rows[-1]
    assert last["noise_multiplier"] == 2.5
    assert (last["epsilon"], last["epsilon_rdp"]) == privacy_loss([(2.5, 0.25, 12)], 1 / 600)


class Cut(Exception):
    """Stands for a process that is killed between two epochs."""


def cut_and_resumed(method: DpSgd, folds: Folds, ctx: Context) -> Any:
    def cut(row: dict[str, float]) -> None:
        if row["epoch"] == 1:
            raise Cut

    with pytest.raises(Cut):
        fit(method, folds, ctx, on_epoch=cut)
    torch.manual_seed(99)
    return fit(method, folds, ctx)


def beside(ctx: Context, name: str) -> Context:
    workdir = ctx.workdir / name
    workdir.mkdir()
    return replace(ctx, workdir=workdir)


def test_a_resumed_run_goes_on_counting(folds: Folds, ctx: Context) -> None:
    method = replace(SMALL, epochs=4)
    whole, history = fit(method, folds, beside(ctx, "whole"))
    resumed, again = cut_and_resumed(method, folds, beside(ctx, "halves"))
    assert np.array_equal(whole(folds.test).logits(), resumed(folds.test).logits())
    left_out = ("seconds", "images_per_second")
    rows = [[{k: v for k, v in r.items() if k not in left_out} for r in h.rows]
            for h in (history, again)]  # fmt: skip
    assert rows[0] == rows[1]
    assert again.rows[-1]["steps"] == 16 and 7.9 < again.rows[-1]["epsilon"] <= 8


def test_an_accountant_that_forgets_on_resuming_is_noticed(
    folds: Folds, ctx: Context, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Accounted, "set_extra_state", lambda self, state: None)
    _, again = cut_and_resumed(replace(SMALL, epochs=4), folds, beside(ctx, "halves"))
    assert again.rows[-1]["steps"] == 8 and again.rows[-1]["epsilon"] < 6


def test_without_noise_nothing_is_guaranteed_and_the_scores_say_so(
    folds: Folds, ctx: Context
) -> None:
    import pandas as pd

    _, history = fit(replace(SMALL, epsilon=math.inf), folds, ctx)
    assert history.rows[-1]["noise_multiplier"] == 0
    scores = training_scores(pd.DataFrame(history.rows).assign(part=0))
    assert [s.metric for s in scores] == ["epsilon", "epsilon_rdp"]
    assert all(math.isnan(s.value) and "infinite" in s.note for s in scores)


def test_without_noise_and_clipping_a_step_is_the_plain_mean_gradient(
    folds: Folds, ctx: Context
) -> None:
    method = replace(SMALL, epsilon=math.inf, max_grad_norm=1e6)
    kit = private_kit(method, folds, ctx)
    twin = method.network(ctx.task, folds, ctx)
    twin.load_state_dict(kit.net._module.state_dict())  # type: ignore[union-attr]
    batch = next(iter(kit.loader))
    kit.optimizer.zero_grad()
    kit.objective(kit.net, batch).backward()
    kit.optimizer.step()
    (PerSampleCrossEntropy()(twin, batch) * len(batch.labels) / 15).backward()
    for found, expected in zip(kit.net.parameters(), twin.parameters(), strict=True):
        assert torch.allclose(found.grad, expected.grad, rtol=1e-3, atol=1e-6)  # type: ignore[arg-type]


def test_an_unknown_label_weighs_on_no_other_row() -> None:
    net = nn.Linear(2, 2)

    class Direct(nn.Module):
        def forward(self, images: Tensor, groups: Tensor) -> Tensor:
            logits: Tensor = net(images)
            return logits

    images, groups = torch.randn(2, 2), torch.zeros(2, 0, dtype=torch.long)
    known = Batch(images, torch.tensor([[1.0, 0.0], [1.0, 1.0]]), groups)
    partly = known._replace(labels=torch.tensor([[1.0, 0.0], [math.nan, 1.0]]))

    def first_row(batch: Batch) -> Tensor:
        row = images[:1].clone().requires_grad_()
        loss = PerSampleCrossEntropy()(
            Direct(), batch._replace(images=torch.cat([row, images[1:]]))
        )
        return torch.autograd.grad(loss, row)[0]

    assert torch.equal(first_row(known), first_row(partly))


def test_gradients_are_let_go_after_a_step(folds: Folds, ctx: Context) -> None:
    kit = private_kit(SMALL, folds, ctx)
    kit.objective(kit.net, next(iter(kit.loader))).backward()
    kit.optimizer.step()
    assert all(p.grad_sample is None for p in kit.net.parameters())  # type: ignore[attr-defined]


# ---------------------------------------------------------------- refusals


@pytest.mark.parametrize("other", ["upsample", "downsample"])
def test_resampling_is_refused_before_anything_is_stored(
    other: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    small = [f"{fold}_patients=12" for fold in ("train", "val", "audit", "test")]
    output, store = tmp_path / "output", tmp_path / "m.db"
    arguments = ["--method", f"{other}+dpsgd", "--dataset", "phantom", "--set", "image_size=32"]
    arguments += ["--output", str(output), "--tracking-uri", f"sqlite:///{store}"]
    code = runner.main([*arguments, *(a for text in small for a in ("--data", text))])
    said = capsys.readouterr().err
    assert code == 2 and f"cannot account for {other}: " in said
    assert not store.exists() and not list(output.rglob("run.json"))


def test_either_order_of_a_combination_is_refused(task: Task) -> None:
    for name in ("upsample+dpsgd", "dpsgd+upsample"):
        assert "cannot account for upsample" in (method_class(name)().skip(task) or "")
    assert method_class("dpsgd+group_thresholds")().skip(task) is None


@pytest.mark.parametrize("backbone", sorted(backbones.BUILDERS))
def test_backbones_with_batch_norm_are_refused_and_no_others(backbone: str, task: Task) -> None:
    reason = DpSgd(backbone=backbone).skip(task)
    if backbone in BATCH_NORM:
        assert reason and "BatchNorm" in reason and "neighbours" in reason and "resnet9" in reason
    else:
        assert reason is None


def plain_kit(folds: Folds, ctx: Context, **changes: Any) -> Kit:
    net = changes.pop("net", None) or ImageClassifier.build("small_cnn", 2)
    objective = changes.pop("objective", None) or PerSampleCrossEntropy()
    loader = changes.pop("loader", None) or training_loader(
        Rows(folds.train, ctx.task, 32), 15, seed=0
    )
    trained = [*net.parameters(), *objective.parameters()]
    return Kit(net, objective, torch.optim.SGD(trained, lr=0.1), loader)


def test_a_weighted_sampler_is_refused(folds: Folds, ctx: Context) -> None:
    rows = Rows(folds.train, ctx.task, 32)
    weighted = BatchSampler(WeightedRandomSampler([1.0] * len(rows), len(rows)), 15, False)
    loader = DataLoader(rows, batch_sampler=weighted, collate_fn=_as_batch)
    with pytest.raises(ValueError, match=r"same probability.*WeightedRandomSampler"):
        SMALL.harden(plain_kit(folds, ctx, loader=loader), ctx)


def test_repeated_rows_are_refused(folds: Folds, ctx: Context) -> None:
    frame = folds.train.frame
    twice = folds.train.with_frame(frame.iloc[[*range(len(frame)), 3, 4]])
    loader = training_loader(Rows(twice, ctx.task, 32), 15, seed=0)
    with pytest.raises(ValueError, match=r"must not repeat.*2 of 120 images.*p1-1, p2-0"):
        SMALL.harden(plain_kit(folds, ctx, loader=loader), ctx)


def test_an_objective_that_couples_rows_is_refused(folds: Folds, ctx: Context) -> None:
    with pytest.raises(ValueError, match=r"one row each.*MaskedCrossEntropy.*per_sample"):
        SMALL.harden(plain_kit(folds, ctx, objective=MaskedCrossEntropy()), ctx)


def test_an_objective_with_trained_parameters_is_refused(folds: Folds, ctx: Context) -> None:
    objective = PerSampleCrossEntropy()
    objective.register_module("adversary", nn.Linear(2, 2))
    with pytest.raises(ValueError, match="neither clipped nor noised"):
        SMALL.harden(plain_kit(folds, ctx, objective=objective), ctx)


@pytest.mark.parametrize(
    "layer",
    [
        nn.BatchNorm2d(1),
        nn.BatchNorm2d(1, affine=False),
        nn.InstanceNorm2d(1, affine=True, track_running_stats=True),
        nn.InstanceNorm2d(1, track_running_stats=True),
    ],
)
def test_a_network_without_gradients_per_sample_is_refused(
    layer: nn.Module, folds: Folds, ctx: Context
) -> None:
    net = ImageClassifier.build("small_cnn", 2)
    net.backbone.encoder = nn.Sequential(layer, net.backbone.encoder)
    with pytest.raises(ValueError, match=r"must have per-sample gradients.*backbone=small_cnn"):
        SMALL.harden(plain_kit(folds, ctx, net=net), ctx)


@pytest.mark.parametrize(
    ("name", "value", "rule"),
    [
        ("epsilon", 0.0, "epsilon must lie"),
        ("epsilon", math.nan, "epsilon must lie"),
        ("epsilon", -math.inf, "epsilon must lie"),
        ("noise_multiplier", 0.0, r"noise_multiplier must lie.*epsilon=inf"),
        ("max_grad_norm", 0.0, "max_grad_norm must be above 0"),
        ("max_grad_norm", math.inf, "max_grad_norm must be above 0"),
    ],
)
def test_a_value_that_breaks_a_rule_is_refused(name: str, value: float, rule: str) -> None:
    with pytest.raises(ValueError, match=rule):
        DpSgd(**{name: value})


def test_orders_of_opacus_are_all_used() -> None:
    assert set(RDPAccountant.DEFAULT_ALPHAS) < set(ORDERS)
