"""Scores become logits without a change of order or of ties."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.special import logit
from scipy.stats import rankdata

from metrics.audit.scale import LOGIT, PROBABILITY, detect, to_logits


def test_probabilities_become_their_logits() -> None:
    p = np.array([0.5, 0.1, 0.9, 0.25])
    assert to_logits(p, PROBABILITY) == pytest.approx(logit(p), rel=1e-6)


@pytest.mark.parametrize("kind", [PROBABILITY, LOGIT])
def test_ranks_and_ties_stay_those_of_the_scores(kind: str) -> None:
    rng = np.random.default_rng(0)
    # Steps far below the resolution of float32, and many ties.
    scores = 0.3 + 1e-12 * rng.integers(0, 500, 3000)
    scores = np.concatenate([scores, np.round(rng.random(3000), 2)])
    logits = to_logits(scores, kind)
    assert logits.dtype == np.float32
    assert len(np.unique(scores.astype(np.float32))) < len(np.unique(scores))
    assert (rankdata(logits) == rankdata(scores)).all()


def test_nothing_moves_further_than_float32_rounds() -> None:
    rng = np.random.default_rng(1)
    scores = np.concatenate([rng.normal(size=5000), [0.0, -0.0, -1e-30, 1e-30]])
    assert to_logits(scores, LOGIT) == pytest.approx(scores, rel=3e-7, abs=1e-37)


def test_certain_scores_are_finite_and_the_most_extreme() -> None:
    p = np.array([1.0, 0.0, 1 - 2**-53, 1e-300, 0.5])
    logits = to_logits(p, PROBABILITY)
    assert np.isfinite(logits).all()
    assert (np.argsort(logits) == [1, 3, 4, 2, 0]).all()
    assert to_logits(np.array([0.0, 0.5, 1.0]), PROBABILITY).tolist() == [-37, 0, 37]


def test_the_kind_is_told_by_the_range() -> None:
    assert detect([("a", np.array([0.0, 1.0]))], "auto", "t").kind == PROBABILITY
    assert detect([("a", np.array([-1.0, 0.5]))], "auto", "t").kind == LOGIT
    assert detect([("a", np.array([0.2, 0.5]))], LOGIT, "t").kind == LOGIT


def test_a_declared_probability_outside_its_range_is_refused() -> None:
    with pytest.raises(ValueError, match=r"must lie in \[0, 1\], but 'a' runs from -1 to 0.5"):
        detect([("a", np.array([-1.0, 0.5]))], PROBABILITY, "t")
