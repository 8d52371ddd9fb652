"""Seconds, distortion and memory of clustering 1, 4 and 16 million vectors whose frequencies follow Zipf's law.

    python benchmarks/clustering.py [--sizes 1 4 16] [--limit SECONDS] [--threads 2] [--json FILE] [--write PAGE]

Every method clusters the same vectors in a process of its own, with as many threads as the others, and is stopped at
the limit. Vectors are made like trained embeddings: around centres, with noise, frequent ones further from zero.
"""

import argparse
import datetime
import json
import os
import platform
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np

DIM = 16
EXPONENT = 1.1
HEAD = 0.9  # the head carries this share of all occurrences
ROWS_OF_HEAD = 0.01  # K
CENTRES = 2000
NOISE = 0.5  # standard deviation around a centre, whose own is 1
ITERATIONS = 25  # of full k-means
CHUNK = 1 << 20

METHODS = {
    "fast": "slimtable, fast",
    "full": "slimtable, full",
    "faiss": "faiss, all vectors",
    "faiss-sample": "faiss, its sample of 256 K",
    "minibatch": "scikit-learn MiniBatchKMeans",
}
YARDSTICK = "faiss"


def write_data(folder: Path, count: int, seed: int) -> dict[str, int]:
    """Vectors and frequencies as files; the number of ids in the head."""
    generator = np.random.default_rng(seed)
    rank = generator.permutation(count) + 1.0
    counts = np.maximum(1, np.rint((count / rank) ** EXPONENT)).astype(np.int64)
    centres = generator.standard_normal((CENTRES, DIM), dtype=np.float32)
    vectors = np.lib.format.open_memmap(folder / "vectors.npy", "w+", np.float32, (count, DIM))
    for first in range(0, count, CHUNK):
        part = counts[first : first + CHUNK]
        block = centres[generator.integers(CENTRES, size=len(part))]
        block += np.float32(NOISE) * generator.standard_normal(block.shape, dtype=np.float32)
        block *= (0.05 + 0.05 * np.log2(1 + part)).astype(np.float32)[:, None]
        vectors[first : first + CHUNK] = block
    vectors.flush()
    np.save(folder / "counts.npy", counts)
    carried = np.cumsum(np.sort(counts)[::-1])
    return {"head": int(np.searchsorted(carried, HEAD * carried[-1])) + 1}


def cluster(method: str, folder: Path, num_rows: int, threads: int, repeat: int) -> dict[str, Any]:
    """Runs a method; best seconds, distortion of requests, and peak memory before that is measured."""
    import faiss

    from slimtable.codecs.quantize import fast_kmeans, full_kmeans

    faiss.omp_set_num_threads(threads)
    vectors, counts = np.load(folder / "vectors.npy"), np.load(folder / "counts.npy")
    if method in ("fast", "full"):  # compiled before the clock starts
        compiled = fast_kmeans if method == "fast" else full_kmeans
        compiled(vectors[:20_000], 200, counts[:20_000], iterations=3)
    elif method == "minibatch":
        import sklearn.cluster  # noqa: F401
    seconds, rows = [], None
    for _ in range(repeat):
        started = time.perf_counter()
        if method == "fast":
            found = fast_kmeans(vectors, num_rows, counts, threads=threads)
            centroids, rows = found.centroids, found.rows
        elif method == "full":
            found = full_kmeans(vectors, num_rows, counts, iterations=ITERATIONS, threads=threads)
            centroids, rows = found.centroids, found.rows
        elif method == "minibatch":
            from sklearn.cluster import MiniBatchKMeans

            model = MiniBatchKMeans(num_rows, batch_size=max(4096, 4 * num_rows), n_init=1, random_state=0)
            model.fit(vectors, sample_weight=counts)
            centroids, rows = model.cluster_centers_.astype(np.float32), model.labels_
        else:
            most = len(vectors) if method == "faiss" else 256
            model = faiss.Kmeans(DIM, num_rows, niter=ITERATIONS, seed=0, max_points_per_centroid=most)
            model.train(vectors, weights=counts.astype(np.float32))
            centroids = model.centroids
            if method == "faiss-sample":  # the others have looked at every vector by now
                rows = model.index.search(vectors, 1)[1][:, 0]
        seconds.append(time.perf_counter() - started)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    if rows is None:
        index = faiss.IndexFlatL2(DIM)
        index.add(centroids)
        rows = np.concatenate(
            [index.search(vectors[first : first + CHUNK], 1)[1][:, 0] for first in range(0, len(vectors), CHUNK)]
        )
    return {
        "seconds": min(seconds),
        "all": seconds,
        "peak": peak,
        "distortion": distortion(vectors, counts, centroids, rows),
    }


