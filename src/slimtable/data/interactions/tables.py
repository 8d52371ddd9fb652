"""Tables with one interaction, or one pair of items, per row: delimited text and Parquet."""

from __future__ import annotations

import io
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from slimtable.data.interactions.interactions import Interactions
from slimtable.data.interactions.pairs import Pairs
from slimtable.data.interactions.plain_text import check_utf8
from slimtable.errors import DatasetError

if TYPE_CHECKING:
    import polars as pl

QUOTING = ",;|"
"""Separators of tables in which a quoted field may hold separators and line breaks."""

#: A role's column, by name or, in a file without a header, by position from 0.
Columns = Mapping[str, "str | int"]


@dataclass(frozen=True)
class _Roles:
    """The possible roles of columns.

    Attributes:
        ids: the two columns of ids.
        required: the required roles.
        guesses: by role, lower-case column names that are recognised.
    """

    ids: tuple[str, str]
    required: tuple[str, ...]
    guesses: Mapping[str, tuple[str, ...]]


_ITEM = (
    *("item", "item_id", "itemid", "iid", "movie", "movie_id", "movieid", "product", "product_id", "productid"),
    *("asin", "parent_asin", "business_id", "artist", "artist_id", "artistid", "track_id", "song_id", "book_id"),
    *("bookid", "isbn", "article_id", "news_id", "video_id", "anime_id", "sku"),
)
_INTERACTION = _Roles(
    ids=("user", "item"),
    required=("user", "item"),
    guesses={
        "user": (
            *("user", "user_id", "userid", "uid", "visitor", "visitor_id", "visitorid", "reviewer_id", "reviewerid"),
            *("customer_id", "customerid", "member_id", "session_id", "sessionid"),
        ),
        "item": _ITEM,
        "rating": ("rating", "score", "weight", "overall", "stars"),
        "time": ("time", "timestamp", "unix_time", "unixreviewtime", "event_time", "datetime", "date"),
    },
)
_PAIR = _Roles(
    ids=("item", "other"),
    required=("item", "other", "score"),
    guesses={
        "item": (*_ITEM, "item1", "item_1", "item_a", "first"),
        "other": ("other", "other_item", "other_id", "item2", "item_2", "item_b", "second"),
        "score": ("score", "rating", "weight", "similarity", "relevance"),
    },
)


def read_table(
    path: Path,
    *,
    separator: str | None,
    columns: Columns | None = None,
    drop_missing: bool = False,
    chronological: bool = False,
    parts: Sequence[Path] = (),
) -> Interactions:
    """Read the columns of known roles and number the ids.

    Args:
        path: the file.
        separator: between fields of a line, one character or ``"::"``; None for Parquet.
        columns: role (``user``, ``item``, ``rating``, ``time``) to column; optional roles that are not named are
            ignored. Required roles that are not named are recognised by common names, as are all roles if this is None.
        drop_missing: drop rows without a rating or time instead of raising an error.
        chronological: true if the rows of each user are in time order (derived from times if there are any).
        parts: the files of a folder, read instead of the file; each has its own header.

    Returns:
        The interactions in file order. Ids are integers if all are canonical integers, else
        strings.

    Raises:
        DatasetError: if a column is missing, a value is missing or malformed, or there are no rows.
        ValueError: if `columns` names an unknown role, or user or item is missing.
    """
    require_polars()
    import polars as pl

    frame = pl.concat([_read_frame(file, separator, columns, _INTERACTION, drop_missing) for file in parts or [path]])
    if frame.is_empty():
        raise DatasetError(f"{path} holds no interactions. Give at least one row of user and item.")
    return Interactions.from_raw(
        _ids(frame["user"], str(path), "user"),
        _ids(frame["item"], str(path), "item"),
        frame["rating"].to_numpy() if "rating" in frame.columns else None,
        frame["time"].to_numpy() if "time" in frame.columns else None,
        chronological=chronological and "time" not in frame.columns,
    )


def read_pair_table(path: Path, *, separator: str | None, columns: Columns | None = None) -> Pairs:
    """Read a table of pairs of items and number the ids, with one vocabulary for both columns.

    Args:
        path: the file.
        separator: as in :func:`read_table`.
        columns: role (``item``, ``other``, ``score``) to column. None: recognised by common names.

    Returns:
        The pairs in file order.

    Raises:
        DatasetError: if a column is missing, a value is missing or malformed, an item is paired with itself, a
            pair is repeated, or there are no rows.
        ValueError: if `columns` names an unknown role, or a role is missing.
    """
    frame = _read_frame(path, separator, columns, _PAIR)
    if frame.is_empty():
        raise DatasetError(f"{path} holds no pairs. Give at least one row of item, other item and score.")
    require_polars()
    import polars as pl

    sides = [frame["item"], frame["other"]]
    texts = [side.dtype in (pl.String, pl.Categorical, pl.Enum) for side in sides]
    if texts[0] != texts[1]:
        raise DatasetError(f"{path}: the ids of item are {sides[0].dtype}, of other {sides[1].dtype}. Give one type.")
    # Both sides together: an item must not be the number 7 on one side and the text "7" on the other.
    both = _ids(pl.concat([side.cast(pl.String if texts[0] else pl.Int64) for side in sides]))
    try:
        return Pairs.from_raw(both[: frame.height], both[frame.height :], frame["score"].to_numpy())
    except DatasetError as error:
        raise DatasetError(f"{path}: {error}") from error


