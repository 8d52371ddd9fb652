"""One small table per layout and option, and a plain NumPy decoder that shares no code with the package."""

import numpy as np

from slimtable.artifact import Packed
from slimtable.artifact.bits import code_bits, pack_bits
from tests.artifact.quantized_samples import (
    more_quantized_samples,
    plain_bits,
    plain_quantized,
    quantized,
    quantized_samples,
)
from tests.artifact.tiered_samples import (
    plain_short_scales,
    plain_sparse,
    plain_tiered,
    short_scales,
    sparse,
    tiered,
)


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
    elif packed.layout == "scaled" and "scale_bits" in config:
        rows = plain_short_scales(packed)
    elif packed.layout == "sparse":
        rows = plain_sparse(packed)
    elif packed.layout == "tiered":
        rows = plain_tiered(packed, plain_decode)
    elif packed.layout == "scaled":
        codes = plain_bits(arrays["codes"], config["bits"], num * dim).reshape(num, dim).astype(np.float32)
        offset, step = arrays["offset"].astype(np.float32), arrays["step"].astype(np.float32)
        if config["axis"] == "row":
            offset, step = offset[:, None], step[:, None]
        rows[:] = offset + step * codes
    elif packed.layout == "shared":
        rows = plain_shared(packed)
    elif packed.layout == "quantized":
        rows = plain_quantized(packed)
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


