"""Opening the tables of a file or folder, whatever its format."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from fnmatch import fnmatchcase
from pathlib import Path

import numpy as np

from slimtable.memory import total_memory
from slimtable.tables.archives import is_archive, members
from slimtable.tables.arrow_files import is_arrow, read_arrow
from slimtable.tables.base import Joined, Table, TableError, WithIds
from slimtable.tables.int8_rows import LAYOUTS, Int8Rows, SplitInt8Rows, layout_of
from slimtable.tables.numpy_files import MAGIC, read_npy, read_npz, read_shards
from slimtable.tables.pickled_objects import read_pickled_arrays
from slimtable.tables.pickles import is_pickle
from slimtable.tables.pytorch_files import is_pytorch, read_pytorch
from slimtable.tables.safetensors_files import INDEX, is_safetensors, read_index, read_safetensors
from slimtable.tables.word2vec import is_word2vec, read_word2vec

_LISTED = 6  # tables that a message names
_SHOWN = 40  # characters of a name in a message
_KNOWN = ".npy, .npz, .safetensors, a PyTorch file, Parquet, Arrow, word2vec nor a pickle of gensim or LightFM"
_FOLDERS = "numbered .npy files, Parquet files, or safetensors files with an index"


def open_tables(
    path: str | Path,
    names: str | Iterable[str] | None = None,
    *,
    int8: str | None = None,
    id_column: str | None = None,
) -> dict[str, Table]:
    """Opens the tables of a file or folder. Their rows are read when they are asked for, a block at a time.

    No code of a file is ever run, and sizes are checked against the file before anything is allocated. 8-bit rows of
    FBGEMM, TorchRec and TorchEasyRec read as float32.

    Args:
        path: a file (its format is told from its content), a folder of numbered ``.npy`` files or of Parquet files, or
            a folder with the index of sharded safetensors files.
        names: which tables: a name, a pattern such as ``*.item_embedding.weight``, or several, separated by commas or
            as a list. Each must name at least one table. None: all floating-point matrices, and 8-bit rows where their
            layout is clear.
        int8: layout of 8-bit rows, ``fp32``, ``fp16`` or ``fp16-first``; None to tell it from the rows.
        id_column: the column of raw ids of a Parquet or Arrow file; None to find it.

    Returns:
        The tables by name, in the order of the file; a table without a name is called ``table``. Each has ``shape``
        (N, d), ``dtype``, ``ids`` (raw ids, or None), and ``table[start:stop]``.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: the file cannot be read, holds no table, or a name has none; the message is one line.

    Example:
        >>> import numpy as np, tempfile
        >>> np.save(path := tempfile.mktemp(suffix=".npy"), np.ones((5, 2), np.float16))
        >>> {name: table[1:3].tolist() for name, table in open_tables(path).items()}
        {'table': [[1.0, 1.0], [1.0, 1.0]]}
    """
    path = Path(path)
    arrays = open_arrays(path, id_column)
    tables = _tables(arrays, int8)
    chosen = tables if names is None else _matching(path, arrays, tables, names, int8)
    if not chosen:
        raise TableError(f"{path} holds no table. {_others(arrays)}")
    for table in chosen.values():
        table.verify()
    return chosen


def read_table(path: str | Path, name: str | None = None) -> np.ndarray:
    """The only table of a file, or the one of a name, as an array; see :func:`open_tables` for its formats.

    Args:
        path: the file or folder.
        name: name of the table, if there are several.

    Returns:
        float (N, d): mapped where the values lie in the file as they are, else read whole.

    Raises:
        SlimtableError: the table must be read whole, but the machine has less memory than that.
        FileNotFoundError: there is no such file.
        ValueError: the file cannot be read, or has no such table; the message lists its tables.
    """
    return open_table(path, name).as_array()


def open_table(
    path: str | Path, name: str | None = None, *, int8: str | None = None, id_column: str | None = None
) -> Table:
    """Opens the only table of a file, or the one of a name; arguments as for :func:`open_tables`.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: the file cannot be read, or has no such table; the message lists its tables.
    """
    path = Path(path)
    arrays = open_arrays(path, id_column)
    tables = _tables(arrays, int8)
    if name is None and len(tables) == 1:
        name = next(iter(tables))
    if name in tables:
        tables[name].verify()
        return tables[name]
    if name is not None:
        raise TableError(f"{path} holds no table {name[:60]!r}. Its floating-point matrices: {_listed(tables)}.")
    advice = " Choose one with name=…, or --name." if tables else f" {_others(arrays)}"
    raise TableError(f"{path} does not hold exactly one table. Its floating-point matrices: {_listed(tables)}.{advice}")


def open_arrays(path: str | Path, id_column: str | None = None) -> dict[str, Table]:
    """Opens all arrays of a file or folder by name, of any shape and type.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: the file cannot be read; the message is one line.
    """
    path = Path(path)
    try:
        return _open_folder(path, id_column) if path.is_dir() else _reader(path, id_column)(path)
    except (OSError, MemoryError, RecursionError) as error:
        if isinstance(error, FileNotFoundError):
            raise
        raise TableError(f"{path} cannot be read: {error}") from error


def _reader(path: Path, id_column: str | None) -> Callable[[Path], dict[str, Table]]:
    """The reader of the format of a file."""
    if not path.is_file():
        raise FileNotFoundError(f"There is no file {path}.")
    with path.open("rb") as file:
        start = file.read(64)
    if path.name.endswith(INDEX):
        return read_index
    if start.startswith(MAGIC):
        return read_npy
    if is_arrow(start):
        return lambda path: read_arrow(path, id_column)
    if is_safetensors(start):
        return read_safetensors
    if is_archive(path):
        return _read_zip
    if is_pickle(start):
        return lambda path: read_pickled_arrays(path, total_memory() // 4)
    if is_word2vec(start):
        return read_word2vec
    if start.startswith(b"PK"):
        raise TableError(f"{path} is damaged: its archive is cut off. Copy it again.")
    raise TableError(f"{path} is neither {_KNOWN}.")


def _read_zip(path: Path) -> dict[str, Table]:
    names = list(members(path))
    if is_pytorch(names):
        return read_pytorch(path)
    if all(name.endswith(".npy") for name in names):
        return read_npz(path)
    raise TableError(f"{path} is an archive, but neither .npz nor a PyTorch file.")


def _open_folder(folder: Path, id_column: str | None) -> dict[str, Table]:
    indexes = sorted(folder.glob(f"*{INDEX}"))
    if len(indexes) > 1:
        raise TableError(f"{folder} has {len(indexes)} indexes of safetensors files. Give the path of one.")
    if indexes:
        return read_index(indexes[0])
    parts = sorted(folder.glob("*.parquet"))
    if parts:
        return _joined(folder, [read_arrow(part, id_column) for part in parts], parts)
    found = read_shards(folder)
    if not found:
        raise TableError(f"The folder {folder} holds no tables: neither {_FOLDERS}.")
    return found


def _joined(folder: Path, opened: list[dict[str, Table]], paths: list[Path]) -> dict[str, Table]:
    """Columns of equal names of all files, one after the other."""
    found: dict[str, Table] = {}
    for name, first in opened[0].items():
        for path, tables in zip(paths, opened, strict=True):
            part = tables.get(name)
            if part is None or part.shape[1:] != first.shape[1:] or part.dtype != first.dtype:
                raise TableError(f"{folder}: column {name[:60]!r} of {path.name} is not as in {paths[0].name}.")
        found[name] = Joined([tables[name] for tables in opened])
    return found


def _tables(arrays: Mapping[str, Table], int8: str | None) -> dict[str, Table]:
    """The arrays that are tables: matrices of floats, and 8-bit rows."""
    if int8 is not None and int8 not in LAYOUTS:
        raise TableError(f"There is no layout {int8[:60]!r} of 8-bit rows. Layouts: {', '.join(LAYOUTS)}.")
    found: dict[str, Table] = {}
    parts = {f"{name}{end}" for name in arrays for end in ("_qscale", "_qbias")}
    for name, array in arrays.items():
        if array.ndim != 2 or name in parts:
            continue
        scales, offsets = arrays.get(f"{name}_qscale"), arrays.get(f"{name}_qbias")
        if array.dtype.kind == "f":
            found[name] = array
        elif array.dtype == "u1" and scales is not None and offsets is not None:
            found[name] = SplitInt8Rows(array, scales, offsets)
        elif array.dtype == "u1" and array.shape[0]:
            layout = int8 or layout_of(array)
            if layout is not None:
                found[name] = Int8Rows(array, layout)
    return _with_keys(found, arrays)


def _with_keys(tables: dict[str, Table], arrays: Mapping[str, Table]) -> dict[str, Table]:
    """Tables ``NAME.values`` with ids ``NAME.keys``, as TorchEasyRec exports them, are called ``NAME``."""
    found: dict[str, Table] = {}
    for name, table in tables.items():
        short = name.removesuffix(".values")
        keys = arrays.get(f"{short}.keys") if short != name else None
        if keys is not None and keys.ndim == 1 and keys.dtype.kind in "iu":
            found[short] = WithIds(table, keys[:].astype("int64"))
        else:
            found[name] = table
    return found


def _matching(
    path: Path, arrays: Mapping[str, Table], tables: Mapping[str, Table], names: str | Iterable[str], int8: str | None
) -> dict[str, Table]:
    """The tables whose names match one of the patterns, in the order of the file."""
    patterns = names.split(",") if isinstance(names, str) else list(names)
    patterns = [pattern.strip() for pattern in patterns if pattern.strip()]
    if not patterns:
        raise TableError("No table is named. Give names or patterns such as 'user_*,*.item_embedding.weight'.")
    for pattern in patterns:
        if any(name == pattern or fnmatchcase(name, pattern) for name in tables):
            continue
        bytes_only = arrays.get(pattern)
        if bytes_only is not None and bytes_only.dtype == "u1" and int8 is None:
            raise TableError(
                f"{path}: {pattern[:60]!r} holds bytes {bytes_only.shape}, whose layout is not clear. Say it with int8="
                f"{' or '.join(LAYOUTS)}."
            )
        raise TableError(f"{path} holds no table {pattern[:60]!r}. Its tables: {_listed(tables)}.")
    return {
        name: table
        for name, table in tables.items()
        if any(name == pattern or fnmatchcase(name, pattern) for pattern in patterns)
    }


def _listed(tables: Mapping[str, Table]) -> str:
    listed = ", ".join(f"{_short(key)} {table.shape}" for key, table in list(tables.items())[:_LISTED])
    more = f", and {len(tables) - _LISTED} more" if len(tables) > _LISTED else ""
    return (listed or "none") + more


def _short(name: str) -> str:
    return name if len(name) <= _SHOWN else f"…{name[1 - _SHOWN :]}"


def _others(arrays: Mapping[str, Table]) -> str:
    """What a file holds instead of tables."""
    listed = ", ".join(f"{_short(key)} {array.dtype} {array.shape}" for key, array in list(arrays.items())[:4])
    bytes_only = any(array.dtype == "u1" and array.ndim == 2 for array in arrays.values())
    advice = f" Say the layout of 8-bit rows with int8={' or '.join(LAYOUTS)}." if bytes_only else ""
    return f"A table is a floating-point matrix; found: {listed or 'no arrays'}.{advice}"
