"""From text to dataclass fields: what `--set field=value` and `--data field=value` mean."""

from __future__ import annotations

import dataclasses
import math
import types
import typing
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, TypeVar

from registry import unknown

T = TypeVar("T")
OPTION, PARTS = "option", "parts"
"""Metadata of a field: False, it is no option; True, it holds things with options of their own."""


def assignments(texts: Iterable[str], flag: str) -> dict[str, str]:
    """`field=value` texts as a mapping.

    Raises:
        ValueError: a text has no `=`, or a field stands twice.
    """
    given: dict[str, str] = {}
    for text in texts:
        name, equals, value = text.partition("=")
        if not equals or not name.strip():
            raise ValueError(f"{flag} must read field=value, but got {text!r}")
        if name.strip() in given:
            raise ValueError(f"{flag} must set a field once, but {name.strip()!r} is set twice")
        given[name.strip()] = value.strip()
    return given


def directories(texts: Iterable[str], flag: str) -> dict[str, str]:
    """`[NAME=]DIR` texts as directories by name, that without a name under "".

    An existing directory with a "=" in its name is read as one without a name.

    Raises:
        ValueError: a name, or none, is given twice.
    """
    given: dict[str, str] = {}
    for text in texts:
        name, _, directory = text.partition("=")
        if name == text or Path(text).is_dir():
            name, directory = "", text
        if name in given:
            raise ValueError(f"{flag} must be given once per data set, but got {text!r} too")
        given[name] = directory
    return given


def build(cls: type[T], given: Mapping[str, Any], *, flag: str, owner: str) -> T:
    """An instance of the dataclass `cls` with `given` fields; texts are read by the field's type.

    Raises:
        UnknownName: a field that `cls` does not have, with the nearest match and the full list.
        ValueError: a value is not of the field's type, or the class refuses it.
    """
    hints = typing.get_type_hints(cls)
    known = [f.name for f in dataclasses.fields(cls)]  # type: ignore[arg-type]
    values = {}
    for name, value in given.items():
        if name not in known:
            raise unknown(f"field of {owner}", name, known)
        values[name] = _read(value, hints[name], f"{flag} {name}")
    try:
        return cls(**values)
    except ValueError as error:
        raise ValueError(f"{owner}: {error}") from error


def non_defaults(thing: Any, *, leave_out: Iterable[str] = (), prefix: str = "") -> list[str]:
    """Fields that differ from their defaults, as texts like "lr=0.01"; of parts "part.lr=0.01"."""
    skip = set(leave_out)
    return [
        f"{prefix}{name}={_write(value)}"
        for name, value, default in _held(thing)
        if name not in skip and value != default
    ]


def plain(thing: Any, prefix: str = "") -> dict[str, Any]:
    """The fields as JSON and YAML hold them: tuples become lists, an infinity becomes a text."""
    return {prefix + name: _plain(value) for name, value, _ in _held(thing)}


def _held(thing: Any) -> Iterator[tuple[str, Any, Any]]:
    """Name, value and default of every option; those of parts under the names of the parts."""
    for f in dataclasses.fields(thing):
        value = getattr(thing, f.name)
        if f.metadata.get(PARTS):
            for part in value:
                for name, own, default in _held(part):
                    yield f"{part.registered_name}.{name}", own, default
        elif f.metadata.get(OPTION, True):
            yield f.name, value, f.default


def _plain(value: Any) -> Any:
    if isinstance(value, tuple):
        return [_plain(v) for v in value]
    # JSON has no infinity; the text reads back to one.
    return str(value) if isinstance(value, float) and math.isinf(value) else value


def _write(value: Any) -> str:
    return ",".join(map(str, value)) if isinstance(value, tuple) else str(value)


def _read(value: Any, hint: Any, where: str) -> Any:
    origin = typing.get_origin(hint)
    if origin in (typing.Union, types.UnionType):
        inner = [a for a in typing.get_args(hint) if a is not type(None)]
        if value is None or (isinstance(value, str) and value.lower() in ("none", "")):
            return None
        return _read(value, inner[0], where)
    if origin is tuple:
        return _read_tuple(value, typing.get_args(hint), where)
    if hint is bool:
        return _read_bool(value, where)
    if isinstance(value, bool) or not isinstance(value, str | int | float):
        raise _wrong(value, hint, where)
    try:
        if hint is int:
            if isinstance(value, float) and not value.is_integer():
                raise ValueError
            return int(value)
        if hint is float:
            return float(value)
    except ValueError:
        raise _wrong(value, hint, where) from None
    return str(value)


def _read_tuple(value: Any, inner: tuple[Any, ...], where: str) -> tuple[Any, ...]:
    items = [v.strip() for v in value.split(",") if v.strip()] if isinstance(value, str) else value
    if not isinstance(items, list | tuple):
        raise ValueError(f"{where} must be a list, comma-separated, but got {value!r}")
    variadic = len(inner) == 2 and inner[1] is Ellipsis
    if not variadic and len(items) != len(inner):
        raise ValueError(f"{where} must hold {len(inner)} values, but got {value!r}")
    kinds = [inner[0]] * len(items) if variadic else list(inner)
    return tuple(_read(v, kind, where) for v, kind in zip(items, kinds, strict=True))


def _read_bool(value: Any, where: str) -> bool:
    if isinstance(value, bool):
        return value
    if str(value).lower() in ("true", "yes", "1"):
        return True
    if str(value).lower() in ("false", "no", "0"):
        return False
    raise _wrong(value, bool, where)


def _wrong(value: Any, hint: Any, where: str) -> ValueError:
    words = {int: "a whole number", float: "a number", bool: "true or false"}
    return ValueError(f"{where} must be {words.get(hint, hint)}, but got {value!r}")
