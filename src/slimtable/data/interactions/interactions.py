"""Interactions: the common form of data for training and evaluation."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, ClassVar, Self

import numpy as np
from numba import njit

from slimtable.data.interactions.vocabulary import encode
from slimtable.errors import DatasetError

if TYPE_CHECKING:
    import polars as pl

    RawIds = np.ndarray | pl.Series


@dataclass(frozen=True, eq=False)
class Interactions:
    """E rows of (user, item), with ids ``0..n-1`` and vocabularies of raw ids.

    Ids are always int32: 1e8 rows take 0.8 GB. A dataset is never empty, but a part of a split may have no rows; all
    parts of a split have the vocabularies of the whole.

    Attributes:
        users: int32 (E,), each in ``0..num_users-1``; any integer array is accepted and converted.
        items: int32 (E,), each in ``0..num_items-1``.
        user_vocabulary: raw id of each user, int64 or unicode (num_users,).
        item_vocabulary: raw id of each item, int64 or unicode (num_items,).
        ratings: float32 (E,) in the unit of the source, or None.
        times: int64 (E,) in the unit of the source (mostly seconds), or None.
        chronological: true if each user's rows are stored in time order.

    Raises:
        ValueError: if lengths differ, an id is out of range, or a rating is not finite.
        TypeError: if ids are not integers.

    Example:
        >>> data = Interactions.from_raw(np.array([7, 7, 9]), np.array(["a", "b", "b"]))
        >>> data.users.tolist(), data.items.tolist(), data.item_vocabulary.tolist()
        ([0, 0, 1], [0, 1, 1], ['a', 'b'])
    """

    default_split: ClassVar[str] = "leave-two-out"  # unless stated otherwise

    users: np.ndarray
    items: np.ndarray
    user_vocabulary: np.ndarray
    item_vocabulary: np.ndarray
    ratings: np.ndarray | None = None
    times: np.ndarray | None = None
    chronological: bool = False

    def __post_init__(self) -> None:
        rows = len(self.users)
        _check_ids("users", self.users, len(self.user_vocabulary), rows)
        _check_ids("items", self.items, len(self.item_vocabulary), rows)
        self._convert("users", self.users, np.int32)
        self._convert("items", self.items, np.int32)
        for name in ("ratings", "times"):
            values = getattr(self, name)
            if values is None:
                continue
            if np.shape(values) != (rows,):
                raise ValueError(f"`{name}` must have one value per row, shape ({rows},), got {np.shape(values)}.")
            self._convert(name, values, np.float32 if name == "ratings" else np.int64)
        if self.ratings is not None and not np.isfinite(self.ratings).all():
            bad = int(np.argmin(np.isfinite(self.ratings)))
            raise ValueError(f"`ratings` must be finite, got {self.ratings[bad]} in row {bad}. Drop or fill such rows.")

    def _convert(self, name: str, values: np.ndarray, dtype: type) -> None:
        object.__setattr__(self, name, np.ascontiguousarray(values, dtype=dtype))

    @classmethod
    def from_raw(
        cls,
        users: RawIds,
        items: RawIds,
        ratings: np.ndarray | None = None,
        times: np.ndarray | None = None,
        chronological: bool = False,
    ) -> Self:
        """Numbers raw ids: id ``k`` is the ``k``-th smallest raw id, independent of row order.

        Args:
            users: (E,) raw ids, integers or strings, as numpy array or polars Series.
            items: (E,) raw ids, likewise.
            ratings: (E,) finite numbers, or None.
            times: (E,) integers, or None.
            chronological: declare that each user's rows are in time order. If `times` are given, it is derived from
                them, and a contradiction raises an error.

        Returns:
            The interactions, rows in the given order.

        Raises:
            DatasetError: if there are no rows.
            ValueError: if lengths differ, or `times` contradict `chronological`.
            TypeError: if raw ids are neither integers nor strings.
        """
        if len(users) == 0:
            raise DatasetError("the data holds no interactions. Give at least one row of user and item.")
        if len(users) != len(items):
            raise ValueError(f"`users` and `items` must have equal length, got {len(users):,} and {len(items):,}.")
        user_ids, user_vocabulary = encode(users)
        item_ids, item_vocabulary = encode(items)
        data = cls(user_ids, item_ids, user_vocabulary, item_vocabulary, ratings, times, chronological)
        if data.times is None:
            return data
        ordered = bool(_users_in_time_order(data.users, data.times, data.num_users))
        if chronological and not ordered:
            raise ValueError("`chronological` is set, but `times` decrease within a user. Leave it False.")
        return replace(data, chronological=ordered)

    @property
    def num_users(self) -> int:
        """Number of users, including those without a row in this part."""
        return len(self.user_vocabulary)

    @property
    def num_items(self) -> int:
        """Number of items, including those without a row in this part."""
        return len(self.item_vocabulary)

    def __len__(self) -> int:
        return len(self.users)

    def user_counts(self) -> np.ndarray:
        """Rows of each user, int64 (num_users,)."""
        return np.bincount(self.users, minlength=self.num_users)

    def item_counts(self) -> np.ndarray:
        """Rows of each item, int64 (num_items,)."""
        return np.bincount(self.items, minlength=self.num_items)

    def select(self, rows: np.ndarray, *, chronological: bool | None = None) -> Self:
        """Select rows; vocabularies and ids do not change.

        Args:
            rows: a boolean mask (E,) or row numbers (any length).
            chronological: true if users' rows are in time order afterwards. None: unchanged for a mask or ascending row
                numbers, False for other row numbers.

        Returns:
            The selected rows, possibly empty.

        Raises:
            IndexError: if a mask has another length or a row number is out of range.
        """
        rows = np.asarray(rows)
        if chronological is None:
            ascending = rows.dtype == bool or bool((rows[1:] > rows[:-1]).all())
            chronological = self.chronological and ascending
        return replace(
            self,
            users=self.users[rows],
            items=self.items[rows],
            ratings=None if self.ratings is None else self.ratings[rows],
            times=None if self.times is None else self.times[rows],
            chronological=chronological,
        )

    def empty_like(self) -> Self:
        """An empty part with the same vocabularies."""
        return self.select(np.zeros(0, np.int64))

    def in_time_order(self) -> Self:
        """The same rows with each user's rows in time order.

        Returns:
            The object itself if it is chronological, else all rows stably sorted by time.

        Raises:
            ValueError: if the rows have neither order nor times.
        """
        if self.chronological:
            return self
        if self.times is None:
            raise ValueError(
                "the rows are not in time order and have no times. Use a source with a time column, state "
                "`chronological=True` where the order is one of time, or use the random split."
            )
        return self.select(np.argsort(self.times, kind="stable"), chronological=True)

    def csr(self) -> tuple[np.ndarray, np.ndarray]:
        """The items of each user in CSR form, for masks and negative sampling.

        Returns:
            ``(indptr, items)``: int64 (num_users + 1,) and int32 (E,). The items of user ``u`` are
            ``items[indptr[u]:indptr[u + 1]]``, ascending, with duplicates.

        Example:
            >>> data = Interactions.from_raw(np.array([1, 0, 1]), np.array([5, 5, 3]))
            >>> [part.tolist() for part in data.csr()]
            [[0, 1, 3], [1, 0, 1]]
        """
        return _csr(self.users, self.items, self.num_users, self.num_items)

    def sequences(self) -> tuple[np.ndarray, np.ndarray]:
        """The items of each user in stored order, for sequential recommenders.

        Returns:
            ``(indptr, items)``: int64 (num_users + 1,) and int32 (E,), as :meth:`csr`, but not sorted.

        Example:
            >>> data = Interactions.from_raw(np.array([1, 0, 1]), np.array([5, 5, 3]))
            >>> [part.tolist() for part in data.sequences()]
            [[0, 1, 3], [1, 1, 0]]
        """
        indptr = np.concatenate([[0], np.cumsum(self.user_counts())])
        return indptr, self.items[np.argsort(self.users, kind="stable")]

    def followed_by(self, later: Interactions) -> Self:
        """Appends the rows of a later part with the same vocabularies; keeps times and ratings if both have them.

        Args:
            later: the later rows; in time order, assumed to be later within each user.

        Returns:
            All rows.
        """

        def both(first: np.ndarray | None, second: np.ndarray | None) -> np.ndarray | None:
            return None if first is None or second is None else np.concatenate([first, second])

        return replace(
            self,
            users=np.concatenate([self.users, later.users]),
            items=np.concatenate([self.items, later.items]),
            ratings=both(self.ratings, later.ratings),
            times=both(self.times, later.times),
            chronological=self.chronological and later.chronological,
        )

    def reindex(self, user_order: np.ndarray, item_order: np.ndarray) -> Self:
        """Renumber users and items; vocabularies are permuted accordingly.

        Args:
            user_order: (num_users,) permutation; new id ``k`` is the old id ``user_order[k]``.
            item_order: (num_items,) likewise.

        Returns:
            The same rows with new ids.

        Raises:
            ValueError: if an order is not a permutation of all ids.
        """
        return replace(
            self,
            users=_inverse(user_order, self.num_users, "user_order")[self.users],
            items=_inverse(item_order, self.num_items, "item_order")[self.items],
            user_vocabulary=self.user_vocabulary[user_order],
            item_vocabulary=self.item_vocabulary[item_order],
        )

    def compact(self) -> Self:
        """Drop users and items without rows, keeping the order of ids."""
        user_kept, item_kept = self.user_counts() > 0, self.item_counts() > 0
        return replace(
            self,
            users=(np.cumsum(user_kept) - 1)[self.users],
            items=(np.cumsum(item_kept) - 1)[self.items],
            user_vocabulary=self.user_vocabulary[user_kept],
            item_vocabulary=self.item_vocabulary[item_kept],
        )

    def content(self) -> list[np.ndarray]:
        """The arrays of data digests: sizes, then the training columns.

        Digests identify runs and results, so this must not change.
        """
        return [np.array([self.num_users, self.num_items, len(self)]), self.users, self.items]

    def summary(self) -> dict[str, Any]:
        """Sizes and shape of the data as JSON values; shares and density are in percent."""
        users, items = self.user_counts(), self.item_counts()
        rows = max(len(self), 1)
        return {
            "users": self.num_users,
            "items": self.num_items,
            "interactions": len(self),
            "density_percent": 100 * len(self) / max(self.num_users * self.num_items, 1),
            "per_user_median": float(np.median(users)) if users.size else 0.0,
            "per_user_max": int(users.max(initial=0)),
            "per_item_median": float(np.median(items)) if items.size else 0.0,
            "per_item_max": int(items.max(initial=0)),
            "top_tenth_users_percent": 100 * _head_sum(users) / rows,
            "top_tenth_items_percent": 100 * _head_sum(items) / rows,
            "has_ratings": self.ratings is not None,
            "has_times": self.times is not None,
            "chronological": self.chronological,
        }


def frequency_order(counts: np.ndarray) -> np.ndarray:
    """Ids by descending frequency; ties keep their order.

    Args:
        counts: (n,) non-negative integers.

    Returns:
        int64 (n,): the permutation for :meth:`Interactions.reindex`.

    Example:
        >>> frequency_order(np.array([1, 5, 1, 9])).tolist()
        [3, 1, 0, 2]
    """
    return np.argsort(-np.asarray(counts, dtype=np.int64), kind="stable")


def without_duplicates(indptr: np.ndarray, items: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Removes duplicate items per user from the lists of :meth:`Interactions.csr`.

    Args:
        indptr: int64 (num_users + 1,).
        items: integer (E,), ascending within a user.

    Returns:
        The two arrays without duplicates.

    Example:
        >>> [part.tolist() for part in without_duplicates(np.array([0, 2, 5]), np.array([4, 4, 4, 7, 7]))]
        [[0, 1, 3], [4, 4, 7]]
    """
    first = np.ones(len(items), dtype=bool)
    first[1:] = items[1:] != items[:-1]
    first[indptr[:-1][np.diff(indptr) > 0]] = True  # the first item of a user is always new
    return np.concatenate([[0], np.cumsum(first)])[indptr], items[first]


