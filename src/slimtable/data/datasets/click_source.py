"""Click datasets, and the sources of named ones."""

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
        name: its name, or the path it is read from.
        schema: its schema; if it has files, also how to read them.
        read: function from the maximum rows of a chunk to the chunks, in the order of the log.
        chronological: true if rows are in time order.
        windows: default number of windows.
        rows: number of rows; None if they must be counted.
        about: a one-line description.
        licence: its terms of use.
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
        """Yields all rows in chunks; may be called repeatedly.

        Raises:
            DatasetError: the log is malformed.
        """
        return self.read(chunk_rows)

    def num_rows(self) -> int:
        """Number of rows; reads the whole log if it is not known."""
        return sum(map(len, self.chunks())) if self.rows is None else self.rows


@dataclass(frozen=True)
class ClickSource:
    """The source of a named click log: how to fetch and read it.

    Attributes:
        name: name of the dataset.
        about: a one-line description.
        licence: its terms of use.
        url: the page about it.
        schema: its fields.
        read: function from its folder, the schema and the maximum rows of a chunk to the chunks.
        present: tests if a folder holds what ``read`` needs.
        rows: its documented number of rows; None if there are several versions.
        files: files to download; empty if this needs a login.
        unpack: called with the folder after the download.
        chronological: true if rows are in time order.
        windows: default number of windows.
        folder: its folder in the data root; None: its name.
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
