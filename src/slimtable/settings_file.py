"""Settings in YAML files, checked against a model, with errors of one line."""

from __future__ import annotations

import difflib
import typing
from collections.abc import Hashable, Mapping
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from pydantic import BaseModel, ValidationError
from pydantic.fields import FieldInfo

from slimtable.errors import DatasetError, SlimtableError

if TYPE_CHECKING:
    import yaml

_Model = TypeVar("_Model", bound=BaseModel)


def read_yaml(path: str | Path, model: type[_Model], error: type[SlimtableError] = DatasetError) -> _Model:
    """Reads a YAML file as a model.

    Args:
        path: the file.
        model: the pydantic model.
        error: class of the errors.

    Returns:
        The model.

    Raises:
        SlimtableError: of class ``error``, if the file cannot be read, is not YAML, has a duplicate key, or does not
            fit the model; one line with the file and the key.
    """
    try:
        text = Path(path).read_text(encoding="utf-8")
    except UnicodeDecodeError:
        raise error(f"{path} is not UTF-8 text. Write it as YAML.") from None
    except OSError as reason:
        raise error(f"cannot read {path}: {reason.strerror}.") from None
    import yaml  # not at the head: a base install, which can list datasets, lacks it

    try:
        values = yaml.load(text, Loader=_loader())
    except yaml.YAMLError as reason:
        mark = getattr(reason, "problem_mark", None)
        line = f", line {mark.line + 1}" if mark else ""
        raise error(f"{path}{line} is not YAML: {getattr(reason, 'problem', None) or 'unreadable'}.") from None
    except (ValueError, RecursionError) as reason:  # such as the date 2021-13-45, or brackets within brackets
        raise error(f"{path} is not YAML of settings: {str(reason).splitlines()[0]}.") from None
    return check_settings({} if values is None else values, model, str(path), error)


def check_settings(values: Any, model: type[_Model], where: str, error: type[SlimtableError] = DatasetError) -> _Model:
    """Validates values; errors as for :func:`read_yaml`, prefixed with ``where``."""
    if not isinstance(values, Mapping):
        raise error(f"{where} must hold `key: value` lines. Known keys: {', '.join(_keys(model))}.")
    try:
        return model.model_validate(values)
    except ValidationError as reason:
        raise error(f"{where}: {_in_one_line(reason, model)}") from None


def _in_one_line(reason: ValidationError, model: type[BaseModel]) -> str:
    first, *others = reason.errors(include_url=False)
    place, kind = first["loc"], first["type"]
    key = ".".join(map(str, place))
    more = f" ({len(others)} more such mistakes.)" if others else ""
    if kind in ("extra_forbidden", "missing"):
        known = list(_keys(_model_at(model, place[:-1])))
        if kind == "missing":
            return f"`{key}` is missing. Keys there: {', '.join(known)}.{more}"
        close = difflib.get_close_matches(str(place[-1]), known, n=1)
        hint = f" Did you mean {close[0]}?" if close else ""
        return f"unknown key `{key}`.{hint} Known keys there: {', '.join(known)}.{more}"
    said = " ".join(first["msg"].removeprefix("Value error, ").split()).rstrip(".")
    if not key:
        return f"{said}.{more}"
    got = repr(first["input"])
    return f"`{key}`: {said}, got {got if len(got) <= 60 else got[:57] + '...'}.{more}"


def _model_at(model: type[BaseModel], place: tuple[int | str, ...]) -> type[BaseModel]:
    """The model at a location, or the nearest one above it."""
    for key in place:
        if isinstance(key, str) and (found := _keys(model).get(key)) is not None:
            model = _first_model(found.annotation) or model
    return model


def _keys(model: type[BaseModel]) -> dict[str, FieldInfo]:
    """The fields of a model by their names in files."""
    return {field.alias or name: field for name, field in model.model_fields.items()}


def _first_model(annotation: Any) -> type[BaseModel] | None:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return annotation
    return next((found for part in typing.get_args(annotation) if (found := _first_model(part))), None)


@cache
def _loader() -> type[yaml.SafeLoader]:
    """A safe loader that refuses duplicate keys."""
    import yaml

    class Loader(yaml.SafeLoader):
        def construct_mapping(self, node: Any, deep: bool = False) -> dict[Hashable, Any]:
            keys = [key.value for key, _ in node.value if isinstance(key, yaml.ScalarNode)]
            twice = next((key for i, key in enumerate(keys) if key in keys[:i]), None)
            if twice is not None:
                raise yaml.constructor.ConstructorError(None, None, f"`{twice}` is given twice", node.start_mark)
            return super().construct_mapping(node, deep)

    return Loader
