"""The prose of a study: what its items are called, what the paper says of them, and how ours were made."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Self


@dataclass(frozen=True)
class Captions:
    """Texts of a study.

    Attributes:
        items: ``title`` and ``statement`` of each item.
        notes: paragraphs on how items were made, by name.
    """

    items: Mapping[str, Mapping[str, str]]
    notes: Mapping[str, str]

    @classmethod
    def beside(cls, code: str) -> Self:
        """The texts in ``captions.toml`` beside a file of code."""
        return cls(**tomllib.loads(Path(code).with_name("captions.toml").read_text(encoding="utf-8")))
