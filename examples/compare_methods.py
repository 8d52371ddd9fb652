"""Compare methods by quality and size on one dataset, with a table and an HTML report.

Run it with `python examples/compare_methods.py [FOLDER]`; runs that FOLDER holds are not repeated.
"""

import sys
import tempfile

from rich.console import Console

from slimtable import FullConfig, LowRankConfig, MGQEConfig, TrainConfig, UniformConfig, run_bench
from slimtable.bench import console_table


def main(folder: str) -> None:
    result = run_bench(
        "synthetic:5000",  # or "ml-1m", or the path of a file of yours
        "gmf",
        [FullConfig(), LowRankConfig(rank=8), UniformConfig(bits=4), MGQEConfig(codebook_sizes=(32, 8))],
        train=TrainConfig(embedding_dim=16, epochs=3, batch_size=1024, learning_rate=0.01),
        seeds=[0],
        out=folder,
        workers=1,  # None takes one process for each core
    )
    Console(width=120).print(console_table(result))
    print("report:", result.report)


if __name__ == "__main__":  # the processes of a bench import this file
    if len(sys.argv) > 1:
        main(sys.argv[1])
    else:
        with tempfile.TemporaryDirectory() as temporary:
            main(temporary)
