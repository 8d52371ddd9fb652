"""Classes by name: a new file in a package is a new method, model or grouping."""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Callable
from typing import Any, Generic, TypeVar

_T = TypeVar("_T")
_C = TypeVar("_C", bound=type[Any])


class Registry(Generic[_T]):
    """The classes registered by the files of a package, which are imported when an unknown name is requested.

    Args:
        kind: word for the classes in messages, such as "method".
        package: package of their files, one class each; the file stem is the name.
        attribute: class attribute that holds the name.
    """

    def __init__(self, kind: str, package: str, attribute: str = "name") -> None:
        self._kind, self._package, self._attribute = kind, package, attribute
        self._classes: dict[str, type[_T]] = {}

    def add(self, name: str) -> Callable[[_C], _C]:
        """Class decorator that registers a class under a name.

        Raises:
            ValueError: another class has the name.
        """

        def register(cls: _C) -> _C:
            if name in self._classes:
                known = self._classes[name].__qualname__
                raise ValueError(f"A {self._kind} named {name!r} is already registered: {known}.")
            setattr(cls, self._attribute, name)
            self._classes[name] = cls
            return cls

        return register

    def names(self) -> list[str]:
        """All names, sorted."""
        for module in pkgutil.iter_modules(importlib.import_module(self._package).__path__):
            importlib.import_module(f"{self._package}.{module.name}")
        return sorted(self._classes)

    def get(self, name: str) -> type[_T]:
        """The class of a name.

        Raises:
            ValueError: the name is unknown; the message lists the known names.
        """
        if name not in self._classes:
            names = self.names()
            if name not in names:
                raise ValueError(f"There is no {self._kind} {name!r}. Known {self._kind}s: {', '.join(names)}.")
        return self._classes[name]
