"""FairREAD: which way each gradient goes, what the losses measure, and what re-fusion starts as."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from sklearn.metrics import roc_auc_score
from torch import Tensor, nn
from toy import FINDINGS, GROUPS

from datasets.split import Folds
from methods.base import Batch, Context, Task
from methods.disentangle import (
    Adversary,
    Attributes,
    column_loss,
    reversed_gradient,
    row_loss,
    subspace,
)
from methods.fairread import Disentangling, Fairread, RefusedClassifier
from methods.fit import fit
from methods.predictor import Predictor

SMALL: dict[str, Any] = {"image_size": 32, "epochs": 2, "batch_size": 32}
RACE = Attributes(columns=(1,), sizes=(3,))


def normal(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


class Linear(nn.Module):
    """The simplest thing an objective can train: features are a linear map of two pixels."""

    def __init__(self) -> None:
        super().__init__()
        self.encoder = nn.Linear(2, 4)
        self.head = nn.Linear(4, 1)

    def embed(self, images: Tensor, groups: Tensor) -> Tensor:
        features: Tensor = self.encoder(images.flatten(1)[:, :2])
        return features

    def decide(self, features: Tensor, groups: Tensor) -> Tensor:
        logits: Tensor = self.head(features)
        return logits


def told_by_pixel(n: int = 256, seed: int = 0) -> Batch:
    """The first pixel tells the first attribute, the second the finding; both with noise."""
    group = (torch.arange(n) % 2)[:, None]
    label = (torch.arange(n) // 2 % 2)[:, None].float()
    images = torch.cat([2.0 * group - 1, 2 * label - 1], 1) + 0.7 * normal(n, 2, seed=seed)
    return Batch(images.reshape(n, 1, 1, 2), label, group)


TOY = Attributes(columns=(0,), sizes=(2,))


def toy_objective(adversary: str, alpha: float = 1.0) -> Disentangling:
    torch.manual_seed(0)
    objective = Disentangling(Fairread(adversary=adversary, alpha=alpha, column=0, row=0), TOY)
    if objective.adversary is not None:
        objective.adversary = Adversary(4, TOY)
    objective.progress += 1
    return objective


def gradients(adversary: str, alpha: float) -> tuple[Tensor, Tensor]:
    """Of the adversary's first layer and of the encoder, where the adversary alone is the loss."""
    objective = toy_objective(adversary, alpha)
    net = Linear()
    batch = told_by_pixel()
    objective(net, batch._replace(labels=batch.labels * torch.nan)).backward()
    assert objective.adversary is not None
    first = objective.adversary.layers[0].weight.grad
    encoder = net.encoder.weight.grad
    assert first is not None and encoder is not None
    return first, encoder


def expected_gradients() -> tuple[Tensor, Tensor]:
    """Of the adversary's plain cross-entropy."""
    objective = toy_objective("reversal")
    net, batch = Linear(), told_by_pixel()
    assert objective.adversary is not None
    TOY.loss(objective.adversary(net.embed(batch.images, batch.groups)), batch.groups).backward()
    first, encoder = objective.adversary.layers[0].weight.grad, net.encoder.weight.grad
    assert first is not None and encoder is not None
    return first, encoder


def test_with_reversal_the_adversary_descends_and_the_encoder_ascends() -> None:
    first, encoder = gradients("reversal", alpha=0.5)
    plain_first, plain_encoder = expected_gradients()
    assert plain_encoder.abs().max() > 1e-4
    torch.testing.assert_close(first, plain_first)
    torch.testing.assert_close(encoder, -0.5 * plain_encoder)


def test_as_published_the_adversary_ascends_as_well() -> None:
    first, encoder = gradients("published", alpha=0.5)
    plain_first, plain_encoder = expected_gradients()
    torch.testing.assert_close(first, -0.5 * plain_first)
    torch.testing.assert_close(encoder, -0.5 * plain_encoder)


