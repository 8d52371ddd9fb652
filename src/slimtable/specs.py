"""The text form of a name with options: ``mgqe[codebook_sizes=[256,64];share_codebook=false]``."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Any

_BARE_WORD = re.compile(r"[A-Za-z0-9_][\w.-]*%?", re.ASCII)  # a word, or a budget such as 10%, 16x or 3MB


def parse_spec(entry: str) -> tuple[str, dict[str, object]]:
    """Parses a name and its options.

    Commas and semicolons separate options. Values are JSON; a bare word is a text.

    Args:
        entry: such as ``"uniform[bits=4;axis=row]"`` or ``"full"``.

    Returns:
        The name, and the options by name.

    Raises:
        ValueError: brackets do not match, or an option is not ``name=value`` or is given twice.

    Example:
        >>> parse_spec("baco[gamma=7.57; item_weight=cpm]")
        ('baco', {'gamma': 7.57, 'item_weight': 'cpm'})
    """
    name, bracket, rest = entry.partition("[")
    if not bracket:
        return name.strip(), {}
    if not rest.endswith("]"):
        raise ValueError(f"{entry!r} continues after its options. Write name[option=value;option=value].")
    options: dict[str, object] = {}
    for pair in split_specs(rest[:-1]) if rest[:-1].strip() else []:
        option, equals, value = (part.strip() for part in pair.partition("="))
        if not option or not equals:
            raise ValueError(f"{pair!r} in {entry!r} is not option=value, such as bits=4.")
        if option in options:
            raise ValueError(f"{entry!r} gives {option} twice. Give it once.")
        options[option] = _read(value, entry)
    return name.strip(), options


def format_spec(name: str, options: Mapping[str, Any]) -> str:
    """Formats a name and options as a text for :func:`parse_spec`.

    Example:
        >>> format_spec("uniform", {"bits": 4, "axis": "row"})
        'uniform[bits=4;axis=row]'
    """
    written = ";".join(f"{option}={_written(value)}" for option, value in options.items())
    return name + (f"[{written}]" if written else "")


def split_specs(text: str) -> list[str]:
    """Splits a text at commas and semicolons outside brackets and quotes.

    Raises:
        ValueError: brackets or quotes do not match, or a part is empty.
    """
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
        raise ValueError(f"Brackets or quotes do not match in {text!r}. Write name[option=value;option=value].")
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
    if isinstance(value, str) and _BARE_WORD.fullmatch(value) and not _is_json(value):
        return value
    return json.dumps(value, separators=(",", ":"))


def _is_json(text: str) -> bool:
    """True if a text would be parsed as another value, such as 12 or true."""
    try:
        json.loads(text)
    except ValueError:
        return False
    return True
