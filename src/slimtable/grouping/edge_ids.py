"""Numbering of raw ids that come in chunks: dense ids in the order of the raw ids."""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import njit

from slimtable.errors import DatasetError

_WIDEST = 1 << 28  # largest range of integers for a lookup table (1 GiB)
_MAX = np.iinfo(np.int32).max


class Numbering:
    """Numbers the distinct raw ids of one column, ascending, as the vocabulary of interactions does.

    Pass every chunk to :meth:`see`, call :meth:`finish`, then translate chunks by :meth:`ids`. Integers below 2²⁸ are
    counted in a table; larger ones and texts are sorted. If some ids are texts, all become texts.

    Args:
        where: name of the source, for messages.
        side: ``"user"`` or ``"item"``, likewise.
    """

    def __init__(self, where: str, side: str) -> None:
        self.where, self.side = where, side
        self._table: np.ndarray | None = np.zeros(1, np.int32)  # occurrences of 0, 1, …; later their dense ids
        self._sorted: Any = None  # otherwise a polars frame of id and count
        self._texts = False
        self._vocabulary: np.ndarray = np.zeros(0, np.int64)
        self._enum: Any = None
        self._row = 0

    def see(self, raw: Any) -> None:
        """Counts the ids of a polars Series.

        Raises:
            DatasetError: one is missing, negative or not a whole number.
        """
        if not len(raw):
            return
        raw = self._checked(raw)
        self._texts = self._texts or raw.dtype == _text()
        highest = 0 if self._texts else int(raw.max())
        if self._table is not None and not self._texts and highest < _WIDEST:
            if highest >= len(self._table):
                self._table = np.append(self._table, np.zeros(2 * highest + 2 - len(self._table), np.int32))
            _count(raw.to_numpy(), self._table)
        else:
            self._merge(raw)
        self._row += len(raw)

    def finish(self) -> np.ndarray:
        """Assigns the dense ids.

        Returns:
            int64 (n,) count of each id.

        Raises:
            DatasetError: there are more ids than int32 can number.
        """
        if self._sorted is not None:
            self._merge(None)  # includes the counts in the table
            frame = self._sorted.sort("id")
            if self._texts:
                import polars as pl

                self._enum = pl.Enum(frame["id"])
                self._vocabulary = np.array(frame["id"].to_list(), dtype=np.str_)
            else:
                self._vocabulary = frame["id"].to_numpy().astype(np.int64)
            counts = frame["count"].to_numpy().astype(np.int64)
        else:
            assert self._table is not None
            self._vocabulary = np.flatnonzero(self._table).astype(np.int64)
            counts = self._table[self._vocabulary].astype(np.int64)
            self._table[self._vocabulary] = np.arange(len(counts), dtype=np.int32)
        if len(counts) > _MAX:
            raise DatasetError(f"{self.where}: {len(counts):,} {self.side}s are more than the maximum of {_MAX:,}.")
        return counts

    def ids(self, raw: Any) -> np.ndarray:
        """Dense ids of a polars Series of seen ids, int32 (n,)."""
        if self._enum is not None:
            found: np.ndarray = raw.cast(_text()).cast(self._enum).to_physical().to_numpy().astype(np.int32)
            return found
        values = raw.to_numpy()
        if self._table is not None:
            return self._table[values]
        return np.searchsorted(self._vocabulary, values).astype(np.int32)

    def vocabulary(self) -> np.ndarray:
        """The raw id of each dense id, int64 or unicode (n,)."""
        return self._vocabulary

    def _checked(self, raw: Any) -> Any:
        import polars as pl

        if raw.dtype in (pl.Categorical, pl.Enum):
            raw = raw.cast(pl.String)
        missing = raw.is_null() if raw.dtype != pl.String else raw.is_null() | (raw == "")
        if missing.any():
            self._refuse(missing, f"has no {self.side} id", "Give every row one.")
        if raw.dtype == pl.String:
            return raw
        if not raw.dtype.is_integer():
            raise DatasetError(
                f"{self.where}: {self.side} ids must be whole numbers or texts, got {raw.dtype} such as {raw[0]!r}. "
                "Cast the column first."
            )
        if int(raw.min()) < 0:
            self._refuse(raw < 0, f"has the negative {self.side} id {raw.filter(raw < 0)[0]}", "Use ids of 0 or more.")
        if int(raw.max()) > np.iinfo(np.int64).max:
            raise DatasetError(f"{self.where}: {self.side} ids must fit int64. Cast the column to texts first.")
        return raw

    def _refuse(self, wrong: Any, what: str, advice: str) -> None:
        row = self._row + int(wrong.arg_max()) + 1
        raise DatasetError(f"{self.where}, row {row:,} {what} ({wrong.sum():,} in this chunk). {advice}")

    def _merge(self, raw: Any) -> None:
        """Counts by sorting; moves the counts of the table over and drops it."""
        import polars as pl

        kind = pl.String if self._texts else pl.Int64
        frames = [] if self._sorted is None else [self._sorted.with_columns(pl.col("id").cast(kind))]
        if raw is not None:
            counted = raw.cast(kind).alias("id").value_counts(name="count")
            frames.append(counted.with_columns(pl.col("count").cast(pl.Int64)))
        if self._table is not None:
            seen = np.flatnonzero(self._table)
            frames.append(pl.DataFrame({"id": pl.Series(seen).cast(kind), "count": self._table[seen].astype(np.int64)}))
            self._table = None
        self._sorted = pl.concat(frames).group_by("id").agg(pl.col("count").sum())


def _text() -> Any:
    import polars as pl

    return pl.String


@njit(cache=True, nogil=True)
def _count(raw, table):  # type: ignore[no-untyped-def]
    for value in raw:
        table[value] += 1
