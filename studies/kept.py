"""What was measured once and is kept beside the results as JSON."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from slimtable.errors import SlimtableError


def read_kept(path: Path) -> dict[str, Any]:
    """What a file keeps, by key; nothing where there is no such file.

    Raises:
        SlimtableError: the file is damaged.
    """
    if not path.is_file():
        return {}
    try:
        kept = json.loads(path.read_text())
    except ValueError as error:
        raise SlimtableError(f"{path} is damaged ({error}). Delete it.") from error
    if not isinstance(kept, dict):
        raise SlimtableError(f"{path} is damaged: it should hold values by key. Delete it.")
    return kept
