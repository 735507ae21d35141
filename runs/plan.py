"""From what a user asks for to a plan with every name resolved and every value checked."""

from __future__ import annotations

import dataclasses
import hashlib
import os
import shlex
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import options
from registry import METHODS, ROOT, load_plugins, unknown
from runs.data_sets import Named, Placed, named, named_roots, options_of, words_of

if TYPE_CHECKING:
    from datasets.base import ChestXrayDataset
    from datasets.division import Division
    from methods.base import Method
    from tracking.rundir import RunDirectory

EMBEDDINGS_BACKBONE = "mlp"
"""Of a data set that holds embeddings, where none is named."""
BAD_IMAGE_POLICIES = ("error", "drop")
LONGEST_REASON = 500
"""Characters."""
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


@dataclass(frozen=True)
class Plan:
    """A run with every name resolved."""

    method: Method
    dataset: ChestXrayDataset
    data_root: Path | None
    seed: int
    split: Division
    folds: int
    limit_patients: int
    findings: tuple[str, ...]
    attributes: tuple[str, ...]
    device: str
    threads: int
    on_bad_image: str
    output: Path
    experiment: str
    tracking_uri: str
    plugins: tuple[str, ...] = ()
    from_run: RunDirectory | None = None
    same_person: Path | None = None
    """A csv file of pairs of patient ids that are one person."""
    allow_leakage: str = ""
    """Why leakage between folds does not stop the run; empty where it does."""
    val: Placed | None = None
    """What validates in place of the source's own patients."""
    tests: tuple[Placed, ...] = ()
    """Where the model is tested out of domain."""
    renames: Mapping[str, str] = field(default_factory=dict)
    """New names of findings by old ones."""

    @property
    def named(self) -> Named:
        """Its data sets by what they are for."""
        return Named(Placed(self.dataset, self.data_root), self.val, self.tests)

    @property
    def terms(self) -> str:
        """ "restricted" if those of any of its data sets are."""
        every = (self.dataset, *(placed.dataset for placed in self.named.others))
        return "restricted" if any(d.terms == "restricted" for d in every) else "open"

    def config(self) -> dict[str, Any]:
        """The request that repeats this plan, as plain values."""
        from tracking.store import without_password

        return {
            "method": self.method.registered_name,
            "set": options.plain(self.method),
            "dataset": self.dataset.registered_name,
            "data": options_of(self.named),
            "data_root": str(self.data_root) if self.data_root else None,
            "data_roots": named_roots(self.named),
            "val_dataset": self.val.name if self.val else None,
            "test_datasets": [test.name for test in self.tests],
            "rename_findings": [f"{old}={new}" for old, new in self.renames.items()],
            "seed": self.seed,
            "split": str(self.split),
            "folds": self.folds,
            "limit_patients": self.limit_patients,
            "findings": list(self.findings),
            "attributes": list(self.attributes),
            "device": self.device,
            "threads": self.threads,
            "on_bad_image": self.on_bad_image,
            "same_person": str(self.same_person) if self.same_person else None,
            "allow_leakage": self.allow_leakage or None,
            "experiment": self.experiment,
            "output": str(self.output),
            "tracking_uri": without_password(self.tracking_uri),
            "plugins": list(self.plugins),
            "from_run": str(self.from_run.path) if self.from_run else None,
        }

    def identity(self) -> dict[str, Any]:
        """What of the plan can change a number; part of the key of the run.

        Leakage that was found and allowed is in the key beside it; the permission alone is not.
        """
        config = self.config()
        left_out = {"data_root", "on_bad_image", "experiment", "output", "tracking_uri", "plugins"}
        left_out |= {"same_person", "allow_leakage", "data_roots"}
        kept = {k: v for k, v in config.items() if k not in left_out}
        kept["split"] = self.split.identity
        kept["data_version"] = self.dataset.version
        kept["other_versions"] = {p.name: p.dataset.version for p in self.named.others}
        kept["device"] = self.device.split(":")[0]
        # By content: a file of the same name may hold other weights tomorrow.
        kept["weights"] = [_content(Path(self.method.weights))] if self.method.weights else []
        kept["content"] = list(self.method.content())
        if self.from_run:
            kept["from_run"] = [_content(f) for f in sorted(self.from_run.path.glob("weights*"))]
        return kept

    def command(self) -> str:
        """The command that asks for this plan."""
        name, data = self.method.registered_name, self.dataset.registered_name
        words = ["python", "runner.py", "--method", name, "--dataset", data]
        for pair in options.non_defaults(self.method):
            words += ["--set", pair]
        words += words_of(self.named)
        for old, new in self.renames.items():
            words += ["--rename-finding", f"{old}={new}"]
        words += ["--seed", str(self.seed)]
        if not self.own_split:
            words += ["--split", str(self.split)]
        for name, value in self._beside().items():
            if value != getattr(Request, name):
                words += [f"--{name.replace('_', '-')}", str(value)]
        for flag, names in (("--findings", self.findings), ("--attributes", self.attributes)):
            if names:
                words += [flag, ",".join(names)]
        for plugin in self.plugins:
            words += ["--plugin", plugin]
        if self.from_run:
            words += ["--from-run", str(self.from_run.path)]
        if self.same_person:
            words += ["--same-person", str(self.same_person)]
        if self.allow_leakage:
            words += ["--allow-leakage", self.allow_leakage]
        return shlex.join(words)

    @property
    def own_split(self) -> bool:
        """Whether the folds are what the data set says, or the k of `--folds`."""
        return bool(self.folds) or str(self.split) == self.dataset.default_split

    def _beside(self) -> dict[str, Any]:
        """Options that a command names only where they differ from the default."""
        return {
            "folds": self.folds,
            "limit_patients": self.limit_patients,
            "threads": self.threads,
            "on_bad_image": self.on_bad_image,
            "experiment": self.experiment,
        }


