"""How often each id of a table occurs: from a file of counts, a column, or interactions."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from slimtable.tables.base import Ids, Table, TableError
from slimtable.tables.opening import open_arrays

if TYPE_CHECKING:
    import polars as pl

    from slimtable.data.interactions.interactions import Interactions

Side = Literal["user", "item"]

_ARRAYS = (".npy", ".npz", ".safetensors", ".pt", ".pth")


def read_frequencies(
    path: str | Path,
    num_embeddings: int,
    *,
    column: str | None = None,
    id_column: str | None = None,
    ids: Ids | None = None,
) -> np.ndarray:
    """Reads how often each id occurs.

    Args:
        path: a ``.npy``, ``.npz``, safetensors or PyTorch file with one number per id; or a Parquet, Arrow or CSV file.
        num_embeddings: number of rows N of the table.
        column: name of the array in an archive, or of the column; None if there is one only.
        id_column: column with the id of each count; ids that do not appear count 0. None: counts are in the order of
            the rows.
        ids: (N,) raw id of each row, which ``id_column`` refers to; None if ids are the numbers 0 … N - 1.

    Returns:
        Counts (N,), of the type in the file.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: there is no such column, counts are not N finite numbers of 0 or more, or an id is unknown.
    """
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(f"There is no file {path}. Counts come from a .npy, .npz, Parquet or CSV file.")
    if path.suffix.lower() in _ARRAYS:
        counts = _array(path, column)
    else:
        counts = _column(path, column, id_column, num_embeddings, ids)
    if counts.shape != (num_embeddings,):
        raise TableError(f"{path} holds {counts.shape[0]:,} counts, but the table has {num_embeddings:,} rows.")
    if not (np.isfinite(counts) & (counts >= 0)).all():
        raise TableError(f"{path} holds counts that are negative or not finite.")
    return counts


def count_frequencies(
    interactions: Interactions | str | Path,
    side: Side,
    num_embeddings: int,
    *,
    ids: Ids | None = None,
    data_root: str | Path | None = None,
    **options: Any,
) -> np.ndarray:
    """Counts the interactions of each user or item.

    Args:
        interactions: the interactions, the name of a dataset, or a file of any format of :mod:`slimtable.data`.
        side: ``user`` or ``item``.
        num_embeddings: number of rows N of the table.
        ids: (N,) raw id of each row. None: if the data has N ids, row k is its k-th smallest id, as slimtable numbers
            them; else its ids must be row numbers 0 … N - 1.
        data_root: folder of named datasets.
        options: options of the reader, such as ``columns``.

    Returns:
        int64 (N,); 0 for rows without interactions.

    Raises:
        ValueError: there is no such side, or the data has ids that the table lacks.
    """
    from slimtable.data.datasets.catalogue import load_dataset
    from slimtable.data.interactions.interactions import Interactions

    if side not in ("user", "item"):
        raise ValueError(f"side must be 'user' or 'item', got {side!r}.")
    if isinstance(interactions, Interactions):
        data = interactions
    else:
        loaded: Any = load_dataset(str(interactions), data_root=data_root, **options).interactions
        if not isinstance(loaded, Interactions):
            raise ValueError(f"{interactions} holds no interactions of users with items.")
        data = loaded
    counts = data.user_counts() if side == "user" else data.item_counts()
    names = data.user_vocabulary if side == "user" else data.item_vocabulary
    if ids is None and len(names) == num_embeddings:
        return counts
    return _spread(counts, names, num_embeddings, ids, f"the {side}s of the data")


def _array(path: Path, name: str | None) -> np.ndarray:
    arrays = open_arrays(path)
    counts = {key: array for key, array in arrays.items() if array.ndim == 1 and array.dtype.kind in "iuf"}
    return _checked(path, counts, name, f"{len(arrays)} arrays")


def _checked(path: Path, counts: dict[str, Table], name: str | None, instead: str) -> np.ndarray:
    if name is None and len(counts) == 1:
        name = next(iter(counts))
    if name is None or name not in counts:
        listed = ", ".join(f"{key[:40]} {table.shape}" for key, table in list(counts.items())[:6])
        what = f"no counts {name[:60]!r}" if name is not None else "not exactly one array of counts"
        raise TableError(f"{path} holds {what}. Its arrays of one number per id: {listed or f'none of {instead}'}.")
    counts[name].verify()
    return counts[name][:]


def _column(path: Path, column: str | None, id_column: str | None, rows: int, ids: Ids | None) -> np.ndarray:
    frame = _frame(path)
    numeric = [name for name in frame.columns if frame[name].dtype.is_numeric() and name != id_column]
    if column is None and len(numeric) == 1:
        column = numeric[0]
    _require_column(path, column, numeric)
    if id_column is not None:
        _require_column(path, id_column, frame.columns)
    assert column is not None
    counts: np.ndarray = frame[column].to_numpy()
    if frame[column].null_count():
        raise TableError(f"{path}: {frame[column].null_count():,} values of column {column[:60]!r} are missing.")
    if id_column is None:
        return counts
    names = frame[id_column].to_numpy()
    if frame[id_column].null_count() or len(np.unique(names)) < len(names):
        raise TableError(f"{path}: ids in column {id_column[:60]!r} are missing or appear twice.")
    return _spread(counts, names, rows, ids, f"column {id_column[:60]!r} of {path}")


def _require_column(path: Path, name: str | None, columns: list[str]) -> None:
    if name not in columns:
        what = f"no such column {name[:60]!r}" if name is not None else "not exactly one column of numbers"
        raise TableError(f"{path} has {what}. Columns: {', '.join(each[:40] for each in columns[:8]) or 'none'}.")


def _frame(path: Path) -> pl.DataFrame:
    """All columns of a Parquet, Arrow or CSV file."""
    import polars as pl

    with path.open("rb") as file:
        start = file.read(6)
    try:
        if start.startswith(b"PAR1"):
            return pl.read_parquet(path)
        return pl.read_ipc(path) if start.startswith(b"ARROW1") else pl.read_csv(path)
    except (pl.exceptions.PolarsError, OSError, ValueError) as error:
        raise TableError(f"{path} is not a readable file of counts: {str(error)[:160]}") from error


def _spread(counts: np.ndarray, names: np.ndarray, rows: int, ids: Ids | None, what: str) -> np.ndarray:
    """Counts by row, from counts by id."""
    if ids is None:
        if names.dtype.kind not in "iu":
            raise TableError(f"{what} are texts, but the table has no ids. Give the raw id of each row with ids=….")
        unknown = (names < 0) | (names >= rows)
        places = np.where(unknown, 0, names)
    else:
        known = np.asarray(ids)
        if known.shape != (rows,):
            raise TableError(f"There are {len(known):,} ids for {rows:,} rows of the table.")
        if known.dtype.kind in "iu" and names.dtype.kind not in "iu":
            known = known.astype(np.str_)
        wanted = np.asarray(names if known.dtype.kind in "iu" else np.asarray(names).astype(np.str_))
        order = np.argsort(known, kind="stable")
        places = order[np.minimum(np.searchsorted(known, wanted, sorter=order), rows - 1)]
        unknown = known[places] != wanted
    if unknown.any():
        first = str(names[int(np.argmax(unknown))])[:40]
        raise TableError(
            f"{int(unknown.sum()):,} of {what} are no ids of the table of {rows:,} rows, the first {first!r}. Leave "
            "them out of the data, or give the raw ids of the table."
        )
    spread = np.zeros(rows, counts.dtype)
    spread[places] = counts
    return spread
