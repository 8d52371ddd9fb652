"""Methods by name: found in their files, made from their configurations."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from torch import Tensor

from slimtable.registry import Registry

if TYPE_CHECKING:
    from slimtable.embeddings.base import CompressedEmbedding, MethodConfig
    from slimtable.grouping.row_map import RowMap

_METHODS: Registry[CompressedEmbedding] = Registry("method", "slimtable.methods", "method")

register = _METHODS.add
"""Class decorator that makes a method known under a name, its file stem."""


def method_names() -> list[str]:
    """Names of all methods, sorted."""
    return _METHODS.names()


def get_method(name: str) -> type[CompressedEmbedding]:
    """The class of a method.

    Raises:
        ValueError: there is no such method; the message lists the known ones.
    """
    return _METHODS.get(name)


def get_config(name: str, options: dict[str, object] | None = None) -> MethodConfig:
    """The configuration of method ``name``.

    Args:
        name: registry name of the method.
        options: options that override the defaults; ``preset`` names a set of recommended ones, which the others
            override.

    Returns:
        The configuration.

    Raises:
        ValueError: there is no such method, preset or option; the message lists the known ones.
        TypeError: an option has the wrong type.

    Example:
        >>> get_config("mgqe", {"preset": "compact", "dense_epochs": 150}).codebook_bits
        16
    """
    config_class = get_method(name).config_class
    chosen = dict(options or {})
    preset = chosen.pop("preset", None)
    if preset is None:
        return config_class.from_dict(chosen)
    if not isinstance(preset, str) or preset not in config_class.presets:
        known = ", ".join(config_class.presets) or "none"
        raise ValueError(f"Method {name} has no preset {preset!r}. Its presets: {known}.")
    return config_class.from_dict({**config_class.presets[preset], **chosen})


def saved_config(name: str, options: Mapping[str, Any]) -> MethodConfig:
    """The configuration from a file or a run folder, also of earlier versions; raises as :func:`get_config`."""
    return get_method(name).config_class.from_saved(options)


def method_of(config: MethodConfig) -> type[CompressedEmbedding]:
    """The method that ``config`` belongs to.

    Raises:
        ValueError: no method takes such a configuration.
    """
    for name in method_names():
        if get_method(name).config_class is type(config):
            return get_method(name)
    raise ValueError(f"No method takes a {type(config).__name__}. Known methods: {', '.join(method_names())}.")


def create(
    config: MethodConfig,
    num_embeddings: int,
    embedding_dim: int,
    *,
    padding_idx: int | None = None,
    frequencies: Tensor | None = None,
    row_maps: Sequence[RowMap] | None = None,
) -> CompressedEmbedding:
    """A new embedding of the method that ``config`` belongs to; arguments as in :class:`CompressedEmbedding`."""
    return method_of(config)(
        num_embeddings, embedding_dim, config, padding_idx=padding_idx, frequencies=frequencies, row_maps=row_maps
    )
