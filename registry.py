"""The one registry of the suite: names for methods, data sets and metrics.

A file dropped into a registry's folder is the registration. Listing parses those files without
importing them, so `--list` and `--help` cost nothing; `get` imports the one file that is asked for.
"""

from __future__ import annotations

import ast
import difflib
import importlib
import importlib.metadata
import importlib.util
import sys
import zlib
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Generic, TypeVar

ROOT = Path(__file__).resolve().parent
T = TypeVar("T")


@dataclass(frozen=True)
class Entry:
    """What a registry knows of a thing before importing it."""

    name: str
    summary: str
    file: Path
    line: int
    module: str
    bases: tuple[str, ...] = ()
    defines: tuple[str, ...] = ()
    """Functions that the class body defines: for a method, the stages it overrides."""
    facts: Mapping[str, Any] = field(default_factory=dict)
    """Literal keyword arguments of the `register` call, such as a metric's direction."""


class UnknownName(KeyError):
    """A name or field that is not there; the message holds the nearest match and the full list."""

    def __str__(self) -> str:
        return str(self.args[0])


def unknown(
    kind: str, name: str, known: Iterable[str], *, listed: Sequence[str] = ()
) -> UnknownName:
    """An error for a name that is not among `known`, with the nearest match and the full list.

    `listed` is the list in short, where the full one would be too long to read.
    """
    choices = sorted(known)
    near = difflib.get_close_matches(name, choices, n=1, cutoff=0.7)
    hint = f"did you mean {near[0]!r}? " if near else ""
    return UnknownName(
        f"unknown {kind} {name!r}; {hint}known: {', '.join(listed or choices) or 'none'}"
    )


class Registry(Generic[T]):
    """Names of one kind of thing, found in one folder, in plugins and in entry points.

    >>> METHODS = Registry("method", "methods")
    >>> @METHODS.register("erm")
    ... class Erm: ...
    """

    def __init__(self, kind: str, folder: str) -> None:
        self.kind = kind
        self.folder = folder
        self._decorator = f"{folder.rpartition('/')[2].upper()}.register"
        self._loaded: dict[str, T] = {}
        self._files_read = False
        self._entries: dict[str, Entry] = {}

    def register(self, name: str, **facts: Any) -> Callable[[T], T]:
        """A decorator that gives `name` to a class or function. `facts` must be literals."""

        def decorate(thing: T) -> T:
            held = self._loaded.get(name)
            if held is not None and _origin(held) != _origin(thing):
                raise ValueError(
                    f"a {self.kind} name must be unique, but {name!r} is registered in both "
                    f"{_origin(held)} and {_origin(thing)}; rename one of them"
                )
            self._loaded[name] = thing
            thing.registered_name = name  # type: ignore[attr-defined]
            return thing

        return decorate

    def entries(self) -> dict[str, Entry]:
        """All entries by name, sorted; nothing is imported.

        Raises:
            ValueError: a name stands in two files.
        """
        if not self._files_read:
            self._files_read = True
            for path in sorted((ROOT / self.folder).glob("*.py")):
                self._read(path, f"{self.folder.replace('/', '.')}.{path.stem}")
            for point in importlib.metadata.entry_points(
                group=f"trilemma.{self.folder.rpartition('/')[2]}"
            ):
                self._read_entry_point(point)
        return dict(sorted(self._entries.items()))

    def names(self) -> list[str]:
        """All registered names, sorted."""
        return list(self.entries())

    def get(self, name: str) -> T:
        """The class or function registered as `name`; imports its file.

        Raises:
            UnknownName: with the nearest match and the full list.
        """
        entries = self.entries()
        if name not in entries:
            raise unknown(self.kind, name, entries)
        if name not in self._loaded:
            importlib.import_module(entries[name].module)
        return self._loaded[name]

    def origin(self, name: str) -> str:
        """`file:line` of a registered name."""
        entry = self.entries()[name]
        return f"{entry.file}:{entry.line}"

    def add_plugin(self, path: Path) -> None:
        """Read the registrations of a file outside the suite (`--plugin`) and import it."""
        self.entries()
        module = f"trilemma_plugin_{path.stem}_{zlib.crc32(str(path).encode()):08x}"
        if module not in sys.modules:
            spec = importlib.util.spec_from_file_location(module, path)
            if spec is None or spec.loader is None:
                raise ValueError(f"a plugin must be a Python file, but got {path}")
            loaded = importlib.util.module_from_spec(spec)
            sys.modules[module] = loaded
            try:
                spec.loader.exec_module(loaded)
            except BaseException:
                del sys.modules[module]
                raise
        self._read(path, module)

    def _read_entry_point(self, point: importlib.metadata.EntryPoint) -> None:
        spec = importlib.util.find_spec(point.module)
        if spec is not None and spec.origin is not None:
            self._read(Path(spec.origin), point.module)

    def _read(self, path: Path, module: str) -> None:
        # As source spells the decorator: `METHODS.register`, or `registry.METHODS.register`.
        for entry in _registrations(path, module, self._decorator):
            held = self._entries.get(entry.name)
            if held is not None and held.file != entry.file:
                raise ValueError(
                    f"a {self.kind} name must be unique, but {entry.name!r} stands in both "
                    f"{held.file}:{held.line} and {entry.file}:{entry.line}; rename one of them"
                )
            self._entries[entry.name] = entry


