"""Bits of several tables."""

from __future__ import annotations

import numpy as np
import pytest

from slimtable.codecs.base import Rows
from slimtable.compress.allocation import Demand, allocate, spectrum


def demand(num_embeddings: int, spectrum: np.ndarray, least: float = 0, most: float = 1e12) -> Demand:
    return Demand(num_embeddings, spectrum, least, most)


def test_the_whole_budget_is_used_and_never_more() -> None:
    flat, steep = np.full(16, 1 / 16), 2.0 ** -np.arange(16) / 2
    for budget in (100, 3_000, 90_000, 2_000_000):
        shares = allocate(budget, [demand(100, flat), demand(50, steep), demand(2000, steep)])
        assert 0.999 * budget < sum(shares) <= budget


def test_a_row_of_a_small_table_gets_more() -> None:
    flat = np.full(16, 1 / 16)
    small, large = allocate(100_000, [demand(100, flat), demand(1000, flat)])
    assert small / 100 == pytest.approx(large / 1000 + 16 * 0.5 * np.log2(10), rel=1e-3)


def test_tilts_bounds_and_simple_spectra() -> None:
    flat = np.full(8, 1 / 8)
    one, other = allocate(8_000, [demand(100, flat), demand(100, flat)], [0.5, 0.0])
    assert one - other == pytest.approx(100 * 8 * 0.5, rel=1e-3)
    assert allocate(8_000, [demand(100, flat, most=500), demand(100, flat)])[1] == pytest.approx(7_500, rel=1e-3)
    assert allocate(1_000, [demand(100, flat, least=900), demand(100, flat)])[0] >= 900
    # A table whose rows are all in one direction needs few bits.
    narrow = np.eye(8)[0]
    simple, rich = allocate(4_000, [demand(100, narrow), demand(100, flat)])
    assert simple < 0.4 * rich


def test_spectrum_of_rows() -> None:
    random = np.random.default_rng(0)
    table = (random.standard_normal((500, 6)) * [8, 4, 1, 1, 0.1, 0.1]).astype(np.float32)
    found = spectrum(Rows(table))
    assert found.sum() == pytest.approx(1)
    assert (np.diff(found) <= 0).all()
    assert spectrum(Rows(table * 7)) == pytest.approx(found, rel=1e-4)
    assert spectrum(Rows(np.zeros((5, 4), np.float32))).tolist() == [0.25] * 4
    only_one = np.zeros(500)
    only_one[3] = 9
    assert spectrum(Rows(table), only_one)[0] == pytest.approx(1)
