"""Methods by name, and methods made of several: `upsample+group_thresholds`."""

from __future__ import annotations

import dataclasses
from functools import cache
from typing import Any

from methods import STAGES
from methods.base import Method, Task
from registry import METHODS

JOIN = "+"


@cache
def method_class(name: str) -> type[Method]:
    """The class registered as `name`, or one that joins the stages of `a+b`.

    Raises:
        UnknownName: a part is not registered.
        ValueError: two parts override one stage, or want different defaults of one field.
    """
    names = [part.strip() for part in name.split(JOIN)]
    parts = [METHODS.get(part) for part in names]
    if len(parts) == 1:
        single: type[Method] = parts[0]
        return single
    if len(set(names)) < len(names):
        raise ValueError(f"a combination must name each method once, but got {name!r}")
    _check_stages(names, parts)
    return _joined(names, parts)


def _check_stages(names: list[str], parts: list[type[Method]]) -> None:
    for stage in STAGES:
        both = [
            n for n, part in zip(names, parts, strict=True)
            if getattr(part, stage) is not getattr(Method, stage)
        ]  # fmt: skip
        if len(both) > 1:
            raise ValueError(
                f"combined methods must override different stages, but {' and '.join(both)} both "
                f"override {stage!r}; run them one by one"
            )


def _joined(names: list[str], parts: list[type[Method]]) -> type[Method]:
    """A frozen dataclass that inherits from all parts, each field with the default it was given."""
    name = JOIN.join(names)
    body: dict[str, Any] = {
        "__doc__": "Stages of " + ", ".join(names) + " together.",
        "__module__": __name__,
        "__annotations__": {},
        "smallest": {k: v for part in parts for k, v in part.smallest.items()},
        "content": lambda self: tuple(d for part in parts for d in part.content(self)),
        "skip": lambda self, task: _first_reason(parts, self, task),
        "attributes_at_test": lambda self, task: _attributes(parts, self, task),
        "__reduce__": lambda self: (_restore, (name, dataclasses.asdict(self))),
    }
    base = {f.name: f for f in dataclasses.fields(Method)}
    for part in parts:
        for field in dataclasses.fields(part):
            held = body.get(field.name)
            same = base.get(field.name)
            if same is not None and same.default == field.default:
                continue
            if held is not None and held.default != field.default:
                raise ValueError(
                    f"combined methods must agree on the default of {field.name!r}, but {name!r} "
                    f"finds {held.default!r} and {field.default!r}; run them one by one"
                )
            body[field.name] = dataclasses.field(
                default=field.default, metadata=dict(field.metadata)
            )
            body["__annotations__"][field.name] = field.type
    combined: Any = type(name, tuple(parts), body)
    made: type[Method] = dataclasses.dataclass(frozen=True)(combined)
    made.registered_name = name
    return made


def _first_reason(parts: list[type[Method]], method: Any, task: Task) -> str | None:
    return next((reason for part in parts if (reason := part.skip(method, task))), None)


def _attributes(parts: list[type[Method]], method: Any, task: Task) -> tuple[str, ...]:
    needed = (a for part in parts for a in part.attributes_at_test(method, task))
    return tuple(dict.fromkeys(needed))


def _restore(name: str, fields: dict[str, Any]) -> Method:
    """A combined method in another process, where its class does not exist yet."""
    return method_class(name)(**fields)
