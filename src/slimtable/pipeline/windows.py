"""Sources of windows: a folder with one file per window, or one log that is cut into equal parts."""

from __future__ import annotations

import hashlib
from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from slimtable.data.clicks.raw import RawClicks, concatenate
from slimtable.data.clicks.reader import log_files, read_clicks
from slimtable.data.clicks.schema import Schema, read_schema
from slimtable.data.clicks.windows import check_order, raw_windows
from slimtable.data.datasets import ClickDataset, load_click_dataset
from slimtable.errors import DatasetError, SlimtableError
from slimtable.files import natural_key
from slimtable.pipeline.settings import PipelineSettings

_BLOCK = 1 << 20  # bytes hashed at a time

Stamp = tuple[int, int]
"""Size and modification time (ns) of a file."""


@dataclass(frozen=True, eq=False)
class Window:
    """A window of raw clicks.

    Attributes:
        rows: its rows.
        source: its origin as JSON values: ``name``, and for a file ``size``, ``mtime_ns`` and ``sha256``.
        last_time: time of its last row; None if the log has no times.
    """

    rows: RawClicks
    source: dict[str, Any]
    last_time: float | None


class WindowSource(ABC):
    """Windows of a click log in order, counted from 0.

    Attributes:
        schema: schema of the log.
        grows: true if windows may be added while the pipeline runs.
    """

    schema: Schema
    grows: bool

    @abstractmethod
    def available(self, done: Sequence[dict[str, Any]]) -> int:
        """Number of windows available now, including those that were read before.

        Args:
            done: ``source`` of the windows that were read before, in order.

        Raises:
            DatasetError: one of those has changed, or a new one comes before them in order.
        """

    def growing(self, done: Sequence[dict[str, Any]], count: int) -> bool:
        """True if one of the next windows is new or has changed since the last call, so that it may still be written.

        Args:
            done: as above.
            count: number of windows to look at, from the first that was not read yet.
        """
        return False

    @abstractmethod
    def read(self, window: int, done: Sequence[dict[str, Any]], after: float | None) -> Window:
        """Reads a window that is available.

        Args:
            window: its number, ``len(done)``.
            done: as above.
            after: time of the last row of the window before, or None.

        Raises:
            DatasetError: the window is invalid.
        """


def open_source(settings: PipelineSettings) -> WindowSource:
    """Opens the source of windows that the settings describe.

    Raises:
        DatasetError: there is no such file or dataset, or it has no schema.
    """
    data, given = settings.data, settings.log_schema
    schema = read_schema(given) if isinstance(given, Path) else given
    if data.dataset is not None:
        if schema is not None:
            raise SlimtableError(f"The dataset {data.dataset} has a schema of its own. Leave `schema` out.")
        return CutLog(load_click_dataset(data.dataset, data_root=data.data_root, **data.options), settings)
    assert data.path is not None
    if data.path.resolve().is_relative_to(
        settings.state.resolve()
    ):  # files there would be deleted, or taken for windows
        raise SlimtableError(
            f"{data.path} is inside the state folder {settings.state}. Name another folder as `state`."
        )
    if schema is None and (data.path / "schema.yaml").is_file():
        schema = read_schema(data.path / "schema.yaml")
    if schema is None:
        raise SlimtableError("`schema` is missing. Name a schema file, or write the schema there.")
    if data.path.is_dir():
        if data.windows is not None or data.rows_per_window is not None:
            raise SlimtableError(
                f"{data.path} is a folder with a file for each window. Leave `windows` and `rows_per_window` out."
            )
        return WindowFolder(data.path, schema if data.min_count is None else schema.with_min_count(data.min_count))
    if not data.path.exists():
        raise DatasetError(f"{data.path} is neither a file nor a folder. Set `data.path` to where the windows are.")
    if data.windows is None and data.rows_per_window is None:
        raise SlimtableError(f"{data.path} is one file. Say how to cut it: `windows` or `rows_per_window`.")
    return CutLog(load_click_dataset(data.path, schema), settings)


