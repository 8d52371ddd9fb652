"""Frozen configurations of JSON types, checked on construction."""

from __future__ import annotations

import dataclasses
import math
import types
import typing
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cache, partial
from types import MappingProxyType
from typing import Annotated, Any, ClassVar, Literal, Self, Union, get_args, get_origin

LARGEST = 2**31 - 1
"""Largest value of a count."""


@dataclass(frozen=True)
class Bounds:
    """The range of a number, declared with its type: ``bits: Annotated[int, Bounds(1, 8)] = 8``.

    Attributes:
        low: smallest value.
        high: largest value; None for no limit.
        open_low: exclude ``low``.
        open_high: exclude ``high``.
    """

    low: float
    high: float | None = None
    open_low: bool = False
    open_high: bool = False

    def check(self, value: float, name: str) -> None:
        """Raises ValueError if a value is out of range."""
        above = value > self.low if self.open_low else value >= self.low
        below = self.high is None or (value < self.high if self.open_high else value <= self.high)
        if not (above and below):
            told = f"be at most {self.high:,}" if above and self.high == LARGEST else str(self)
            raise ValueError(f"`{name}` must {told}, got {str(value)[:40]}.")

    def __str__(self) -> str:
        if self.high in (None, LARGEST):
            if self.low == 0:
                return "be positive" if self.open_low else "not be negative"
            return f"be above {self.low}" if self.open_low else f"be at least {self.low}"
        if not (self.open_low or self.open_high):
            return f"be {self.low} to {self.high}"
        low, high = ("above" if self.open_low else "at least"), ("below" if self.open_high else "at most")
        return f"be {low} {self.low} and {high} {self.high}"


PositiveInt = Annotated[int, Bounds(1, LARGEST)]
Count = Annotated[int, Bounds(0, LARGEST)]
Positive = Annotated[float, Bounds(0, open_low=True)]
NotNegative = Annotated[float, Bounds(0)]
Share = Annotated[float, Bounds(0, 1, open_high=True)]
OpenShare = Annotated[float, Bounds(0, 1, open_low=True, open_high=True)]


@dataclass(frozen=True)
class Config:
    """Base of every configuration: a frozen dataclass whose fields hold JSON types.

    The dataclass is the one place where a default and its meaning are written: command-line flags, the
    artifact's header and the result tables derive from it. Lists become tuples, whole floats become
    integers where an integer is asked for; a value of another type raises TypeError, and one outside the
    :class:`Bounds` of its type ValueError. Options that were renamed are read under their old names, too.
    """

    old_names: ClassVar[Mapping[str, str]] = MappingProxyType({})
    """Names that options had in earlier versions, and their names now."""

    def __post_init__(self) -> None:
        hints = _hints(type(self))
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
        values = {cls.old_names.get(name, name): value for name, value in values.items()}
        known = [field.name for field in dataclasses.fields(cls)]
        unknown = sorted(set(values) - set(known))
        if unknown:
            options = ", ".join(known) or "none"
            raise ValueError(f"{cls.__name__} has no option {', '.join(unknown)}. Its options: {options}.")
        return cls(**values)

    def non_defaults(self) -> dict[str, Any]:
        """The fields that differ from their defaults, as JSON values; labels of runs show these."""
        defaults = {f.name: f.default for f in dataclasses.fields(self)}
        return {k: v for k, v in self.to_dict().items() if getattr(self, k) != defaults[k]}


_hints: Callable[[Any], dict[str, Any]] = cache(partial(typing.get_type_hints, include_extras=True))
"""The types of the options of a class, with their bounds; kept, since evaluating them is slow."""


def _checked(value: Any, hint: Any, name: str) -> Any:
    """``value`` as the type ``hint``, or a TypeError that names the field."""
    origin = get_origin(hint)
    if origin is Annotated:
        plain, bounds = get_args(hint)
        value = _checked(value, plain, name)
        bounds.check(value, name)
        return value
    if origin in (Union, types.UnionType):
        if value is None and type(None) in get_args(hint):
            return None
        for option in get_args(hint):
            try:
                return _checked(value, option, name)
            except TypeError:
                continue
        raise TypeError(f"`{name}` must be {_describe(hint)}, got {value!r}.")
    if origin is Literal:
        if any(value == option and type(value) is type(option) for option in get_args(hint)):
            return value
        raise ValueError(f"`{name}` must be {_describe(hint)}, got {value!r}.")
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
    raise TypeError(f"`{name}` must be {_describe(hint)}, got {value!r}.")


def _describe(hint: Any) -> str:
    origin = get_origin(hint)
    if origin is Annotated:
        return _describe(get_args(hint)[0])
    if origin in (Union, types.UnionType):
        return " or ".join(_describe(option) for option in get_args(hint))
    if origin is Literal:
        return " or ".join(repr(option) for option in get_args(hint))
    if origin is tuple:
        return f"a list of {_describe(get_args(hint)[0])}"
    return {
        int: "an integer",
        float: "a number",
        bool: "true or false",
        str: "a text",
        type(None): "null",
    }.get(hint, str(hint))