def trained(adversary: str, alpha: float) -> tuple[float, float]:
    """Accuracy of the adversary, and AUC of the best linear reader of the features."""
    from sklearn.linear_model import LogisticRegression

    objective, net = toy_objective(adversary, alpha), Linear()
    optimizer = torch.optim.Adam([*net.parameters(), *objective.parameters()], lr=0.01)
    for step in range(400):
        optimizer.zero_grad()
        objective(net, told_by_pixel(seed=step)).backward()
        optimizer.step()
    batch, fresh = told_by_pixel(2000, seed=1001), told_by_pixel(2000, seed=1002)
    assert objective.adversary is not None
    with torch.no_grad():
        features = [net.embed(b.images, b.groups) for b in (batch, fresh)]
        guess = objective.adversary(features[0]).argmax(1)
    right = (guess == batch.groups[:, 0]).float().mean().item()
    reader = LogisticRegression(C=1e6, max_iter=5000).fit(features[0], batch.groups[:, 0])
    return right, roc_auc_score(fresh.groups[:, 0], reader.decision_function(features[1]))


def test_without_pressure_the_adversary_learns_and_the_features_tell() -> None:
    accuracy, auc = trained("reversal", alpha=0.0)
    assert accuracy > 0.85
    assert auc > 0.9


def test_as_published_the_adversary_is_worse_than_chance_and_the_features_still_tell() -> None:
    accuracy, auc = trained("published", alpha=0.5)
    assert accuracy < 0.3
    assert auc > 0.9


@pytest.mark.parametrize("strength", [0.0, 0.3, 2.0])
def test_reversal_passes_features_and_turns_their_gradient(strength: float) -> None:
    features = normal(5, 3).requires_grad_()
    passed = reversed_gradient(features, strength)
    assert torch.equal(passed, features)
    (passed * normal(5, 3, seed=1)).sum().backward()
    torch.testing.assert_close(features.grad, -strength * normal(5, 3, seed=1))


def test_an_adversary_cannot_be_fooled_by_small_features() -> None:
    adversary, features = Adversary(4, TOY), normal(64, 4)
    torch.testing.assert_close(
        adversary(features), adversary(0.1 * features - 3), atol=5e-3, rtol=0
    )


def test_the_column_loss_is_the_share_of_energy_inside_the_sensitive_subspace() -> None:
    # Sensitive rows vary along the first axis alone.
    sensitive = torch.tensor([[-1.0, 5, 5], [1, 5, 5], [-1, 5, 5], [1, 5, 5]])
    along = torch.tensor([[-1.0, 7, 7], [-1, 7, 7], [1, 7, 7], [1, 7, 7]])
    across = torch.tensor([[7.0, -1, 7], [7, -1, 7], [7, 1, 7], [7, 1, 7]])
    assert column_loss(along, sensitive).item() == pytest.approx(1, abs=1e-5)
    assert column_loss(across, sensitive).item() == pytest.approx(0, abs=1e-6)
    # Energies 1 along and 4 across: a fifth is inside.
    assert column_loss(along + 2 * across, sensitive).item() == pytest.approx(0.2, abs=1e-5)


def test_a_large_mean_does_not_hide_the_subspace() -> None:
    # Uncentred, the mean holds more than 99 % of the energy, and no direction would be left.
    sensitive = normal(64, 8) * torch.tensor([3.0, 1, 0, 0, 0, 0, 0, 0]) + 100
    basis = subspace(sensitive)
    assert basis.shape == (8, 2)
    torch.testing.assert_close(basis.T @ basis, torch.eye(2))
    torch.testing.assert_close(basis[2:], torch.zeros(6, 2), atol=1e-4, rtol=0)


def test_the_rank_is_the_smallest_that_holds_99_percent() -> None:
    # Standard deviations 10, 1, 0.1: the first direction holds 100 / 101.01 = 99.0 %, and with
    # 9.9 it holds 98.98 %.
    axes = torch.linalg.qr(torch.cat([torch.ones(64, 1), normal(64, 3)], 1)).Q[:, 1:]
    assert subspace(axes * torch.tensor([10.0, 1, 0.01])).shape == (3, 1)
    assert subspace(axes * torch.tensor([9.9, 1, 0.01])).shape == (3, 2)


