"""What a user asks for, by names and texts, before any of it is looked up."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from registry import unknown

FROM_RUN_FIXED = ("method", "set", "seed", "folds", "findings")
"""What the stored weights of a run belong to; `--from-run` does not let it be changed."""


@dataclass(frozen=True)
class Request:
    """What a user asks for, by names and texts; the fields of a run's `config.yaml`."""

    method: str = ""
    set: Mapping[str, Any] = field(default_factory=dict)
    dataset: str = ""
    data: Mapping[str, Any] = field(default_factory=dict)
    data_root: str = ""
    """Of the one data set that needs a folder, or of the source."""
    data_roots: Mapping[str, str] = field(default_factory=dict)
    """Folders by name of a data set."""
    val_dataset: str = ""
    test_datasets: tuple[str, ...] = ()
    rename_findings: tuple[str, ...] = ()
    """Texts like "Effusion=Pleural Effusion"."""
    seed: int | str = 0
    split: str = ""
    """`official`, `patient`, `fold:i/k` or a manifest; empty means what the data set says."""
    folds: int | str = 0
    limit_patients: int | str = 0
    findings: tuple[str, ...] = ()
    attributes: tuple[str, ...] = ()
    device: str = "auto"
    threads: int | str = 1
    on_bad_image: str = "error"
    same_person: str = ""
    allow_leakage: str | None = None
    experiment: str = "default"
    tracking_uri: str = ""
    output: str = ""
    plugins: tuple[str, ...] = ()
    from_run: str = ""

    def changed(self, **changes: Any) -> Request:
        """This request with some entries replaced.

        The fields of another method or data set are not carried over: what was a default there
        may be a choice here, as with the presets of the phantom. Nor is the split of another data
        set, whose manifest names other people. Fields and folders of data sets that are no longer
        named go too.
        """
        request = self
        for name, fields in (("method", "set"), ("dataset", "data")):
            if name in changes and changes[name] != (old := getattr(self, name)):
                others = {k: v for k, v in getattr(self, fields).items() if not _of(k, old)}
                cleared: dict[str, Any] = {fields: others}
                cleared |= {"split": ""} if fields == "data" else {}
                request = replace(request, **cleared)
        request = replace(request, **changes)
        gone = self._data_sets - request._data_sets
        return replace(
            request,
            data={k: v for k, v in request.data.items() if k.rpartition(".")[0] not in gone},
            data_roots={k: v for k, v in request.data_roots.items() if k not in gone},
        )

    @property
    def _data_sets(self) -> frozenset[str]:
        """The names of all data sets, unions taken apart."""
        names = (self.dataset, self.val_dataset, *self.test_datasets)
        return frozenset(part.strip() for name in names for part in name.split("+") if part)

    @classmethod
    def from_config(cls, path: Path) -> Request:
        """The request that a `config.yaml` holds.

        Raises:
            FileNotFoundError: there is no such file.
            ValueError, UnknownName: it is not YAML, or has unknown keys.
        """
        import yaml

        if not path.is_file():
            raise FileNotFoundError(f"--config must name a file, but {str(path)!r} does not exist")
        try:
            held = yaml.safe_load(path.read_text(encoding="utf-8"))
        except yaml.YAMLError as error:
            where = str(error).replace("\n", " ")
            raise ValueError(f"--config must be YAML, but {path} is not: {where}") from error
        if not isinstance(held, dict):
            raise ValueError(f"--config must hold a mapping, but {path} holds {held!r}")
        known = [f.name for f in dataclasses.fields(cls)]
        for name in held:
            if name not in known:
                raise unknown(f"key of {path}", str(name), known)
        for name in ("set", "data", "data_roots"):
            fields = held.get(name) or {}
            if not isinstance(fields, dict) or not all(isinstance(k, str) for k in fields):
                raise ValueError(f"{name!r} must be a mapping in {path}, but got {held[name]!r}")
        given = {k: v for k, v in held.items() if v is not None}
        for name in ("findings", "attributes", "plugins", "test_datasets", "rename_findings"):
            given[name] = _names(given.get(name, []), f"{name!r} in {path}")
        for name, value in given.items():
            if isinstance(getattr(cls, name, None), str) and not isinstance(value, str):
                raise ValueError(f"{name!r} must be a text in {path}, but got {value!r}")
        return cls(**given)


def filled_from(request: Request, stored: Request) -> Request:
    """`stored` with what `request` sets itself on top.

    Raises:
        ValueError: it sets what stored weights belong to.
    """
    changes = {}
    for f in dataclasses.fields(Request):
        value = getattr(request, f.name)
        default = f.default_factory() if callable(f.default_factory) else f.default
        if value == default:
            continue
        if f.name in FROM_RUN_FIXED and value != getattr(stored, f.name):
            raise ValueError(
                f"--from-run scores the weights of a {stored.method!r} run, so --{f.name} must not "
                f"be changed, but got {value!r}"
            )
        changes[f.name] = value
    if "data" in changes and all("." in name for name in changes["data"]):
        # Fields of other data sets say nothing of those of the source.
        changes["data"] = {**stored.data, **changes["data"]}
    return stored.changed(**changes)


def _of(field: str, dataset: str) -> bool:
    """Whether an option belongs to a data set, by its name or for lack of one."""
    name = field.rpartition(".")[0]
    return not name or name in (part.strip() for part in dataset.split("+"))


def _names(value: Any, where: str) -> tuple[str, ...]:
    names = [value] if isinstance(value, str) else value
    if not isinstance(names, list) or not all(isinstance(n, str) for n in names):
        raise ValueError(f"{where} must be a list of names, but got {value!r}")
    return tuple(names)
