"""Tables with one interaction, or one pair of items, a row: delimited text and Parquet."""

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
    """What columns may stand for.

    Attributes:
        ids: the two columns of ids.
        required: all that must be there.
        guesses: lower-case names that each column is recognised by; its keys are the roles.
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
    """Read the columns that matter and give dense ids.

    Args:
        path: the file.
        separator: between fields of a line, one character or ``"::"``; None for Parquet.
        columns: role (``user``, ``item``, ``rating``, ``time``) to column; roles not named are left out.
            A required role that is not named is recognised by its name, as all are where this is None.
        drop_missing: leave out rows without a rating or time instead of refusing them.
        chronological: the rows of each user are in time order (found from the times where there are any).
        parts: the files of a folder, read one after another in place of the file; each has a header of its own.

    Returns:
        The interactions in file order. Ids are integers where every one is written as an integer is; else
        strings.

    Raises:
        DatasetError: if a column is not there, a value is missing or malformed, or there are no rows.
        ValueError: if `columns` names an unknown role, or lacks user or item.
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
    """Read a table of pairs of items and give dense ids, both columns of ids from one vocabulary.

    Args:
        path: the file.
        separator: as in :func:`read_table`.
        columns: role (``item``, ``other``, ``score``) to column. None: they are recognised by usual names.

    Returns:
        The pairs in file order.

    Raises:
        DatasetError: if a column is not there, a value is missing or malformed, an item is paired with itself, a
            pair is repeated, or there are no rows.
        ValueError: if `columns` names an unknown role, or lacks one.
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
    # One reading for both: an item must not be the number 7 on one side and the text "7" on the other.
    both = _ids(pl.concat([side.cast(pl.String if texts[0] else pl.Int64) for side in sides]))
    try:
        return Pairs.from_raw(both[: frame.height], both[frame.height :], frame["score"].to_numpy())
    except DatasetError as error:
        raise DatasetError(f"{path}: {error}") from error


def choose_id_columns(present: list[str], columns: Columns | None, path: Path) -> tuple[str, str]:
    """Names of the columns of users and items, for readers that need no more of a table.

    Args:
        present: names of all columns.
        columns: as for :func:`read_table`.
        path: where they stand, for messages.

    Returns:
        The two names.

    Raises:
        DatasetError: if a column is not there.
        ValueError: if `columns` names an unknown role, or lacks user or item.
    """
    chosen = _choose(present, columns, path, _INTERACTION)
    return chosen["user"], chosen["item"]


def require_polars() -> None:
    """Say how to install polars where it is missing.

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
    """The columns under the names of their roles, checked; ratings, scores and times are numbers."""
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
                advice = f"Pass drop_missing=True to leave them out, or name the columns you need without {role}."
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
    """Whether the first line names the columns: where they are given by position, only if it is 0, 1, 2 and so on."""
    if not _positional(columns):
        return True
    with path.open("rb") as file:
        first = next((line for line in file if line.strip()), b"").strip()
    fields = first.decode("utf-8", "replace").split(separator)
    return len(fields) > 2 and fields == [str(place) for place in range(len(fields))]


def _positional(columns: Columns | None) -> bool:
    return columns is not None and any(isinstance(column, int) for column in columns.values())


def _choose(present: list[str], columns: Columns | None, path: Path, roles: _Roles) -> dict[str, str]:
    """Role to column name, checked against the columns that are there."""
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
                    f"Say which it is: columns={{'{role}': 'NAME'}}, or --column {role}=NAME."
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
    """Names of columns, as many as one reads."""
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

    # polars parts fields by one byte: between the two of "::" it sees an empty column.
    stride = len(separator)
    options: dict[str, Any] = {
        "separator": separator[0],
        "has_header": _has_header(path, separator, columns),
        "infer_schema": False,
        # Between tabs, spaces and colons a quote is a character like any other.
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
            raise DatasetError(f"{path} is not a readable table: some fields are parted by a lone colon.")
        if separator in QUOTING:  # as in "user, item"
            frame = frame.with_columns(pl.col(name).str.strip_chars() for name in frame.columns)
        return _rename(frame, chosen)
    except pl.exceptions.PolarsError as error:
        line = _first_line_of_other_width(path, separator[0])
        if line:
            raise DatasetError(f"{path}, line {line:,}: more or fewer fields than in the first line.") from error
        raise DatasetError(f"{path} is not a readable table: {_first_line(error)}.") from error


def _ids(raw: pl.Series, where: str = "", role: str = "id") -> pl.Series:
    """Integers where every id is written as one (no leading zero, sign or space), else strings as written.

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
    # `cast` would take "007" and 7 for one id; canonical texts are those that come back equal.
    numbers = raw.cast(pl.Int64, strict=False)
    if numbers.null_count() == 0 and bool((numbers.cast(pl.String) == raw).all()):
        return numbers
    return raw


def _numbers(raw: pl.Series) -> pl.Series:
    import polars as pl

    return raw.cast(pl.Float32, strict=False)


def _times(raw: pl.Series) -> pl.Series:
    """Whole numbers as they are; dates as seconds since 1970, with fractions of seconds as microseconds."""
    import polars as pl

    if raw.dtype == pl.String:
        whole = raw.cast(pl.Int64, strict=False)
        if whole.null_count() == raw.null_count():
            return whole
        # The reading that fits most values: what it leaves out is what is wrong.
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
        """Where the first row of the mask (E,) stands; blank lines are no rows."""
        row = int(mask.arg_max() or 0)
        if self.separator is None:
            return f"{self.path}, row {row + 1:,}"
        lengths, lines = _records(self.path, self.separator)
        return f"{self.path}, line {int(lines[lengths > 0][row + self.has_header]):,}"

    def without_blank_lines(self, frame: pl.DataFrame) -> pl.DataFrame:
        """Drop the rows that polars makes of blank lines, but not those whose fields are all empty."""
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
    """Where records end: at line breaks, but for those within quotes."""
    ends = text == 10
    if separator in QUOTING:
        ends &= np.cumsum(text == 34) % 2 == 0
    return np.flatnonzero(ends)


def _text_of(path: Path) -> np.ndarray:
    text = np.fromfile(path, np.uint8)
    return np.append(text, np.uint8(10)) if text.size and text[-1] != 10 else text


def _records(path: Path, separator: str) -> tuple[np.ndarray, np.ndarray]:
    """Bytes of each record, and the line that it begins in. Only explains errors and finds blank lines."""
    text = _text_of(path)
    ends = _ends(text, separator)
    length = np.diff(ends, prepend=-1) - 1
    length -= (length > 0) & (text[np.maximum(ends - 1, 0)] == 13)
    breaks = np.flatnonzero(text == 10)
    starts = np.concatenate([[0], ends[:-1] + 1]) if len(ends) else ends
    return length, 1 + np.searchsorted(breaks, starts)


def _first_line_of_other_width(path: Path, separator: str) -> int:
    """Number of the first line whose fields are not as many as the first line's; 0 if there is none."""
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
    except pl.exceptions.PolarsError:  # no value gives a date format away
        return pl.Series(raw.name, [None] * len(raw), pl.Int64)


def _first_line(error: Exception) -> str:
    return re.split(r"[\n.]", str(error).strip(), maxsplit=1)[0]
