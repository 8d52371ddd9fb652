"""Vectors for rarely seen values, from the values that they co-occur with."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from numba import njit

from slimtable.data.clicks.clicks import Bags, Clicks

_IdsAndRows = tuple[np.ndarray, np.ndarray]


def cooccurrence_vectors(
    clicks: Clicks, tables: Sequence[np.ndarray], wanted: Mapping[int, np.ndarray], default: int = 0
) -> dict[int, np.ndarray]:
    """Estimates the rows of new values from the clicks in which they occur.

    For a field f and another field g, each value of g has a mean vector: that of the values of f that occur with it,
    weighted by co-occurrence. The row of a new value of f is the mean of these vectors over the values of all other
    fields in its clicks. The values to be estimated and the OOV id ``default`` take no part in the means.

    Args:
        clicks: clicks of a window.
        tables: float (ids, width), the rows of each field.
        wanted: by index of the field, integers (m,), the ids whose rows are estimated, all different.
        default: the OOV id.

    Returns:
        By index of the field, float32 (m, width). A value that occurs with no known value keeps its row.

    Raises:
        ValueError: there are more or fewer tables than fields.
        IndexError: an id is out of range.
    """
    if len(tables) != len(clicks.ids):
        raise ValueError(f"There must be a table for each of the {len(clicks.ids)} fields, got {len(tables)}.")
    flat = [_flat(field) for field in clicks.ids]
    compact = []  # the values that occur, renumbered from 0: most values of a large field do not
    for (ids, _), table in zip(flat, tables, strict=True):
        if len(ids) and int(ids.max()) >= len(table):
            raise IndexError(f"Id {ids.max()} is out of range of a table of {len(table)} rows.")
        occurring, numbers = np.unique(ids, return_inverse=True)
        numbers[ids == default] = -1
        compact.append((numbers, len(occurring)))
    guessed = {}
    for field, chosen in wanted.items():
        new = np.asarray(chosen, dtype=np.int64)
        places = np.full(len(tables[field]), -1, np.int64)
        places[new] = np.arange(len(new))
        own_table = np.ascontiguousarray(tables[field], dtype=np.float32)
        sums = np.zeros((len(new), own_table.shape[1]))
        counts = np.zeros(len(new), np.int64)
        for other, (numbers, count) in enumerate(compact):
            if other != field:
                _add(*flat[field], numbers, flat[other][1], own_table, count, places, default, sums, counts)
        rows = own_table[new]
        seen = counts > 0
        rows[seen] = (sums[seen] / counts[seen, None]).astype(np.float32)
        guessed[field] = rows
    return guessed


def _flat(field: np.ndarray | Bags) -> _IdsAndRows:
    """Ids, and the start of each row and end of the last one."""
    if isinstance(field, Bags):
        return field.values, field.offsets
    return field, np.arange(len(field) + 1)


@njit(cache=True, nogil=True)
def _add(  # type: ignore[no-untyped-def]  # pragma: no cover
    ids, bounds, others, other_bounds, table, num_others, places, default, sums, counts
):
    """Adds, for every new value, the mean vectors of the other field over its clicks."""
    width = table.shape[1]
    means = np.zeros((num_others, width))
    seen = np.zeros(num_others, np.int64)
    for row in range(bounds.size - 1):
        for at in range(bounds[row], bounds[row + 1]):
            value = ids[at]
            if value == default or places[value] >= 0:
                continue
            for other_at in range(other_bounds[row], other_bounds[row + 1]):
                other = others[other_at]
                if other >= 0:
                    seen[other] += 1
                    for column in range(width):
                        means[other, column] += table[value, column]
    for row in range(bounds.size - 1):
        for at in range(bounds[row], bounds[row + 1]):
            place = places[ids[at]]
            if place < 0:
                continue
            for other_at in range(other_bounds[row], other_bounds[row + 1]):
                other = others[other_at]
                if other >= 0 and seen[other]:
                    counts[place] += 1
                    for column in range(width):
                        sums[place, column] += means[other, column] / seen[other]
