"""Predictions of validation patients: all that thresholds may be fitted to and models chosen by."""

from __future__ import annotations

from dataclasses import dataclass, fields

from metrics.predictions import Predictions

VALIDATION = "val"
"""The only fold that thresholds may be fitted on, and a model chosen by."""


@dataclass(frozen=True)
class ValidationPredictions(Predictions):
    """Predictions of the validation fold, as a type of their own.

    Whatever fits a threshold or chooses a model takes this type, so that handing it the predictions
    of a test fold is an error of types, found before anything runs.

    Raises:
        ValueError: the predictions are of another fold.
    """

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.fold != VALIDATION:
            raise ValueError(
                "thresholds must be fitted, and models chosen, on validation, but these "
                f"predictions are of fold {self.fold!r}; pass those of fold {VALIDATION!r}"
            )

    @classmethod
    def of(cls, predictions: Predictions) -> ValidationPredictions:
        """The same predictions, known to be of validation patients.

        Raises:
            ValueError: they are of another fold.
        """
        return cls(**{f.name: getattr(predictions, f.name) for f in fields(Predictions)})
