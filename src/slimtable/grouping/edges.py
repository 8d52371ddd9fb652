"""Graphs larger than memory: from edges in Parquet or CSV files to neighbour lists in memory-mapped files.

The folder of a graph holds ``graph.json`` and six arrays::

    user_starts.npy  user_items.npy  item_starts.npy  item_users.npy    the graph, as in InteractionGraph
    users.npy  items.npy                                                raw id of each user and item, ascending

The edges are read twice, one chunk at a time: first to number the ids, then to write each edge into a partition by
user. Each partition is sorted, duplicate edges are dropped, and the rest is written into partitions by item, which are
sorted likewise. Memory never holds more than a chunk or a partition, and the ids.
"""

from __future__ import annotations

import contextlib
import fcntl
import glob
import json
import secrets
import shutil
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numba import njit

from slimtable.data.interactions.tables import Columns
from slimtable.errors import DatasetError
from slimtable.files import write_json
from slimtable.grouping.edge_files import EdgeFiles, read_chunks
from slimtable.grouping.edge_ids import Numbering
from slimtable.grouping.graph import InteractionGraph
from slimtable.progress import progress_bar

ABOUT = "graph.json"
"""The description of a graph folder; written last."""

_VERSION = 1
_LOCK = ".building"
_CHUNK = 1 << 22  # edges in memory at a time
_STARTS, _NEIGHBOURS = ("user_starts", "item_starts"), ("user_items", "item_users")
_LOW = np.uint64(0xFFFFFFFF)
_SHIFT = np.uint64(32)


@dataclass(frozen=True)
class BuildReport:
    """Statistics of building a graph.

    Attributes:
        rows: number of rows of the files.
        edges: number of distinct edges.
        num_users: number of users.
        num_items: number of items.
    """

    rows: int
    edges: int
    num_users: int
    num_items: int

    @property
    def repeated(self) -> int:
        """Number of rows that repeat an edge."""
        return self.rows - self.edges


def build_graph(
    sources: str | Path | Sequence[str | Path],
    folder: str | Path,
    columns: Columns | None = None,
    *,
    chunk: int = _CHUNK,
    progress: bool = False,
) -> BuildReport:
    """Builds a graph from files of edges in a new folder, atomically.

    Temporary files of a killed process are removed by the next call.

    Args:
        sources: Parquet or CSV files, or a folder of them.
        folder: the folder to create; its parent must exist.
        columns: role (``user``, ``item``) to column, by name, or by position in CSV files without a header. None:
            recognised by common names such as user_id.
        chunk: edges in memory at a time.
        progress: show a bar on a terminal.

    Returns:
        The numbers of rows, edges, users and items.

    Raises:
        FileExistsError: the folder already exists.
        FileNotFoundError: its parent does not exist.
        DatasetError: an id is missing, negative or not a whole number, there are no edges, or a file changed during the
            build.
    """
    folder = Path(folder)
    if folder.exists():
        raise FileExistsError(f"{folder} exists. Choose another folder for the graph, or remove it.")
    if chunk < 1:
        raise ValueError(f"`chunk` must be at least 1, got {chunk}.")
    if not folder.parent.is_dir():
        raise FileNotFoundError(
            f"the folder {folder.parent}, in which to create {folder.name}, does not exist. Create it."
        )
    source = EdgeFiles.from_paths(sources, columns)
    _remove_leftovers(folder)
    aside = folder.with_name(f".{folder.name}.{secrets.token_hex(8)}.partial")
    aside.mkdir()
    try:
        with (aside / _LOCK).open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            report = _build(source, aside, chunk, progress)
            (aside / _LOCK).unlink()
        aside.rename(folder)
    except BaseException:
        shutil.rmtree(aside, ignore_errors=True)
        raise
    return report


def _remove_leftovers(folder: Path) -> None:
    """Removes temporary files of killed processes; those of a running process are locked."""
    for lock in folder.parent.glob(f".{glob.escape(folder.name)}.*.partial/{_LOCK}"):
        with contextlib.suppress(OSError), lock.open() as file:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            shutil.rmtree(lock.parent, ignore_errors=True)