def choose_id_columns(present: list[str], columns: Columns | None, path: Path) -> tuple[str, str]:
    """Names of the columns of users and items, for readers that need only these.

    Args:
        present: names of all columns.
        columns: as for :func:`read_table`.
        path: the file, for messages.

    Returns:
        The two names.

    Raises:
        DatasetError: if a column is missing.
        ValueError: if `columns` names an unknown role, or user or item is missing.
    """
    chosen = _choose(present, columns, path, _INTERACTION)
    return chosen["user"], chosen["item"]


def require_polars() -> None:
    """Raise an error with install instructions if polars is missing.

    Raises:
        DatasetError: if polars cannot be imported.
    """
    try:
        import polars  # noqa: F401
    except ImportError as error:
        raise DatasetError(
            "reading tables needs polars, which is not installed. Run: pip install 'slimtable[train]'"
        ) from error


def _read_frame(
    path: Path, separator: str | None, columns: Columns | None, roles: _Roles, drop_missing: bool = False
) -> pl.DataFrame:
    """The columns named by role, checked, with numeric ratings, scores and times."""
    header = separator is not None and _has_header(path, separator, columns)
    where = _Where(path, separator, has_header=header)
    if separator is None:
        frame = _read_parquet(path, columns, roles)
    else:
        frame = where.without_blank_lines(_read_text(path, separator, columns, roles))
    for role in roles.ids:
        missing = frame[role].is_null()
        if missing.any():
            raise DatasetError(f"{where.row(missing)}: no {role} id ({missing.sum():,} such rows). Give every row one.")
    for role in frame.columns:
        if role in roles.ids:
            continue
        missing = frame[role].is_null()
        if missing.any() and not drop_missing:
            advice = "Give every row one."
            if role not in roles.required:
                advice = f"Pass drop_missing=True to drop them, or name the columns you need without {role}."
            raise DatasetError(f"{where.row(missing)}: no {role} ({missing.sum():,} such rows). {advice}")
        values = _times(frame[role]) if role == "time" else _numbers(frame[role])
        wrong = values.is_null() & ~missing
        if role != "time":
            wrong |= ~values.is_finite().fill_null(True)
        if wrong.any():
            example = frame[role].filter(wrong)[0]
            raise DatasetError(f"{where.row(wrong)}: the {role} {example!r} is not a {role}. Correct it.")
        frame = frame.with_columns(values.alias(role))
    return frame.drop_nulls() if drop_missing else frame


def _has_header(path: Path, separator: str, columns: Columns | None) -> bool:
    """True if the first line names the columns; with columns given by position, only if it is 0, 1, 2 and so on."""
    if not _positional(columns):
        return True
    with path.open("rb") as file:
        first = next((line for line in file if line.strip()), b"").strip()
    fields = first.decode("utf-8", "replace").split(separator)
    return len(fields) > 2 and fields == [str(place) for place in range(len(fields))]


def _positional(columns: Columns | None) -> bool:
    return columns is not None and any(isinstance(column, int) for column in columns.values())


def _choose(present: list[str], columns: Columns | None, path: Path, roles: _Roles) -> dict[str, str]:
    """Column name by role, checked against the existing columns."""
    lowered = {name.split(":")[0].strip().lower(): name for name in reversed(present)}
    found = {
        role: next(lowered[guess] for guess in guesses if guess in lowered)
        for role, guesses in roles.guesses.items()
        if any(guess in lowered for guess in guesses)
    }
    if columns is None or (not _positional(columns) and set(columns) <= set(roles.guesses)):
        given = dict(columns or {})
        for role in roles.required:
            if role not in found and role not in given:
                raise DatasetError(
                    f"{path} has no column that looks like the {role}. Its columns: {_listed(present)}. "
                    f"Name it: columns={{'{role}': 'NAME'}}, or --column {role}=NAME."
                )
        if columns is None:
            return found
        columns = {**{role: found[role] for role in roles.required if role not in given}, **given}
    if not set(roles.required) <= set(columns) <= set(roles.guesses):
        optional = " and ".join(role for role in roles.guesses if role not in roles.required)
        raise ValueError(
            f"`columns` must map {' and '.join(roles.required)}{optional and f', and may map {optional}'}, "
            f"got {dict(columns)}."
        )
    if len(set(columns.values())) < len(columns):
        raise ValueError(f"`columns` names one column for two roles: {dict(columns)}.")
    places: Mapping[str | int, str] = {**dict(enumerate(present)), **{name: name for name in present}}
    for column in columns.values():
        if column not in places:
            names = f"positions 0 to {len(present) - 1}" if isinstance(column, int) else _listed(present)
            raise DatasetError(f"{path} has no column {column!r}. Its columns: {names}.")
    return {role: places[column] for role, column in columns.items()}