def plain_shared(packed):
    """Every row of a table of layout ``shared``, id by id, with Python's own integers."""
    num, dim, arrays, config = packed.num_embeddings, packed.embedding_dim, packed.arrays, packed.layout_config
    tables = []
    for r, table in enumerate(config["tables"]):
        count, width, bits = table["num_rows"], table["width"], table["bits"]
        if bits > 8:
            tables.append(arrays[f"rows.{r}"].astype(np.float32))
            continue
        codes = plain_bits(arrays[f"rows.{r}"], bits, count * width).reshape(count, width).astype(np.float32)
        offset, step = (arrays[f"{name}.{r}"].astype(np.float32)[:, None] for name in ("offset", "step"))
        tables.append(offset + step * codes)
    rows = np.zeros((num, dim), np.float32)
    reached = np.zeros(dim, bool)
    for t, term in enumerate(config["terms"]):
        table, column = tables[term["table"]], term["column"]
        if term["map"] == "stored":
            row_of = plain_bits(arrays[f"map.{t}"], code_bits(len(table)), num).tolist()
        else:
            h = {"a": 1, "b": 0, "head": 0, "first": 0, "count": 1, **term["map"]}
            mixed = [(h["a"] * i + h["b"]) % (2**31 - 1) % h["count"] + h["first"] for i in range(num)]
            row_of = [i if i < h["head"] else mixed[i] for i in range(num)]
            row_of = [i // h["divisor"] for i in range(num)] if "divisor" in h else row_of
        weights = arrays[f"weights.{t}"] if term["weight"] == "stored" else [term["weight"]] * num
        end = column + table.shape[1]
        for i in range(num):
            value = np.float32(weights[i]) * table[row_of[i]]
            if "multiply" in term:
                value = rows[i, column:end] * value
            elif reached[column]:
                value = rows[i, column:end] + value
            rows[i, column:end] = value
        reached[column:end] = True
    if config["activation"] == "tanh":
        rows = np.tanh(rows.astype(np.float64)).astype(np.float32)
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


def shared(tables, terms, num=30, dim=6, activation="none", dtype=np.float32, padding_idx=None):
    """A table of shared rows.

    Args:
        tables: (num_rows, width, bits) of each.
        terms: (table, column, map, weight) of each, perhaps with "multiply"; a map is "stored", a divisor, or (a, b,
            head, first, count).
        num: number of ids.
        dim: width of a row served.
        activation: "none" or "tanh".
        dtype: type of the scales and weights.
        padding_idx: the id that is zeros.
    """
    rng = np.random.default_rng(6)
    arrays = {}
    for r, (count, width, bits) in enumerate(tables):
        if bits > 8:
            arrays[f"rows.{r}"] = rng.normal(size=(count, width)).astype(f"f{bits // 8}")
        else:
            arrays[f"rows.{r}"] = pack_bits(rng.integers(0, 1 << bits, count * width), bits)
            arrays[f"offset.{r}"] = rng.normal(size=count).astype(dtype)
            arrays[f"step.{r}"] = rng.random(count).astype(dtype)
    described = []
    for t, (table, column, row_of, weight, *multiply) in enumerate(terms):
        if row_of == "stored":
            count = tables[table][0]
            codes = rng.integers(0, count, num)
            codes[-1] = count - 1  # the last row occurs
            arrays[f"map.{t}"] = pack_bits(codes, code_bits(count))
        elif isinstance(row_of, int):
            row_of = {"divisor": row_of}
        else:
            row_of = dict(zip(("a", "b", "head", "first", "count"), row_of, strict=True))
        if weight == "stored":
            arrays[f"weights.{t}"] = rng.normal(size=num).astype(dtype)
        term = {"table": table, "column": column, "map": row_of, "weight": weight}
        described.append(term | {"multiply": True} if multiply else term)
    config = {
        "tables": [dict(zip(("num_rows", "width", "bits"), table, strict=True)) for table in tables],
        "terms": described,
        "activation": activation,
    }
    return Packed("shared", num, dim, arrays, config, padding_idx=padding_idx, method="shared")


def shared_samples():
    """Tables of layout ``shared``: one of each kind that a method makes, then the odd corners."""
    one, half, stored = 1.0, 0.5, "stored"
    hashes = [(1_234_567_890, 987_654_321, 0, 0, 7), (2**31 - 2, 2**31 - 2, 0, 0, 7)]
    hybrid = [(1_234_567_890, 5, 4, 4, 7), (2**31 - 2, 0, 4, 4, 7)]
    sums_of_two = [(5, 3, 32)] * 4
    chunks = [(0, 0, stored, one), (1, 0, (*hashes[0][:4], 5), one), (2, 3, stored, one), (3, 3, stored, one)]
    tables = {
        "one-row": shared([(7, 6, 32)], [(0, 0, stored, one)]),
        "mean-of-two": shared([(7, 6, 32)], [(0, 0, stored, half), (0, 0, stored, half)], padding_idx=3),
        "views-side-by-side": shared([(7, 2, 32), (5, 4, 16)], [(0, 0, stored, one), (1, 2, stored, one)]),
        "views-summed": shared([(7, 6, 32), (5, 6, 16), (3, 6, 32)], [(r, 0, stored, one) for r in range(3)]),
        "double-hash": shared([(7, 6, 32)], [(0, 0, mix, one) for mix in hashes]),
        "modulo": shared([(7, 6, 32)], [(0, 0, (1, 0, 0, 0, 7), one)]),
        "hybrid-hash": shared([(11, 6, 32)], [(0, 0, mix, one) for mix in hybrid]),
        "sums-in-chunks": shared(sums_of_two, chunks),
        "weighted-tanh": shared([(7, 6, 32)], [(0, 0, stored, stored), (0, 0, stored, stored)], activation="tanh"),
        "rows-8-bit": shared([(7, 6, 8)], [(0, 0, stored, one)], dtype=np.float16),
        "rows-4-bit": shared([(7, 6, 4)], [(0, 0, stored, half), (0, 0, stored, half)]),
    }
    return tables


def product_samples():
    """Tables of layout ``shared`` that need format version 3: quotients and products."""
    remainder = (0, 0, (1, 0, 0, 0, 7), 1.0)
    return {
        "quotient-multiplied": shared([(7, 6, 32), (5, 6, 32)], [remainder, (1, 0, 7, 1.0, "multiply")]),
        "quotient-summed": shared([(7, 6, 32), (5, 6, 32)], [remainder, (1, 0, 7, 1.0)], padding_idx=0),
        "quotient-joined": shared([(7, 3, 32), (5, 3, 16)], [remainder, (1, 3, 7, 1.0)]),
        "product-of-stored": shared(
            [(7, 6, 4), (5, 2, 16), (3, 6, 32)],
            [(0, 0, "stored", "stored"), (1, 2, "stored", -0.3, "multiply"), (2, 0, 11, "stored", "multiply")],
            activation="tanh",
            dtype=np.float16,
        ),
        "product-then-sum": shared(
            [(7, 6, 32), (5, 6, 16)], [remainder, (1, 0, 7, 2.0, "multiply"), (0, 0, "stored", 1.0)], num=35
        ),
    }


def tiered_samples():
    """Tables of the layouts ``tiered`` and ``sparse``, and of ``scaled`` with scales in 8 bits."""
    head = quantized(9, 12, 3, 4, "sum", gain=8)
    tail = quantized(30, 12, 2, 9, gain=8)
    return {
        "scaled-short": short_scales(11, 5, 3),
        "sparse": sparse(),
        "tiered-sorted": tiered([dense(4, 12), tail], padding_idx=3),
        "tiered-unsorted": tiered([head, tail], flagged=True),
        "tiered-four": tiered(
            [
                dense(3, 6, np.float16),
                short_scales(5, 6),
                sparse(7, 6),
                shared([(7, 6, 32)], [(0, 0, (1, 0, 0, 0, 7), 1.0)]),
            ],
            flagged=True,
            padding_idx=9,
        ),
        "tiered-tiers": tiered([coded([(10, 3, 16, 0), (20, 3, 4, 0)], flagged=True), low_rank(70, 12)], flagged=True),
    }


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
    tables |= {f"shared-{name}": table for name, table in shared_samples().items()}
    tables |= {f"shared-{name}": table for name, table in product_samples().items()}
    tables |= tiered_samples()
    tables |= {
        "tiered-rows-of-one": tiered([dense(1, 1), dense(1, 1)], flagged=True),
        "tiered-sixteen": tiered([dense(t + 1, 3) for t in range(16)], flagged=True),
        "tiered-many": tiered([scaled(5000, 8, 4), sparse(5000, 8)], flagged=True, padding_idx=7),
        "sparse-empty": sparse(9, 4, 0.0),
        "sparse-full": sparse(9, 4, 1.1),
        "sparse-wide": sparse(70, 200, 0.4),
        "sparse-64": sparse(3000, 64, 0.2, padding_idx=5),
        "sparse-one-by-one": sparse(1, 1, 1.1),
    }
    tables |= {f"scaled-short-{bits}": short_scales(13, 7 + bits, bits, padding_idx=12) for bits in range(1, 9)}
    tables |= {f"scaled-short-{bits}-even": short_scales(130, 64, bits) for bits in (1, 2, 3, 4, 8)}
    both = quantized_samples() | more_quantized_samples()
    tables |= {f"quantized-{name}": table for name, table in both.items()}
    one, many = (0, 0, "stored", 1.0), 100_003
    tables |= {
        "shared-one-by-one": shared([(1, 1, 32)], [one], num=1, dim=1),
        "shared-many-ids": shared([(2000, 64, 32)], [one, (0, 0, "stored", 0.25)], num=5001, dim=64, padding_idx=0),
        "shared-17-bit-map": shared([(many, 2, 16)], [one], num=41, dim=2),
        "shared-one-per-id": shared([(30, 6, 32)], [(0, 0, (1, 0, 30, 0, 1), 1.0)]),
        "shared-narrow-on-wide": shared([(5, 6, 32), (3, 1, 32)], [one, (1, 2, "stored", -3.5), (1, 5, "stored", 2)]),
        "shared-everything": shared(
            [(9, 6, 3), (5, 2, 16), (4, 4, 32), (6, 4, 7)],
            [(0, 0, "stored", "stored"), (1, 4, (3, 1, 2, 1, 4), -0.1), (2, 1, "stored", 1.0), (3, 0, "stored", 0.3)],
            num=1500,
            activation="tanh",
            dtype=np.float16,
            padding_idx=1499,
        ),
    }
    for width in range(1, 17):
        tables[f"coded-{width}-bit-full"] = coded([(41, 3, 1 << width, 0)], dim=3)
        tables[f"coded-{width}-bit"] = coded([(41, 5, (1 << width - 1) + 1, 0)], dim=15)
        tables[f"coded-{width}-bit-8-codes"] = coded([(41, 8, 1 << width, 0)], dim=8)
    return tables
