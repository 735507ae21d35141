"""A suite: names and settings of many runs, as data; written in Python or as YAML."""

from __future__ import annotations

import dataclasses
import re
import types
import typing
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any, TypeVar

from registry import SUITES, UnknownName, unknown

T = TypeVar("T")
Fields = Mapping[str, Any]
"""Fields of a method or data set by name, as `--set` and `--data` take them."""
JOIN = "+"
KINDS = {str: "a text", int: "a whole number", float: "a number", bool: "true or false"}


@dataclass(frozen=True)
class Data:
    """A data set of a suite, with everything that decides its table and folds."""

    name: str
    set: Fields = field(default_factory=dict)
    root: str = ""
    """Where it was downloaded to; `--data-root` goes before it."""
    test_datasets: tuple[str, ...] = ()
    """Other data sets to test on; their fields stand in `set` as "name.field"."""
    findings: tuple[str, ...] = ()
    attributes: tuple[str, ...] = ()
    split: str = ""
    """As `--split` takes it; empty means what the data set says."""
    folds: int = 0
    limit_patients: int = 0
    on_bad_image: str = "error"


@dataclass(frozen=True)
class Arm:
    """A method, or a combination `a+b`, with the fields that make it this arm."""

    method: str
    set: Fields = field(default_factory=dict)
    label: str = ""
    """What the arm is called; empty means the method with its fields."""
    cost: float = 1.0
    """Expected time of a run in runs of ERM; for the order and the remaining time only."""
    shared_cost: float = 0.0
    """The same for what the first run fits and the later ones share, such as a generator."""

    def __post_init__(self) -> None:
        if min(self.cost, self.shared_cost) < 0 or not self.cost:
            raise ValueError(
                f"cost must be above 0 and shared_cost not below, but the arm {self.name!r} has "
                f"{self.cost:g} and {self.shared_cost:g}"
            )

    @property
    def name(self) -> str:
        """The label, or the method with its fields."""
        own = " ".join(f"{key}={value}" for key, value in self.set.items())
        return self.label or f"{self.method} {own}".strip()

    @property
    def slug(self) -> str:
        """The name as part of a file name."""
        return re.sub(r"[^a-z0-9.+]+", "-", self.name.lower()).strip("-")


@dataclass(frozen=True)
class Budget:
    """How much is spent. What is said of fewer arms wins: `set`, then `methods`, then the arm."""

    seeds: int = 0
    """How many of the suite's seeds; 0 means all."""
    smallest: bool = False
    """Whether methods begin with the fields that they name for runs of seconds."""
    set: Fields = field(default_factory=dict)
    """Fields of every arm."""
    methods: Mapping[str, Fields] = field(default_factory=dict)
    """Fields of the arms of one method, alone or in a combination."""
    data: Mapping[str, Fields] = field(default_factory=dict)
    """Options by data set; those that the suite gives the data set win."""


@dataclass(frozen=True)
class Suite:
    """Arms x data sets x seeds under a budget: data only, so that YAML says the same.

    Raises:
        ValueError, UnknownName: there is nothing to run, something stands twice, or a budget
            names a method or data set that the suite does not have.
    """

    name: str
    description: str
    datasets: tuple[Data, ...]
    arms: tuple[Arm, ...]
    seeds: tuple[int, ...] = (0,)
    budgets: Mapping[str, Budget] = field(default_factory=lambda: {"full": Budget()})
    """The first is taken unless another is named."""
    plugins: tuple[str, ...] = ()
    """Files outside the suite that register methods or data sets."""

    def __post_init__(self) -> None:
        if not self.name or not set(self.name) <= NAME_LETTERS:
            raise ValueError(
                f"name must be small letters, digits and hyphens, but got {self.name!r}; "
                "it names a folder of results"
            )
        for kind, items in (
            ("datasets", self.datasets),
            ("arms", self.arms),
            ("seeds", self.seeds),
            ("budgets", self.budgets),
        ):
            if not items:
                raise ValueError(f"{kind} must not be empty, but suite {self.name!r} has none")
        # By file name: labels that differ in signs alone would share a log.
        _once("label of an arm", [arm.slug for arm in self.arms])
        _once("data set", [data.name for data in self.datasets])
        _once("seed", self.seeds)
        methods = {part for arm in self.arms for part in arm.method.split(JOIN)}
        for title, budget in self.budgets.items():
            where = f"of budget {title!r}"
            for name in budget.methods:
                if name not in methods:
                    raise unknown(f"method {where}", name, methods)
            for name in budget.data:
                if name not in (known := [data.name for data in self.datasets]):
                    raise unknown(f"data set {where}", name, known)
            if not 0 <= budget.seeds <= len(self.seeds):
                raise ValueError(
                    f"seeds {where} must lie between 0 and the {len(self.seeds)} seeds of the "
                    f"suite, but got {budget.seeds}"
                )

    def budget(self, name: str = "") -> Budget:
        """The budget of this name, or the first.

        Raises:
            UnknownName: there is none of this name.
        """
        return self.budgets[self.budget_name(name)]

    def budget_name(self, name: str = "") -> str:
        """`name`, or the name of the first budget; raises as `budget` does."""
        if name and name not in self.budgets:
            raise unknown(f"budget of suite {self.name}", name, self.budgets)
        return name or next(iter(self.budgets))

    def seeds_of(self, budget: Budget) -> tuple[int, ...]:
        """The seeds that a budget runs."""
        return self.seeds[: budget.seeds or None]

    def matching(self, pattern: str) -> tuple[Arm, ...]:
        """The arms whose label or method is `pattern`, with `*` and `?` as in file names.

        Raises:
            UnknownName: there is none.
        """
        found = tuple(
            arm for arm in self.arms
            if fnmatchcase(arm.name, pattern) or fnmatchcase(arm.method, pattern)
        )  # fmt: skip
        if not found:
            raise unknown(f"arm of suite {self.name}", pattern, [arm.name for arm in self.arms])
        return found


