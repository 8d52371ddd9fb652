"""Rows of new values from what they occur with, against a slow reckoning."""

from __future__ import annotations

import numpy as np
import pytest

from slimtable.data.clicks.clicks import Bags, Clicks
from slimtable.training.new_values import cooccurrence_vectors


def bag(field: np.ndarray | Bags, row: int) -> list[int]:
    if isinstance(field, Bags):
        return field.values[field.offsets[row] : field.offsets[row + 1]].tolist()
    return [int(field[row])]


def slowly(clicks: Clicks, tables: list[np.ndarray], place: int, wanted: list[int]) -> np.ndarray:
    guessed = []
    for value in wanted:
        vectors = []
        for row in range(len(clicks)):
            for own in bag(clicks.ids[place], row):
                if own != value:
                    continue
                for other, field in enumerate(clicks.ids):
                    for companion in bag(field, row) if other != place else []:
                        beside = [
                            tables[place][one]
                            for at in range(len(clicks))
                            for one in bag(clicks.ids[place], at)
                            for _ in range(bag(field, at).count(companion))
                            if one != 0 and one not in wanted
                        ]
                        if companion != 0 and beside:
                            vectors.append(np.mean(beside, axis=0))
        guessed.append(np.mean(vectors, axis=0) if vectors else tables[place][value])
    return np.array(guessed)


def test_it_is_the_mean_of_means() -> None:
    generator = np.random.default_rng(0)
    rows = 40
    counts = generator.integers(0, 3, rows)
    tags = Bags(
        generator.integers(0, 5, counts.sum()).astype(np.int32),
        np.concatenate([[0], np.cumsum(counts)]).astype(np.int64),
    )
    ids = (generator.integers(0, 9, rows).astype(np.int32), tags, generator.integers(0, 4, rows).astype(np.int32))
    clicks = Clicks(np.zeros(rows, np.float32), np.zeros((rows, 0), np.float32), ids)
    tables = [generator.normal(size=(size, 3)).astype(np.float32) for size in (10, 5, 4)]
    wanted = {0: np.array([7, 8, 9]), 1: np.array([4])}
    guessed = cooccurrence_vectors(clicks, tables, wanted)
    assert set(guessed) == {0, 1}
    for place, values in wanted.items():
        expected = slowly(clicks, tables, place, values.tolist())
        np.testing.assert_allclose(guessed[place], expected, rtol=1e-4, atol=1e-6)
    np.testing.assert_array_equal(guessed[0][2], tables[0][9])  # it does not occur, and keeps its row


def test_a_new_film_is_like_what_its_viewers_watch() -> None:
    users = np.array([1, 1, 2, 2, 1], np.int32)
    films = np.array([1, 1, 2, 2, 3], np.int32)  # film 3 is new, and seen by the friend of film 1
    clicks = Clicks(np.zeros(5, np.float32), np.zeros((5, 0), np.float32), (users, films))
    tables = [np.zeros((3, 2), np.float32), np.array([[0, 0], [1, 2], [5, 6], [9, 9]], np.float32)]
    np.testing.assert_array_equal(cooccurrence_vectors(clicks, tables, {1: np.array([3])})[1], [[1, 2]])


def test_tables_must_fit() -> None:
    clicks = Clicks(np.zeros(1, np.float32), np.zeros((1, 0), np.float32), (np.array([3], np.int32),))
    with pytest.raises(ValueError, match="a table for each of the 1 fields"):
        cooccurrence_vectors(clicks, [], {})
    with pytest.raises(IndexError, match="Id 3 is out of range"):
        cooccurrence_vectors(clicks, [np.zeros((3, 2), np.float32)], {})
