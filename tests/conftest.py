"""Fixtures that every test may use."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import numpy as np
import pytest
import torch

from slimtable.data.interactions.interactions import Interactions
from slimtable.data.interactions.split import Split, leave_two_out, order_by_frequency

torch.set_num_threads(1)
# A shell starts what runs in the background with Ctrl-C ignored, and tests send it.
signal.signal(signal.SIGINT, signal.default_int_handler)
try:
    from hypothesis import settings
except ImportError:  # a machine for the tests of a GPU needs it not
    pass
else:
    settings.register_profile("untimed", deadline=None)  # the first example may wait for a kernel to be compiled
    settings.load_profile("untimed")


@pytest.fixture(autouse=True)
def _seeded() -> None:
    torch.manual_seed(0)


@pytest.fixture(scope="session")
def real_data() -> Path:
    """The folder of real datasets; tests that need it are skipped where it is absent."""
    beside = Path(__file__).parents[2] / "shared" / "data"
    root = Path(os.environ.get("SLIMTABLE_DATA", beside))
    if not root.is_dir():
        pytest.skip("no real data: set SLIMTABLE_DATA to a folder of datasets")
    return root


@pytest.fixture(scope="session")
def communities() -> Split:
    """Two communities of 40 users that share nothing: each takes 12 of its own 20 items."""
    generator = np.random.default_rng(0)
    users = np.repeat(np.arange(80), 12)
    items = np.concatenate([generator.permutation(20)[:12] + 20 * (user >= 40) for user in range(80)])
    return order_by_frequency(leave_two_out(Interactions.from_raw(users, items, chronological=True)))