def distortion(vectors: np.ndarray, counts: np.ndarray, centroids: np.ndarray, rows: np.ndarray) -> float:
    """Mean squared distance to the row that stands for a vector, weighted by frequency."""
    total = 0.0
    for first in range(0, len(vectors), CHUNK):
        part = slice(first, first + CHUNK)
        left = vectors[part] - centroids[rows[part]]
        total += float(np.einsum("nd,nd->n", left, left, dtype=np.float64) @ counts[part])
    return total / float(counts.sum())


def in_process(words: list[object], threads: int, limit: float | None = None) -> dict[str, Any] | None:
    """Runs one step in a process of its own; None where it was stopped at the limit."""
    command = [sys.executable, __file__, "--step", *map(str, words)]
    environment = {**os.environ, "OMP_NUM_THREADS": str(threads)}
    try:
        done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True, timeout=limit, env=environment)
    except subprocess.TimeoutExpired:
        return None
    result: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return result


def measure(size: float, arguments: argparse.Namespace) -> dict[str, Any]:
    count = round(size * 1e6)
    with tempfile.TemporaryDirectory(dir=arguments.scratch, prefix="clustering-") as name:
        made = in_process(["write", name, count, arguments.seed], arguments.threads)
        assert made is not None
        num_rows = max(1, round(ROWS_OF_HEAD * made["head"]))
        result: dict[str, Any] = {"count": count, "head": made["head"], "num_rows": num_rows, "methods": {}}
        for method in arguments.methods:
            if f"{method}:{size:g}" in arguments.skip:
                continue
            repeat = arguments.repeat if method == "fast" else 1
            words = ["cluster", method, name, num_rows, arguments.threads, repeat]
            result["methods"][method] = in_process(words, arguments.threads, arguments.limit)
            print(as_markdown([result], arguments.limit), file=sys.stderr, flush=True)
    return result


def as_markdown(results: list[dict[str, Any]], limit: float) -> str:
    lines = [
        "| vectors | K | method | seconds | faster than faiss | ns per vector | distortion | against faiss | "
        "memory beside the vectors (GB) |",
        "|--:|--:|:--|--:|--:|--:|--:|--:|--:|",
    ]
    for each in results:
        base = each["methods"].get(YARDSTICK)
        for method, found in each["methods"].items():
            start = f"| {each['count']:,} | {each['num_rows']:,} | {METHODS[method]} |"
            if found is None:
                lines.append(f"{start} > {limit:,.0f} | - | - | - | - | - |")
                continue
            speed = f"{base['seconds'] / found['seconds']:.1f}×" if base else "-"
            more = f"{100 * (found['distortion'] / base['distortion'] - 1):+.1f} %" if base else "-"
            beside = (found["peak"] - 4 * DIM * each["count"]) / 1e9
            lines.append(
                f"{start} {found['seconds']:.2f} | {speed} | {1e9 * found['seconds'] / each['count']:,.0f} | "
                f"{found['distortion']:.4f} | {more} | {beside:.2f} |"
            )
    return "\n".join(lines) + "\n"


def cpu() -> str:
    information = Path("/proc/cpuinfo")
    names = information.read_text().split("model name\t: ") if information.exists() else []
    return names[1].split("\n")[0] if len(names) > 1 else platform.processor() or platform.machine()


