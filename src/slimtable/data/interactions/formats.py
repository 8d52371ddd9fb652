"""Readers of interaction files, chosen by the content of a file, not by its name.

=============  ===============================================================================================
format         content of the file
=============  ===============================================================================================
``sasrec``     ``user item`` a line, integers; each user's lines in time order
``sequence``   ``user item item …`` a line, integers; items in time order
``lightgcn``   the same lines, unordered; a folder of them holds ``train.txt`` and ``test.txt``
``weighted``   a folder of ``train.txt`` and ``test.txt`` with tab-separated ``user item weight`` lines, unordered
``inter``      a RecBole atomic file: tab-separated, header of ``name:type`` such as ``user_id:token``
``ratings``    MovieLens ``ratings.dat``: ``user::item::rating::time``
``table``      CSV or TSV with a header, or without one and `columns` given by position
``parquet``    a Parquet file
=============  ===============================================================================================

How :func:`detect_format` decides, in this order, from the first 64 KiB:

1. A folder with ``train.txt`` and ``test.txt`` is ``weighted`` if each line of ``train.txt`` has three tab-separated
   fields and users repeat, or not all fields are integers; else ``lightgcn``.
2. A file that begins with ``PAR1`` is ``parquet``; one whose first line is all ``name:type`` fields separated by
   tabs is ``inter``; one with ``::`` in its first line is ``ratings``.
3. Lines of integers separated by spaces are ``sasrec`` if each has two, else ``sequence``. (If every user of a
   sequence file has one item, both readings are the same.) If each line has three or four, or users repeat, it may
   also be a table of user, item, rating and time: then the reader asks for the format. Integers separated by tabs are
   ``sasrec`` if each line has two; any other number is a table without a header, whose columns must be given.
4. A first line with a tab, comma, semicolon or bar that is not all numbers is the header of a ``table``.

Files may be compressed by gzip or zstd, and in UTF-16; other encodings are named by ``encoding``. A folder of part
files, as Spark writes, is read as one table. A first line of ``0,1,2,…`` is a header.

A single LightGCN file looks like a sequence file and is read as one, in time order: pass ``format="lightgcn"`` if it is
not. Pairs of items with scores are never guessed: read them by :func:`read_pairs`.
"""

from __future__ import annotations

import re
from itertools import pairwise
from pathlib import Path

import numpy as np

from slimtable.data.interactions.integer_lists import read_integer_lists
from slimtable.data.interactions.interactions import Interactions
from slimtable.data.interactions.pairs import Pairs
from slimtable.data.interactions.plain_text import plain_text
from slimtable.data.interactions.tables import Columns, read_pair_table, read_table
from slimtable.errors import DatasetError, DatasetNotFoundError
from slimtable.files import natural_key

FORMATS = ("sasrec", "sequence", "lightgcn", "weighted", "inter", "ratings", "table", "parquet")

_SAMPLE_BYTES = 1 << 16
_TYPED_FIELD = re.compile(r"\w+:(token|float|token_seq|float_seq)")
_INTEGER = re.compile(r"-?\d+")
_SEPARATORS = "\t,;|"


def read_interactions(
    path: str | Path,
    format: str | None = None,
    columns: Columns | None = None,
    *,
    drop_missing: bool = False,
    chronological: bool | None = None,
    separator: str | None = None,
    encoding: str | None = None,
) -> Interactions:
    """Read one file of interactions, or a folder of part files.

    Args:
        path: the file. A folder with a training and a test file is read by :func:`read_train_test`.
        format: one of `FORMATS`; None: found by :func:`detect_format`.
        columns: of a table, role (``user``, ``item``, ``rating``, ``time``) to column name, or to position
            from 0 if the file has no header. None: common names such as user_id, movieId or timestamp are
            recognised.
        drop_missing: drop rows without a rating or time instead of raising an error.
        chronological: declare that each user's rows are in time order. None: by the format; tables with times are
            checked.
        separator: separator of the fields of a table, one character such as " "; None: detected from the first line.
        encoding: encoding of the text, such as "latin-1"; None for UTF-8, or UTF-16 with a BOM.

    Returns:
        The interactions, rows in file order.

    Raises:
        DatasetNotFoundError: if there is no such file.
        DatasetError: if its format is not recognised, or a line or column is malformed; names the line.
        ValueError: if `format` is unknown, or `columns` is given for a format without columns.
    """
    path = _existing(path)
    if separator is not None and len(separator) != 1 and separator != "::":
        raise ValueError(f"A separator is one character, or '::', got {separator[:20]!r}.")
    if format is not None and format not in FORMATS:
        raise ValueError(f"unknown format {format!r}. Use one of {', '.join(FORMATS)}.")
    if path.is_dir():
        if not (parts := part_files(path)):
            raise DatasetError(f"{path} is a folder. Give one of its files, or use `read_train_test`.")
        return _read_parts(path, parts, columns, separator, drop_missing, bool(chronological))
    with plain_text(path, encoding) as plain:
        return _read_file(plain, format, columns, separator, drop_missing, chronological)


