"""Rotations by seed, and scales in 8 bits."""

import numpy as np
import pytest

from slimtable.artifact.log_scales import scale_codes, scale_range, scale_table
from slimtable.artifact.rotation import rotate, scaled_signs, unrotate
from tests.artifact.quantized_samples import plain_scales, plain_sign, plain_unrotate


@pytest.mark.parametrize("dim", [1, 2, 3, 7, 8, 16, 24, 33, 64, 96, 128, 384])
@pytest.mark.parametrize("rounds", [1, 2, 3])
def test_a_rotation_keeps_norms_and_can_be_undone(dim, rounds):
    rows = np.random.default_rng(0).normal(size=(50, dim)).astype(np.float32)
    turned = rotate(rows.copy(), seed=3, rounds=rounds)
    np.testing.assert_allclose(turned @ turned.T, rows @ rows.T, atol=1e-4 * dim)
    back = unrotate(turned.copy(), seed=3, rounds=rounds)
    np.testing.assert_allclose(back, rows, atol=1e-5)
    assert back[0].tobytes() == plain_unrotate(turned[0], 3, rounds).tobytes()
    assert unrotate(turned[7:8].copy(), 3, rounds).tobytes() == back[7:8].tobytes()


@pytest.mark.parametrize("dim", [64, 96])
def test_a_rotation_spreads_every_column_over_the_others(dim):
    turned = rotate(np.eye(dim, dtype=np.float32), seed=0, rounds=2)
    assert np.abs(turned).max() < 0.75
    assert (turned != rotate(np.eye(dim, dtype=np.float32), seed=1, rounds=2)).any()


def test_the_signs_are_those_of_splitmix64():
    assert scaled_signs(4, 0, 1).tolist() == [[-0.5, 0.5, 0.5, -0.5]]  # E220A839…, 6E789E6A…, 06C45D18…, F88BB8A8…
    signs = scaled_signs(6, (1 << 53) - 1, 2)
    assert signs.shape == (4, 4)
    assert (np.sign(signs[3]) == [plain_sign((1 << 53) - 1, 3 * 65536 + j) for j in range(4)]).all()


def test_wrong_arguments_of_a_rotation():
    rows = np.ones((2, 4), np.float32)
    with pytest.raises(TypeError, match="must be a float32 array, got float64"):
        rotate(rows.astype(np.float64), 0, 1)
    for bad in (rows[0], rows[:, ::2], rows.T, np.broadcast_to(rows, (2, 4))):
        with pytest.raises(ValueError, match="writable contiguous array"):
            unrotate(bad, 0, 1)
    with pytest.raises(ValueError, match="`seed` must be in"):
        rotate(rows, -1, 1)
    with pytest.raises(ValueError, match=r"`rounds` must be in 1\.\.3, got 4"):
        rotate(rows, 0, 4)
    with pytest.raises(ValueError, match="1 to 65536 columns, got 0"):
        rotate(np.ones((2, 0), np.float32), 0, 1)


def test_scales_are_the_repeated_product():
    for smallest, ratio in [(0.5, 2.0), (0.01, 1.03), (1e-30, 1.6), (7, 1.0)]:
        with np.errstate(over="ignore"):
            assert scale_table(smallest, ratio).tobytes() == plain_scales(smallest, ratio).tobytes()


@pytest.mark.parametrize("spread", [0, 0.3, 3, 12])
def test_scales_in_8_bits_are_near(spread):
    scales = np.exp(np.random.default_rng(0).normal(size=1000) * spread).astype(np.float32)
    scales[::100] = 0
    smallest, ratio = scale_range(scales)
    table, codes = scale_table(smallest, ratio), scale_codes(scales, smallest, ratio)
    assert table[codes.max()] >= scales.max()
    assert ((codes == 0) == (scales == 0)).all()
    error = np.abs(table[codes] - scales)
    assert (error <= scales * (ratio - 1) / 2 + 1e-6 * scales).all()
    positive = scales > 0
    nearest = np.abs(table[None, 1:] - scales[positive, None]).min(axis=1)
    np.testing.assert_allclose(error[positive], nearest, atol=1e-6 * scales.max())


def test_ranges_of_few_scales():
    assert scale_range(np.zeros(3)).tolist() == [1, 1]
    assert scale_range(np.array([])).tolist() == [1, 1]
    assert scale_range(np.array([0, 2.5])).tolist() == [2.5, 1]
    assert scale_codes(np.array([2.5, 0, 9]), 2.5, 1.0).tolist() == [1, 0, 255]
    tiny, huge = np.float32(1e-45), np.float32(3e38)
    smallest, ratio = scale_range(np.array([tiny, huge]))
    assert (scale_table(smallest, ratio)[[1, 255]] == [tiny, huge]).all()
    for bad in (-1.0, np.nan, np.inf):
        with pytest.raises(ValueError, match="finite and >= 0"):
            scale_range(np.array([1, bad]))
