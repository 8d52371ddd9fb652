"""Software versions and CPU of a run, for comparing and reproducing results."""

from __future__ import annotations

import os
import platform
import re
from pathlib import Path

import numpy as np
import torch

from slimtable._version import __version__


def versions() -> dict[str, str]:
    """Versions of the software that results depend on, by name."""
    return {
        "slimtable": __version__,
        "torch": torch.__version__,
        "numpy": np.__version__,
        "python": platform.python_version(),
    }


def cpu_name() -> str:
    """Model and number of the processors."""
    name = platform.processor() or platform.machine()
    try:
        found = re.search(r"^model name\s*:\s*(.+)$", Path("/proc/cpuinfo").read_text(), re.MULTILINE)
        name = found[1].strip() if found else name
    except OSError:
        pass  # not Linux
    return f"{name} ({os.cpu_count()} cores)"