def part_files(folder: Path) -> list[Path]:
    """The part files of a folder, as Spark writes them beside ``_SUCCESS``, in natural order; may be empty."""
    return sorted((file for file in folder.glob("part-*") if file.is_file()), key=lambda file: natural_key(file.name))


def _read_parts(
    folder: Path,
    parts: list[Path],
    columns: Columns | None,
    separator: str | None,
    drop_missing: bool,
    chronological: bool,
) -> Interactions:
    if not _is_parquet(parts[0]):
        found, default_columns = _table_layout(parts[0], "table")
        separator, columns = separator or found, columns if columns is not None else default_columns
    return read_table(
        folder,
        separator=None if _is_parquet(parts[0]) else separator,
        columns=columns,
        drop_missing=drop_missing,
        chronological=chronological,
        parts=parts,
    )


def _read_file(
    path: Path,
    format: str | None,
    columns: Columns | None,
    separator: str | None,
    drop_missing: bool,
    chronological: bool | None,
) -> Interactions:
    if format is None:
        told = columns is not None or separator is not None
        format = "table" if told and not _is_parquet(path) else detect_format(path)
    if format in ("sasrec", "sequence", "lightgcn"):
        if columns is not None:
            raise ValueError(f"`columns` has no meaning for format {format!r}: its lines have no named columns.")
        users, items = read_integer_lists(path, pairs_only=format == "sasrec")
        if not users.size:
            raise DatasetError(f"{path} holds no interactions. Give at least one line of user and item.")
        in_order = format != "lightgcn" if chronological is None else chronological
        return Interactions.from_raw(users, items, chronological=in_order)
    found, default_columns = _table_layout(path, format)
    if format == "inter" and columns is None:
        _refuse_lists(path)
    return read_table(
        path,
        separator=found if separator is None else separator,
        columns=default_columns if columns is None else columns,
        drop_missing=drop_missing,
        chronological=bool(chronological),
    )


def read_pairs(path: str | Path, columns: Columns | None = None) -> Pairs:
    """Read a table of pairs of items with scores: CSV, TSV or Parquet.

    Args:
        path: the file.
        columns: role (``item``, ``other``, ``score``) to column name, or to position from 0 if the file has no
            header. None: common names such as item1, item2 and similarity are recognised.

    Returns:
        The pairs, rows in file order.

    Raises:
        DatasetNotFoundError: if there is no such file.
        DatasetError: if it is not a table, a line or column is malformed, an item is paired with itself, or a pair is
            repeated.
        ValueError: if `columns` names an unknown role, or a role is missing.
    """
    path = _existing(path)
    if path.is_dir():
        raise DatasetError(f"{path} is a folder. Give one of its files.")
    if columns is None and not _is_parquet(path) and (format := detect_format(path)) not in ("table", "inter"):
        raise DatasetError(
            f"{path} is not a table with a header; it looks like format {format!r}. Name its columns: "
            "columns={'item': 0, 'other': 1, 'score': 2}."
        )
    separator, _ = _table_layout(path, "parquet" if _is_parquet(path) else "table")
    return read_pair_table(path, separator=separator, columns=columns)