def resolve(request: Request) -> Plan:
    """The plan of a request.

    Raises:
        UnknownName: a name is not known; the message holds the nearest match and the full list.
        ValueError, FileNotFoundError: a value breaks a rule.
    """
    load_plugins(request.plugins)
    output = Path(request.output or os.environ.get("TRILEMMA_OUTPUT") or ROOT / "output").resolve()
    _check_writable(output)
    from_run = None
    if request.from_run:
        from tracking.rundir import find

        from_run = find(output, request.from_run)
        _check_scorable(from_run)
        request = _filled_from(request, Request.from_config(from_run.path / "config.yaml"))
        load_plugins(request.plugins)
    if not request.method:
        raise ValueError(f"--method must be given; known: {', '.join(METHODS.names())}")
    found = named(request)
    dataset = found.source.dataset
    from datasets.align import pairs_of

    # A combination imports its parts, and they import what a plan alone does without.
    from datasets.base import EMBEDDINGS
    from methods.compose import method_class

    given = dict(request.set)
    if dataset.holds == EMBEDDINGS:
        # The default of every method sees images.
        given.setdefault("backbone", EMBEDDINGS_BACKBONE)
    method = options.build(method_class(request.method), given, flag="--set", owner=request.method)
    _check_contents(method, found)
    for name in ("findings", "attributes"):
        names = getattr(request, name)
        if len(set(names)) < len(names):
            raise ValueError(f"--{name} must name each once, but got {', '.join(names)}")
    if request.on_bad_image not in BAD_IMAGE_POLICIES:
        raise ValueError(f"--on-bad-image must be error or drop, but got {request.on_bad_image!r}")
    if not request.experiment.strip():
        raise ValueError("--experiment must be a name, but got an empty text")
    folds = whole(request.folds, "--folds", low=0, high=1000)
    return Plan(
        method=method,
        dataset=dataset,
        data_root=found.source.root,
        seed=whole(request.seed, "--seed", low=0, high=2**31 - 1),
        split=_split(request.split, folds, dataset),
        folds=folds,
        limit_patients=whole(request.limit_patients, "--limit-patients", low=0, high=2**31 - 1),
        findings=request.findings,
        attributes=request.attributes,
        device=device_named(request.device),
        threads=whole(request.threads, "--threads", low=1, high=1024),
        on_bad_image=request.on_bad_image,
        output=output,
        experiment=request.experiment,
        tracking_uri=request.tracking_uri or os.environ.get("MLFLOW_TRACKING_URI")
        or f"sqlite:///{ROOT}/mlflow.db",
        plugins=tuple(str(Path(p).resolve()) for p in request.plugins),
        from_run=from_run,
        same_person=_same_person(request.same_person),
        allow_leakage=_reason(request.allow_leakage),
        val=found.val,
        tests=found.tests,
        renames=pairs_of(request.rename_findings, "--rename-finding"),
    )  # fmt: skip


def dataset_of(request: Request) -> tuple[ChestXrayDataset, Path | None]:
    """The data set of a request with its fields set, and its directory, None where it needs none.

    Raises:
        UnknownName: a name is not known; the message holds the nearest match and the full list.
        ValueError, FileNotFoundError: a value breaks a rule.
    """
    source = named(request).source
    return source.dataset, source.root


