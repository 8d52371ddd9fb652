"""Negative sampling, excluding the training items of each user."""

from __future__ import annotations

import numpy as np
from numba import njit

from slimtable.data.interactions.interactions import Interactions, without_duplicates
from slimtable.errors import DatasetError


class NegativeSampler:
    """Samples items uniformly, excluding the training items of each user.

    Args:
        train: the training interactions.

    Raises:
        DatasetError: a user has interacted with every item, so there are no negatives.
    """

    def __init__(self, train: Interactions) -> None:
        self.users = train.users
        self.items = train.items
        self.num_items = train.num_items
        self._starts, self._seen = train.csr()
        distinct = np.diff(without_duplicates(self._starts, self._seen)[0])
        widest = int(distinct.argmax())
        if distinct[widest] >= self.num_items:
            raise DatasetError(
                f"User {train.user_vocabulary[widest]} has all {self.num_items} items in training, so there is no "
                "negative. Drop such users, or use more items."
            )

    def sample(self, users: np.ndarray, generator: np.random.Generator) -> np.ndarray:
        """One negative per user.

        Args:
            users: integer (B,).
            generator: random generator.

        Returns:
            int32 (B,).
        """
        negatives = generator.integers(self.num_items, size=len(users))
        pending = np.flatnonzero(_in_training(users, negatives, self._starts, self._seen))
        while len(pending):
            negatives[pending] = generator.integers(self.num_items, size=len(pending))
            still = _in_training(users[pending], negatives[pending], self._starts, self._seen)
            pending = pending[still]
        return negatives.astype(np.int32)

    def pointwise_epoch(
        self, generator: np.random.Generator, negatives: int
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """All training interactions with negatives, shuffled, as in NCF.

        Args:
            generator: random generator.
            negatives: negatives per interaction.

        Returns:
            users int32, items int32 and labels float32, each (E · (1 + negatives),).
        """
        users = np.tile(self.users, 1 + negatives)
        items = np.concatenate([self.items, self.sample(users[len(self.users) :], generator)])
        order = generator.permutation(len(users))
        labels = order < len(self.users)  # positives come first before shuffling
        return users[order], items[order], labels.astype(np.float32)


@njit(cache=True, nogil=True)
def _in_training(users, items, starts, seen):  # type: ignore[no-untyped-def]
    """True for each (user, item) in the training interactions: (B,) bool, by binary search."""
    found = np.empty(users.size, dtype=np.bool_)
    for i in range(users.size):
        low, high = starts[users[i]], starts[users[i] + 1]
        item = items[i]
        while low < high:
            middle = (low + high) >> 1
            if seen[middle] < item:
                low = middle + 1
            else:
                high = middle
        found[i] = low < starts[users[i] + 1] and seen[low] == item
    return found
