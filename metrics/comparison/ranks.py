"""Which places a method may have: rank confidence sets."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations

import numpy as np

from metrics.comparison.joint import simultaneous
from metrics.comparison.paired import Endpoint, Replicates


@dataclass(frozen=True)
class RankSet:
    """The places a method may have among `of` methods: from `first` to `last`, 1 the foremost."""

    method: str
    first: int
    last: int
    of: int


def rank_sets(methods: Sequence[Replicates], endpoint: Endpoint, *, seed: int = 0) -> list[RankSet]:
    """A set of places for each method; all sets hold the true places in 95 % of studies.

    The place of j is at least 1 + #{k clearly ahead of j} and at most K - #{k clearly behind},
    where "clearly" is by simultaneous intervals of all K (K - 1) / 2 differences. Resampling the
    places themselves would not do: where methods nearly tie it claims too much. Seeds that not all
    methods have are left out.

    Raises:
        ValueError: fewer than two methods, no seed in common, or more than one number per method.

    Source: Mogstad, Romano, Shaikh & Wilhelm, Review of Economic Studies 2024;91:476-518, sec. 3.
    """
    if len(methods) < 2:
        raise ValueError(f"places need at least 2 methods, but got {len(methods)}; add one")
    shared = [s for s in methods[0].seeds if all(s in method.seeds for method in methods)]
    if not shared:
        named = ", ".join(method.method for method in methods)
        raise ValueError(
            f"methods must have a seed in common, but {named} have none; leave some out"
        )
    kept = [method.only(shared) for method in methods]
    values = np.stack([method.values for method in kept], axis=1) * endpoint.sign
    replicates = np.stack([method.replicates for method in kept], axis=1) * endpoint.sign
    if values.ndim != 2:
        raise ValueError(
            f"places need one number per method, but got {values.shape[2:]} ({endpoint.name}); "
            "choose one cell"
        )
    pairs = np.array(list(combinations(range(len(kept)), 2)))
    found = simultaneous(
        Replicates(
            endpoint.name,
            tuple(shared),
            values[:, pairs[:, 0]] - values[:, pairs[:, 1]],
            replicates[:, pairs[:, 0]] - replicates[:, pairs[:, 1]],
        ),
        seed=seed,
    )
    ahead = np.zeros((len(kept), len(kept)), bool)
    ahead[pairs[:, 0], pairs[:, 1]] = found.low > 0
    ahead[pairs[:, 1], pairs[:, 0]] = found.high < 0
    first, last = 1 + ahead.sum(axis=0), len(kept) - ahead.sum(axis=1)
    return [
        RankSet(method.method, int(low), int(high), len(kept))
        for method, low, high in zip(kept, first, last, strict=True)
    ]
