"""The text form of a method and its options: ``mgqe[codebook_sizes=[256,64];share_codebook=false]``."""

from __future__ import annotations

from slimtable.embeddings.base import MethodConfig, get_config, method_of
from slimtable.specs import format_spec, parse_spec, split_specs


def parse_methods(text: str) -> list[MethodConfig]:
    """Reads a list of methods, each with its options in brackets.

    Commas and semicolons separate methods, and options within the brackets. Values are JSON; a bare word is a text.

    Args:
        text: such as ``"full,uniform[bits=4],mgqe[codebook_sizes=[256,64];share_codebook=false]"``.

    Returns:
        The configurations, in the given order.

    Raises:
        ValueError: brackets do not match, an entry is empty or given twice, an option is not ``name=value``, or
            there is no such method or option.
        TypeError: a value has the wrong type.

    Example:
        >>> [label_of(config) for config in parse_methods("full, uniform[bits=4, axis=row]")]
        ['full', 'uniform[bits=4;axis=row]']
    """
    configs: list[MethodConfig] = []
    for entry in split_specs(text):
        config = get_config(*parse_spec(entry))
        if config in configs:
            raise ValueError(f"{label_of(config)} is given twice in {text!r}. Give it once.")
        configs.append(config)
    return configs


def label_of(config: MethodConfig) -> str:
    """The shortest text that :func:`parse_methods` reads as this configuration.

    It names the options that differ from the defaults, or a preset and the options that differ from it.

    Example:
        >>> label_of(get_config("mgqe", {"preset": "compact", "dense_epochs": 30}))
        'mgqe[preset=compact;dense_epochs=30]'
    """
    method = method_of(config).method
    candidates = [config.non_defaults()]
    for preset in config.presets:
        recommended = get_config(method, {"preset": preset}).to_dict()
        differing = {name: value for name, value in config.to_dict().items() if value != recommended[name]}
        candidates.append({"preset": preset, **differing})
    return min((format_spec(method, options) for options in candidates), key=len)