class WindowFolder(WindowSource):
    """A folder with a file for each window, in the order of their names.

    A file that is still being written must be hidden, end in ``.partial`` or lie elsewhere: write it to a temporary
    name and rename it. Files of windows that were read may be removed, but not changed.
    """

    grows = True

    def __init__(self, folder: Path, schema: Schema) -> None:
        self.folder, self.schema = folder, schema
        self._touched: dict[str, Stamp] = {}  # files with other modification times, but the same bytes
        self._seen: dict[str, Stamp] = {}  # files that were there at the last look

    def growing(self, done: Sequence[dict[str, Any]], count: int) -> bool:
        before, self._seen = self._seen, {file.name: _stamp(file) for file in self._new(done)}
        return any(before.get(name) != self._seen[name] for name in list(self._seen)[:count])

    def available(self, done: Sequence[dict[str, Any]]) -> int:
        return len(done) + len(self._new(done))

    def read(self, window: int, done: Sequence[dict[str, Any]], after: float | None) -> Window:
        file = self._new(done)[0]
        source = _identify(file)
        chunks = []
        for chunk in read_clicks(file, self.schema):
            after = check_order(chunk, str(file), after=after)
            chunks.append(chunk)
        if _stamp(file) != (source["size"], source["mtime_ns"]):
            raise DatasetError(
                f"{file} was changed while it was read. Write windows to a temporary name, then rename them."
            )
        return Window(concatenate(chunks), source, after)

    def _new(self, done: Sequence[dict[str, Any]]) -> list[Path]:
        """Files that come after those of the windows that were read."""
        files = {file.name: file for file in self._files()}
        for number, source in enumerate(done):
            file = files.pop(source["name"], None)
            if file is None:
                continue
            stamp = _stamp(file)
            if stamp in ((source["size"], source["mtime_ns"]), self._touched.get(file.name)):
                continue
            if _identify(file)["sha256"] != source["sha256"]:
                raise DatasetError(
                    f"{file} has changed since it was read as window {number}. Restore it, or remove it."
                )
            self._touched[file.name] = stamp
        last = done[-1]["name"] if done else ""
        early = sorted((name for name in files if natural_key(name) < natural_key(last)), key=natural_key)
        if early:
            raise DatasetError(
                f"{self.folder / early[0]} comes before {last}, which was already read, so it is out of order. Give it "
                "a later name, or remove it."
            )
        return [files[name] for name in sorted(files, key=natural_key)]

    def _files(self) -> list[Path]:
        if not self.folder.is_dir():
            raise DatasetError(f"The folder of windows {self.folder} does not exist any more.")
        return log_files(self.folder) if any(self.folder.iterdir()) else []


class CutLog(WindowSource):
    """One log that is cut into windows of equal size, up to one row."""

    grows = False

    def __init__(self, dataset: ClickDataset, settings: PipelineSettings) -> None:
        data = settings.data
        self._dataset, self._file = dataset, data.path
        self.schema = dataset.schema if data.min_count is None else dataset.schema.with_min_count(data.min_count)
        self.count = data.windows or dataset.windows
        if data.rows_per_window is not None:
            self.count = dataset.num_rows() // data.rows_per_window
            if self.count < 2:
                raise SlimtableError(
                    f"{dataset.name} has {dataset.num_rows():,} rows, fewer than two windows of "
                    f"{data.rows_per_window:,}. Lower `rows_per_window`."
                )
        self._next = 0
        self._iterator: Iterator[RawClicks] | None = None

    def available(self, done: Sequence[dict[str, Any]]) -> int:
        if self._file is not None and done and _stamp(self._file) != (done[-1]["size"], done[-1]["mtime_ns"]):
            found = _identify(self._file)
            if found["sha256"] != done[-1]["sha256"]:
                raise DatasetError(
                    f"{self._file} has changed since its windows were read. Restore it, or use a folder with one file "
                    "for each window."
                )
        return self.count

    def read(self, window: int, done: Sequence[dict[str, Any]], after: float | None) -> Window:
        if self._iterator is None or self._next > window:
            self._iterator, self._next = raw_windows(self._dataset, self.count), 0
        source = {"name": f"{self._dataset.name} {window + 1}/{self.count}"}
        if self._file is not None:
            source.update({key: done[-1][key] for key in _STAMPS} if done else _identify(self._file) | source)
        try:
            while True:
                rows = next(self._iterator)
                self._next += 1
                if self._next > window:
                    return Window(rows, source, check_order(rows, source["name"], after=after))
        except BaseException:
            self._iterator = None  # a generator that raised is exhausted
            raise


_STAMPS = ("size", "mtime_ns", "sha256")


def _identify(file: Path) -> dict[str, Any]:
    """Name, size, time and digest of a file."""
    size, mtime_ns = _stamp(file)
    digest = hashlib.sha256()
    with file.open("rb") as opened:
        while block := opened.read(_BLOCK):
            digest.update(block)
    return {"name": file.name, "size": size, "mtime_ns": mtime_ns, "sha256": digest.hexdigest()}


def _stamp(file: Path) -> Stamp:
    found = file.stat()
    return found.st_size, found.st_mtime_ns
