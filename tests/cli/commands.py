"""How the tests of the command line call it."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any


@dataclass
class Outcome:
    """What a command gave."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        return json.loads(self.out)


Command = Callable[..., Outcome]

PROCESS = [sys.executable, "-c", "import sys; from slimtable.cli import main; sys.exit(main())"]
"""The command as a process of its own."""

TRAIN = ["train", "--data", "synthetic:1500", "--method", "mgqe", "--set", "codebook_sizes=[8,4]"]
TRAIN += ["--embedding-dim", "8", "--batch-size", "512"]
"""A training that takes a moment."""
