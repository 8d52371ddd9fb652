"""What a click dataset is, and what it takes to get one by name."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

from slimtable.data.clicks.raw import RawClicks
from slimtable.data.clicks.schema import Schema
from slimtable.data.datasets.source import RemoteFile

CHUNK_ROWS = 250_000


@dataclass(frozen=True, eq=False)
class ClickDataset:
    """A click log with a name and an origin.

    Attributes:
        name: what it is asked for by, or the path it is read from.
        schema: its fields; the other settings say how its files are read, where it has any.
        read: from the most rows of a chunk to the chunks, in the order of the log.
        chronological: rows are in the order of time.
        windows: into how many windows it is cut where nobody says.
        rows: their number; None: they have to be counted.
        about: one line on what it holds.
        licence: under what terms it may be used.
        url: where it comes from.
    """

    name: str
    schema: Schema
    read: Callable[[int], Iterator[RawClicks]]
    chronological: bool = True
    windows: int = 8
    rows: int | None = None
    about: str = ""
    licence: str = ""
    url: str = ""

    def chunks(self, chunk_rows: int = CHUNK_ROWS) -> Iterator[RawClicks]:
        """All rows from the first on, some at a time; may be called again and again.

        Raises:
            DatasetError: the log is malformed.
        """
        return self.read(chunk_rows)

    def num_rows(self) -> int:
        """Number of rows; reads the whole log where it is not known."""
        return sum(map(len, self.chunks())) if self.rows is None else self.rows


@dataclass(frozen=True)
class ClickSource:
    """How a named click log is found, fetched and read.

    Attributes:
        name: the word it is asked for by.
        about: one line on what it holds.
        licence: under what terms it may be used.
        url: the page about it.
        schema: its fields.
        read: from its folder, the schema and the most rows of a chunk to the chunks.
        present: whether its folder holds what ``read`` needs.
        rows: its documented number of rows; None where there are several versions.
        files: what to download; empty if it cannot be had without a login.
        unpack: called with the folder once the files are there.
        chronological: its rows come in the order of time.
        windows: into how many windows it is cut where nobody says.
        folder: its folder under the data root; None: its name.
    """

    name: str
    about: str
    licence: str
    url: str
    schema: Schema
    read: Callable[[Path, Schema, int], Iterator[RawClicks]]
    present: Callable[[Path], bool]
    rows: int | None = None
    files: tuple[RemoteFile, ...] = ()
    unpack: Callable[[Path], None] | None = None
    chronological: bool = True
    windows: int = 8
    folder: str | None = None

    kind: ClassVar[str] = "clicks"
