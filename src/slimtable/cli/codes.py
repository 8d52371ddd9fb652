"""``inspect --codes``: code health of an artifact, or of codes that another program made."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from slimtable.artifact.code_health import CodeHealth, code_health, no_collision_rate, warnings_of
from slimtable.artifact.codes import codes_of, codes_of_array
from slimtable.artifact.file import verify_artifact
from slimtable.cli.output import show, show_json, table

_NAME = "codes"
"""Name of the only table of a file of codes."""
_LARGEST = 1 << 31  # centroids of a codebook
_COLUMNS = ("codebook", "centroids", "used", "dead", "perplexity", "entropy ratio", "largest bucket")


def inspect_codes(file: Path, codebook_size: int | None, as_json: bool) -> None:
    """Shows the code health of every table of a file.

    Args:
        file: an artifact, or integers (N, M) in a .npy or Parquet file.
        codebook_size: number of centroids of every codebook of a .npy or Parquet file; None for the largest code + 1.
        as_json: print JSON.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: the file is neither, or a codebook size is given for an artifact.
        TypeError: the values of the file are not integers.
    """
    array = _read_codes(file)
    if array is None:
        if codebook_size is not None:
            raise ValueError(f"{file} is an artifact, which knows its codebooks. Leave --codebook-size out.")
        tables = {name: [code_health(c) for c in codes_of(p)] for name, p in verify_artifact(file).tables.items()}
    else:
        size = codebook_size if codebook_size is not None else 1 + max(0, int(array.max(initial=0)))
        if size > _LARGEST:
            raise ValueError(f"{file} would need codebooks of {size:,} centroids, more than {_LARGEST:,}.")
        sizes = (size,) * (array.shape[1] if array.ndim == 2 else 0)
        tables = {_NAME: [code_health(codes_of_array(array, sizes))]}
    if as_json:
        show_json({"path": str(file), "tables": {name: health_facts(groups) for name, groups in tables.items()}})
        return
    for name, groups in tables.items():
        _show_table(name, groups)
    if array is not None and codebook_size is None:
        show(f"codebooks were taken to have {size} centroids, the largest code + 1; --codebook-size sets them")


def health_facts(groups: Sequence[CodeHealth]) -> dict[str, Any]:
    """The code health of a table as JSON values; empty groups if it has no codes of centroids."""
    return {
        "no_collision_rate": no_collision_rate(groups) if groups else None,
        "groups": [group.to_dict() for group in groups],
        "warnings": warnings_of(groups),
    }


def _show_table(name: str, groups: Sequence[CodeHealth]) -> None:
    if not groups:
        show(f"{name}: no codebooks and no stored maps")
        return
    for group in groups:
        where = f"{name}, {group.name}" if group.name else name
        show(
            f"{where}: {group.num_ids:,} ids, {100 * group.no_collision_rate:.2f}% with a code tuple of their own; "
            f"{group.distinct:,} different tuples, the most frequent one of {group.largest_collision:,} ids"
        )
        rows = [
            (
                book.name,
                f"{book.codebook_size:,}",
                f"{100 * book.used_fraction:.1f}%",
                f"{book.dead:,}",
                f"{book.perplexity:,.1f}",
                f"{book.entropy_ratio:.4f}",
                f"{100 * book.largest_bucket:.2f}%",
            )
            for book in group.codebooks
        ]
        show(table(_COLUMNS, rows))
    for text in warnings_of(groups):
        show(f"warning: {text}")


def _read_codes(file: Path) -> np.ndarray | None:
    """The codes of a .npy or Parquet file, integers (N, M); None if it is another file, perhaps an artifact."""
    if not file.is_file():
        raise FileNotFoundError(f"There is no file {file}.")
    with file.open("rb") as opened:
        start = opened.read(6)
    if start == b"\x93NUMPY":
        try:
            return np.load(file, mmap_mode="r", allow_pickle=False)
        except (ValueError, EOFError, OverflowError) as error:
            raise ValueError(f"{file} is not a readable .npy file of codes: {str(error)[:120]}") from error
    return _read_parquet(file) if start[:4] == b"PAR1" else None


def _read_parquet(file: Path) -> np.ndarray:
    """Codes from a Parquet file: one column of lists, or the integer columns that are not named like ids."""
    import polars

    try:
        frame = polars.read_parquet(file)
    except polars.exceptions.PolarsError as error:
        raise ValueError(f"{file} is not a readable Parquet file: {str(error)[:120]}") from error
    lists = [name for name, kind in frame.schema.items() if isinstance(kind, polars.List | polars.Array)]
    if len(lists) > 1:
        raise ValueError(f"{file} has several columns of lists: {', '.join(lists)[:80]}. Keep one, the codes.")
    if lists:
        return _matrix_of_lists(file, frame[lists[0]])
    columns = _code_columns(frame.schema)
    if not columns:
        raise ValueError(f"{file} has no integer columns and no column of lists of integers.")
    if any(frame[name].null_count() for name in columns):
        raise ValueError(f"{file} has rows without a code. Drop them, or give them codes.")
    return frame.select(columns).to_numpy()


def _code_columns(schema: Mapping[str, Any]) -> list[str]:
    """The integer columns, but for the ids of the rows: a column named "id" or that ends with "_id"."""
    integers = [name for name, kind in schema.items() if kind.is_integer()]
    return [name for name in integers if not (name.lower() == "id" or name.lower().endswith("_id"))]


def _matrix_of_lists(file: Path, lists: Any) -> np.ndarray:
    """The integers (N, M) of a column of lists.

    Raises:
        ValueError: a list is missing, has another length than the others, or holds something else.
    """
    lists = lists.arr.to_list() if hasattr(lists.dtype, "size") else lists
    lengths = lists.list.len()
    same = len(lists) > 0 and lists.null_count() == 0 and lengths.min() == lengths.max() > 0
    if not (same and lists.dtype.inner.is_integer() and lists.explode().null_count() == 0):
        raise ValueError(f"{file}: column {lists.name!r} must hold as many integers in each row, and none is missing.")
    matrix: np.ndarray = lists.explode().to_numpy().reshape(len(lists), -1)
    return matrix