NAME_LETTERS = frozenset("abcdefghijklmnopqrstuvwxyz0123456789-")


def fields_of(arm: Arm, budget: Budget) -> dict[str, Any]:
    """The fields of an arm under a budget."""
    fields = dict(budget.set)
    for part in arm.method.split(JOIN):
        fields |= budget.methods.get(part, {})
    return fields | dict(arm.set)


def options_of(data: Data, budget: Budget) -> dict[str, Any]:
    """The options of a data set under a budget."""
    return dict(budget.data.get(data.name, {})) | dict(data.set)


def load(name: str) -> Suite:
    """The suite registered as `name`, or the one in the YAML file of that path.

    Raises:
        UnknownName: neither; or the file has an unknown key.
        FileNotFoundError: the path is not a file.
        ValueError: the file is not YAML, a value has the wrong type, or the suite breaks a rule.
    """
    if Path(name).suffix in (".yaml", ".yml"):
        return read(Path(name))
    made: Suite = SUITES.get(name)()
    return made


def read(path: Path) -> Suite:
    """The suite in a YAML file; see `load`."""
    import yaml

    if not path.is_file():
        raise FileNotFoundError(f"a suite must be a name or a YAML file, but {path} does not exist")
    try:
        held = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise ValueError(f"a suite must be YAML, but {path} is not: {error}") from error
    if isinstance(held, dict):
        held = {"name": path.stem.lower().replace("_", "-"), "description": ""} | held
    try:
        return _record(Suite, held, "")
    except UnknownName as error:
        raise UnknownName(f"{path}: {error}") from error
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from error


def _record(cls: type[T], value: Any, where: str) -> T:
    """An instance of the dataclass `cls` from a mapping of YAML; `where` says which in errors."""
    here = where or "a suite"
    if not isinstance(value, Mapping):
        raise ValueError(f"{here} must be a mapping, but got {value!r}")
    fields = {f.name: f for f in dataclasses.fields(cls)}  # type: ignore[arg-type]
    hints = typing.get_type_hints(cls)
    for name in value:
        if name not in fields:
            raise unknown(f"key of {here}", str(name), fields)
    for name, item in fields.items():
        optional = (item.default, item.default_factory) != (dataclasses.MISSING,) * 2
        if name not in value and not optional:
            raise ValueError(f"{here} must have the key {name!r}, but has only: "
                             f"{', '.join(map(str, value)) or 'none'}")  # fmt: skip
    prefix = f"{where}." if where else ""
    given = {name: _value(v, hints[name], prefix + name) for name, v in value.items()}
    try:
        return cls(**given)
    except ValueError as error:
        raise ValueError(f"{here}: {error}" if where else str(error)) from error


def _value(value: Any, hint: Any, where: str) -> Any:
    origin, inner = typing.get_origin(hint), typing.get_args(hint)
    if dataclasses.is_dataclass(hint):
        return _record(typing.cast("type[Any]", hint), value, where)
    if origin is tuple:
        if not isinstance(value, list):
            raise ValueError(f"{where} must be a list, but got {value!r}")
        return tuple(_value(v, inner[0], f"{where}[{i}]") for i, v in enumerate(value))
    if origin in (Mapping, types.MappingProxyType, dict):
        if not isinstance(value, Mapping) or not all(isinstance(key, str) for key in value):
            raise ValueError(f"{where} must be a mapping of names, but got {value!r}")
        return {key: _value(v, inner[1], f"{where}.{key}") for key, v in value.items()}
    if hint is Any:
        return value
    right = isinstance(value, (int, float) if hint is float else hint)
    if not right or isinstance(value, bool) is not (hint is bool):
        raise ValueError(f"{where} must be {KINDS[hint]}, but got {value!r}")
    return value


def _once(kind: str, items: Iterable[Any]) -> None:
    seen: set[Any] = set()
    for item in items:
        if item in seen:
            raise ValueError(f"each {kind} must stand once, but {item!r} stands twice")
        seen.add(item)
