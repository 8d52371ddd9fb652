"""Time of looking up random rows, one thread: slimtable against torch and faiss.

    python benchmarks/lookup.py [--rows 1000000 4000000] [--json FILE] [--write docs/benchmarks/lookup.md]

Every contender looks up the same batches of random ids in a table of 64 columns. Contenders take turns within each
round, in random order; the median over rounds of the thread's own CPU time is reported. On an idle machine that is
the time on the clock; on a busy one it leaves out the time that other processes took.
"""

import argparse
import datetime
import json
import os
import platform
import sys
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

os.environ.setdefault("OMP_NUM_THREADS", "1")

import faiss
import numba
import numpy as np
import torch
import torch.nn.functional as F

from slimtable.artifact import Packed
from slimtable.serve import Table

DIM = 64
SEED = {"seed": 1, "rounds": 1}
Lookup = Callable[[int], object]


def coded(rows: int, num_codebooks: int, codebook_size: int, rng: np.random.Generator) -> Packed:
    width = (codebook_size - 1).bit_length()
    shape = (num_codebooks, codebook_size, DIM // num_codebooks)
    tier = {"num_rows": rows, "num_codebooks": num_codebooks, "codebook_size": codebook_size, "codebook": 0}
    arrays: dict[str, np.ndarray] = {
        "codes.0": rng.integers(0, 256, rows * num_codebooks * width // 8, dtype=np.uint8),
        "codebook.0": rng.normal(size=shape).astype(np.float32),
    }
    return Packed("coded", rows, DIM, arrays, {"tiers": [tier], "share_subspaces": False})


def scaled(rows: int, bits: int, rng: np.random.Generator) -> Packed:
    arrays: dict[str, np.ndarray] = {
        "codes": rng.integers(0, 256, rows * DIM * bits // 8, dtype=np.uint8),
        "offset": rng.normal(size=DIM).astype(np.float32),
        "step": rng.random(DIM).astype(np.float32),
    }
    return Packed("scaled", rows, DIM, arrays, {"bits": bits, "axis": "column"})


def scaled_rows(rows: int, bits: int, rng: np.random.Generator) -> Packed:
    arrays: dict[str, np.ndarray] = {
        "codes": rng.integers(0, 256, rows * DIM * bits // 8, dtype=np.uint8),
        "offset": rng.normal(size=rows).astype(np.float16),
        "step": rng.random(rows).astype(np.float16),
    }
    return Packed("scaled", rows, DIM, arrays, {"bits": bits, "axis": "row"})


def short_rows(rows: int, bits: int, rng: np.random.Generator) -> Packed:
    arrays: dict[str, np.ndarray] = {
        "codes": rng.integers(0, 256, rows * DIM * bits // 8, dtype=np.uint8),
        "step": rng.integers(0, 256, rows, dtype=np.uint8),
        "step_range": np.array([0.01, 1.02]),
        "zero": rng.integers(0, 256, rows, dtype=np.uint8),
    }
    return Packed("scaled", rows, DIM, arrays, {"bits": bits, "axis": "row", "scale_bits": 8})


def quantized(rows: int, number: int, size: int, rng: np.random.Generator, **config: Any) -> Packed:
    """Codes of a gain in 8 bits and a shape: residual codes if summed, a scalar grid if one codebook is shared."""
    config = {"combine": "concat", "shared": False, "rotation": None} | config
    config |= {"num_codebooks": number, "codebook_size": size, "codebook_bits": 32, "gain_bits": 8, "offset": False}
    width = (size - 1).bit_length()
    books = 1 if config["shared"] else number
    arrays: dict[str, np.ndarray] = {
        "codes": rng.integers(0, 256, rows * number * width // 8, dtype=np.uint8),
        "codebook": rng.normal(size=(books, size, DIM if config["combine"] == "sum" else DIM // number)).astype("f4"),
        "gain": rng.integers(0, 256, rows, dtype=np.uint8),
        "gain_range": np.array([0.01, 1.02]),
    }
    return Packed("quantized", rows, DIM, arrays, config)


def sparse(rows: int, share: float, rng: np.random.Generator) -> Packed:
    stored = rng.random(rows * DIM, dtype=np.float32) < share
    arrays: dict[str, np.ndarray] = {
        "bitmap": np.packbits(stored, bitorder="little"),
        "values": rng.integers(0, 256, int(stored.sum()), dtype=np.uint8),
        "step": rng.random(rows).astype(np.float16),
    }
    return Packed("sparse", rows, DIM, arrays)


def tiered(rows: int, head: Packed, tail: Packed) -> Packed:
    """The ids of ``head``, then those of ``tail``."""
    parts = [head, tail]
    arrays = {f"part.{i}.{name}": array for i, part in enumerate(parts) for name, array in part.arrays.items()}
    described = [
        {"num_rows": part.num_embeddings, "layout": part.layout, "layout_config": dict(part.layout_config)}
        for part in parts
    ]
    return Packed("tiered", rows, DIM, arrays, {"parts": described})


def lookup_into(table: Table, batches: np.ndarray, out: np.ndarray, b: int) -> object:
    return table.lookup(batches[b], out)


def contenders(rows: int, batches: np.ndarray, rng: np.random.Generator) -> dict[str, tuple[float, Lookup]]:
    """Bytes per row, and what looks up batch ``b``, by name; the first is what all are compared to."""
    weight = torch.from_numpy(rng.random((rows, DIM), dtype=np.float32))
    ids = torch.from_numpy(batches)
    into = torch.empty(batches.shape[1], DIM)
    byte = torch.ops.quantized.embedding_bag_byte_prepack(weight)
    half = torch.ops.quantized.embedding_bag_4bit_prepack(weight)
    one_each = torch.arange(batches.shape[1])  # one id per bag
    byte_rows = torch.ops.quantized.embedding_bag_byte_rowwise_offsets
    half_rows = torch.ops.quantized.embedding_bag_4bit_rowwise_offsets
    pq: Any = faiss.ProductQuantizer(DIM, 8, 8)
    faiss.copy_array_to_vector(rng.normal(size=256 * DIM).astype(np.float32), pq.centroids)
    codes = rng.integers(0, 256, (rows, 8), dtype=np.uint8)
    found: dict[str, tuple[float, Lookup]] = {
        "torch F.embedding, float32": (4 * DIM, lambda b: F.embedding(ids[b], weight)),
        "torch index_select(out=), float32": (4 * DIM, lambda b: torch.index_select(weight, 0, ids[b], out=into)),
        "torch embedding_bag_byte": (byte.shape[1], lambda b: byte_rows(byte, ids[b], one_each)),
        "torch embedding_bag_4bit": (half.shape[1], lambda b: half_rows(half, ids[b], one_each)),
        "faiss PQ decode, M=8 K=256": (8, lambda b: pq.decode(codes[batches[b]])),
    }
    out = np.empty((batches.shape[1], DIM), np.float32)
    packed = {
        "dense, float32": Packed("dense", rows, DIM, {"table": weight.numpy()}),
        "scaled, 8 bit": scaled(rows, 8, rng),
        "scaled, 4 bit": scaled(rows, 4, rng),
        "coded, M=8 K=256": coded(rows, 8, 256, rng),
        "coded, M=64 K=256": coded(rows, 64, 256, rng),
        "coded, M=64 K=64": coded(rows, 64, 64, rng),
        "scaled, 2 bit": scaled(rows, 2, rng),
        "scaled per row, 4 bit": scaled_rows(rows, 4, rng),
        "scaled per row, 2 bit": scaled_rows(rows, 2, rng),
        "scaled per row, 3 bit, scales 8 bit": short_rows(rows, 3, rng),
        "scaled per row, 2 bit, scales 8 bit": short_rows(rows, 2, rng),
        "quantized, pq M=8 K=256": quantized(rows, 8, 256, rng),
        "quantized, rq M=8 K=256": quantized(rows, 8, 256, rng, combine="sum"),
        "quantized, rabitq 4 bit": quantized(rows, DIM, 16, rng, shared=True, rotation=SEED),
        "quantized, rabitq 2 bit": quantized(rows, DIM, 4, rng, shared=True, rotation=SEED),
        "quantized, rabitq 1 bit": quantized(rows, DIM, 2, rng, shared=True, rotation=SEED),
        "sparse, 20 % stored": sparse(rows, 0.2, rng),
        "tiered, 4 bit and rq M=8": tiered(
            rows, scaled_rows(rows // 10, 4, rng), quantized(rows - rows // 10, 8, 256, rng, combine="sum")
        ),
    }
    tables = {name: Table(name, table) for name, table in packed.items()}
    for name, table in tables.items():
        found[f"slimtable {name}"] = (table.nbytes / rows, partial(lookup_into, table, batches, out))
    most = tables["coded, M=8 K=256"]
    found["slimtable coded, M=8 K=256, no out="] = (most.nbytes / rows, lambda b: most.lookup(batches[b]))
    return found


def measure(rows: int, batch: int, num_batches: int, rounds: int) -> list[dict[str, object]]:
    rng = np.random.default_rng(0)
    batches = rng.integers(0, rows, (num_batches, batch))
    found = contenders(rows, batches, rng)
    seconds: dict[str, list[float]] = {name: [] for name in found}
    for _, lookup in found.values():
        lookup(0)  # compile, touch
    for _ in range(rounds):
        for name in rng.permutation(list(found)):
            start = time.thread_time()
            for b in range(num_batches):
                found[name][1](b)
            seconds[name].append(time.thread_time() - start)
    median = {name: float(np.median(times)) / batches.size * 1e9 for name, times in seconds.items()}
    base = next(iter(found))
    return [
        {
            "rows": rows,
            "name": name,
            "ns_per_row": round(median[name], 1),
            "bytes_per_row": round(bytes_per_row, 2),
            "speed": round(median[base] / median[name], 2),
        }
        for name, (bytes_per_row, _) in found.items()
    ]


def as_markdown(results: list[dict[str, object]]) -> str:
    lines = []
    for rows in dict.fromkeys(result["rows"] for result in results):
        lines += [
            f"\n{rows:,} rows of {DIM} columns:\n",
            "| lookup | ns/row | bytes/row | speed |",
            "|---|--:|--:|--:|",
        ]
        lines += [
            "| {name} | {ns_per_row:.1f} | {bytes_per_row:.1f} | {speed:.2f}× |".format_map(result)
            for result in results
            if result["rows"] == rows
        ]
    return "\n".join(lines) + "\n"


def cpu() -> str:
    information = Path("/proc/cpuinfo")
    names = information.read_text().split("model name\t: ") if information.exists() else []
    return names[1].split("\n")[0] if len(names) > 1 else platform.processor() or platform.machine()


def page(results: list[dict[str, object]], batch: int) -> str:
    versions = {"numpy": np, "numba": numba, "torch": torch, "faiss": faiss}
    return (
        "# Time of a lookup\n\n"
        f"Random ids in batches of {batch:,}, one thread: CPU time, median over rounds in which the contenders take "
        "turns. *Speed* is that of `F.embedding` in float32 over the contender's time. slimtable and "
        "`index_select` write to an output that is given unless said otherwise, the others allocate theirs.\n"
        f"{as_markdown(results)}\n"
        f"- date: {datetime.date.today()}\n"
        f"- machine: {cpu()}, {os.cpu_count()} cores, {platform.system()}\n"
        f"- versions: Python {platform.python_version()}, "
        + ", ".join(f"{name} {module.__version__}" for name, module in versions.items())
        + f"\n- command: `python {' '.join(sys.argv)}`\n"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--rows", type=int, nargs="+", default=[1_000_000, 4_000_000], help="table sizes")
    parser.add_argument("--batch", type=int, default=65_536, help="ids per lookup")
    parser.add_argument("--batches", type=int, default=8, help="different batches")
    parser.add_argument("--rounds", type=int, default=9, help="turns of each contender")
    parser.add_argument("--json", type=Path, help="write the results there")
    parser.add_argument("--write", type=Path, help="write a page with the results there")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    faiss.omp_set_num_threads(1)
    results = []
    for rows in arguments.rows:
        results += measure(rows, arguments.batch, arguments.batches, arguments.rounds)
    print(as_markdown(results))
    if arguments.json:
        arguments.json.write_text(json.dumps(results, indent=1) + "\n")
    if arguments.write:
        arguments.write.write_text(page(results, arguments.batch))


if __name__ == "__main__":
    main()
