"""A threshold per group: the decision stage alone."""

from __future__ import annotations

from dataclasses import dataclass

from methods.base import Method, Task
from methods.cells import lacks
from metrics.thresholds import Rule, fit_rule
from metrics.validation import ValidationPredictions
from registry import METHODS


@METHODS.register("group_thresholds")
@dataclass(frozen=True)
class GroupThresholds(Method):
    """ERM with one threshold per group and finding, fitted on validation patients of the group.

    With the default operating point every group gets the same specificity on validation. A group
    with too few validation patients takes the pooled threshold. The attribute of a patient must be
    known when the model is used.

    Source: Hardt, Price & Srebro, NeurIPS 2016, section 3.2 (here without randomisation).
    """

    attribute: str = ""
    """Whose groups; empty means the first attribute of the task."""

    def attributes_at_test(self, task: Task) -> tuple[str, ...]:
        """The attribute whose group chooses the threshold."""
        return (self.attribute or task.attributes[0],)

    def skip(self, task: Task) -> str | None:
        """A sentence if the named attribute is not part of the task."""
        return lacks(task.attributes, self.attribute, "attribute")

    def decide(self, val: ValidationPredictions) -> Rule:
        """Thresholds per group and finding."""
        attribute = self.attribute or val.attributes[0]
        return fit_rule(val, self.operating_point, (attribute,))
