"""Seconds per training step of the methods over the uncompressed table, GMF on the shape of MovieLens-1M.

    python benchmarks/train_step.py [--json FILE] [--write docs/benchmarks/train-step.md]

One thread. Each contender first takes enough steps for its centroids to spread; then contenders take turns, round
after round, so that whatever else the machine does meets them all.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import torch

from slimtable.backbone import Batch, build
from slimtable.bench import label_of, parse_methods
from slimtable.bench.machine import cpu_name, one_thread, versions
from slimtable.embedding import MethodConfig
from slimtable.files import replace_file, write_json

METHODS = "full,low_rank,dpq,mgqe,dpq[num_codebooks=16],dpq[num_codebooks=8]"
NUM_USERS, NUM_ITEMS, EMBEDDING_DIM, NEGATIVES = 6_040, 3_416, 64, 4
# A share s^c of the draws falls on the most frequent share s; the most frequent tenth of MovieLens-1M's users has
# 38.4 % of the training interactions, and that of its items 42.3 %.
USER_POWER, ITEM_POWER = 0.416, 0.374
STEPS_OF_BATCH = {256: 60, 2048: 20}
WARM_UP_STEPS = 400
NUM_BATCHES = 64


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", type=Path, help="write the figures to this file")
    parser.add_argument("--write", type=Path, help="write the page to this file")
    parser.add_argument("--rounds", type=int, default=21, help="times that each contender has its turn")
    options = parser.parse_args()
    if options.rounds < 1:
        parser.error("--rounds must be at least 1")
    with one_thread():
        rows = [row for batch_size in STEPS_OF_BATCH for row in measure(batch_size, options.rounds)]
    report = {"date": f"{datetime.now(UTC):%Y-%m-%d}", "versions": versions(), "cpu": cpu_name(), "rows": rows}
    page = describe(report, options.rounds)
    print(page)
    if options.json:
        write_json(options.json, report)
    if options.write:
        with replace_file(options.write) as file:
            file.write(page.encode())


def measure(batch_size: int, rounds: int) -> list[dict[str, Any]]:
    """Median seconds per step of each contender, and median over rounds of its ratio to the first."""
    contenders = {label_of(config): stepper(config, batch_size) for config in parse_methods(METHODS)}
    for step in contenders.values():
        for _ in range(WARM_UP_STEPS):
            step()
    steps = STEPS_OF_BATCH[batch_size]
    seconds: dict[str, list[float]] = {label: [] for label in contenders}
    for _ in range(rounds):
        for label, step in contenders.items():
            started = time.perf_counter()
            for _ in range(steps):
                step()
            seconds[label].append((time.perf_counter() - started) / steps)
    yardstick = next(iter(seconds.values()))
    return [
        {
            "batch_size": batch_size,
            "method": label,
            "seconds_per_step": statistics.median(times),
            "over_full": statistics.median(a / b for a, b in zip(times, yardstick, strict=True)),
        }
        for label, times in seconds.items()
    ]


def stepper(config: MethodConfig, batch_size: int) -> Callable[[], None]:
    """A function that takes one training step, as :func:`slimtable.train.train` does, on the next batch."""
    torch.manual_seed(0)
    model = build("gmf", NUM_USERS, NUM_ITEMS, EMBEDDING_DIM, config).train()
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-3, fused=True)
    batches = make_batches(batch_size)
    place = 0

    def step() -> None:
        nonlocal place
        loss = model.loss(batches[place % NUM_BATCHES]) + model.penalty()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        place += 1

    return step


def make_batches(batch_size: int) -> list[Batch]:
    """Batches of (users, items, labels): positives by a power law, and four uniform negative items for each."""
    generator = np.random.default_rng(0)

    def skewed(size: int, power: float) -> np.ndarray:
        return (size * generator.random(batch_size) ** (1 / power)).astype(np.int64)

    batches = []
    for _ in range(NUM_BATCHES):
        labels = generator.random(batch_size) < 1 / (1 + NEGATIVES)
        items = np.where(labels, skewed(NUM_ITEMS, ITEM_POWER), generator.integers(NUM_ITEMS, size=batch_size))
        arrays = (skewed(NUM_USERS, USER_POWER), items, labels.astype(np.float32))
        batches.append(tuple(map(torch.from_numpy, arrays)))
    return batches


def describe(report: dict[str, Any], rounds: int) -> str:
    lines = [
        "# Training step",
        "",
        "```sh\npython benchmarks/train_step.py --write docs/benchmarks/train-step.md\n```",
        "",
        f"{report['date']} · {', '.join(f'{name} {version}' for name, version in report['versions'].items())}",
        f"· {report['cpu']}, one thread.",
        "",
        f"GMF, {NUM_USERS:,} users × {NUM_ITEMS:,} items, {EMBEDDING_DIM} dimensions; forward, backward and Adam on",
        f"ready batches. Medians of {rounds} rounds in which the methods take turns, after {WARM_UP_STEPS} steps.",
        "",
        "| batch | method | ms per step | × full |",
        "| ---: | --- | ---: | ---: |",
    ]
    lines += [
        f"| {row['batch_size']} | `{row['method']}` | {1e3 * row['seconds_per_step']:.3f} | {row['over_full']:.2f} |"
        for row in report["rows"]
    ]
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    main()
