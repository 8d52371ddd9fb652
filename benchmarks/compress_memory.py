"""Peak memory of compressing a table in a file, over the size of the table.

    python benchmarks/compress_memory.py [--rows 2000000] [--dim 64] [--methods uniform "saec stages" ...]

Each method runs `slimtable compress` in a process of its own on one `.npy` file. What a process has in memory before it
reads the table (Python and its libraries) is measured by compressing a table of 1,000 rows, and taken away.
"""

import argparse
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

OPTIONS = {
    "dpq": ["--set", "num_codebooks=16"],
    "saec": ["--budget", "4%", "--set", "row_bits=8"],
    "saec stages": ["--budget", "16x", "--set", "row_bits=8", "--set", "stages=16"],
    "uniform rows": ["--set", "axis=row", "--set", "scale_bits=16", "--set", "bits=4"],
}
METHODS = ["full", "uniform", "uniform rows", "low_rank", "dpq", "mgqe", "saec stages", "saec"]
SCRIPT = """
import resource, sys
from slimtable.cli import main
code = main(sys.argv[1:])
print(code, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024, file=sys.stderr)
"""


def peak_bytes(table: Path, label: str, out: Path) -> tuple[int, float, int]:
    """Peak memory of compressing a file, seconds, and bytes of the result."""
    method, started = label.split()[0], time.perf_counter()
    words = ["compress", str(table), "--method", method, *OPTIONS.get(label, []), "--out", str(out), "--force"]
    done = subprocess.run([sys.executable, "-c", SCRIPT, *words], capture_output=True, text=True, check=True)
    code, peak = map(int, done.stderr.strip().split("\n")[-1].split())
    assert code == 0, done.stderr
    return peak, time.perf_counter() - started, out.stat().st_size


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--rows", type=int, default=2_000_000)
    parser.add_argument("--dim", type=int, default=64)
    parser.add_argument("--methods", nargs="+", default=METHODS)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        large, small, out = (Path(folder) / name for name in ("large.npy", "small.npy", "out"))
        shape = (arguments.rows, arguments.dim)
        written = np.lib.format.open_memmap(large, "w+", np.float32, shape)
        generator = np.random.default_rng(0)
        for first in range(0, arguments.rows, 100_000):
            written[first : first + 100_000] = 0.1 * generator.standard_normal(written[first : first + 100_000].shape)
        written.flush()
        np.save(small, np.asarray(written[:1000]))
        size = large.stat().st_size
        del written
        print(f"table: {arguments.rows:,} x {arguments.dim} float32, {size / 1e6:,.0f} MB")
        for label in arguments.methods:
            base = peak_bytes(small, label, out)[0]
            peak, seconds, served = peak_bytes(large, label, out)
            print(
                f"{label:13} peak {peak / 1e6:8,.0f} MB, {(peak - base) / size:5.2f} x the table beyond the "
                f"{base / 1e6:,.0f} MB "
                f"of libraries; {seconds:5.1f} s; file {served / 1e6:,.0f} MB",
                flush=True,
            )
    assert resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss > 0


if __name__ == "__main__":
    main()
