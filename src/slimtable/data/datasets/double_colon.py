"""Lines of cells separated by two colons, as MovieLens and MovieTweetings release them."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from slimtable.data.interactions.tables import require_polars
from slimtable.errors import DatasetError

if TYPE_CHECKING:
    import polars as pl

USERS = r"^(?<user>\d+)::(?<sex>\w)::(?<age>\d+)::(?<occupation>\d+)::.*$"
MOVIES = r"^(?<movie>\d+)::.*::(?<genres>[^:]*)$"  # a title may hold colons
RATINGS = r"^(?<user>\d+)::(?<movie>\d+)::(?<rating>\d+)::(?<time>\d+)$"


def read_double_colon(path: Path, pattern: str, encoding: str = "utf-8") -> pl.DataFrame:
    """The named groups of a pattern, one row per line, as texts.

    Raises:
        DatasetError: the file cannot be read, or a line does not match; names the line.
    """
    require_polars()
    import polars as pl

    try:
        text = path.read_text(encoding)
    except (OSError, UnicodeDecodeError) as error:
        raise DatasetError(f"cannot read {path}: {error}.") from None
    lines = pl.Series(text.replace("\r\n", "\n").rstrip("\n").split("\n"))
    frame = lines.str.extract_groups(pattern).struct.unnest()
    wrong = frame.to_series(0).is_null()
    if wrong.any():
        row = int(wrong.arg_max() or 0)
        cells = "::".join(frame.columns)
        raise DatasetError(f"{path}, line {row + 1:,}: expected {cells}, got {lines[row][:60]!r}. Fetch it again.")
    return frame
