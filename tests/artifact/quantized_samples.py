"""Small tables of the layout ``quantized``, and a plain NumPy decoder of them that shares no code with the package."""

import math

import numpy as np

from slimtable.artifact import Packed
from slimtable.artifact.bits import code_bits, pack_bits


def plain_bits(packed, width, count):
    """Codes of a little-endian bit stream, through one array element per bit."""
    bits = np.unpackbits(packed, count=width * count, bitorder="little").reshape(count, width)
    return (bits.astype(np.int64) << np.arange(width)).sum(axis=1)


def plain_scales(smallest, ratio):
    """The 256 scales of a range, with Python's own floats."""
    scales = [0.0, float(smallest)]
    while len(scales) < 256:
        scales.append(scales[-1] * float(ratio))
    return np.array(scales, np.float32)


def plain_sign(seed, number):
    """The sign that output ``number`` of splitmix64 gives, with Python's own integers."""
    mask = (1 << 64) - 1
    mixed = (seed + (number + 1) * 0x9E3779B97F4A7C15) & mask
    mixed = ((mixed ^ (mixed >> 30)) * 0xBF58476D1CE4E5B9) & mask
    mixed = ((mixed ^ (mixed >> 27)) * 0x94D049BB133111EB) & mask
    return -1 if (mixed ^ (mixed >> 31)) >> 63 else 1


def plain_transform(row):
    """The Walsh-Hadamard transform of a row, pair by pair."""
    row, half = row.copy(), row.size // 2
    while half:
        for j in range(row.size):
            if not j & half:
                row[j], row[j + half] = row[j] + row[j + half], row[j] - row[j + half]
        half //= 2
    return row


def plain_unrotate(row, seed, rounds):
    """One row turned back by the transforms of a seed."""
    dim = row.size
    size = 2 ** int(math.log2(dim))
    scale = np.float32(1 / math.sqrt(size))
    places = [0] * rounds if size == dim else [0, dim - size] * rounds
    row = row.copy()
    for t in reversed(range(len(places))):
        signs = np.array([plain_sign(seed, t * 65536 + j) for j in range(size)], np.float32)
        part = slice(places[t], places[t] + size)
        row[part] = plain_transform(row[part]) * (signs * scale)
    return row


def plain_quantized(packed):
    """Every row of a table, id by id."""
    num, dim, arrays, config = packed.num_embeddings, packed.embedding_dim, packed.arrays, packed.layout_config
    number = config["num_codebooks"]
    codes = plain_bits(arrays["codes"], code_bits(config["codebook_size"]), num * number).reshape(num, number)
    book = arrays["codebook"].astype(np.float32)
    if config["codebook_bits"] == 4:
        scale = arrays["codebook_scale"].astype(np.float32)
        width = dim if config["combine"] == "sum" else dim // number
        book = plain_bits(arrays["codebook"], 4, scale.size * width).reshape(*scale.shape, width).astype(np.float32)
        book = scale[:, :, None] * (book - np.float32(8))
    if config["codebook_bits"] == 8:
        book = arrays["codebook_scale"][:, :, None] * (book - np.float32(128))
    gains = np.ones(num, np.float32)
    if config["gain_bits"] == 16:
        gains = arrays["gain"].astype(np.float32)
    elif config["gain_bits"]:
        gains = plain_scales(*arrays["gain_range"])[plain_bits(arrays["gain"], config["gain_bits"], num)]
    rows = np.zeros((num, dim), np.float32)
    for i in range(num):
        found = [book[0 if config["shared"] else m, codes[i, m]] for m in range(number)]
        row = np.concatenate(found) if config["combine"] == "concat" else sum(found[1:], found[0])
        row = gains[i] * row
        if config["rotation"] == "stored":
            shape, row = row, np.zeros(dim, np.float32)
            for k in range(dim):
                row = row + shape[k] * arrays["rotation"][k].astype(np.float32)
        elif config["rotation"] is not None:
            row = plain_unrotate(row, **config["rotation"])
        rows[i] = row + arrays["offset"] if config["offset"] else row
    return rows