@pytest.mark.parametrize("sensitive", [torch.ones(16, 4), torch.zeros(16, 4)])
def test_constant_sensitive_embeddings_keep_rank_one_and_a_finite_gradient(
    sensitive: Tensor,
) -> None:
    embeddings = normal(16, 4).requires_grad_()
    assert subspace(sensitive).shape == (4, 1)
    (column_loss(embeddings, sensitive) + row_loss(embeddings, sensitive)).backward()
    assert embeddings.grad is not None and embeddings.grad.isfinite().all()


def test_the_row_loss_is_the_mean_squared_correlation() -> None:
    a, b = normal(50, 4), normal(50, 3, seed=1)
    expected = np.mean(np.corrcoef(a.T, b.T)[:4, 4:] ** 2)
    assert row_loss(a, b).item() == pytest.approx(expected, rel=1e-3)


def test_the_row_loss_does_not_depend_on_the_size_of_the_batch() -> None:
    a, b = normal(32, 4), normal(32, 3, seed=1)
    torch.testing.assert_close(row_loss(a, b), row_loss(a.repeat(5, 1), b.repeat(5, 1)))


def test_orthogonality_moves_the_features_and_not_the_sensitive_encoder() -> None:
    features, sensitive = normal(32, 4).requires_grad_(), normal(32, 4, seed=1).requires_grad_()
    (column_loss(features, sensitive) + row_loss(features, sensitive)).backward()
    assert features.grad is not None and features.grad.abs().max() > 0
    assert sensitive.grad is None


def test_the_sensitive_encoder_learns_the_attributes_inside_the_objective(
    folds: Folds, ctx: Context
) -> None:
    rows: list[dict[str, float]] = []
    fit(Fairread(**SMALL | {"epochs": 6}), folds, ctx, on_epoch=rows.append)
    assert rows[-1]["sensitive_loss"] < rows[0]["sensitive_loss"]
    assert {"adversary_loss", "adversary_auc", "column_loss", "row_loss"} <= set(rows[0])


def network(folds: Folds, ctx: Context, **fields: Any) -> RefusedClassifier:
    torch.manual_seed(0)
    net = Fairread(**SMALL, **fields).network(ctx.task, folds, ctx)
    assert isinstance(net, RefusedClassifier)
    return net.eval()


def everyone(groups: Tensor | None = None) -> tuple[Tensor, Tensor]:
    """The same image for every combination of sex and race, with their codes."""
    codes = torch.cartesian_prod(torch.arange(2), torch.arange(3))
    return normal(1, 1, 32, 32).repeat(len(codes), 1, 1, 1), codes if groups is None else groups


def test_at_the_start_the_network_is_its_plain_backbone(folds: Folds, ctx: Context) -> None:
    net = network(folds, ctx)
    images, groups = everyone()
    assert torch.equal(net(images, groups), net.backbone(images))


def test_features_are_those_before_re_fusion(folds: Folds, ctx: Context) -> None:
    net = network(folds, ctx)
    nn.init.ones_(net.refusion.rescale.bias)
    images, groups = everyone()
    assert torch.equal(net.embed(images, groups), net.backbone.embed(images))
    assert not torch.equal(net(images, groups), net.backbone(images))


def fitted(method: Fairread, folds: Folds, ctx: Context, name: str = "a") -> Predictor:
    workdir = ctx.workdir / name
    workdir.mkdir(exist_ok=True)
    return fit(method, folds, replace(ctx, workdir=workdir))[0]


def with_unknown(folds: Folds, ctx: Context) -> tuple[Folds, Context]:
    """The toy folds with an unknown sex of a third of the patients, as a group of its own."""
    groups = {**GROUPS, "sex": ("Female", "Male", "Unknown")}
    changed = {}
    for fold in folds.all():
        frame = fold.frame.copy()
        number = frame["patient_id"].str[1:].astype(int)
        frame["sex"] = frame["sex"].astype(str).mask(number % 3 == 0, "Unknown")
        frame["sex"] = frame["sex"].astype("category").cat.set_categories(groups["sex"])
        changed[fold.name] = fold.with_frame(frame)
    return Folds(**changed), replace(ctx, task=replace(ctx.task, groups=groups))


