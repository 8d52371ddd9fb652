"""Frozen configurations made of JSON types only, checked when they are built."""

from __future__ import annotations

import dataclasses
import math
import types
import typing
from dataclasses import dataclass
from typing import Any, Literal, Self, Union, get_args, get_origin


@dataclass(frozen=True)
class Config:
    """Base of every configuration: a frozen dataclass whose fields hold JSON types.

    The dataclass is the one place where a default and its meaning are written: command-line flags, the
    artifact's header and the result tables derive from it. Lists become tuples, whole floats become
    integers where an integer is asked for, anything else of the wrong type raises.
    """

    def __post_init__(self) -> None:
        hints = typing.get_type_hints(type(self))
        for field in dataclasses.fields(self):
            name = f"{type(self).__name__}.{field.name}"
            object.__setattr__(self, field.name, _checked(getattr(self, field.name), hints[field.name], name))

    def to_dict(self) -> dict[str, Any]:
        """The fields as JSON values; :meth:`from_dict` of it gives an equal configuration."""
        return {
            field.name: list(value) if isinstance(value := getattr(self, field.name), tuple) else value
            for field in dataclasses.fields(self)
        }

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> Self:
        """Builds the configuration from JSON values.

        Raises:
            ValueError: a key is not a field; the message lists the fields.
            TypeError: a value has the wrong type.
        """
        known = [field.name for field in dataclasses.fields(cls)]
        unknown = sorted(set(values) - set(known))
        if unknown:
            options = ", ".join(known) or "none"
            raise ValueError(f"{cls.__name__} has no option {', '.join(unknown)}. Its options: {options}.")
        return cls(**values)

    def non_defaults(self) -> dict[str, Any]:
        """The fields that differ from their defaults, as JSON values; what a label of a run shows."""
        defaults = {f.name: f.default for f in dataclasses.fields(self)}
        return {k: v for k, v in self.to_dict().items() if getattr(self, k) != defaults[k]}


def _checked(value: Any, hint: Any, name: str) -> Any:
    """``value`` as the type ``hint``, or a TypeError that names the field."""
    origin = get_origin(hint)
    if origin in (Union, types.UnionType):
        for option in get_args(hint):
            try:
                return _checked(value, option, name)
            except TypeError:
                continue
        raise TypeError(f"`{name}` must be {_spell(hint)}, got {value!r}.")
    if origin is Literal:
        if any(value == option and type(value) is type(option) for option in get_args(hint)):
            return value
        raise ValueError(f"`{name}` must be {_spell(hint)}, got {value!r}.")
    if origin is tuple:
        if isinstance(value, (list, tuple)):
            return tuple(_checked(element, get_args(hint)[0], name) for element in value)
    elif hint is float:
        if isinstance(value, (int, float)) and not isinstance(value, bool):
            if not math.isfinite(value):
                raise ValueError(f"`{name}` must be finite, got {value!r}.")
            return float(value)
    elif hint is int:
        if isinstance(value, int) and not isinstance(value, bool):
            return value
        if isinstance(value, float) and value.is_integer():
            return int(value)
    elif hint is type(None):
        if value is None:
            return None
    elif isinstance(value, hint):
        return value
    raise TypeError(f"`{name}` must be {_spell(hint)}, got {value!r}.")


def _spell(hint: Any) -> str:
    origin = get_origin(hint)
    if origin in (Union, types.UnionType):
        return " or ".join(_spell(option) for option in get_args(hint))
    if origin is Literal:
        return " or ".join(repr(option) for option in get_args(hint))
    if origin is tuple:
        return f"a list of {_spell(get_args(hint)[0])}"
    return {
        int: "an integer",
        float: "a number",
        bool: "true or false",
        str: "a text",
        type(None): "null",
    }.get(hint, str(hint))
