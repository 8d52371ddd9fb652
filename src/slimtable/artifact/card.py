"""Finding the report card that lies beside an artifact."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any


def card_paths(file: str | Path) -> tuple[Path, Path]:
    """Where the report card of an artifact lies: its JSON file and its page.

    Example:
        >>> [path.name for path in card_paths("items.safetensors")]
        ['items.report.json', 'items.report.html']
    """
    path = Path(file)
    stem = path.with_suffix("") if path.suffix == ".safetensors" else path
    return stem.with_name(f"{stem.name}.report.json"), stem.with_name(f"{stem.name}.report.html")


def read_card(file: str | Path, digest: str) -> dict[str, Any] | None:
    """The figures of the report card of an artifact.

    Args:
        file: the artifact.
        digest: digest of its header, which the card must have, too.

    Returns:
        The figures; None if there is no card, or one of another file.
    """
    try:
        facts = json.loads(card_paths(file)[0].read_text())
    except (OSError, ValueError, RecursionError):
        return None
    return facts if isinstance(facts, dict) and facts.get("digest") == digest else None