def test_a_missing_attribute_is_not_the_first_group(folds: Folds, ctx: Context) -> None:
    folds, ctx = with_unknown(folds, ctx)
    net = fitted(Fairread(**SMALL, attributes=("sex",)), folds, ctx).net
    images = normal(1, 1, 32, 32).repeat(3, 1, 1, 1)
    codes = torch.tensor([[0, 0], [1, 0], [2, 0]])
    with torch.no_grad():
        female, male, unknown = net(images, codes)
    assert not torch.equal(unknown, female)
    assert not torch.equal(unknown, male)


def test_a_group_that_nobody_is_in_keeps_an_embedding_of_zero(folds: Folds, ctx: Context) -> None:
    groups = {**GROUPS, "sex": ("Female", "Male", "Unknown")}
    ctx = replace(ctx, task=replace(ctx.task, groups=groups))
    net = fitted(Fairread(**SMALL), folds, ctx).net
    assert isinstance(net, RefusedClassifier)
    table = net.refusion.groups[0].weight
    assert table[2].abs().max() == 0 and table[:2].abs().min(0).values.max() > 0


def test_only_the_named_attributes_are_re_fused(folds: Folds, ctx: Context) -> None:
    net = fitted(Fairread(**SMALL, attributes=("race",)), folds, ctx).net
    images, groups = everyone()
    with torch.no_grad():
        logits = net(images, groups).reshape(2, 3, -1)
    assert torch.equal(logits[0], logits[1])  # sex
    assert not torch.equal(logits[:, 0], logits[:, 1])  # race


def test_the_measured_auc_is_that_of_scikit_learn() -> None:
    attributes = Attributes(columns=(0, 1), sizes=(2, 3))
    codes = torch.stack([torch.arange(300) % 2, torch.arange(300) % 3], 1)
    logits = normal(300, 5)
    logits[:, 0] -= codes[:, 0]
    logits[:, 3] += 2.0 * (codes[:, 1] == 1)
    sex = roc_auc_score(codes[:, 0], logits[:, 1] - logits[:, 0])
    chances = logits[:, 2:].softmax(1)
    race = [roc_auc_score(codes[:, 1] == g, chances[:, g]) for g in range(3)]
    assert attributes.auc(logits, codes) == pytest.approx((sex + np.mean(race)) / 2, abs=1e-6)


def test_the_measured_auc_leaves_out_what_has_none() -> None:
    attributes = Attributes(columns=(0, 1), sizes=(1, 3))
    codes = torch.stack([torch.zeros(100), torch.arange(100) % 2], 1).long()
    logits = normal(100, 4)
    present = roc_auc_score(codes[:, 1] == 0, logits[:, 1:].softmax(1)[:, 0])
    other = roc_auc_score(codes[:, 1] == 1, logits[:, 1:].softmax(1)[:, 1])
    assert attributes.auc(logits, codes) == pytest.approx((present + other) / 2, abs=1e-6)
    assert np.isnan(attributes.auc(logits, torch.zeros_like(codes)))


def test_attribute_loss_is_the_mean_over_attributes() -> None:
    attributes = Attributes(columns=(0, 1), sizes=(2, 3))
    codes = torch.tensor([[0, 2], [1, 2]])
    # Even odds of two and of three groups: (log 2 + log 3) / 2.
    assert attributes.loss(torch.zeros(2, 5), codes).item() == pytest.approx(np.log(6) / 2)


def test_what_is_measured_is_of_one_epoch() -> None:
    objective, net, batch = toy_objective("reversal"), Linear(), told_by_pixel()
    with torch.no_grad():
        losses = [objective(net, batch).item(), objective(net, batch).item()]
    first = objective.measured()
    with torch.no_grad():
        objective(net, told_by_pixel(seed=5))
    second = objective.measured()
    assert losses[0] == losses[1]
    assert set(first) == {"adversary_loss", "adversary_auc"}
    assert first != second


def test_the_adversary_gains_weight_over_the_first_half_of_the_epochs() -> None:
    objective = Disentangling(Fairread(epochs=8, alpha=0.5, column=0, row=0), TOY)
    objective.adversary = Adversary(4, TOY)
    strengths = []
    for _ in range(6):
        strengths.append(objective.strength)
        objective(Linear(), told_by_pixel())
        objective.measured()
    assert strengths == [0, 0.125, 0.25, 0.375, 0.5, 0.5]