def read_train_test(folder: str | Path, format: str | None = None) -> tuple[Interactions, Interactions]:
    """Read a folder whose ``train.txt`` and ``test.txt`` are a fixed split.

    Args:
        folder: holds the two files.
        format: ``"lightgcn"`` or ``"weighted"``; None: found by :func:`detect_format`.

    Returns:
        ``(train, test)`` with common vocabularies of all users and items of both.

    Raises:
        DatasetNotFoundError: if the folder or one of its files does not exist.
        DatasetError: if a line is malformed, or the training part is empty.
        ValueError: if `format` is not a format of folders.
    """
    folder = _existing(folder)
    format = detect_format(folder) if format is None else format
    if format not in ("lightgcn", "weighted"):
        raise ValueError(f"format {format!r} is not a format of folders. Use lightgcn or weighted.")
    users: list[np.ndarray] = []
    items: list[np.ndarray] = []
    weights: list[np.ndarray] = []
    for name in ("train.txt", "test.txt"):
        path = _existing(folder / name)
        if format == "weighted":
            part = read_table(path, separator="\t", columns={"user": 0, "item": 1, "rating": 2})
            users.append(part.user_vocabulary[part.users])
            items.append(part.item_vocabulary[part.items])
            weights.append(np.asarray(part.ratings))
        else:
            part_users, part_items = read_integer_lists(path)
            users.append(part_users)
            items.append(part_items)
    both = Interactions.from_raw(
        np.concatenate(users), np.concatenate(items), np.concatenate(weights) if weights else None
    )
    if not users[0].size:
        raise DatasetError(f"{folder / 'train.txt'} holds no interactions. Give at least one line of user and item.")
    is_train = np.arange(len(both)) < users[0].size
    return both.select(is_train), both.select(~is_train)


def atomic_parts(folder: Path) -> list[Path]:
    """The training, validation and test file of a RecBole folder, ``NAME.train.inter`` and so on; else empty."""
    found = [sorted(folder.glob(f"*.{part}.inter")) for part in ("train", "valid", "test")]
    return [files[0] for files in found] if all(len(files) == 1 for files in found) else []


def read_atomic_parts(files: list[Path], columns: Columns | None = None) -> list[Interactions]:
    """Read the parts of a RecBole dataset, with common vocabularies of all users and items.

    Args:
        files: training, validation and test part.
        columns: as for :func:`read_interactions`.

    Returns:
        The parts, in that order.

    Raises:
        DatasetError: as for :func:`read_interactions`, or only some parts have times or ratings.
    """
    parts = [read_interactions(file, "inter", columns) for file in files]
    for name in ("times", "ratings"):
        if len({getattr(part, name) is None for part in parts}) > 1:
            raise DatasetError(f"{files[0].parent}: some of its parts have {name}, others do not.")
    joined = [
        None if any(values is None for values in column) else np.concatenate([np.asarray(values) for values in column])
        for column in (
            [part.user_vocabulary[part.users] for part in parts],
            [part.item_vocabulary[part.items] for part in parts],
            [part.ratings for part in parts],
            [part.times for part in parts],
        )
    ]
    assert joined[0] is not None
    assert joined[1] is not None
    whole = Interactions.from_raw(joined[0], joined[1], joined[2], joined[3])
    bounds = np.cumsum([0, *map(len, parts)])
    place = np.arange(len(whole))
    return [whole.select((place >= low) & (place < high)) for low, high in pairwise(bounds)]


def detect_format(path: str | Path) -> str:
    """Detect the format by the rules above.

    Args:
        path: a file or folder.

    Returns:
        One of `FORMATS`.

    Raises:
        DatasetNotFoundError: if it does not exist.
        DatasetError: if nothing matches; the message shows the first line.
    """
    path = _existing(path)
    if path.is_dir():
        if part_files(path):
            return "parquet" if _is_parquet(part_files(path)[0]) else "table"
        if not all((path / name).is_file() for name in ("train.txt", "test.txt")):
            raise DatasetError(f"{path} holds no train.txt and test.txt. Give the data file itself.")
        return _format_of_parts(path / "train.txt")
    with plain_text(path) as plain:
        return _detect(plain)