def page(results: list[dict[str, Any]], arguments: argparse.Namespace) -> str:
    import faiss
    import numba
    import sklearn

    skipped = " and ".join(
        f"{METHODS[method]} at {size} million" for method, size in (entry.split(":") for entry in arguments.skip)
    )
    left_out = f" Not run, for lack of time: {skipped}." if skipped else ""
    skip = ["--skip", *arguments.skip] if arguments.skip else []
    options = " ".join(
        ["--sizes", *(f"{size:g}" for size in arguments.sizes), "--limit", f"{arguments.limit:g}", *skip]
    )
    heads = "; ".join(f"{each['head']:,} of {each['count']:,}" for each in results)
    return (
        "# Fast clustering against full k-means\n\n"
        f"Vectors of {DIM} numbers around {CENTRES:,} centres, times 0.05 + 0.05·log2(1 + frequency), so that "
        "frequent ones lie further from zero; frequencies follow Zipf's law with exponent "
        f"{EXPONENT}. The head is the ids that carry {HEAD:.0%} of the occurrences ({heads}); K is "
        f"{ROWS_OF_HEAD:.0%} of it. *Distortion* is the mean squared distance between a vector and the row that stands "
        "for it, weighted by frequency, so that it is what requests see. Everything has frequencies as weights. *All "
        f"vectors* and *full* run {ITERATIONS} Lloyd iterations on every vector; faiss draws its starts evenly, ours "
        "are drawn by frequency and then by distortion (k-means‖). The seconds of *faiss, all vectors* are without a "
        "last assignment, those of all others with it. Memory is the peak of the process less the vectors; it holds "
        "Python, the libraries and the frequencies (8 bytes a vector). "
        f"{METHODS['fast']}: best of {arguments.repeat} runs, the others one. A method that takes more than "
        f"{arguments.limit:,.0f} s, loading included, is stopped.{left_out}\n\n"
        f"{as_markdown(results, arguments.limit)}\n"
        f"- date: {datetime.date.today()}\n"
        f"- machine: {cpu()}, {arguments.threads} threads each; load of the last minute when this was written: "
        f"{os.getloadavg()[0]:.1f}\n"
        f"- versions: Python {platform.python_version()}, numpy {np.__version__}, numba {numba.__version__}, faiss "
        f"{faiss.__version__}, scikit-learn {sklearn.__version__}\n"
        f"- command: `python benchmarks/clustering.py {options}`\n"
    )


def step(words: list[str]) -> None:
    if words[0] == "write":
        result: dict[str, Any] = write_data(Path(words[1]), int(words[2]), int(words[3]))
    else:
        result = cluster(words[1], Path(words[2]), *map(int, words[3:]))
    print(json.dumps(result))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--sizes", type=float, nargs="+", default=[1, 4, 16], help="millions of vectors")
    parser.add_argument("--methods", nargs="+", choices=list(METHODS), default=list(METHODS))
    parser.add_argument("--limit", type=float, default=3600, help="seconds for one method at one size")
    parser.add_argument("--skip", nargs="+", default=[], help="leave out, such as minibatch:16")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--repeat", type=int, default=3, help="runs of the fast method, the best counts")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--scratch", type=Path, help="folder for the vectors; 1.2 GB for 16 million")
    parser.add_argument("--json", type=Path, help="write the results there")
    parser.add_argument("--write", type=Path, help="write a page with the results there")
    parser.add_argument("--step", nargs="+", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.step:
        step(arguments.step)
        return
    results = []
    for size in sorted(arguments.sizes):
        results.append(measure(size, arguments))
        print(as_markdown(results, arguments.limit), flush=True)
        if arguments.json:
            arguments.json.write_text(json.dumps(results, indent=1) + "\n")
        if arguments.write:
            arguments.write.write_text(page(results, arguments))


if __name__ == "__main__":
    main()