def duplicate_rows(interactions: Interactions) -> np.ndarray:
    """Marks duplicates of earlier rows: the same user and item, and the same time if there are times.

    Chronological rows without times count as duplicates only if they are adjacent in the history of the user, since a
    user may return to an item.

    Returns:
        bool (E,).

    Example:
        >>> data = Interactions.from_raw(np.array([1, 1, 1]), np.array([5, 5, 5]), times=np.array([3, 3, 4]))
        >>> duplicate_rows(data).tolist()
        [False, True, False]
    """
    rows = np.arange(len(interactions))
    keys = [interactions.items, interactions.users]
    if interactions.times is not None:
        keys.insert(0, interactions.times)
    by_list = interactions.times is None and interactions.chronological
    order = np.lexsort((rows, interactions.users)) if by_list else np.lexsort((rows, *keys))
    again = np.zeros(len(rows), dtype=bool)
    alike = np.ones(max(len(rows) - 1, 0), dtype=bool)
    for key in keys:
        alike &= key[order[1:]] == key[order[:-1]]
    again[order[1:][alike]] = True
    return again


def _head_sum(counts: np.ndarray) -> int:
    """Number of rows of the most frequent tenth of ids (at least one id)."""
    return int(np.sort(counts)[::-1][: max(1, round(0.1 * counts.size))].sum())