def _detect(path: Path) -> str:
    if _is_parquet(path):
        return "parquet"
    lines = [line.decode("utf-8", "replace") for line in _sample(path)]
    first = lines[0]
    if all(_TYPED_FIELD.fullmatch(field) for field in first.split("\t")):
        return "inter"
    if "::" in first:
        return "ratings"
    fields = [line.split() for line in lines]
    if all(_INTEGER.fullmatch(number) for line in fields for number in line):
        if all(len(line) == 2 for line in fields):
            return "sasrec"
        if any("\t" in line for line in lines):
            raise DatasetError(
                f"{path} looks like a table without a header. Name its columns: "
                "columns={'user': 0, 'item': 1, 'rating': 2, 'time': 3}."
            )
        _refuse_tables(path, fields)
        return "sequence"
    if any(separator in first for separator in _SEPARATORS):
        names = re.split(r"[\t,;|]", first)
        named_by_place = len(names) > 2 and names == [str(place) for place in range(len(names))]
        if not named_by_place and all(re.fullmatch(r"\s*-?[\d.]+\s*", field) for field in names):
            raise DatasetError(
                f"{path} looks like a table without a header: its first line is {first[:60]!r}. "
                "Say what its columns are: columns={'user': 0, 'item': 1}."
            )
        return "table"
    raise DatasetError(
        f"{path} has no known format: its first line is {first[:60]!r}. See slimtable.data.interactions.formats."
    )


def _refuse_tables(path: Path, lines: list[list[str]]) -> None:
    """Raises DatasetError if lines of integers may be table rows as well as lists."""
    widths, users = {len(line) for line in lines}, [line[0] for line in lines]
    if len(lines) > 1 and (len(set(users)) < len(users) or (len(widths) == 1 and widths <= {3, 4})):
        raise DatasetError(
            f"{path}: lines such as {' '.join(lines[0])[:40]!r} may be `user item rating`, or a user and a list of "
            "items. State which: columns={'user': 0, 'item': 1, 'rating': 2} (--column user=0 --column item=1), or "
            "format='sequence' (--format sequence)."
        )


def _format_of_parts(train: Path) -> str:
    """The format of a folder, from the lines of its training file."""
    lines = [line.decode("utf-8", "replace").rstrip("\r") for line in _sample(train)]
    fields = [line.split("\t") for line in lines]
    if any(len(line) != 3 for line in fields):
        return "lightgcn"
    users = [line[0] for line in fields]
    integers = all(_INTEGER.fullmatch(field) for line in fields for field in line)
    if not integers or len(set(users)) < len(users):
        return "weighted"
    raise DatasetError(
        f"{train}: lines such as {lines[0][:40]!r} may be `user item weight`, or a user and two items. State which: "
        "format='weighted' or format='lightgcn' (--format)."
    )


def _refuse_lists(path: Path) -> None:
    """Raises DatasetError if a RecBole file has histories in one field."""
    names = _sample(path)[0].decode("utf-8", "replace").split("\t")
    lists = [name for name in names if name.endswith("_seq") and name.startswith("item")]
    if lists:
        raise DatasetError(
            f"{path}: column {lists[0][:60]} holds a history in each row, which would be dropped. Give a file with "
            "one interaction per row, or name the columns to use: --column user=… --column item=…."
        )


def _existing(path: str | Path) -> Path:
    path = Path(path).expanduser()
    if not path.exists():
        raise DatasetNotFoundError(f"there is no file or folder {path}. Check the path.")
    return path


def _is_parquet(path: Path) -> bool:
    with path.open("rb") as file:
        return file.read(4) == b"PAR1"


def _sample(path: Path) -> list[bytes]:
    """The first complete lines that are not blank."""
    with path.open("rb") as file:
        head = file.read(_SAMPLE_BYTES)
        more = bool(file.read(1))
    lines = head.removeprefix(b"\xef\xbb\xbf").split(b"\n")
    if more and len(lines) > 1:
        lines.pop()
    filled = [line.rstrip(b"\r") for line in lines if line.strip()]
    if not filled:
        raise DatasetError(f"{path} is empty. Give at least one line of user and item.")
    return filled


def _table_layout(path: Path, format: str) -> tuple[str | None, Columns | None]:
    """Separator (None for Parquet), and columns if the format fixes them."""
    if format == "parquet":
        return None, None
    first = _sample(path)[0].decode("utf-8", "replace")
    if format == "ratings":
        roles = ("user", "item", "rating", "time")[: first.count("::") + 1]
        return "::", {role: place for place, role in enumerate(roles)}
    if format in ("inter", "weighted"):
        return "\t", {"user": 0, "item": 1, "rating": 2} if format == "weighted" else None
    separator = max(_SEPARATORS, key=first.count)
    return separator if separator in first else " ", None
