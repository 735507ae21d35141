"""Which data sets a request names, each with its fields and its folder."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import options
from registry import DATASETS, ROOT, unknown

if TYPE_CHECKING:
    from datasets.base import ChestXrayDataset
    from runs.request import Request


@dataclass(frozen=True)
class Placed:
    """A data set and the folder to give to its `table`, None where it needs none."""

    dataset: ChestXrayDataset
    root: Path | None

    @property
    def name(self) -> str:
        """What it is called on the command line."""
        return self.dataset.registered_name


@dataclass(frozen=True)
class Named:
    """The data sets of a run: that of its patients, and others for validation and for tests."""

    source: Placed
    val: Placed | None = None
    tests: tuple[Placed, ...] = ()

    @property
    def others(self) -> tuple[Placed, ...]:
        """All but the source, each once."""
        found = {placed.name: placed for placed in (self.val, *self.tests) if placed is not None}
        return tuple(found.values())


def named(request: Request) -> Named:
    """The data sets of a request.

    A field of `--data` without a name is one of the source, "name.field" one of the data set of
    that name, whether it stands alone or in a union. A simulated data set that would draw the
    people of another one draws its own.

    Raises:
        UnknownName: a name is not known; the message holds the nearest match and the full list.
        ValueError, FileNotFoundError: a value breaks a rule.
    """
    if not request.dataset:
        raise ValueError(f"--dataset must be given; known: {', '.join(DATASETS.names())}")
    from datasets.union import dataset_class, parts_of

    asked = (request.dataset, *filter(None, [request.val_dataset]), *request.test_datasets)
    for name in asked:
        dataset_class(name)
    _check_roles(request, {name: parts_of(name) for name in asked})
    parts = tuple(dict.fromkeys(part for name in asked for part in parts_of(name)))
    fields = _fields(request, parts, dataset_class(request.dataset))
    roots = _roots(request, parts)
    made: dict[str, ChestXrayDataset] = {}
    for part in parts:
        given = fields[part]
        alone = options.build(DATASETS.get(part), given, flag="--data", owner=part)
        if part in roots:
            alone = alone.at(roots[part])
        made[part] = _apart(alone, tuple(made.values()), given)
    placed = {name: _placed(name, made, roots, fields.get("", {})) for name in asked}
    _check_alike({name: one.dataset for name, one in placed.items()})
    return Named(
        source=placed[request.dataset],
        val=placed[request.val_dataset] if request.val_dataset else None,
        tests=tuple(placed[name] for name in request.test_datasets),
    )


def options_of(found: Named) -> dict[str, Any]:
    """The fields of all data sets as `--data` takes them."""
    return options.plain(found.source.dataset) | {
        name: value
        for part in _other_parts(found)
        for name, value in options.plain(part, f"{part.registered_name}.").items()
    }


def shown(value: object) -> object:
    """A value of a field as others may see it: of a place on this machine its last name alone.

    Behind it stand digits that tell places of one name apart. The command, which is kept in the
    run's own folder, has the whole.
    """
    if not isinstance(value, str) or not value.startswith(("/", "~")):
        return value
    return f"{Path(value).name}@{hashlib.sha256(value.encode()).hexdigest()[:6]}"


def variant_of(dataset: ChestXrayDataset) -> list[str]:
    """The fields that tell its results from others under its name, as texts like "blank=zero"."""
    texts = options.non_defaults(dataset, leave_out=dataset.resampling_fields)
    parted = [text.partition("=") for text in texts]
    return [f"{name}={shown(value)}" for name, _, value in parted]


def words_of(found: Named) -> list[str]:
    """The part of a command that sets fields and folders, and names all but the source."""
    texts = options.non_defaults(found.source.dataset)
    for part in _other_parts(found):
        texts += options.non_defaults(part, prefix=f"{part.registered_name}.")
    words = [word for text in texts for word in ("--data", text)]
    if found.source.root:
        words += ["--data-root", str(found.source.root)]
    for name, root in named_roots(found).items():
        words += ["--data-root", f"{name}={root}"]
    words += ["--val-dataset", found.val.name] if found.val else []
    return words + [word for test in found.tests for word in ("--test-dataset", test.name)]


def named_roots(found: Named) -> dict[str, str]:
    """Folders by name: of parts of unions, and of other data sets than the source."""
    roots = dict(_roots_in(found.source.dataset))
    for placed in found.others:
        roots |= {placed.name: str(placed.root)} if placed.root else {}
        roots |= dict(_roots_in(placed.dataset))
    return roots


def files_of(found: Named) -> Iterator[ChestXrayDataset]:
    """Every data set whose code a run depends on, unions taken apart."""
    from datasets.union import parts_in

    for placed in (found.source, *found.others):
        yield from parts_in(placed.dataset)


def _other_parts(found: Named) -> list[ChestXrayDataset]:
    from datasets.union import parts_in

    every = [part for placed in found.others for part in parts_in(placed.dataset)]
    return list({part.registered_name: part for part in every}.values())


def _roots_in(dataset: ChestXrayDataset) -> list[tuple[str, str]]:
    return [(name, str(root)) for name, root in getattr(dataset, "roots", ())]


def _check_roles(request: Request, parts: Mapping[str, tuple[str, ...]]) -> None:
    source = set(parts[request.dataset])
    if len(set(request.test_datasets)) < len(request.test_datasets):
        raise ValueError(
            f"--test-dataset must name each once, but got {', '.join(request.test_datasets)}"
        )
    for flag, name in (
        ("--val-dataset", request.val_dataset),
        *(("--test-dataset", name) for name in request.test_datasets),
    ):
        if name and (shared := source & set(parts[name])):
            raise ValueError(
                f"{flag} must name other data than --dataset, but both hold "
                f"{sorted(shared)[0]!r}; its own patients are validated and tested anyway"
            )
    from datasets.union import check_kinds, known_kinds

    # Before a folder is asked for.
    check_kinds(known_kinds(parts))
    if (request.val_dataset or request.test_datasets) and str(request.folds) != "0":
        raise ValueError(
            "--val-dataset and --test-dataset must go with one model, but --folds "
            f"{request.folds} makes {request.folds}; leave out --folds"
        )


def _check_alike(datasets: Mapping[str, ChestXrayDataset]) -> None:
    """Refuse data sets, given by name, that one model cannot be judged on together."""
    from datasets.union import check_kinds

    check_kinds({name: dataset.kind for name, dataset in datasets.items()})
    held = {name: dataset.holds for name, dataset in datasets.items()}
    if len(set(held.values())) > 1:
        told = ", ".join(f"{name} holds {what}" for name, what in held.items())
        raise ValueError(
            f"all data sets of a run must hold images, or all embeddings, but {told}; embed the "
            "images with the same encoder first (python -m datasets embed)"
        )


def _fields(
    request: Request, parts: tuple[str, ...], source: type[ChestXrayDataset]
) -> dict[str, dict[str, Any]]:
    """The fields of `--data` by part; those of a union itself under ""."""
    from datasets.union import JOIN, Union

    fields: dict[str, dict[str, Any]] = {part: {} for part in (*parts, "")}
    union = issubclass(source, Union)
    for text, value in request.data.items():
        name, dot, field = text.rpartition(".")
        if not dot:
            if union and field != "downsample":
                raise ValueError(
                    f"--data of a union must read NAME.FIELD=VALUE, but got {field!r}; its parts "
                    f"are {request.dataset.replace(JOIN, ', ')}, and its own field is downsample"
                )
            fields["" if union else request.dataset.strip()][field] = value
        elif name not in parts:
            raise unknown("data set of --data", name, parts)
        else:
            fields[name][field] = value
    return fields


def _roots(request: Request, parts: tuple[str, ...]) -> dict[str, Path]:
    """A folder for every part that needs one."""
    given = dict(request.data_roots)
    for name in given:
        if name not in parts:
            raise unknown("data set of --data-root", name, parts)
    needing = [p for p in parts if DATASETS.get(p).needs_root and p not in given]
    if request.data_root:
        first = request.dataset.strip() if request.dataset.strip() in parts else ""
        alone = needing if len(needing) == 1 else [first] if first else []
        if not alone:
            raise ValueError(
                f"--data-root must read NAME=DIR where several data sets need a folder, but got "
                f"{request.data_root!r} for {', '.join(needing) or 'none that needs one'}"
            )
        given.setdefault(alone[0], request.data_root)
    for name in needing:
        if name not in given:
            flag = "--data-root" if len(parts) == 1 else f"--data-root {name}=DIR"
            raise ValueError(f"{flag} must name the directory of {name!r}; {_how_to_get(name)}")
    return {name: _directory(text) for name, text in given.items()}


def _directory(text: str) -> Path:
    root = Path(text).expanduser()
    if not root.is_dir():
        told = "is a file; name the folder it lies in" if root.exists() else "does not exist"
        raise FileNotFoundError(f"--data-root must be a directory, but {text!r} {told}")
    return root.resolve()


def _apart(
    made: ChestXrayDataset, others: tuple[ChestXrayDataset, ...], given: Mapping[str, Any]
) -> ChestXrayDataset:
    apart = made.beside(others)
    for name in given:
        if getattr(apart, name) != getattr(made, name):
            raise ValueError(
                f"people of two data sets must be different, but {made.registered_name!r} draws "
                f"those of another one with {name}={given[name]}; leave {name} out, or say "
                f"{name}={getattr(apart, name)}"
            )
    return apart


def _placed(
    name: str,
    made: Mapping[str, ChestXrayDataset],
    roots: Mapping[str, Path],
    own: Mapping[str, Any],
) -> Placed:
    from datasets.union import dataset_class, parts_of

    parts = parts_of(name)
    if len(parts) == 1:
        return Placed(made[parts[0]], roots.get(parts[0]))
    kind: Any = dataset_class(name)
    union = options.build(kind, own, flag="--data", owner=name)
    placed = tuple((part, roots[part]) for part in parts if part in roots)
    return Placed(replace(union, parts=tuple(made[part] for part in parts), roots=placed), None)


def _how_to_get(dataset: str) -> str:
    page = Path("docs") / "datasets" / f"{dataset}.md"
    if (ROOT / page).is_file():
        return f"the page {page} says how to get it"
    return f"its docstring says how to get it ({DATASETS.origin(dataset)})"
