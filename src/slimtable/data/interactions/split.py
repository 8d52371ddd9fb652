"""Splits into training, validation and test parts, and filters."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Literal

import numpy as np

from slimtable.data.interactions.interactions import Interactions, frequency_order
from slimtable.errors import DatasetError

if TYPE_CHECKING:
    from slimtable.data.datasets import Dataset


@dataclass(frozen=True, eq=False)
class Split:
    """Three parts of a dataset; `valid` and `test` may be empty.

    Attributes:
        train: rows to learn from.
        valid: rows to choose epochs and settings on.
        test: rows to report on.
        by_time: true if a user's test rows are later than the validation rows, and these later than the training rows.

    Raises:
        ValueError: if the parts do not share their vocabularies.
    """

    train: Interactions
    valid: Interactions
    test: Interactions
    by_time: bool = False

    def __post_init__(self) -> None:
        for part in (self.valid, self.test):
            if not (
                _same(part.user_vocabulary, self.train.user_vocabulary)
                and _same(part.item_vocabulary, self.train.item_vocabulary)
            ):
                raise ValueError("the parts of a `Split` must share their vocabularies. Create them by `select`.")

    @property
    def num_users(self) -> int:
        """Number of users of the whole dataset."""
        return self.train.num_users

    @property
    def num_items(self) -> int:
        """Number of items of the whole dataset."""
        return self.train.num_items

    def history(self, part: Literal["valid", "test"]) -> Interactions:
        """The rows before a part: the training rows, and for the test part also the validation rows.

        Args:
            part: the part to predict.

        Returns:
            The rows; chronological if the parts are and the split is by time.
        """
        rows = self.train if part == "valid" or len(self.valid) == 0 else self.train.followed_by(self.valid)
        return rows if self.by_time else replace(rows, chronological=False)


def split(
    source: Dataset | Interactions,
    how: str | None = None,
    *,
    fractions: Sequence[float] = (0.8, 0.1, 0.1),
    valid_fraction: float = 0.1,
    seed: int = 0,
) -> Split:
    """Split by name.

    Args:
        source: a dataset or bare interactions.
        how: ``"leave-two-out"``, ``"random"``, ``"holdout"`` (random, without a validation part), ``"temporal"``,
            ``"fixed"`` (the source's own test part) or ``"pooled"`` (random, from the source's own parts together).
            None: the split of the dataset in the literature; leave-two-out for bare interactions, holdout for bare
            pairs.
        fractions: train, valid and test shares of ``"random"``, ``"temporal"`` and ``"pooled"``.
        valid_fraction: share of the training rows that ``"fixed"`` sets aside.
        seed: of ``"random"``, ``"holdout"``, ``"fixed"`` and ``"pooled"``; the others are not random.

    Returns:
        The three parts.

    Raises:
        ValueError: if `how` is unknown or not possible for the source.

    Example:
        >>> data = Interactions.from_raw(np.array([1, 1, 1, 1]), np.array([4, 3, 2, 1]), chronological=True)
        >>> [len(part) for part in (split(data).train, split(data).valid, split(data).test)]
        [2, 1, 1]
    """
    interactions, fixed_test, fixed_valid = source, None, None
    if not isinstance(source, Interactions):
        interactions, fixed_test, fixed_valid = source.interactions, source.fixed_test, source.fixed_valid
        how = source.default_split if how is None else how
    assert isinstance(interactions, Interactions)
    how = interactions.default_split if how is None else how
    if how == "fixed":
        if fixed_test is None:
            raise ValueError("the source brings no test part. Use leave-two-out, random, holdout or temporal.")
        if fixed_valid is not None:
            return Split(interactions, fixed_valid, fixed_test)
        return fixed_split(interactions, fixed_test, valid_fraction, seed)
    if how == "pooled":
        if fixed_test is None:
            raise ValueError("the source brings no test part to pool with its training part. Use random.")
        whole = interactions if fixed_valid is None else interactions.followed_by(fixed_valid)
        return random_split(whole.followed_by(fixed_test), fractions, seed)
    if how not in ("leave-two-out", "random", "holdout", "temporal"):
        raise ValueError(f"unknown split {how!r}. Use leave-two-out, random, holdout, temporal, fixed or pooled.")
    if fixed_test is not None:
        raise ValueError(f"the source brings its own test part, which {how!r} would ignore. Use fixed or pooled.")
    if how == "leave-two-out":
        return leave_two_out(interactions)
    if how == "random":
        return random_split(interactions, fractions, seed)
    if how == "holdout":
        return holdout_split(interactions, seed=seed)
    return temporal_split(interactions, fractions)


def leave_two_out(interactions: Interactions) -> Split:
    """Each user's last row is test, the one before is validation, the others are training.

    Users with fewer than three rows keep all of them in training.

    Args:
        interactions: in time order, or with times.

    Returns:
        The three parts; at most one row per user in `valid` and `test`, rows by user there.

    Raises:
        ValueError: if the rows have neither order nor times.
    """
    interactions = interactions.in_time_order()
    # Row numbers by user, each user's in stored order.
    rows = np.argsort(interactions.users, kind="stable")
    counts = interactions.user_counts()
    ends = np.cumsum(counts)[counts >= 3]
    train = np.ones(len(interactions), dtype=bool)
    train[rows[ends - 1]] = False
    train[rows[ends - 2]] = False
    return Split(
        interactions.select(train),
        interactions.select(rows[ends - 2], chronological=True),
        interactions.select(rows[ends - 1], chronological=True),
        by_time=True,
    )


def random_split(interactions: Interactions, fractions: Sequence[float] = (0.8, 0.1, 0.1), seed: int = 0) -> Split:
    """Assign each row to a part at random; sizes are exact up to rounding.

    Args:
        interactions: any; a user may end up without training rows.
        fractions: train, valid and test shares, summing to 1.
        seed: random seed; equal seeds give equal parts.

    Returns:
        The three parts, rows in stored order.

    Raises:
        ValueError: if `fractions` are not three shares that sum to 1 with some training.
    """
    first, second = _cuts(fractions, len(interactions))
    part = np.zeros(len(interactions), np.int8)
    rows = np.random.default_rng(seed).permutation(len(interactions))
    part[rows[first:second]] = 1
    part[rows[second:]] = 2
    return _by_part(interactions, part)


def holdout_split(interactions: Interactions, test_fraction: float = 0.1, seed: int = 0) -> Split:
    """Set aside a random share of the rows for the test; without a validation part.

    Args:
        interactions: any.
        test_fraction: share of the rows to test on, in [0, 1).
        seed: random seed; equal seeds give equal parts.

    Returns:
        The three parts, rows in stored order; the validation part has none.

    Raises:
        ValueError: if `test_fraction` is out of range or leaves no training rows.
    """
    if not 0 <= test_fraction < 1:
        raise ValueError(f"`test_fraction` must be in [0, 1), got {test_fraction}.")
    return random_split(interactions, (1 - test_fraction, 0.0, test_fraction), seed)


def temporal_split(interactions: Interactions, fractions: Sequence[float] = (0.8, 0.1, 0.1)) -> Split:
    """Cut at two times common to all users: every training row is strictly older than all later rows.

    Rows of equal time are never separated, so sizes meet the fractions only approximately.

    Args:
        interactions: interactions with times.
        fractions: train, valid and test shares, summing to 1.

    Returns:
        The three parts, rows in stored order.

    Raises:
        ValueError: if there are no times, `fractions` are not shares, or no row is older than the first cut.
    """
    if interactions.times is None:
        raise ValueError("the temporal split needs times. Use a source with a time column, or leave-two-out.")
    first, second = _cuts(fractions, len(interactions))
    ordered = np.sort(interactions.times)
    part = np.zeros(len(interactions), np.int8)
    if first < len(ordered):
        part[interactions.times >= ordered[first]] = 1
    if second < len(ordered):
        part[interactions.times >= ordered[second]] = 2
    if not (part == 0).any():
        raise ValueError("the temporal split leaves no training rows: too many rows share the first time.")
    return replace(_by_part(interactions, part), by_time=True)


def fixed_split(train: Interactions, test: Interactions, valid_fraction: float = 0.1, seed: int = 0) -> Split:
    """Keep the published test part, and sample validation rows from the training part.

    Args:
        train: the source's training rows.
        test: the source's test rows, same vocabularies.
        valid_fraction: share of the training rows to set aside, in [0, 1). Every user keeps a training row.
        seed: random seed.

    Returns:
        The three parts, rows in stored order.

    Raises:
        ValueError: if `valid_fraction` is out of range or vocabularies differ.
    """
    if not 0 <= valid_fraction < 1:
        raise ValueError(f"`valid_fraction` must be in [0, 1), got {valid_fraction}.")
    rows = np.random.default_rng(seed).permutation(len(train))
    kept = np.full(train.num_users, -1, np.int64)
    kept[train.users[rows]] = rows  # the last row of each user in the random order
    free = np.ones(len(train), dtype=bool)
    free[kept[kept >= 0]] = False
    drawn = rows[free[rows]][: round(valid_fraction * len(train))]
    valid = np.zeros(len(train), dtype=bool)
    valid[drawn] = True
    return Split(train.select(~valid), train.select(valid), test)


def k_core(interactions: Interactions, k: int = 5) -> Interactions:
    """Drop users and items with fewer than k rows, repeatedly until none is left.

    Args:
        interactions: the interactions.
        k: minimum number of rows, at least 1.

    Returns:
        The largest set of rows in which every user and item has `k` of them; users and items without rows
        leave the vocabularies.

    Raises:
        ValueError: if ``k < 1``.
        DatasetError: if nothing is left.
    """
    if k < 1:
        raise ValueError(f"`k` must be at least 1, got {k}.")
    while len(interactions):
        enough = (interactions.user_counts() >= k)[interactions.users]
        enough &= (interactions.item_counts() >= k)[interactions.items]
        if enough.all():
            return interactions.compact()
        interactions = interactions.select(enough)
    raise DatasetError(f"the {k}-core of the data is empty. Use a smaller k.")


def order_by_frequency(parts: Split) -> Split:
    """Renumber users and items by descending training count, so that frequent ones have low ids.

    A frequency tier is then a range of ids and needs no stored flags. Ties keep their order; vocabularies are permuted
    accordingly.

    Args:
        parts: any split.

    Returns:
        The same rows with new ids.

    Example:
        >>> data = Interactions.from_raw(np.array([1, 2, 2, 2]), np.array([4, 4, 5, 6]), chronological=True)
        >>> order_by_frequency(split(data)).train.user_vocabulary.tolist()
        [1, 2]
    """
    user_order = frequency_order(parts.train.user_counts())
    item_order = frequency_order(parts.train.item_counts())
    return Split(
        parts.train.reindex(user_order, item_order),
        parts.valid.reindex(user_order, item_order),
        parts.test.reindex(user_order, item_order),
        by_time=parts.by_time,
    )


def _by_part(interactions: Interactions, part: np.ndarray) -> Split:
    train, valid, test = (interactions.select(part == number) for number in range(3))
    return Split(train, valid, test)


def _cuts(fractions: Sequence[float], rows: int) -> tuple[int, int]:
    """Row numbers at which validation and test begin."""
    if len(fractions) != 3 or min(fractions) < 0 or abs(sum(fractions) - 1) > 1e-6:
        raise ValueError(f"`fractions` must be three shares that sum to 1, got {tuple(fractions)}.")
    first = round(fractions[0] * rows)
    if first == 0:
        raise ValueError(f"`fractions` {tuple(fractions)} leave no training rows of {rows:,}.")
    return first, min(rows, first + round(fractions[1] * rows))


def _same(left: np.ndarray, right: np.ndarray) -> bool:
    return left is right or np.array_equal(left, right)