def _registrations(path: Path, module: str, decorator: str) -> Iterator[Entry]:
    try:
        tree = ast.parse(path.read_text(encoding="utf-8"), filename=str(path))
    except SyntaxError as error:
        raise ValueError(
            f"every file of a registry must be Python, but {path} line {error.lineno} is not: "
            f"{error.msg}"
        ) from error
    for node in tree.body:
        if not isinstance(node, ast.ClassDef | ast.FunctionDef):
            continue
        for call in node.decorator_list:
            if not (isinstance(call, ast.Call) and ast.unparse(call.func).endswith(decorator)):
                continue
            name = ast.literal_eval(call.args[0])
            bases = node.bases if isinstance(node, ast.ClassDef) else []
            yield Entry(
                name=name,
                summary=(ast.get_docstring(node) or "").split("\n", 1)[0],
                file=path,
                line=node.lineno,
                module=module,
                bases=tuple(ast.unparse(base) for base in bases),
                defines=tuple(item.name for item in node.body if isinstance(item, ast.FunctionDef)),
                facts={k.arg: ast.literal_eval(k.value) for k in call.keywords if k.arg},
            )


def _origin(thing: Any) -> str:
    module = sys.modules.get(thing.__module__)
    return f"{getattr(module, '__file__', thing.__module__)}:{thing.__qualname__}"


METHODS: Registry[Any] = Registry("method", "methods")
DATASETS: Registry[Any] = Registry("data set", "datasets")
METRICS: Registry[Any] = Registry("metric", "metrics")
ANONYMISERS: Registry[Any] = Registry("anonymiser", "methods/anonymisers")
SELECTION: Registry[Any] = Registry("selection strategy", "methods/selection")
SUITES: Registry[Any] = Registry("suite", "benchmarks/suites")


def load_plugins(paths: Iterable[str]) -> None:
    """Import plugin files; each may register anything that has a registry.

    Raises:
        FileNotFoundError: a path is not a file.
        ValueError: a file cannot be imported; the message says why and where.
    """
    for text in paths:
        path = Path(text).resolve()
        if not path.is_file():
            raise FileNotFoundError(f"--plugin must name a Python file, but {text!r} is not a file")
        for registry in (METHODS, DATASETS, METRICS, ANONYMISERS, SELECTION, SUITES):
            try:
                registry.add_plugin(path)
            except Exception as error:
                raise ValueError(
                    f"--plugin must be importable, but {text!r} raised {type(error).__name__}: "
                    f"{error}"
                ) from error
