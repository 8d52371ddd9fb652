"""What a base install lacks, as pyproject.toml lists it."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterable
from functools import cache
from importlib.metadata import PackageNotFoundError, packages_distributions, requires
from pathlib import Path


def _names(requirements: Iterable[str]) -> set[str]:
    wanted = (each for each in requirements if "extra ==" not in each)
    return {re.match(r"[\w.-]+", each)[0].lower().replace("_", "-") for each in wanted}


def _with_their_own(packages: set[str]) -> set[str]:
    """Packages, and those that they need."""
    found: set[str] = set()
    while packages:
        found |= packages
        needed = set()
        for package in packages:
            try:
                needed |= _names(requires(package) or ())
            except PackageNotFoundError:  # of another platform
                continue
        packages = needed - found
    return found


@cache
def modules_of_extras() -> frozenset[str]:
    """Top modules of the packages that an extra asks for and a base install lacks."""
    project = tomllib.loads((Path(__file__).parents[1] / "pyproject.toml").read_text())["project"]
    extras = set().union(*map(_names, project["optional-dependencies"].values())) - {project["name"]}
    extras -= _with_their_own(_names(project["dependencies"]))
    found = {name for name, owners in packages_distributions().items() if _names(owners) & extras}
    assert {"torch", "safetensors", "polars", "yaml"} <= found
    return frozenset(found)
