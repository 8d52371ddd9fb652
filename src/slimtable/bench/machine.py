"""What a run was done with, so that figures can be judged and done again."""

from __future__ import annotations

import os
import platform
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numba
import numpy as np
import torch

from slimtable._version import __version__


def versions() -> dict[str, str]:
    """Versions of what figures depend on, by name."""
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


@contextmanager
def one_thread() -> Iterator[None]:
    """Keeps PyTorch and numba to one thread, so that results do not depend on the machine's cores."""
    before = torch.get_num_threads(), numba.get_num_threads()
    torch.set_num_threads(1)
    numba.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before[0])
        numba.set_num_threads(before[1])