def quantized(
    num=41,
    dim=12,
    number=4,
    size=16,
    combine="concat",
    shared=False,
    bits=32,
    gain=0,
    rotation=None,
    offset=False,
    dtype=np.float32,
    scales=None,
    padding_idx=None,
):
    """A table of random codes, and as many other arrays as the options ask for.

    Args:
        num: number of ids.
        dim: width of a row.
        number: codes per id.
        size: centroids of a codebook.
        combine: "concat" or "sum".
        shared: whether all codes use one codebook.
        bits: bits of a value of a centroid.
        gain: bits of a gain.
        rotation: None, "stored", or (seed, rounds).
        offset: whether there is an offset.
        dtype: type of a stored rotation.
        scales: type of the scales of centroids; float32 for 8 bits and float16 for 4 unless given.
        padding_idx: the id that is zeros.
    """
    rng = np.random.default_rng(8)
    codes = rng.integers(0, size, num * number)
    codes[-1] = size - 1  # the last centroid occurs
    shape = (1 if shared else number, size, dim if combine == "sum" else dim // number)
    arrays = {"codes": pack_bits(codes, code_bits(size))}
    if bits == 4:
        arrays["codebook"] = pack_bits(rng.integers(0, 16, shape), 4)
        arrays["codebook_scale"] = rng.random(shape[:2]).astype(scales or np.float16)
    elif bits == 8:
        arrays["codebook"] = rng.integers(0, 256, shape).astype(np.uint8)
        arrays["codebook_scale"] = rng.random(shape[:2]).astype(scales or np.float32)
    else:
        arrays["codebook"] = rng.normal(size=shape).astype(f"f{bits // 8}")
    if gain == 16:
        arrays["gain"] = rng.random(num).astype(np.float16)
    elif gain:
        gains = rng.integers(0, 1 << gain, num)
        gains[0] = 0
        arrays["gain"] = pack_bits(gains, gain)
        arrays["gain_range"] = np.array([0.01, 1.03])
    if rotation == "stored":
        arrays["rotation"] = (rng.normal(size=(dim, dim)) / dim**0.5).astype(dtype)
    elif rotation is not None:
        rotation = dict(zip(("seed", "rounds"), rotation, strict=True))
    if offset:
        arrays["offset"] = rng.normal(size=dim).astype(np.float32)
    config = {
        "num_codebooks": number,
        "codebook_size": size,
        "combine": combine,
        "shared": shared,
        "codebook_bits": bits,
        "gain_bits": gain,
        "rotation": rotation,
        "offset": offset,
    }
    return Packed("quantized", num, dim, arrays, config, padding_idx=padding_idx, method="rq")


def quantized_samples():
    """Tables of the kinds that codecs make, and a table for each option; golden files are made of these."""
    return {
        "joined": quantized(),
        "joined-gain": quantized(gain=8, bits=16, padding_idx=7),
        "joined-turned": quantized(rotation="stored", offset=True, gain=16),
        "summed": quantized(number=3, combine="sum"),
        "summed-gain": quantized(number=3, combine="sum", bits=8, gain=8),
        "summed-coarse": quantized(dim=15, number=3, combine="sum", size=5, bits=4, gain=5, scales=np.float32),
        "joined-coarse": quantized(dim=15, number=3, size=11, bits=4, gain=5, padding_idx=7),
        "summed-short": quantized(number=3, combine="sum", size=9, bits=8, gain=7, scales=np.float16),
        "scalar-2-bit": quantized(dim=16, number=16, size=4, shared=True, gain=8, rotation=(1, 1), offset=True),
        "scalar-1-bit": quantized(dim=12, number=12, size=2, shared=True, gain=16, rotation=(2**53 - 1, 2)),
        "scalar-3-bit": quantized(dim=12, number=12, size=7, shared=True, gain=8, rotation=(12345, 3)),
    }


def more_quantized_samples():
    """Tables that reach the rest of the code: sizes, widths and corners."""
    tables = {
        "one-by-one": quantized(1, 1, 1, 1, rotation=(0, 1)),
        "one-column": quantized(9, 1, 1, 3, "sum", gain=16, rotation=(5, 3), offset=True),
        "summed-one": quantized(number=1, combine="sum", size=5, gain=8),
        "summed-wide": quantized(70, 64, 8, 256, "sum", gain=8, padding_idx=0),
        "summed-wider": quantized(30, 96, 5, 300, "sum", bits=16, rotation=(3, 1)),
        "summed-narrow-rotation": quantized(30, 10, 2, 9, "sum", rotation="stored", dtype=np.float16),
        "joined-8-columns": quantized(70, 64, 8, 256, gain=16),
        "joined-4-columns": quantized(70, 64, 16, 256),
        "joined-6-columns": quantized(70, 12, 2, 17, bits=8),
        "joined-shared": quantized(70, 12, 3, 33, shared=True, bits=8, offset=True),
        "joined-4-bit-gain": quantized(70, 12, 3, 33, gain=4, offset=True),
        "summed-6-bit-gain": quantized(5001, 24, 2, 9, "sum", bits=4, gain=6, rotation=(4, 2), padding_idx=5000),
        "coarse-one-by-one": quantized(1, 1, 1, 1, bits=4, gain=5),
        "coarse-shared": quantized(70, 12, 3, 33, shared=True, bits=4, gain=7, rotation="stored"),
        "coarse-scalar": quantized(23, 16, 16, 7, shared=True, bits=4, gain=4, rotation=(3, 1)),
        "many-ids": quantized(5001, 8, 2, 16, rotation="stored", offset=True, padding_idx=5000),
    }
    for dim in (2, 3, 16, 17, 24, 31, 32, 64, 96, 100, 128, 200, 256):
        tables[f"rotated-{dim}"] = quantized(20, dim, 1, 9, "sum", rotation=(dim, 1 + dim % 3), gain=8)
    for width in range(1, 9):
        for dim in (1, 7, 8, 12, 16, 20, 64):
            full = quantized(23, dim, dim, 1 << width, shared=True, gain=8 * (dim % 3))
            tables[f"scalar-{width}-bit-{dim}"] = full
        tables[f"scalar-{width}-bit-own"] = quantized(23, 16, 16, 1 << width)
        tables[f"joined-{width}-bit-part"] = quantized(23, 24, 8, (1 << width) - (width > 1))
    tables["scalar-16-bit"] = quantized(23, 5, 5, 1 << 16, shared=True)
    return tables
