"""What the codecs of gains and shapes promise: little error where rows matter, exact zeros, filled budgets."""

from __future__ import annotations

import numpy as np
import pytest

from slimtable.artifact.bits import code_bits
from slimtable.artifact.layouts import decode, exact_bits, validate
from slimtable.codecs import gain_shape
from slimtable.codecs.base import FitContext, Rows
from slimtable.codecs.opq import Opq, balanced_directions
from slimtable.codecs.pq import Pq
from slimtable.codecs.quantize.parts import kmeans_parts, nearest_parts
from slimtable.codecs.quantize.sums import nearest_sums
from slimtable.codecs.rq import Rq
from slimtable.embeddings.base import get_config
from slimtable.embeddings.fitting import fit_budget
from slimtable.errors import BudgetError

RANDOM = np.random.default_rng(0)
COUNTS = RANDOM.zipf(1.4, 2000).clip(max=5000)
# As in a recommender: rows around a few directions, and longer for frequent ids.
CENTRES = RANDOM.standard_normal((40, 16))
TABLE = CENTRES[RANDOM.integers(40, size=2000)] + 0.4 * RANDOM.standard_normal((2000, 16))
TABLE = (TABLE * 0.05 * (1 + np.log2(COUNTS))[:, None] ** 2).astype(np.float32)
CODECS = [Rq(1, 32), Rq(3, 16), Pq(4, 16), Pq(4, 16, share_subspaces=True), Opq(4, 16)]
NAMES = ["rq1", "rq3", "pq", "pq-shared", "opq"]
each = pytest.mark.parametrize("codec", CODECS, ids=NAMES)


def changed(codec, **options):
    return type(codec)(**{**vars(codec), **options})


def error(codec, table=TABLE, counts=COUNTS, weights=COUNTS) -> float:
    """Weighted squared error over the weighted energy."""
    packed = codec.compress(Rows(table), FitContext(counts))
    validate(packed)
    assert exact_bits(packed) == codec.bits_of(*table.shape)
    found, table = decode(packed, np.arange(len(table))).astype(np.float64), table.astype(np.float64)
    return float((weights @ np.square(found - table)).sum() / (weights @ np.square(table)).sum())


@each
def test_gains_reduce_the_error(codec) -> None:
    assert error(codec) < min(0.5, error(changed(codec, gain_bits=0)))


@pytest.mark.parametrize("codec", [Rq(3, 16), Pq(4, 16), Opq(4, 16)], ids=["rq", "pq", "opq"])
def test_weights_reduce_the_error_of_frequent_rows(codec) -> None:
    assert error(codec) < error(codec, counts=None)


@each
@pytest.mark.parametrize("options", [{"gain_bits": 4}, {"gain_bits": 5, "codebook_bits": 4}, {"gain_bits": 16}])
def test_narrow_gains_and_centroids_cost_little(codec, options) -> None:
    assert error(changed(codec, **options)) < error(codec) + 0.06


@each
@pytest.mark.parametrize("gain_bits", [8, 5, 16, 0])
@pytest.mark.parametrize("codebook_bits", [32, 8, 4])
def test_rows_of_zeros_stay_zeros(codec, gain_bits, codebook_bits) -> None:
    table = TABLE.copy()
    table[[3, 700, 1999]] = 0
    codec = changed(codec, gain_bits=gain_bits, codebook_bits=codebook_bits)
    found = decode(codec.compress(Rows(table, 3), FitContext(COUNTS)), np.arange(2000))
    assert not found[[3, 700, 1999]].any()
    # Without gains, short rows are nearest to the centroid of zeros, too.
    assert found.any(axis=1).sum() > (1990 if gain_bits else 200)


@each
@pytest.mark.parametrize("rows", [1, 2, 5])
def test_fewer_rows_than_centroids_are_coded_well(codec, rows) -> None:
    assert error(codec, TABLE[:rows], None, np.ones(rows)) < 1e-3


@each
@pytest.mark.parametrize("scale", [1e-30, 1.0, 1e18])
def test_tables_of_any_scale_and_of_equal_rows(codec, scale) -> None:
    assert error(codec, TABLE * np.float32(scale)) == pytest.approx(error(codec), rel=0.2)
    assert error(codec, np.full((50, 16), np.float32(scale)), None, np.ones(50)) < 1e-3