def open_graph(folder: str | Path) -> InteractionGraph:
    """Opens the graph in a folder; its arrays are memory-mapped.

    Raises:
        DatasetError: the folder holds no complete graph, or an array is damaged.
    """
    folder = Path(folder)
    about = describe_graph(folder)
    arrays = {name: _load(folder, name) for name in (*_STARTS, *_NEIGHBOURS)}
    sizes = (about["users"], about["items"])
    for side in (0, 1):
        starts, neighbours = arrays[_STARTS[side]], arrays[_NEIGHBOURS[side]]
        fits = (starts.dtype, starts.shape) == (np.int64, (sizes[side] + 1,))
        fits = fits and (neighbours.dtype, neighbours.shape) == (np.int32, (about["edges"],))
        if not (fits and starts[0] == 0 and starts[-1] == about["edges"] and bool((starts[1:] >= starts[:-1]).all())):
            raise DatasetError(f"{folder / _STARTS[side]}.npy does not fit {ABOUT}. Build the graph again.")
        seen = np.zeros(sizes[1 - side], np.int64)
        for first in range(0, len(neighbours), _CHUNK):
            part = neighbours[first : first + _CHUNK]
            if part.min() < 0 or part.max() >= sizes[1 - side]:
                raise DatasetError(f"{folder / _NEIGHBOURS[side]}.npy names an id that does not exist. Build it again.")
            seen += np.bincount(part, minlength=len(seen))
        others = arrays[_STARTS[1 - side]]
        if others.shape == (len(seen) + 1,) and not np.array_equal(seen, np.diff(others)):
            raise DatasetError(
                f"{folder / _NEIGHBOURS[side]}.npy and {_STARTS[1 - side]}.npy are of different edges. Build it again."
            )
    return InteractionGraph(**arrays)


def raw_ids(folder: str | Path) -> tuple[np.ndarray, np.ndarray]:
    """The raw ids of the users and of the items of a graph in a folder, int64 or unicode.

    Raises:
        DatasetError: the folder holds no complete graph, or the ids are damaged.
    """
    about, found = describe_graph(folder), []
    for side in _SIDES:
        ids = _load(Path(folder), side)
        if ids.shape != (about[side],) or not (ids.dtype == np.int64 or ids.dtype.kind == "U"):
            raise DatasetError(f"{Path(folder) / side}.npy does not fit {ABOUT}. Build the graph again.")
        found.append(ids)
    return found[0], found[1]


def _load(folder: Path, name: str) -> Any:
    """Maps an array of a graph."""
    path = folder / f"{name}.npy"
    try:
        return np.load(path, mmap_mode="r", allow_pickle=False)
    except (OSError, ValueError) as error:
        raise DatasetError(f"{path} is missing or damaged. Build the graph again.") from error


def is_graph(folder: str | Path) -> bool:
    """True if a folder holds a graph."""
    return (Path(folder) / ABOUT).is_file()


def describe_graph(folder: str | Path) -> dict[str, Any]:
    """Reads the description of a graph folder: users, items, edges, rows, source.

    Raises:
        DatasetError: it holds no graph, or one of a newer version.
    """
    path = Path(folder) / ABOUT
    try:
        about = json.loads(path.read_text())
    except (FileNotFoundError, NotADirectoryError):
        raise DatasetError(
            f"{folder} holds no graph: it has no {ABOUT}. Choose a folder that does not exist yet."
        ) from None
    except ValueError as error:
        raise DatasetError(f"{path} is damaged: {error}. Build the graph again.") from error
    counts = ("users", "items", "edges", "rows")
    if not isinstance(about, dict) or about.get("version") != _VERSION:
        raise DatasetError(f"{path} is not of version {_VERSION}. Build the graph again.")
    if any(not isinstance(about.get(name), int) or about[name] < 1 for name in counts):
        raise DatasetError(f"{path} lacks a count of {', '.join(counts)}. Build the graph again.")
    return about


def require_source(folder: str | Path, sources: str | Path | Sequence[str | Path], columns: Columns | None) -> None:
    """Raises an error if a graph was built from other files, or from other contents of these files.

    Raises:
        DatasetError: the graph has another source.
    """
    about = describe_graph(folder)
    if about.get("source") != EdgeFiles.from_paths(sources, columns).describe():
        raise DatasetError(
            f"{folder} holds the graph of another source, or the source has changed since. Remove the folder to build "
            "the graph again, or choose another one."
        )


def _build(source: EdgeFiles, folder: Path, chunk: int, progress: bool) -> BuildReport:
    before = source.describe()
    with progress_bar(progress) as bar:

        def chunks(what: str) -> Iterator[tuple[Any, Any]]:
            task = bar.add_task(what, total=source.rows())
            for users, items in read_chunks(source, chunk):
                yield users, items
                bar.advance(task, len(users))
            if source.describe() != before:
                raise DatasetError(f"{source} changed while it was read. Build the graph when it does not change.")

        numberings = tuple(Numbering(f"{source}", side) for side in ("user", "item"))
        rows = 0
        for ids in chunks("numbering ids"):
            rows += len(ids[0])
            for numbering, raw in zip(numberings, ids, strict=True):
                numbering.see(raw)
        if not rows:
            raise DatasetError(f"{source} holds no edges. Give at least one row of user and item.")
        counts = [numbering.finish() for numbering in numberings]
        bounds = [_bounds(count, chunk) for count in counts]
        parts = _Parts(folder, "user", bounds[0])
        for users, items in chunks("sorting edges"):
            parts.add(_keys(numberings[0].ids(users), numberings[1].ids(items)))
        for side, numbering in zip(_SIDES, numberings, strict=True):
            np.save(folder / f"{side}.npy", numbering.vocabulary())
        of_items = _Parts(folder, "item", bounds[1])
        sizes = [len(count) for count in counts]
        task = bar.add_task("writing neighbours", total=len(bounds[0]) + len(bounds[1]) - 2)
        tick = lambda: bar.advance(task)  # noqa: E731
        edges = _write_side(folder, 0, sizes[0], parts, tick, of_items)
        _write_side(folder, 1, sizes[1], of_items, tick, None)
    report = BuildReport(rows, edges, *sizes)
    about = {"version": _VERSION, "users": sizes[0], "items": sizes[1], "edges": edges, "rows": rows, "source": before}
    write_json(folder / ABOUT, about)
    return report