def _check_ids(name: str, ids: np.ndarray, size: int, rows: int) -> None:
    if np.ndim(ids) != 1 or len(ids) != rows:
        raise ValueError(f"`{name}` must have shape ({rows},), got {np.shape(ids)}.")
    if np.asarray(ids).dtype.kind not in "iu":
        raise TypeError(f"`{name}` must be integers, got dtype {np.asarray(ids).dtype}. Use `Interactions.from_raw`.")
    if rows and (int(ids.min()) < 0 or int(ids.max()) >= size):
        raise ValueError(
            f"`{name}` must be in 0..{size - 1}, got {int(ids.min())}..{int(ids.max())}. "
            "Use `Interactions.from_raw` for raw ids."
        )


def _inverse(order: np.ndarray, size: int, name: str) -> np.ndarray:
    order = np.asarray(order)
    inverse = np.full(size, -1, np.int32)
    if order.shape == (size,) and (size == 0 or (order.min() >= 0 and order.max() < size)):
        inverse[order] = np.arange(size, dtype=np.int32)
    if (inverse < 0).any() or order.shape != (size,):
        raise ValueError(f"`{name}` must be a permutation of 0..{size - 1}. Use `frequency_order(counts)`.")
    return inverse


@njit(cache=True, nogil=True)
def _users_in_time_order(users: np.ndarray, times: np.ndarray, num_users: int) -> bool:  # pragma: no cover
    latest = np.full(num_users, np.iinfo(np.int64).min, np.int64)
    for row in range(users.size):
        if times[row] < latest[users[row]]:
            return False
        latest[users[row]] = times[row]
    return True


@njit(cache=True, nogil=True)
def _csr(
    users: np.ndarray, items: np.ndarray, num_users: int, num_items: int
) -> tuple[np.ndarray, np.ndarray]:  # pragma: no cover
    # Two stable counting sorts, by item and then by user, leave each user's items ascending.
    starts = np.zeros(num_items + 1, np.int64)
    for item in items:
        starts[item + 1] += 1
    for item in range(num_items):
        starts[item + 1] += starts[item]
    users_by_item = np.empty_like(users)
    for row in range(items.size):
        users_by_item[starts[items[row]]] = users[row]
        starts[items[row]] += 1  # from here on starts[i] is the end of item i
    indptr = np.zeros(num_users + 1, np.int64)
    for user in users:
        indptr[user + 1] += 1
    for user in range(num_users):
        indptr[user + 1] += indptr[user]
    place = indptr[:-1].copy()
    sorted_items = np.empty_like(items)
    row = 0
    for item in range(num_items):
        while row < starts[item]:
            user = users_by_item[row]
            sorted_items[place[user]] = item
            place[user] += 1
            row += 1
    return indptr, sorted_items
