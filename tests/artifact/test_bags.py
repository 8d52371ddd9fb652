import numpy as np
import pytest

from slimtable.artifact import decode_bag
from tests.artifact.artifact_samples import coded, dense, plain_decode, samples


def plain_bag(packed, ids, offsets, mode="sum", weights=None):
    """Bag by bag, row by row, in float32."""
    table = plain_decode(packed)
    bags = np.zeros((len(offsets), packed.embedding_dim), np.float32)
    for b, (start, end) in enumerate(zip(offsets, [*offsets[1:], len(ids)], strict=True)):
        for i in range(start, end):
            bags[b] += table[ids[i]] if weights is None else weights[i] * table[ids[i]]
        counted = sum(ids[i] != packed.padding_idx for i in range(start, end))
        if mode == "mean" and counted:
            bags[b] /= np.float32(counted)
    return bags


@pytest.mark.parametrize(
    "name", ["dense", "low-rank", "scaled-6-bit-even", "coded-8x8", "tiers-unsorted", "shared-many-ids"]
)
@pytest.mark.parametrize("mode", ["sum", "mean"])
def test_bags_are_sums_of_rows_bit_for_bit(name, mode):
    packed = samples()[name]
    rng = np.random.default_rng(5)
    ids = rng.integers(0, packed.num_embeddings, 3000)
    offsets = np.sort(rng.integers(0, 3001, 200))
    offsets[:3] = 0  # empty bags at the beginning,
    offsets[-3:] = 3000  # at the end,
    offsets[100:105] = offsets[100]  # and in between
    expected = plain_bag(packed, ids, offsets, mode)
    assert decode_bag(packed, ids, offsets, mode).tobytes() == expected.tobytes()
    last = decode_bag(packed, ids, [*offsets, 3000], mode, include_last_offset=True)
    assert last.tobytes() == expected.tobytes()


def test_weights():
    packed = coded([(100, 8, 256, 0)], dim=64)
    rng = np.random.default_rng(6)
    ids, weights = rng.integers(0, 100, 2500), rng.normal(size=2500).astype(np.float32)
    expected = plain_bag(packed, ids, [0, 5, 5, 2000], weights=weights)
    bags = decode_bag(packed, ids, [0, 5, 5, 2000], per_sample_weights=weights)
    assert bags.tobytes() == expected.tobytes()
    assert (decode_bag(packed, ids, [0], per_sample_weights=np.ones(2500)) == decode_bag(packed, ids, [0])).all()


def test_one_bag_across_many_chunks():
    packed = dense(50, 3)
    ids = np.random.default_rng(7).integers(0, 50, 10_000)
    assert decode_bag(packed, ids, [0]).tobytes() == plain_bag(packed, ids, [0]).tobytes()


@pytest.mark.parametrize("padding_idx", [None, 2])
@pytest.mark.parametrize("mode", ["sum", "mean"])
def test_as_torch(mode, padding_idx):
    torch = pytest.importorskip("torch")
    packed = dense(20, 4, padding_idx=padding_idx)
    ids = np.random.default_rng(8).integers(0, 5, 30)
    ids[10:12] = 2  # a bag of nothing but padding
    offsets = [0, 4, 4, 10, 12, 30]
    expected = torch.nn.functional.embedding_bag(
        torch.from_numpy(ids),
        torch.from_numpy(plain_decode(packed)),
        torch.tensor(offsets),
        mode=mode,
        padding_idx=padding_idx,
    )
    np.testing.assert_allclose(decode_bag(packed, ids, offsets, mode), expected.numpy(), rtol=1e-5, atol=1e-6)


def test_nothing_at_all():
    assert decode_bag(dense(), [], []).shape == (0, 5)
    assert decode_bag(dense(), [], [0], include_last_offset=True).shape == (0, 5)
    assert decode_bag(dense(), [], [0, 0], "mean").tolist() == [[0] * 5] * 2


@pytest.mark.parametrize(
    ("offsets", "message"),
    [
        ([1, 2], "must begin with 0"),
        ([-1], "must begin with 0"),
        ([0, 2, 1], "must not fall, but 2 is followed by 1"),
        ([0, 4], "must not fall, but 4 is followed by 3"),
        ([[0, 1]], "must have one dimension"),
        ([], "must begin with 0"),
    ],
)
def test_wrong_offsets(offsets, message):
    with pytest.raises(ValueError, match=message):
        decode_bag(dense(), [0, 1, 2], offsets)


def test_wrong_arguments():
    with pytest.raises(ValueError, match="must end with the number of ids, 3, got 2"):
        decode_bag(dense(), [0, 1, 2], [0, 2], include_last_offset=True)
    with pytest.raises(ValueError, match="`mode` must be 'sum' or 'mean', got 'max'"):
        decode_bag(dense(), [0], [0], "max")
    with pytest.raises(ValueError, match="works with mode 'sum' only"):
        decode_bag(dense(), [0], [0], "mean", per_sample_weights=[1.0])
    with pytest.raises(ValueError, match=r"must have shape \(1,\), got \(2,\)"):
        decode_bag(dense(), [0], [0], per_sample_weights=[1.0, 2.0])
    with pytest.raises(ValueError, match="must have one dimension"):
        decode_bag(dense(), [[0]], [0])
    with pytest.raises(TypeError, match="`offsets` must be integers"):
        decode_bag(dense(), [0], [0.0])
    with pytest.raises(IndexError, match="id 7 at position 1"):
        decode_bag(dense(), [0, 7], [0])
