"""Small tables of the layouts ``tiered`` and ``sparse``, and of ``scaled`` with short scales, and plain decoders."""

import numpy as np

from slimtable.artifact import Packed
from slimtable.artifact.bits import code_bits, pack_bits
from tests.artifact.quantized_samples import plain_bits, plain_scales


def plain_short_scales(packed):
    """Every row of a table of layout ``scaled`` with scales in 8 bits."""
    num, dim, arrays, bits = packed.num_embeddings, packed.embedding_dim, packed.arrays, packed.layout_config["bits"]
    codes = plain_bits(arrays["codes"], bits, num * dim).reshape(num, dim).astype(np.float32)
    steps = plain_scales(*arrays["step_range"])
    rows = np.zeros((num, dim), np.float32)
    for i in range(num):
        point = np.float32(arrays["zero"][i]) * np.float32((2**bits - 1) / 255)
        rows[i] = steps[arrays["step"][i]] * (codes[i] - point)
    return rows


def plain_sparse(packed):
    """Every row of a table of layout ``sparse``, value by value."""
    num, dim, arrays = packed.num_embeddings, packed.embedding_dim, packed.arrays
    stored = plain_bits(arrays["bitmap"], 1, num * dim)
    rows = np.zeros(num * dim, np.float32)
    values = iter(arrays["values"].tolist())
    for i in np.flatnonzero(stored):
        rows[i] = np.float32(arrays["step"][i // dim]) * np.float32(next(values) - 128)
    return rows.reshape(num, dim)


def plain_tiered(packed, plain_decode):
    """Every row of a table of layout ``tiered``, by a decoder of its parts."""
    num, dim, parts = packed.num_embeddings, packed.embedding_dim, packed.layout_config["parts"]
    if "tiers" in packed.arrays:
        part_of = plain_bits(packed.arrays["tiers"], code_bits(len(parts)), num)
    else:
        part_of = np.repeat(np.arange(len(parts)), [part["num_rows"] for part in parts])
    rows = np.zeros((num, dim), np.float32)
    for i, part in enumerate(parts):
        head = f"part.{i}."
        arrays = {name[len(head) :]: array for name, array in packed.arrays.items() if name.startswith(head)}
        table = Packed(part["layout"], part["num_rows"], dim, arrays, part["layout_config"])
        rows[part_of == i] = plain_decode(table)
    return rows


def short_scales(num=11, dim=5, bits=4, padding_idx=None):
    """A table of layout ``scaled`` with scales in 8 bits."""
    rng = np.random.default_rng(9)
    arrays = {
        "codes": pack_bits(rng.integers(0, 1 << bits, num * dim), bits),
        "step": rng.integers(0, 256, num).astype(np.uint8),
        "step_range": np.array([0.001, 1.02]),
        "zero": rng.integers(0, 256, num).astype(np.uint8),
    }
    config = {"bits": bits, "axis": "row", "scale_bits": 8}
    return Packed("scaled", num, dim, arrays, config, padding_idx=padding_idx)


def sparse(num=11, dim=5, share=0.3, padding_idx=None):
    """A table of layout ``sparse`` with about this share of stored values."""
    rng = np.random.default_rng(10)
    stored = rng.random(num * dim) < share
    arrays = {
        "bitmap": pack_bits(stored.astype(np.uint8), 1),
        "values": rng.integers(0, 256, stored.sum()).astype(np.uint8),
        "step": rng.random(num).astype(np.float16),
    }
    return Packed("sparse", num, dim, arrays, padding_idx=padding_idx, method="magnitude")


def tiered(parts, flagged=False, padding_idx=None):
    """A table of these tables, of equal width; with ``flagged``, ids in random order."""
    rng = np.random.default_rng(11)
    num = sum(part.num_embeddings for part in parts)
    arrays = {f"part.{i}.{name}": array for i, part in enumerate(parts) for name, array in part.arrays.items()}
    if flagged:
        part_of = np.repeat(np.arange(len(parts)), [part.num_embeddings for part in parts])
        arrays["tiers"] = pack_bits(rng.permutation(part_of), code_bits(len(parts)))
    described = [
        {"num_rows": part.num_embeddings, "layout": part.layout, "layout_config": dict(part.layout_config)}
        for part in parts
    ]
    return Packed("tiered", num, parts[0].embedding_dim, arrays, {"parts": described}, padding_idx=padding_idx)
