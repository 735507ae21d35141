"""Anonymised training: every image, in training and in testing, is seen through an anonymiser."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

from datasets.regions import has_regions
from datasets.split import Folds, Split
from methods.anonymisers.base import Anonymiser
from methods.anonymisers.sheet import show
from methods.anonymisers.views import Views, sources_digest
from methods.base import Context, Method, Task, needs_pixels
from registry import ANONYMISERS, METHODS

IDENTITY = "identity"
SHOWN_FOLD = "val"
"""Whose images are on the sheet: the fold that is looked at anyway to choose models."""


@METHODS.register("anonymized")
@dataclass(frozen=True)
class Anonymized(Method):
    """ERM on images changed by a registered anonymiser, which are also what it releases.

    The anonymiser is fitted on training patients. The fields after `anonymiser` are settings of
    anonymisers: each takes those that it has, and one that it does not have must not be set.

    Source: the setting of Packhäuser et al., PriCheXy-Net, MICCAI 2023. Differs: the classifier is
    trained on changed images, and the attackers are the suite's.

    Raises:
        UnknownName: no anonymiser has this name.
        ValueError: a setting lies outside its limits, or is not one of this anonymiser.
    """

    smallest: ClassVar[Mapping[str, Any]] = {
        "region_epochs": 1,
        "generator_steps": 6,
        "generator_width": 8,
        "sampling_steps": 2,
    }

    anonymiser: str = "inpaint"
    """identity, blur, pixelate, random_warp, inpaint, or one that was added."""
    strength: float = 1.0
    """Of blur, pixelate and random_warp, as a multiple of what each states; 0 changes nothing."""
    keep: str = "saliency"
    """Of inpaint: saliency, found from pixels; or regions, the data set's masks (an oracle)."""
    keep_share: float = 0.25
    """Of inpaint: share of pixels that saliency keeps."""
    region_epochs: int = 8
    """Of inpaint: epochs of the network that finds regions."""
    generator_steps: int = 2000
    """Of inpaint: updates of the generator."""
    generator_width: int = 32
    """Of inpaint: channels of the generator."""
    sampling_steps: int = 10
    """Of inpaint: evaluations of the generator per image."""
    generator_seed: int = 0
    """Of random_warp and inpaint: their own seed, so that all seeds of a run share their images."""

    unaccounted: ClassVar[str] = (
        "an anonymiser may be fitted on the training patients, and what it learns has no noise"
    )

    def __post_init__(self) -> None:
        super().__post_init__()
        self.changer.check(self.image_size)

    @property
    def changer(self) -> Anonymiser:
        """The anonymiser with the settings that are its own."""
        cls: type[Anonymiser] = ANONYMISERS.get(self.anonymiser)
        its = {f.name for f in dataclasses.fields(cls)}
        base = {f.name for f in dataclasses.fields(Method)} | {"anonymiser"}
        settings = [f for f in dataclasses.fields(Anonymized) if f.name not in base]
        for field in settings:
            value = getattr(self, field.name)
            if field.name not in its and value != field.default:
                raise ValueError(
                    f"{field.name} must be a setting of the anonymiser, but {self.anonymiser!r} "
                    f"has only: {', '.join(sorted(its)) or 'none'}; leave it out"
                )
        return cls(**{f.name: getattr(self, f.name) for f in settings if f.name in its})

    @property
    def releases_originals(self) -> bool:
        """Whether nothing is changed."""
        return self.anonymiser == IDENTITY and type(self).release is Method.release

    @property
    def released(self) -> str:
        """What becomes of the images, in words for the leaderboard."""
        if self.releases_originals:
            return super().released
        oracle = "; kept regions are an oracle" if self.changer.looks_up else ""
        return f"images changed by {self.anonymiser}{oracle}"

    def skip(self, task: Task) -> str | None:
        """A sentence if a combined method publishes images that are not changed."""
        if type(self).release is not Method.release:
            return "a combined method publishes images of its own, which would not be anonymised"
        return needs_pixels(task)

    def content(self) -> tuple[str, ...]:
        """The text of the anonymiser, which may lie outside the suite."""
        return (sources_digest(self.changer),)

    def check(self, folds: Folds) -> None:
        """Refuse regions of a data set that has none."""
        for fold in folds.all():
            if self.changer.looks_up and not has_regions(fold):
                raise ValueError(
                    f"keep=regions needs masks of findings, but the images of {fold.name!r} have "
                    "none; use keep=saliency"
                )

    def view(self, split: Split, ctx: Context) -> Split:
        """The split with changed images."""
        if self.anonymiser == IDENTITY:
            return split
        views = Views(self.changer, self.image_size, ctx)
        changed, picture = views.of(split), ctx.pictures / "before_after.png"
        if split.name == SHOWN_FOLD and not picture.is_file():
            show(views, split, changed, picture)
        return changed
