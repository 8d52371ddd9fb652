"""How a method and its options are written: ``mgqe[codebook_sizes=[256,64];share_codebook=false]``."""

from __future__ import annotations

import json
import re
from typing import Any

from slimtable.embedding import MethodConfig, get_config, method_of

_BARE_WORD = re.compile(r"[A-Za-z_]\w*")
_JSON_WORDS = ("true", "false", "null", "NaN", "Infinity")


def parse_methods(text: str) -> list[MethodConfig]:
    """Reads a list of methods, each with its options in brackets.

    Commas and semicolons separate methods, and options within the brackets. Values are JSON; a bare word is a text.

    Args:
        text: such as ``"full,uniform[bits=4],mgqe[codebook_sizes=[256,64];share_codebook=false]"``.

    Returns:
        The configurations in their order.

    Raises:
        ValueError: brackets do not match, an entry is empty or given twice, an option is not ``name=value``, or
            there is no such method or option.
        TypeError: a value has the wrong type.

    Example:
        >>> [label_of(config) for config in parse_methods("full, uniform[bits=4, axis=row]")]
        ['full', 'uniform[bits=4;axis=row]']
    """
    configs: list[MethodConfig] = []
    for entry in _split(text):
        config = _parse_method(entry)
        if config in configs:
            raise ValueError(f"{label_of(config)} is asked for twice in {text!r}. Name it once.")
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
    ways = [config.non_defaults()]
    for preset in config.presets:
        recommended = get_config(method, {"preset": preset}).to_dict()
        differing = {name: value for name, value in config.to_dict().items() if value != recommended[name]}
        ways.append({"preset": preset, **differing})
    texts = [";".join(f"{name}={_written(value)}" for name, value in options.items()) for options in ways]
    shortest = min(texts, key=len)
    return method + (f"[{shortest}]" if shortest else "")


def _parse_method(entry: str) -> MethodConfig:
    name, bracket, rest = entry.partition("[")
    if not bracket:
        return get_config(name)
    if not rest.endswith("]"):
        raise ValueError(f"{entry!r} goes on after its options. Write method[option=value;option=value].")
    options: dict[str, object] = {}
    for pair in _split(rest[:-1]) if rest[:-1].strip() else []:
        option, equals, value = (part.strip() for part in pair.partition("="))
        if not option or not equals:
            raise ValueError(f"{pair!r} in {entry!r} is not option=value, such as bits=4.")
        if option in options:
            raise ValueError(f"{entry!r} gives {option} twice. Give it once.")
        options[option] = _read(value, entry)
    return get_config(name.strip(), options)


def _split(text: str) -> list[str]:
    """Parts between the commas and semicolons that stand outside brackets and quotes."""
    parts, depth, quoted, start = [], 0, False, 0
    for place, character in enumerate(text):
        if character == '"':
            quoted = not quoted
        elif not quoted and character in "[]":
            depth += 1 if character == "[" else -1
            if depth < 0:
                break
        elif not quoted and depth == 0 and character in ",;":
            parts.append(text[start:place].strip())
            start = place + 1
    if depth or quoted:
        raise ValueError(f"Brackets or quotes do not match in {text!r}. Write method[option=value;option=value].")
    parts.append(text[start:].strip())
    if not all(parts):
        raise ValueError(f"{text!r} has an empty entry. Write names with one comma between them.")
    return parts


def _read(value: str, entry: str) -> object:
    try:
        return json.loads(value)
    except ValueError:
        if _BARE_WORD.fullmatch(value):
            return value
        raise ValueError(f"{value!r} in {entry!r} is neither JSON, such as 4, true or [256,64], nor a word.") from None


def _written(value: Any) -> str:
    if isinstance(value, str) and _BARE_WORD.fullmatch(value) and value not in _JSON_WORDS:
        return value
    return json.dumps(value, separators=(",", ":"))