def _of(field: str, dataset: str) -> bool:
    """Whether an option belongs to a data set, by its name or for lack of one."""
    name = field.rpartition(".")[0]
    return not name or name in (part.strip() for part in dataset.split("+"))


def _check_contents(method: Method, found: Named) -> None:
    """Refuse a backbone or an augmentation that cannot see what the data sets hold."""
    from backbones import cannot_see
    from datasets.base import EMBEDDINGS

    dataset = found.source.dataset
    embeddings = dataset.holds == EMBEDDINGS
    if reason := cannot_see(method.backbone, embeddings=embeddings):
        raise ValueError(f"{dataset.registered_name}: {reason}")
    if embeddings and method.augmentation != "none":
        raise ValueError(
            f"augmentation must be none where the data set holds embeddings, as "
            f"{dataset.registered_name!r} does, but got {method.augmentation!r}: there is no image "
            "to turn or shift; leave --set augmentation out"
        )
    for other in found.others:
        if other.dataset.holds != dataset.holds:
            raise ValueError(
                f"all data sets of a run must hold the same, but {found.source.name!r} holds "
                f"{dataset.holds} and {other.name!r} {other.dataset.holds}; embed the images with "
                "the same encoder first (python -m datasets embed)"
            )


def _filled_from(request: Request, stored: Request) -> Request:
    """`stored` with what `request` sets itself on top."""
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


def _names(value: Any, where: str) -> tuple[str, ...]:
    names = [value] if isinstance(value, str) else value
    if not isinstance(names, list) or not all(isinstance(n, str) for n in names):
        raise ValueError(f"{where} must be a list of names, but got {value!r}")
    return tuple(names)


def _check_writable(output: Path) -> None:
    there = next(p for p in (output, *output.parents) if p.exists())
    if not there.is_dir() or not os.access(there, os.W_OK):
        raise ValueError(
            f"--output must be a directory that can be written, but {str(there)!r} is not"
        )


def _check_scorable(run: RunDirectory) -> None:
    if not run.finished:
        raise ValueError(
            f"--from-run must name a finished run, but {run.path} is {run.record().status}; "
            "run its command again to finish it"
        )


def _content(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def _split(name: str, folds: int, dataset: ChestXrayDataset) -> Division:
    from datasets.division import PATIENT, Division

    if not folds:
        return Division.named(name or dataset.default_split)
    if name not in ("", PATIENT):
        raise ValueError(
            f"--folds tests each of k parts dealt by patient, so --split must not be given beside "
            f"it, but got {name!r}; leave out one of them"
        )
    return Division(PATIENT)


def _same_person(name: str) -> Path | None:
    if not name:
        return None
    path = Path(name).expanduser()
    if not path.is_file():
        raise FileNotFoundError(f"--same-person must be a csv file, but {name!r} does not exist")
    return path.resolve()


def _reason(text: str | None) -> str:
    """Why leakage is allowed, on one line."""
    if text is None:
        return ""
    reason = " ".join(text.split()) if isinstance(text, str) else ""
    if not 0 < len(reason) <= LONGEST_REASON:
        raise ValueError(
            f"--allow-leakage must give a reason of 1 to {LONGEST_REASON} characters, but got "
            f"{text!r}; readers of the results will see it"
        )
    return reason


def whole(value: int | str, flag: str, *, low: int, high: int) -> int:
    """The whole number that a flag was given.

    Raises:
        ValueError: it is none, or not between `low` and `high`.
    """
    try:
        if not isinstance(value, int | str) or isinstance(value, bool):
            raise ValueError
        number = int(value)
    except ValueError:
        raise ValueError(f"{flag} must be a whole number, but got {value!r}") from None
    if not low <= number <= high:
        raise ValueError(f"{flag} must lie between {low} and {high}, but got {number}")
    return number


def device_named(name: str) -> str:
    """The device that a name means; "auto" is a GPU where there is one.

    Raises:
        ValueError: it is none, or is not there.
    """
    import torch

    if name == "auto":
        return "cuda" if torch.cuda.is_available() else "cpu"
    try:
        device = torch.device(name)
    except RuntimeError:
        raise ValueError(f"--device must be cpu, cuda or cuda:N, but got {name!r}") from None
    if device.type == "cuda" and (device.index or 0) >= torch.cuda.device_count():
        raise ValueError(
            f"--device must be present, but {name!r} is not "
            f"({torch.cuda.device_count()} CUDA devices found); use --device cpu"
        )
    if device.type not in ("cpu", "cuda"):
        raise ValueError(f"--device must be cpu, cuda or cuda:N, but got {name!r}")
    return name