def _listed(names: list[str]) -> str:
    """Names of columns, shortened if there are many."""
    text = ", ".join(names)
    return text if len(text) <= 120 else f"{text[:117]}… ({len(names):,} columns)"


def _rename(frame: pl.DataFrame, chosen: dict[str, str]) -> pl.DataFrame:
    return frame.select([frame[name].alias(role) for role, name in chosen.items()])


def _read_parquet(path: Path, columns: Columns | None, roles: _Roles) -> pl.DataFrame:
    require_polars()
    import polars as pl

    if _positional(columns):
        raise ValueError("a Parquet file has named columns. Use their names in `columns`.")
    try:
        chosen = _choose(list(pl.read_parquet_schema(path)), columns, path, roles)
        frame = _rename(pl.read_parquet(path, columns=list(dict.fromkeys(chosen.values()))), chosen)
        for role, name in chosen.items():
            if frame[role].dtype.is_nested() or frame[role].dtype == pl.Binary:
                raise DatasetError(
                    f"{path}: column {name} holds {str(frame[role].dtype)[:40]}, not a {role}. Write integers or texts."
                )
        return frame
    except pl.exceptions.PolarsError as error:
        raise DatasetError(f"{path} is not a readable Parquet file: {_first_line(error)}") from error


def _read_text(path: Path, separator: str, columns: Columns | None, roles: _Roles) -> pl.DataFrame:
    require_polars()
    import polars as pl

    # polars separates fields by one byte: between the colons of "::" it sees an empty column.
    stride = len(separator)
    options: dict[str, Any] = {
        "separator": separator[0],
        "has_header": _has_header(path, separator, columns),
        "infer_schema": False,
        # With tabs, spaces and colons as separators, a quote is an ordinary character.
        "quote_char": '"' if separator in QUOTING else None,
    }
    check_utf8(path)
    try:
        with path.open("rb") as file:
            head = next((line for line in file if line.strip()), b"")
        present = pl.read_csv(io.BytesIO(head), **options).columns
        chosen = _choose(present[::stride], columns, path, roles)
        between = present[1::2] if stride == 2 else []
        frame = pl.read_csv(path, columns=[*dict.fromkeys(chosen.values()), *between], **options)
        if any(frame[name].null_count() < frame.height for name in between):
            raise DatasetError(f"{path} is not a readable table: some fields are separated by a single colon.")
        if separator in QUOTING:  # as in "user, item"
            frame = frame.with_columns(pl.col(name).str.strip_chars() for name in frame.columns)
        return _rename(frame, chosen)
    except pl.exceptions.PolarsError as error:
        line = _first_line_of_other_width(path, separator[0])
        if line:
            raise DatasetError(f"{path}, line {line:,}: more or fewer fields than in the first line.") from error
        raise DatasetError(f"{path} is not a readable table: {_first_line(error)}.") from error


def _ids(raw: pl.Series, where: str = "", role: str = "id") -> pl.Series:
    """Integers if every id is a canonical integer (no leading zero, sign or space), else strings as written.

    Raises:
        DatasetError: the column holds neither texts nor whole numbers.
    """
    import polars as pl

    if raw.dtype in (pl.Categorical, pl.Enum):
        return raw.cast(pl.String)
    if raw.dtype.is_float() or raw.dtype.is_decimal():
        whole = raw.cast(pl.Int64, strict=False)
        if whole.null_count() == raw.null_count() and bool((whole.cast(pl.Float64) == raw.cast(pl.Float64)).all()):
            return whole
        raise DatasetError(
            f"{where}: the {role} ids are {raw.dtype} and not all whole numbers. Write integers or texts."
        )
    if raw.dtype != pl.String:
        if not raw.dtype.is_integer():
            raise DatasetError(f"{where}: the {role} ids are {str(raw.dtype)[:60]}. Write integers or texts.")
        return raw
    # `cast` would map "007" and 7 to the same id; canonical texts survive the round trip.
    numbers = raw.cast(pl.Int64, strict=False)
    if numbers.null_count() == 0 and bool((numbers.cast(pl.String) == raw).all()):
        return numbers
    return raw


