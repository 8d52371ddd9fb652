"""Interactions and click logs: readers, named datasets, filters and splits.

The public names are listed in ``__init__.pyi`` and imported on first use.
"""

from pathlib import Path

from slimtable._lazy import attach

__getattr__, __dir__, _MODULE_OF_NAME = attach(__name__, Path(__file__).parent)
__all__ = sorted(_MODULE_OF_NAME)