_SIDES = ("users", "items")


class _Parts:
    """Partitions of edges in files, by ranges of nodes.

    Args:
        folder: folder of the files.
        name: prefix of the files.
        bounds: int64 (P + 1,) first node of each partition, and the end.
    """

    def __init__(self, folder: Path, name: str, bounds: np.ndarray) -> None:
        self.paths = [folder / f".{name}-{part}" for part in range(len(bounds) - 1)]
        self.bounds = bounds
        for path in self.paths:
            path.touch()

    def add(self, keys: np.ndarray) -> None:
        """Appends edges, uint64 (n,) keys, to their partitions."""
        if len(self.paths) == 1:
            ordered, starts = keys, np.array([0, len(keys)])
        else:
            ordered, starts = _split(keys, self.bounds.astype(np.uint64))
        for path, first, last in zip(self.paths, starts[:-1], starts[1:], strict=True):
            if last > first:
                with path.open("ab") as file:
                    ordered[first:last].tofile(file)

    def sorted(self) -> Iterator[np.ndarray]:
        """Yields the distinct edges of each partition, ascending, and removes its file."""
        for path in self.paths:
            keys = np.fromfile(path, np.uint64)
            path.unlink()
            keys.sort()
            if len(keys):
                first = np.ones(len(keys), dtype=bool)
                np.not_equal(keys[1:], keys[:-1], out=first[1:])
                keys = keys if first.all() else keys[first]
            yield keys


def _write_side(
    folder: Path, side: int, size: int, parts: _Parts, tick: Callable[[], object], other: _Parts | None
) -> int:
    """Writes the two arrays of a side, passes the edges to the partitions of the other side, and counts them."""
    degrees = np.zeros(size, np.int64)
    edges, path = 0, folder / f"{_NEIGHBOURS[side]}.npy"
    with path.open("wb") as file:
        _write_header(file, 0)
        for part, keys in enumerate(parts.sorted()):
            first, last = parts.bounds[part], parts.bounds[part + 1]
            nodes = (keys >> _SHIFT).astype(np.int64)
            degrees[first:last] = np.bincount(nodes - first, minlength=last - first)
            neighbours = (keys & _LOW).astype(np.int32)
            neighbours.tofile(file)
            edges += len(keys)
            if other is not None:
                other.add(_keys(neighbours, nodes))
            tick()
    with path.open("r+b") as file:
        _write_header(file, edges)  # NumPy reserves space for the length to grow
    np.save(folder / f"{_STARTS[side]}.npy", np.concatenate([[0], np.cumsum(degrees)]))
    return edges


def _write_header(file: Any, length: int) -> None:
    np.lib.format.write_array_header_1_0(file, {"descr": "<i4", "fortran_order": False, "shape": (length,)})
    file.flush()


def _bounds(counts: np.ndarray, chunk: int) -> np.ndarray:
    """First node of each partition, int64 (P + 1,), for about two chunks of edges per partition."""
    ends = np.cumsum(counts)
    parts = max(1, -(-int(ends[-1]) // (2 * chunk)))
    cuts = np.searchsorted(ends, np.linspace(0, ends[-1], parts + 1)[1:-1]) + 1
    return np.unique(np.concatenate([[0], cuts.clip(max=len(counts)), [len(counts)]]))


def _keys(high: np.ndarray, low: np.ndarray) -> np.ndarray:
    """Edges as uint64 keys that sort by the first and then by the second node."""
    keys: np.ndarray = (high.astype(np.uint64) << _SHIFT) | low.astype(np.uint64)
    return keys


@njit(cache=True, nogil=True)
def _split(keys, bounds):  # type: ignore[no-untyped-def]
    """Edges in stable order of partitions, and the start of each partition."""
    parts = bounds.size - 1
    part_of = np.empty(keys.size, np.int32)
    starts = np.zeros(parts + 1, np.int64)
    for row in range(keys.size):
        node = keys[row] >> np.uint64(32)
        low, high = 0, parts  # bounds[low] <= node < bounds[high]
        while high - low > 1:
            middle = (low + high) // 2
            if bounds[middle] <= node:
                low = middle
            else:
                high = middle
        part_of[row] = low
        starts[low + 1] += 1
    for part in range(parts):
        starts[part + 1] += starts[part]
    place = starts[:-1].copy()
    ordered = np.empty_like(keys)
    for row in range(keys.size):
        ordered[place[part_of[row]]] = keys[row]
        place[part_of[row]] += 1
    return ordered, starts
