"""What reproducing any paper needs to know about it, and what comes out for each of its tables and figures."""

from __future__ import annotations

import csv
import io
from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Self

from slimtable.bench.grids import Grid
from slimtable.bench.results import Record
from slimtable.reporting.tables import Table

Line = dict[str, Any]
"""A line of numbers for a CSV file."""


@dataclass(frozen=True)
class Rendered:
    """A table or figure.

    Attributes:
        item: its name.
        title: what it is called in the paper, and on which data it is.
        statement: what the paper says of it.
        notes: how ours was made, a paragraph each.
        tables: its tables, or the numbers of its picture that are worth reading.
        csv: all its numbers.
        picture: a PNG file, or None.
        missing: wanted runs that are not there.
    """

    item: str
    title: str
    statement: str
    notes: tuple[str, ...]
    tables: tuple[Table, ...]
    csv: str
    picture: bytes | None
    missing: int


@dataclass(frozen=True)
class Place:
    """What items are made from.

    Attributes:
        out: folder of the results.
        records: the finished runs, of other experiments too.
        data_root: folder of datasets; None for the usual one.
    """

    out: Path
    records: Sequence[Record]
    data_root: Path | None


class Study(ABC):
    """A paper, and how much of it is done."""

    name: ClassVar[str]
    """Its word on the command line."""
    heading: ClassVar[str]
    """Title of the page with everything."""
    items: ClassVar[tuple[str, ...]]
    """Names of its tables and figures, in order."""
    untrained: ClassVar[frozenset[str]] = frozenset()
    """Those that need no finished run."""

    @classmethod
    @abstractmethod
    def usual(cls) -> Self:
        """All of it, as the paper did."""

    @classmethod
    @abstractmethod
    def begun(cls, settings: dict[str, Any]) -> Self:
        """What a folder was begun with.

        Args:
            settings: from :meth:`settings`, with the number of seeds under ``seeds`` if that was set.
        """

    @property
    @abstractmethod
    def scale(self) -> str:
        """How much is done: "full" or "quick"."""

    @abstractmethod
    def training(self) -> dict[str, dict[str, Any]]:
        """Training settings of each panel as JSON values; folders of results with different ones are not mixed."""

    def panels_of(self, items: Sequence[str]) -> set[str]:
        """Panels that some items train; all by default."""
        return set(self.training())

    @abstractmethod
    def seeds(self) -> int | None:
        """How many seeds were asked for; None where rows differ."""

    @abstractmethod
    def options(self) -> list[str]:
        """Command-line words that make this study of the usual one, without the number of seeds."""

    @abstractmethod
    def grids(self, items: Sequence[str], out: Path, data_root: Path | None) -> list[Grid]:
        """What has to be trained for some items, in order.

        Args:
            items: their names.
            out: folder of the results, where something that all runs go by may be kept.
            data_root: folder of datasets; None for the usual one.
        """

    def measure(
        self, items: Sequence[str], out: Path, data_root: Path | None, *, workers: int | None, progress: bool
    ) -> None:
        """Measures what is not there yet of items that need more than trainings; nothing by default.

        Args:
            items: their names.
            out: folder of the results, where it is kept.
            data_root: folder of datasets; None for the usual one.
            workers: processes, one thread each, that may be used; None for one per core.
            progress: show a progress bar on a terminal.
        """
        return

    def runs(self, place: Place) -> Sequence[Record]:
        """What the page names as the runs behind it; the finished trainings by default.

        Args:
            place: what items are made from.

        Returns:
            Records with "date", "versions" and "cpu".
        """
        return place.records

    @abstractmethod
    def missing(self, item: str, place: Place) -> int:
        """How many runs of an item are not there."""

    @abstractmethod
    def render(self, item: str, place: Place) -> Rendered:
        """Makes a table or figure from the runs that are there; what was not run is said, never made up.

        Raises:
            DatasetError: it needs a dataset that is not there.
            SlimtableError: the runs were made on different data.
        """


def to_csv(lines: Sequence[Line]) -> str:
    """Lines of numbers as a CSV file; a name that a line lacks is left empty."""
    names = list(dict.fromkeys(name for line in lines for name in line))
    text = io.StringIO()
    writer = csv.DictWriter(text, names, restval="", lineterminator="\n")
    writer.writeheader()
    writer.writerows(lines)
    return text.getvalue()
