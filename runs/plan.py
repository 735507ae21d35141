"""From what a user asks for to a plan with every name resolved and every value checked."""

from __future__ import annotations

import hashlib
import os
import shlex
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import options
from registry import METHODS, ROOT, load_plugins
from runs.data_sets import Named, Placed, named, named_roots, options_of, words_of
from runs.request import Request, filled_from
from runs.values import check_writable, device_named, reason, same_person, whole

if TYPE_CHECKING:
    from datasets.base import ChestXrayDataset
    from datasets.division import Division
    from methods.base import Method
    from tracking.rundir import RunDirectory

EMBEDDINGS_BACKBONE = "mlp"
"""Of a data set that holds embeddings, where none is named."""
BAD_IMAGE_POLICIES = ("error", "drop")


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
    check_writable(output)
    from_run = None
    if request.from_run:
        from tracking.rundir import find

        from_run = find(output, request.from_run)
        _check_scorable(from_run)
        request = filled_from(request, Request.from_config(from_run.path / "config.yaml"))
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
        same_person=same_person(request.same_person),
        allow_leakage=reason(request.allow_leakage),
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