def _numbers(raw: pl.Series) -> pl.Series:
    import polars as pl

    return raw.cast(pl.Float32, strict=False)


def _times(raw: pl.Series) -> pl.Series:
    """Integers unchanged; dates as seconds since 1970, or microseconds if there are fractions."""
    import polars as pl

    if raw.dtype == pl.String:
        whole = raw.cast(pl.Int64, strict=False)
        if whole.null_count() == raw.null_count():
            return whole
        # The format that parses most values; the others are the errors.
        raw = min(raw.cast(pl.Float64, strict=False), _dates(raw), key=pl.Series.null_count)
    if raw.dtype in (pl.Date, pl.Datetime):
        micros = raw.cast(pl.Datetime("us")).cast(pl.Int64)
        return micros // 1_000_000 if bool((micros % 1_000_000 == 0).all()) else micros
    if raw.dtype in (pl.Float32, pl.Float64):
        raw = raw.fill_nan(None)
        fractional = bool((raw != raw.floor()).any())
        return (raw * (1_000_000 if fractional else 1)).round().cast(pl.Int64, strict=False)
    return raw.cast(pl.Int64, strict=False)


class _Where:
    """Names the file and, for text, the line of a row."""

    def __init__(self, path: Path, separator: str | None, has_header: bool) -> None:
        self.path, self.separator, self.has_header = path, separator, has_header

    def row(self, mask: pl.Series) -> str:
        """Position of the first row of a mask (E,); blank lines are not counted as rows."""
        row = int(mask.arg_max() or 0)
        if self.separator is None:
            return f"{self.path}, row {row + 1:,}"
        lengths, lines = _records(self.path, self.separator)
        return f"{self.path}, line {int(lines[lengths > 0][row + self.has_header]):,}"

    def without_blank_lines(self, frame: pl.DataFrame) -> pl.DataFrame:
        """Drop rows from blank lines, but not rows whose fields are all empty."""
        import polars as pl

        assert self.separator is not None
        empty = frame.select(pl.all_horizontal(pl.all().is_null())).to_series().to_numpy()
        if not empty.any():
            return frame
        lengths, _ = _records(self.path, self.separator)
        first = int(np.argmax(lengths > 0)) + self.has_header
        blank = lengths[first : first + frame.height] == 0
        keep = np.ones(frame.height, dtype=bool)
        keep[: blank.size] = ~(empty[: blank.size] & blank)
        return frame.filter(pl.Series(keep))


def _ends(text: np.ndarray, separator: str) -> np.ndarray:
    """Ends of records: line breaks outside quotes."""
    ends = text == 10
    if separator in QUOTING:
        ends &= np.cumsum(text == 34) % 2 == 0
    return np.flatnonzero(ends)


def _text_of(path: Path) -> np.ndarray:
    text = np.fromfile(path, np.uint8)
    return np.append(text, np.uint8(10)) if text.size and text[-1] != 10 else text


def _records(path: Path, separator: str) -> tuple[np.ndarray, np.ndarray]:
    """Bytes of each record, and its first line; used only for errors and blank lines."""
    text = _text_of(path)
    ends = _ends(text, separator)
    length = np.diff(ends, prepend=-1) - 1
    length -= (length > 0) & (text[np.maximum(ends - 1, 0)] == 13)
    breaks = np.flatnonzero(text == 10)
    starts = np.concatenate([[0], ends[:-1] + 1]) if len(ends) else ends
    return length, 1 + np.searchsorted(breaks, starts)


def _first_line_of_other_width(path: Path, separator: str) -> int:
    """Number of the first line with another number of fields than the first line; 0 if there is none."""
    text = _text_of(path)
    ends = _ends(text, separator)
    if not len(ends):
        return 0
    lengths, lines = _records(path, separator)
    parted = text == ord(separator)
    if separator in QUOTING:
        parted &= np.cumsum(text == 34) % 2 == 0
    widths = np.diff(np.searchsorted(np.flatnonzero(parted), ends), prepend=0)
    filled = lengths > 0
    other = filled & (widths != widths[int(np.argmax(filled))])
    return int(lines[int(np.argmax(other))]) if other.any() else 0


def _dates(raw: pl.Series) -> pl.Series:
    import polars as pl

    try:
        return raw.str.strip_suffix(" UTC").str.to_datetime(strict=False)
    except pl.exceptions.PolarsError:  # no value suggests a date format
        return pl.Series(raw.name, [None] * len(raw), pl.Int64)


def _first_line(error: Exception) -> str:
    return re.split(r"[\n.]", str(error).strip(), maxsplit=1)[0]
