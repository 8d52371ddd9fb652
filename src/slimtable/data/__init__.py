"""Interactions and click logs: how they are read, named, filtered and split.

The public names are listed in ``__init__.pyi`` and imported when they are first used.
"""

from pathlib import Path

from slimtable._lazy import attach

__getattr__, __dir__, _MODULE_OF_NAME = attach(__name__, Path(__file__).parent)
__all__ = sorted(_MODULE_OF_NAME)