def test_a_row_that_is_as_wrong_as_can_be_has_no_gradient() -> None:
    logits = torch.tensor([[40.0, 0.0], [1.0, 0.0]], requires_grad=True)
    TOY.loss(logits, torch.tensor([[1], [1]])).backward()
    assert logits.grad is not None
    assert logits.grad[0].tolist() == [0, 0] and logits.grad[1, 1] < 0


def test_what_is_left_out_is_neither_trained_nor_measured() -> None:
    assert not list(toy_objective("none").parameters())
    objective = Disentangling(Fairread(adversary="none", column=1, row=0), RACE)
    assert objective.sensitive is not None and objective.adversary is None


def test_the_adversary_continues_from_the_checkpoint(folds: Folds, ctx: Context) -> None:
    class Killed(Exception):
        pass

    def kill(row: dict[str, float]) -> None:
        raise Killed

    method = Fairread(**SMALL)
    whole = fitted(method, folds, ctx, "whole")(folds.test).logits()
    broken = ctx.workdir / "broken"
    broken.mkdir()
    with pytest.raises(Killed):
        fit(method, folds, replace(ctx, workdir=broken), on_epoch=kill)
    assert np.array_equal(whole, fitted(method, folds, ctx, "broken")(folds.test).logits())


@pytest.mark.parametrize("adversary", ["published", "none"])
def test_other_adversaries_run(adversary: str, folds: Folds, ctx: Context) -> None:
    method = Fairread(**SMALL, adversary=adversary)
    assert np.isfinite(fitted(method, folds, ctx)(folds.test).logits()).all()


def test_a_single_finding_runs(folds: Folds, ctx: Context) -> None:
    one = FINDINGS[:1]
    folds = Folds(**{f.name: replace(f, findings=one) for f in folds.all()})
    ctx = replace(ctx, task=replace(ctx.task, findings=one, macro_findings=one), train=folds.train)
    predictions = fitted(Fairread(**SMALL), folds, ctx)(folds.test)
    assert predictions.logits().shape == (len(folds.test), 1)
    assert predictions.has_decisions


def test_thresholds_are_those_of_the_first_attribute(folds: Folds, ctx: Context) -> None:
    rule = fitted(Fairread(**SMALL), folds, ctx).rule
    assert rule is not None and rule.attributes == ("sex",)
    assert len(rule.thresholds) == len(FINDINGS) * 2


def test_thresholds_of_joint_groups_can_be_asked_for(folds: Folds, ctx: Context) -> None:
    method = Fairread(
        **SMALL, threshold_attributes=("sex", "race"), operating_point="balanced"
    )  # fmt: skip
    predictor = fitted(method, folds, ctx)
    assert predictor.thresholds()["group"].nunique() == 6
    assert set(predictor.thresholds()["attribute"]) == {"sex & race"}
    assert predictor(folds.test).has_decisions


def test_all_that_must_be_known_of_a_patient_is_named(task: Task) -> None:
    assert Fairread().attributes_at_test(task) == ("sex", "race")
    assert Fairread(attributes=("race",)).attributes_at_test(task) == ("race", "sex")
    only = Fairread(attributes=("race",), threshold_attributes=("race",))
    assert only.attributes_at_test(task) == ("race",)


def test_a_task_that_lacks_an_attribute_is_skipped_with_the_reason(task: Task) -> None:
    assert Fairread().skip(task) is None
    assert "income" in (Fairread(attributes=("income",)).skip(task) or "")
    assert "income" in (Fairread(threshold_attributes=("income",)).skip(task) or "")
    bare = replace(task, attributes=(), groups={})
    assert "needs an attribute" in (Fairread().skip(bare) or "")


@pytest.mark.parametrize(
    ("field", "value"), [("alpha", -1), ("row", -0.1), ("column", float("nan")), ("adversary", "x")]
)
def test_values_outside_their_limits_are_refused(field: str, value: Any) -> None:
    with pytest.raises(ValueError, match=field):
        Fairread(**{field: value})
