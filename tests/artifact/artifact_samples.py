"""One small table per layout and option, and a plain NumPy decoder that shares no code with the package."""

import numpy as np

from slimtable.artifact import Packed
from slimtable.artifact.bits import code_bits, pack_bits


def plain_bits(packed, width, count):
    """Codes of a little-endian bit stream, through one array element per bit."""
    bits = np.unpackbits(packed, count=width * count, bitorder="little").reshape(count, width)
    return (bits.astype(np.int64) << np.arange(width)).sum(axis=1)


def plain_decode(packed):
    """Every row of the table, float32 (N, d), row by row and obviously."""
    num, dim, arrays, config = packed.num_embeddings, packed.embedding_dim, packed.arrays, packed.layout_config
    rows = np.zeros((num, dim), np.float32)
    if packed.layout == "dense":
        rows[:] = arrays["table"]
    elif packed.layout == "low_rank":
        left, right = arrays["left"].astype(np.float32), arrays["right"].astype(np.float32)
        for r in range(left.shape[1]):
            rows += left[:, r : r + 1] * right[r]
    elif packed.layout == "scaled":
        codes = plain_bits(arrays["codes"], config["bits"], num * dim).reshape(num, dim).astype(np.float32)
        offset, step = arrays["offset"].astype(np.float32), arrays["step"].astype(np.float32)
        if config["axis"] == "row":
            offset, step = offset[:, None], step[:, None]
        rows[:] = offset + step * codes
    else:
        tiers = config["tiers"]
        if "tiers" in arrays:
            tier_of = plain_bits(arrays["tiers"], code_bits(len(tiers)), num)
        else:
            tier_of = np.repeat(np.arange(len(tiers)), [tier["num_rows"] for tier in tiers])
        for t, tier in enumerate(tiers):
            number, width = tier["num_codebooks"], code_bits(tier["codebook_size"])
            codes = plain_bits(arrays[f"codes.{t}"], width, tier["num_rows"] * number).reshape(-1, number)
            book = arrays[f"codebook.{tier['codebook']}"].astype(np.float32)
            for i, code in zip(np.flatnonzero(tier_of == t), codes, strict=True):
                rows[i] = np.concatenate([book[0 if config["share_subspaces"] else m, code[m]] for m in range(number)])
    if packed.padding_idx is not None:
        rows[packed.padding_idx] = 0
    return rows


def dense(num=7, dim=5, dtype=np.float32, padding_idx=None):
    table = np.random.default_rng(1).normal(size=(num, dim)).astype(dtype)
    return Packed("dense", num, dim, {"table": table}, padding_idx=padding_idx, method="full")


def low_rank(num=9, dim=5, rank=3, dtype=np.float32, padding_idx=None):
    rng = np.random.default_rng(2)
    left, right = rng.normal(size=(num, rank)).astype(dtype), rng.normal(size=(rank, dim)).astype(dtype)
    return Packed("low_rank", num, dim, {"left": left, "right": right}, padding_idx=padding_idx)


def scaled(num=11, dim=5, bits=8, axis="column", dtype=np.float32, padding_idx=None):
    rng = np.random.default_rng(3)
    size = dim if axis == "column" else num
    arrays = {
        "codes": pack_bits(rng.integers(0, 1 << bits, num * dim), bits),
        "offset": rng.normal(size=size).astype(dtype),
        "step": rng.random(size).astype(dtype),
    }
    return Packed("scaled", num, dim, arrays, {"bits": bits, "axis": axis}, padding_idx=padding_idx)