@each
def test_a_table_of_zeros(codec) -> None:
    assert not decode(codec.compress(Rows(np.zeros((20, 16), np.float32))), np.arange(20)).any()


def test_outliers_in_length_do_not_spoil_the_others() -> None:
    table = TABLE.copy()
    table[5] *= 1e-20
    found = decode(Rq(3, 16).compress(Rows(table), FitContext(COUNTS)), np.arange(2000))
    others = np.delete(np.arange(2000), 5)
    left = np.square(found - table)[others].sum() / np.square(table)[others].sum()
    assert left < 0.4
    assert np.linalg.norm(found[5]) < 1e-2 * np.linalg.norm(table, axis=1).max()


@each
def test_threads_and_blocks_do_not_change_codes(codec, monkeypatch) -> None:
    packed = []
    for threads in ("1", "2"):
        monkeypatch.setenv("NUMBA_NUM_THREADS", threads)
        fitted = codec.fit(Rows(TABLE), FitContext(COUNTS))
        packed.append(fitted.pack(fitted.encode(TABLE[a : a + 504], a) for a in range(0, 2000, 504)))
    assert all(np.array_equal(packed[0].arrays[name], packed[1].arrays[name]) for name in packed[0].arrays)


def test_codes_are_the_nearest() -> None:
    books = RANDOM.standard_normal((4, 37, 4)).astype(np.float32)
    vectors = RANDOM.standard_normal((301, 16)).astype(np.float32)
    parts = vectors.reshape(301, 4, 1, 4)
    assert np.array_equal(nearest_parts(vectors, books), np.square(parts - books).sum(axis=3).argmin(axis=2))
    stages = RANDOM.standard_normal((2, 9, 16)).astype(np.float32)
    sums = (stages[0][:, None] + stages[1][None]).reshape(-1, 16)
    exact = np.square(vectors[:, None] - sums).sum(axis=2).argmin(axis=1)
    assert np.array_equal(nearest_sums(vectors, stages, 9)[0] @ np.array([9, 1]), exact)
    cosines = vectors @ (sums / np.linalg.norm(sums, axis=1, keepdims=True)).T
    codes, factors = nearest_sums(vectors, stages, 81, by_angle=True)
    found = sums[codes @ np.array([9, 1])]
    assert np.array_equal(codes @ np.array([9, 1]), cosines.argmax(axis=1))
    np.testing.assert_allclose(factors, (found * vectors).sum(axis=1) / np.square(found).sum(axis=1), rtol=1e-4)


def test_wider_beams_have_smaller_errors() -> None:
    narrow, wide = (error(Rq(6, 16, beam=beam)) for beam in (1, 16))
    assert wide < narrow


def test_weighted_kmeans_uses_every_centroid_and_never_gets_worse() -> None:
    weights, costs = COUNTS.astype(np.float32), []
    for iterations in (1, 4, 16):
        books = kmeans_parts(TABLE, weights, 2, 40, iterations=iterations)
        codes = nearest_parts(TABLE, books)
        assert all(len(np.unique(part)) >= 36 for part in codes.T)
        found = books[np.arange(2), codes].reshape(TABLE.shape)
        costs.append(float((weights @ np.square(found - TABLE)).sum()))
    assert costs == sorted(costs, reverse=True)


def test_a_rotation_helps_where_parts_differ() -> None:
    table = RANDOM.standard_normal((2000, 16)) * np.repeat([5.0, 1.0, 0.1, 0.1], 4)
    table = table.astype(np.float32)
    assert error(Opq(4, 16), table) < 0.9 * error(Pq(4, 16), table)
    gram = np.diag(np.arange(16.0, 0.0, -1.0))
    turn = balanced_directions(gram, 4)
    np.testing.assert_allclose(turn @ turn.T, np.eye(16), atol=1e-6)
    volumes = np.log(np.diag(turn @ gram @ turn.T)).reshape(4, 4).sum(axis=1)
    assert np.ptp(volumes) < 1.2  # 7.5 in the order of the variances


@pytest.mark.parametrize("name", ["rq", "pq", "opq"])
@pytest.mark.parametrize("shape", [(3416, 64), (40_981, 64), (29_858, 32), (1_000_000, 64)])
def test_sizes_ascend(name, shape) -> None:
    bits = [size.table_bits(*shape) for size in get_config(name).sizes(*shape)[::20]]
    assert bits == sorted(bits)


