"""Artifacts that follow each other: tables that grow and change here and there, as a training leaves them."""

import numpy as np

from slimtable.artifact import Packed
from slimtable.artifact.bits import code_bits, pack_bits
from tests.artifact.artifact_samples import coded, dense, plain_bits, scaled, shared
from tests.artifact.quantized_samples import quantized
from tests.artifact.tiered_samples import short_scales, sparse, tiered

PER_ID = ("table", "left", "offset", "step", "zero", "gain")  # names of arrays with a value or row per id


def kinds(num=40):
    """Tables by name, of the layouts whose arrays differ in kind."""
    one = (0, 0, "stored", 1.0)
    return {
        "dense": dense(num, 6),
        "uniform": scaled(num, 6, 5),
        "uniform-rows": scaled(num, 8, 4, "row", np.float16),
        "mgqe": coded([(num // 4, 4, 16, 0), (num - num // 4, 2, 6, 1)], flagged=True),
        "shared": shared([(9, 6, 32)], [one], num=num),
        "saec-4-bit": shared([(9, 6, 4), (5, 6, 4)], [one, (1, 0, "stored", 1.0)], num=num, dtype=np.float16),
        "weights": shared([(9, 6, 16)], [(0, 0, "stored", "stored"), one], num=num, activation="tanh"),
        "rq": quantized(num, 12, 3, 9, "sum", bits=8, gain=8),
        "rq-coarse": quantized(num, 5, 3, 9, "sum", bits=4, gain=5),
        "pq-coarse": quantized(num, 6, 2, 9, bits=4, gain=7),
        "rabitq": quantized(num, 8, 8, 4, shared=True, gain=16, rotation=(1, 1), offset=True),
        "short-scales": short_scales(num, 6, 3),
        "sparse": sparse(num, 6),
        "tiered": tiered([dense(num // 4, 6), quantized(num - num // 4, 6, 2, 16, gain=8)], flagged=True),
        "qr": shared([(8, 6, 32), (200, 6, 32)], [(0, 0, (1, 0, 0, 0, 8), 1.0), (1, 0, 8, 1.0, "multiply")], num=num),
    }


def streams(packed):
    """Width, largest code, number of codes, and codes of a new id, of each bit stream that grows or may change."""
    config, num = packed.layout_config, packed.num_embeddings
    if packed.layout == "scaled":
        per_id = packed.embedding_dim
        return {"codes": (config["bits"], (1 << config["bits"]) - 1, num * per_id, per_id)}
    if packed.layout == "shared":
        counts = [config["tables"][term["table"]]["num_rows"] for term in config["terms"]]
        return {f"map.{t}": (code_bits(count), count - 1, num, 1) for t, count in enumerate(counts)}
    if packed.layout == "quantized":
        size, per_id, gain = config["codebook_size"], config["num_codebooks"], config["gain_bits"]
        known = {"codes": (code_bits(size), size - 1, num * per_id, per_id)}
        if 0 < gain < 8:
            known["gain"] = (gain, (1 << gain) - 1, num, 1)
        if config["codebook_bits"] == 4:
            width = packed.embedding_dim // (1 if config["combine"] == "sum" else per_id)
            known["codebook"] = (4, 15, packed.arrays["codebook_scale"].size * width, 0)
        return known
    return {}


def grows(packed, name):
    """Whether an array has a value or a row for each id."""
    if packed.layout == "shared":
        return name.startswith("weights.")
    per_column = packed.layout == "quantized" or packed.layout_config.get("axis") == "column"
    return name in PER_ID and not (per_column and name in ("offset", "step"))


def follower(packed, rng, share, grown):
    """The table after some training: a share of its values changed, and some ids more."""
    num = packed.num_embeddings
    grown = 0 if packed.layout in ("coded", "sparse", "tiered") else grown
    arrays, known = {}, streams(packed)
    for name, array in packed.arrays.items():
        if name in known:
            width, largest, count, per_id = known[name]
            codes = plain_bits(array, width, count)
            hit = rng.random(codes.size) < share
            codes[hit] = rng.integers(0, largest + 1, hit.sum())
            arrays[name] = pack_bits(np.append(codes, rng.integers(0, largest + 1, grown * per_id)), width)
        elif array.dtype.kind == "f":
            values = array.copy()
            hit = rng.random(len(values)) < share
            values[hit] *= 1 if name.endswith("_range") else 0.5
            more = grown if grows(packed, name) else 0
            arrays[name] = np.concatenate([values, np.ones((more, *values.shape[1:]), values.dtype)])
        else:
            arrays[name] = array.copy()
            codes_of_rows = packed.layout_config.get("tables") or name in ("values", "gain", "step", "zero")
            if array.size and codes_of_rows:
                arrays[name][:-1][rng.random(array.size - 1) < share] ^= 1
            if grows(packed, name):
                arrays[name] = np.append(arrays[name], rng.integers(0, 256, grown).astype(np.uint8))
    return Packed(
        packed.layout,
        num + grown,
        packed.embedding_dim,
        arrays,
        packed.layout_config,
        padding_idx=packed.padding_idx,
        method=packed.method,
    )
