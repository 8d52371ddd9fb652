"""Scored pairs of items: the data of item-to-item regression."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, NoReturn

import numpy as np

from slimtable.data.interactions.interactions import Interactions
from slimtable.data.interactions.vocabulary import encode
from slimtable.errors import DatasetError

if TYPE_CHECKING:
    import polars as pl

    RawIds = np.ndarray | pl.Series


@dataclass(frozen=True, eq=False)
class Pairs(Interactions):
    """E rows of (item, other item, score), both from one vocabulary.

    They behave like interactions in splits, training and evaluation: `users` holds the first item of each pair, `items`
    the second, `ratings` the score, and both have the same vocabulary. Pairs are unordered and occur once.

    Raises:
        ValueError: as for :class:`Interactions`; also without scores, or with different vocabularies.
        DatasetError: if an item is paired with itself, or a pair is repeated in either direction.

    Example:
        >>> data = Pairs.from_raw(np.array([7, 9]), np.array([9, 8]), np.array([0.5, -1.0]))
        >>> data.users.tolist(), data.items.tolist(), data.item_counts().tolist()
        ([0, 2], [2, 1], [1, 1, 2])
    """

    default_split: ClassVar[str] = "holdout"

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.ratings is None:
            raise ValueError("`ratings` of `Pairs` are the scores, and every pair must have one.")
        if self.user_vocabulary is not self.item_vocabulary:
            if not np.array_equal(self.user_vocabulary, self.item_vocabulary):
                raise ValueError("both sides of `Pairs` must have the same vocabulary. Use `Pairs.from_raw`.")
            object.__setattr__(self, "item_vocabulary", self.user_vocabulary)
        own = self.users == self.items
        if own.any():
            row = int(np.argmax(own))
            raise DatasetError(f"row {row + 1:,} pairs item {self._raw(self.users[row])} with itself. Leave it out.")
        low, high = np.minimum(self.users, self.items), np.maximum(self.users, self.items)
        keys = low.astype(np.int64) * self.num_items + high
        rows = np.argsort(keys, kind="stable")
        again = np.flatnonzero(keys[rows][1:] == keys[rows][:-1])
        if len(again):
            first, second = sorted(rows[again[0] : again[0] + 2])
            raise DatasetError(
                f"rows {first + 1:,} and {second + 1:,} both pair items {self._raw(self.users[first])} and "
                f"{self._raw(self.items[first])}. Give each pair once, in either direction."
            )

    def _raw(self, item: int) -> str:
        return repr(self.item_vocabulary[item].item())

    @classmethod
    def from_raw(cls, items: RawIds, others: RawIds, scores: np.ndarray) -> Pairs:  # type: ignore[override]
        """Numbers raw ids: id ``k`` is the ``k``-th smallest raw id of both sides.

        Args:
            items: (E,) raw ids of the first items, integers or strings, as numpy array or polars Series.
            others: (E,) raw ids of the second items, likewise and of the same type.
            scores: (E,) finite numbers.

        Returns:
            The pairs, rows in the given order.

        Raises:
            DatasetError: if there are no rows, an item is paired with itself, or a pair is repeated.
            ValueError: if lengths differ or a score is not finite.
            TypeError: if raw ids are neither integers nor strings, or the sides have different types.
        """
        if len(items) == 0:
            raise DatasetError("the data holds no pairs. Give at least one row of item, other item and score.")
        if len(items) != len(others):
            raise ValueError(f"`items` and `others` must have equal length, got {len(items):,} and {len(others):,}.")
        ids, vocabulary = encode(_joined(items, others))
        return cls(ids[: len(items)], ids[len(items) :], vocabulary, vocabulary, scores)

    def item_counts(self) -> np.ndarray:
        """Pairs of each item, on either side, int64 (num_items,)."""
        return np.bincount(self.users, minlength=self.num_items) + np.bincount(self.items, minlength=self.num_items)

    def user_counts(self) -> np.ndarray:
        """Same as :meth:`item_counts`, so that both sides get the same numbering."""
        return self.item_counts()

    def csr(self) -> NoReturn:
        """Not supported: pairs have no users whose items could be ranked or sampled.

        Raises:
            DatasetError: always.
        """
        raise DatasetError("pairs of items have no users to recommend for. Use a model for pairs, such as item_gmf.")

    def sequences(self) -> NoReturn:
        """Not supported, like :meth:`csr`.

        Raises:
            DatasetError: always.
        """
        self.csr()

    def content(self) -> list[np.ndarray]:
        """Like :meth:`Interactions.content`, with the scores."""
        assert self.ratings is not None
        return [*super().content(), self.ratings]

    def summary(self) -> dict[str, Any]:
        """Sizes, density in percent of all possible pairs, and the spread of the scores, as JSON values."""
        assert self.ratings is not None
        counts, scores = self.item_counts(), self.ratings.astype(np.float64)
        some = len(self) > 0
        return {
            "items": self.num_items,
            "pairs": len(self),
            "density_percent": 100 * len(self) / max(self.num_items * (self.num_items - 1) / 2, 1),
            "per_item_median": float(np.median(counts)) if counts.size else 0.0,
            "per_item_max": int(counts.max(initial=0)),
            "score_mean": float(scores.mean()) if some else 0.0,
            "score_std": float(scores.std()) if some else 0.0,
            "score_min": float(scores.min()) if some else 0.0,
            "score_max": float(scores.max()) if some else 0.0,
        }


def _joined(items: RawIds, others: RawIds) -> RawIds:
    if isinstance(items, np.ndarray) and isinstance(others, np.ndarray):
        if (items.dtype.kind in "iu") != (others.dtype.kind in "iu"):
            raise TypeError(
                f"`items` and `others` must both be integers or both strings, got dtypes {items.dtype} and "
                f"{others.dtype}."
            )
        return np.concatenate([items, others])
    import polars as pl

    items, others = pl.Series(items), pl.Series(others)
    if items.dtype != others.dtype:
        raise TypeError(f"`items` and `others` must have one type, got {items.dtype} and {others.dtype}.")
    return pl.concat([items, others])