@pytest.mark.parametrize("name", ["rq", "pq"])
@pytest.mark.parametrize("rows", [3000, 40_000, 1_000_000, 10_000_000])
def test_budgets_are_filled(name, rows) -> None:
    """Within 3 % from below, or within a step of the codec: a stage of ``rq``, a bit of all codes of ``pq``.

    ``pq`` also ends at the largest codebooks for a number of rows, where parts half as wide would have a larger error,
    and ``rq`` at about 500 bits a row, since the work of its search is the square of the number of stages.
    """
    config = get_config(name)
    for ratio in (2, 3, 4, 6, 8, 12, 16, 24, 32, 40, 48, 64):
        limit = 32 * 64 * rows / ratio
        chosen = fit_budget(config, f"{ratio}x", rows, 64)
        bits, width = chosen.table_bits(rows, 64), code_bits(chosen.codebook_size)
        step = rows * (width if name == "rq" else chosen.num_codebooks)
        ended = (
            chosen.codebook_size == config.largest_codebook(chosen.num_codebooks, rows) if name == "pq" else ratio < 4
        )
        assert bits <= limit
        assert bits > 0.97 * limit or limit - bits < step or ended, (ratio, chosen)


@pytest.mark.parametrize("rows", [3000, 40_000, 1_000_000, 10_000_000])
def test_rq_fills_nearly_every_budget_below_500_bits_a_row(rows) -> None:
    config, limits = get_config("rq"), [32 * 64 * rows / ratio for ratio in (4, 6, 8, 12, 16, 24, 32, 40, 48, 64)]
    filled = [fit_budget(config, limit, rows, 64).table_bits(rows, 64) / limit for limit in limits]
    assert min(filled) > 0.93
    assert sum(share > 0.97 for share in filled) >= 8


def test_small_tables_get_large_codebooks_and_large_tables_many_stages() -> None:
    small = fit_budget(get_config("rq"), 24 * 3416, 3416, 64)
    large = fit_budget(get_config("rq"), 72 * 10**8, 10**8, 64)
    assert (small.num_codebooks, small.codebook_bits) == (1, 4)
    assert (large.num_codebooks, large.codebook_size) == (8, 256)


def test_what_is_given_is_kept() -> None:
    given = get_config("rq", {"num_codebooks": 4, "gain_bits": 8})
    chosen = fit_budget(given, "20x", 40_981, 64)
    assert (chosen.num_codebooks, chosen.gain_bits) == (4, 8)
    with pytest.raises(BudgetError, match="too small"):
        fit_budget(given, "1000x", 40_981, 64)
    with pytest.raises(ValueError, match="must divide embedding_dim=64"):
        get_config("pq", {"num_codebooks": 5}).codec(1000, 64)
    with pytest.raises(ValueError, match="more than 16,384"):
        Rq(2, 10_000).bits_of(1000, 64)


def test_values_too_large_for_narrow_arrays_are_refused() -> None:
    with pytest.raises(ValueError, match="gain_bits=8"):
        Rq(1, 4, gain_bits=16).compress(Rows(TABLE * np.float32(1e6)))
    with pytest.raises(ValueError, match="codebook_bits=32"):
        Pq(4, 4, gain_bits=0, codebook_bits=16).compress(Rows(TABLE * np.float32(1e6)))


class Counted(Rows):
    """Rows that count how many were read."""

    seen = 0

    def read(self, start: int, stop: int) -> np.ndarray:
        self.seen += min(stop, len(self)) - start
        return super().read(start, stop)


@pytest.mark.parametrize("codec", [Rq(2, 16), Pq(4, 16, gain_bits=0)], ids=["rq", "pq"])
def test_many_rows_are_sampled_in_one_pass(codec, monkeypatch) -> None:
    whole = error(codec)
    monkeypatch.setattr(gain_shape, "_SAMPLE", 700)
    monkeypatch.setattr(gain_shape, "_PER_CENTROID", 1)
    rows = Counted(TABLE)
    codec.fit(rows, FitContext(COUNTS))
    assert rows.seen == len(TABLE)
    assert error(codec) < 1.3 * whole + 0.01