def coded(tiers, dim=12, books=None, share=False, flagged=False, dtype=np.float32, padding_idx=None, num_codes=None):
    """A coded table.

    Args:
        tiers: (num_rows, num_codebooks, codebook_size, codebook) of each tier.
        dim: width of a row.
        books: centroids of each codebook; by default the largest codebook size among its tiers.
        share: whether all subspaces use one codebook.
        flagged: whether ids are in random order, with a flag each.
        dtype: type of the codebooks.
        padding_idx: the id that is zeros.
        num_codes: draw codes below this only.
    """
    rng = np.random.default_rng(4)
    numbers = {c: number for _, number, _, c in tiers}
    sizes = books or [max(size for _, _, size, of in tiers if of == c) for c in sorted(numbers)]
    arrays = {
        f"codebook.{c}": rng.normal(size=(1 if share else numbers[c], size, dim // numbers[c])).astype(dtype)
        for c, size in enumerate(sizes)
    }
    for t, (rows, number, size, _) in enumerate(tiers):
        codes = rng.integers(0, num_codes or size, rows * number)
        codes[-1:] = size - 1  # the largest code occurs
        arrays[f"codes.{t}"] = pack_bits(codes, code_bits(size))
    num = sum(rows for rows, *_ in tiers)
    if flagged:
        tier_of = np.repeat(np.arange(len(tiers)), [rows for rows, *_ in tiers])
        arrays["tiers"] = pack_bits(rng.permutation(tier_of), code_bits(len(tiers)))
    keys = ("num_rows", "num_codebooks", "codebook_size", "codebook")
    config = {"tiers": [dict(zip(keys, tier, strict=True)) for tier in tiers], "share_subspaces": share}
    return Packed("coded", num, dim, arrays, config, padding_idx=padding_idx, method="mgqe")


def samples():
    """Tables by name; together they reach every layout, option and code path."""
    tables = {
        "dense": dense(),
        "dense-one-by-one": dense(1, 1),
        "dense-float16": dense(5000, 3, np.float16, padding_idx=4999),
        "low-rank": low_rank(padding_idx=0),
        "low-rank-rank-1": low_rank(4, 1, 1),
        "low-rank-float16": low_rank(4100, 6, 4, np.float16),
        "scaled-row": scaled(axis="row", padding_idx=3),
        "scaled-row-float16": scaled(4100, 8, 4, "row", np.float16),
        "coded-8x8": coded([(100, 8, 256, 0)], dim=64),
        "coded-8x16": coded([(100, 4, 256, 0)], dim=64, padding_idx=99),
        "coded-1d-8bit": coded([(70, 24, 256, 0)], dim=24),
        "coded-1d-6bit": coded([(70, 24, 64, 0)], dim=24),
        "coded-2d": coded([(70, 6, 16, 0)]),
        "coded-4d": coded([(70, 3, 16, 0)]),
        "coded-shared": coded([(70, 4, 33, 0)], share=True),
        "coded-float16": coded([(70, 4, 256, 0)], dtype=np.float16),
        "coded-one-centroid": coded([(5, 4, 1, 0)]),
        "coded-spare-centroids": coded([(70, 4, 16, 0)], books=[100]),
        "tiers-shared-centroids": coded([(10, 4, 256, 0), (90, 4, 64, 0)]),
        "tiers-own-codebooks": coded([(10, 6, 200, 0), (90, 3, 10, 1)], padding_idx=50),
        "tiers-unsorted": coded([(1000, 4, 256, 0), (9000, 4, 64, 0)], flagged=True, padding_idx=5000),
        "tiers-unsorted-3": coded([(50, 4, 64, 0), (100, 4, 16, 0), (151, 4, 4, 0)], flagged=True, share=True),
        "tiers-unsorted-5": coded([(30 * t + 1, 4, 9, 0) for t in range(5)], flagged=True),
        "tiers-unsorted-17": coded([(t + 1, 2, 4, 0) for t in range(17)], flagged=True),
        "tiers-empty": coded([(10, 4, 16, 0), (0, 4, 8, 0), (54, 4, 4, 0)], flagged=True),
    }
    for bits in range(1, 9):
        tables[f"scaled-{bits}-bit"] = scaled(13, 7, bits)
        tables[f"scaled-{bits}-bit-even"] = scaled(13, 16, bits, padding_idx=12)
    for width in range(1, 17):
        tables[f"coded-{width}-bit-full"] = coded([(41, 3, 1 << width, 0)], dim=3)
        tables[f"coded-{width}-bit"] = coded([(41, 5, (1 << width - 1) + 1, 0)], dim=15)
        tables[f"coded-{width}-bit-8-codes"] = coded([(41, 8, 1 << width, 0)], dim=8)
    return tables
