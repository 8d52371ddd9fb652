"""Rows a second to fit and to encode a table: uniform, rabitq, pq and rq beside faiss, at equal settings and threads.

    python benchmarks/compress.py [--rows 50000] [--dim 64] [--threads 1] [--repeat 3] [--json FILE]

The rows are random centres with noise. Each pair has the same codes: as many codebooks of as many centroids, the same
beam, or as many bits per value. Neither side uses gains in pq and rq, since faiss has none. Times are CPU seconds of
the process, the best of some repetitions, in which the two alternate. The error is the squared error over the energy
of the rows.
"""

import argparse
import json
import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

CENTRES, NOISE = 1000, 0.5
BEAM = 5  # faiss's default

Pair = tuple[Callable[[], Any], Callable[[Any], np.ndarray], Callable[[Any, np.ndarray], np.ndarray]]


def make_rows(count: int, dim: int) -> np.ndarray:
    """Rows around random centres, float32 (count, dim)."""
    generator = np.random.default_rng(0)
    rows = generator.standard_normal((CENTRES, dim))[generator.integers(CENTRES, size=count)]
    return (rows + NOISE * generator.standard_normal((count, dim))).astype(np.float32)


def ours(codec: Any, rows: np.ndarray) -> Pair:
    """Fits, encodes and decodes by a codec of slimtable."""
    from slimtable.artifact.layouts import decode
    from slimtable.codecs.base import Rows

    table = Rows(rows)

    def encode(fitted: Any) -> Any:
        return [fitted.encode(block, first) for first, block in table.blocks()]

    def decoded(fitted: Any, blocks: Any) -> np.ndarray:
        return decode(fitted.pack(blocks), np.arange(len(rows)))

    return lambda: codec.fit(table), encode, decoded


def of_faiss(make: Callable[[], Any], rows: np.ndarray) -> Pair:
    """Fits, encodes and decodes by a quantizer of faiss."""

    def fit() -> Any:
        quantizer = make()
        quantizer.train(rows)
        return quantizer

    return fit, lambda quantizer: quantizer.compute_codes(rows), lambda quantizer, codes: quantizer.decode(codes)


def pairs(dim: int, rows: np.ndarray) -> dict[str, dict[str, Pair]]:
    """What is compared, by name."""
    import faiss

    from slimtable.codecs.pq import Pq
    from slimtable.codecs.rabitq import Rabitq
    from slimtable.codecs.rq import Rq
    from slimtable.codecs.uniform import Uniform

    def residual(stages: int) -> Any:
        quantizer = faiss.ResidualQuantizer(dim, stages, 8)
        quantizer.max_beam_size = BEAM
        return quantizer

    plain = {"gain_bits": 0, "codebook_bits": 32}
    found = {
        "uniform 8 bit": (
            Uniform(8, "column"),
            lambda: faiss.ScalarQuantizer(dim, faiss.ScalarQuantizer.QT_8bit),
        ),
        "rabitq 1 bit": (Rabitq(1), lambda: faiss.RaBitQuantizer(dim, faiss.METRIC_L2)),
        "pq M=8": (Pq(8, 256, **plain), lambda: faiss.ProductQuantizer(dim, 8, 8)),
        "pq M=16": (Pq(16, 256, **plain), lambda: faiss.ProductQuantizer(dim, 16, 8)),
        "rq M=4": (Rq(4, 256, beam=BEAM, **plain), lambda: residual(4)),
    }
    return {
        name: {"slimtable": ours(codec, rows), "faiss": of_faiss(make, rows)} for name, (codec, make) in found.items()
    }


def measure(sides: dict[str, Pair], rows: np.ndarray, repeat: int) -> dict[str, dict[str, float]]:
    """The best seconds of fitting and encoding of both sides, and their errors."""
    found = {side: {"fit": np.inf, "encode": np.inf} for side in sides}
    for _ in range(repeat):
        for side, (fit, encode, decoded) in sides.items():
            started = time.process_time()
            fitted = fit()
            middle = time.process_time()
            codes = encode(fitted)
            ended = time.process_time()
            best = found[side]
            best["fit"], best["encode"] = min(best["fit"], middle - started), min(best["encode"], ended - middle)
            left = decoded(fitted, codes) - rows
            best["error"] = float(np.square(left).sum() / np.square(rows).sum())
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=50_000)
    parser.add_argument("--dim", type=int, default=64)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--repeat", type=int, default=3)
    parser.add_argument("--only", default="", help="comma-separated beginnings of names")
    parser.add_argument("--json", type=Path)
    given = parser.parse_args()
    os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[: given.threads])
    import faiss

    faiss.omp_set_num_threads(given.threads)
    rows, results = make_rows(given.rows, given.dim), {}
    for sides in pairs(given.dim, rows[:2000]).values():  # compiled before the clock starts
        fit, encode, _ = sides["slimtable"]
        encode(fit())
    print(f"{given.rows:,} × {given.dim}, {given.threads} thread(s); rows per CPU second")
    print(f"{'':14} {'fit':>10} {'faiss':>10} {'ratio':>6} {'encode':>11} {'faiss':>11} {'ratio':>6}   error  faiss")
    for name, sides in pairs(given.dim, rows).items():
        if not name.startswith(tuple(given.only.split(","))):
            continue
        results[name] = found = measure(sides, rows, given.repeat)
        line = f"{name:14}"
        for part, width in (("fit", 10), ("encode", 11)):
            mine, other = (given.rows / max(found[side][part], 1e-9) for side in ("slimtable", "faiss"))
            line += f" {mine:{width},.0f} {other:{width},.0f} {mine / other:6.2f}"
        print(f"{line}   {found['slimtable']['error']:.4f} {found['faiss']['error']:.4f}", flush=True)
    if given.json:
        given.json.write_text(json.dumps(results, indent=1))


if __name__ == "__main__":
    main()
