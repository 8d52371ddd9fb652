"""Seconds per training step of the methods over the uncompressed table, for each recommender.

    python benchmarks/training_cost.py [--json FILE] [--write docs/benchmarks/training-cost.md]

One thread, on the shape of MovieLens-1M. Each contender first takes enough steps for its centroids to spread; then
contenders take turns, round after round, so that whatever else the machine does meets them all.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import torch

from slimtable.bench import label_of, parse_methods
from slimtable.bench.machine import cpu_name, versions
from slimtable.embeddings.base import MethodConfig
from slimtable.files import replace_file, write_json
from slimtable.models.base import Batch, build, get_ranker
from slimtable.pool import one_thread
from slimtable.training.trainer import TrainConfig

METHODS = "full,low_rank,dpq,mgqe,mgqe[preset=compact;dense_epochs=0],dpq[num_codebooks=16],dpq[num_codebooks=8]"
NUM_USERS, NUM_ITEMS, EMBEDDING_DIM, NEGATIVES = 6_040, 3_416, 64, 4
# A share s^c of the draws falls on the most frequent share s; the most frequent tenth of MovieLens-1M's users has
# 38.4 % of the training interactions, and that of its items 42.3 %.
USER_POWER, ITEM_POWER = 0.416, 0.374
# Times the step of full that `dpq` and `mgqe` should not exceed.
AIMS = {"gmf": 2.0, "neumf": 2.0, "sasrec": 1.3}


@dataclass(frozen=True)
class Race:
    """What is measured together.

    Attributes:
        model: registry name of the recommender.
        batch_size: samples, or for SASRec sequences, per step.
        steps: of each contender in a round.
        warm_up: steps before the first round.
    """

    model_name: str
    batch_size: int
    steps: int
    warm_up: int


RACES = [
    Race("gmf", 256, 60, 400),
    Race("gmf", 2048, 20, 400),
    Race("neumf", 256, 30, 300),
    Race("neumf", 1024, 15, 300),
    Race("sasrec", 128, 3, 60),
]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", type=Path, help="write the figures to this file")
    parser.add_argument("--write", type=Path, help="write the page to this file")
    parser.add_argument("--rounds", type=int, default=21, help="times that each contender has its turn")
    options = parser.parse_args()
    if options.rounds < 1:
        parser.error("--rounds must be at least 1")
    with one_thread():
        rows = [row for race in RACES for row in measure(race, options.rounds)]
    report = {"date": f"{datetime.now(UTC):%Y-%m-%d}", "versions": versions(), "cpu": cpu_name(), "rows": rows}
    page = describe(report, options.rounds)
    print(page)
    if options.json:
        write_json(options.json, report)
    if options.write:
        with replace_file(options.write) as file:
            file.write(page.encode())


def measure(race: Race, rounds: int) -> list[dict[str, Any]]:
    """Median seconds per step of each contender, and median over rounds of its ratio to the first."""
    contenders = {label_of(config): stepper(config, race) for config in parse_methods(METHODS)}
    for step in contenders.values():
        for _ in range(race.warm_up):
            step()
    seconds: dict[str, list[float]] = {label: [] for label in contenders}
    for _ in range(rounds):
        for label, step in contenders.items():
            started = time.perf_counter()
            for _ in range(race.steps):
                step()
            seconds[label].append((time.perf_counter() - started) / race.steps)
    yardstick = next(iter(seconds.values()))
    return [
        {
            "backbone": race.model_name,
            "batch_size": race.batch_size,
            "method": label,
            "seconds_per_step": statistics.median(times),
            "over_full": statistics.median(a / b for a, b in zip(times, yardstick, strict=True)),
        }
        for label, times in seconds.items()
    ]


def stepper(config: MethodConfig, race: Race) -> Callable[[], None]:
    """A function that takes one training step, as :func:`slimtable.training.trainer.train` does, on the next batch."""
    torch.manual_seed(0)
    model = build(race.model_name, NUM_USERS, NUM_ITEMS, EMBEDDING_DIM, config).train()
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-3, betas=model.adam_betas, fused=True)
    batches = make_sequences(race.batch_size) if race.model_name == "sasrec" else make_samples(race.batch_size)
    place = 0

    def step() -> None:
        nonlocal place
        loss = model.loss(batches[place % len(batches)]) + model.penalty()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        place += 1

    return step


def make_samples(batch_size: int) -> list[Batch]:
    """Batches of (users, items, labels): positives by a power law, and four uniform negative items for each."""
    generator = np.random.default_rng(0)
    batches = []
    for _ in range(64):
        labels = generator.random(batch_size) < 1 / (1 + NEGATIVES)
        items = _skewed(generator, NUM_ITEMS, ITEM_POWER, batch_size)
        items = np.where(labels, items, generator.integers(NUM_ITEMS, size=batch_size))
        arrays = (_skewed(generator, NUM_USERS, USER_POWER, batch_size), items, labels.astype(np.float32))
        batches.append(tuple(map(torch.from_numpy, arrays)))
    return batches


def make_sequences(batch_size: int) -> list[Batch]:
    """Batches of (sequences, next items, negatives), without padding, as ids of SASRec's table."""
    generator = np.random.default_rng(0)
    length = get_ranker("sasrec").config_class().to_dict()["max_length"]
    batches = []
    for _ in range(16):
        items = 1 + _skewed(generator, NUM_ITEMS, ITEM_POWER, (batch_size, length + 1))
        negatives = 1 + generator.integers(NUM_ITEMS, size=(batch_size, length, 1))
        arrays = (np.ascontiguousarray(items[:, :-1]), np.ascontiguousarray(items[:, 1:]), negatives)
        batches.append(tuple(map(torch.from_numpy, arrays)))
    return batches


def _skewed(generator: np.random.Generator, size: int, power: float, shape: int | tuple[int, ...]) -> np.ndarray:
    return (size * generator.random(shape) ** (1 / power)).astype(np.int64)


def describe(report: dict[str, Any], rounds: int) -> str:
    usual = {name: TrainConfig.for_model(name).batch_size for name in AIMS}
    lines = [
        "# Training cost",
        "",
        "```sh\npython benchmarks/training_cost.py --write docs/benchmarks/training-cost.md\n```",
        "",
        f"{report['date']} · {', '.join(f'{name} {version}' for name, version in report['versions'].items())}",
        f"· {report['cpu']}, one thread.",
        "",
        f"{NUM_USERS:,} users × {NUM_ITEMS:,} items, {EMBEDDING_DIM} dimensions; forward, backward and Adam on ready",
        f"batches. Medians of {rounds} rounds in which the methods take turns. `uniform` trains as `full` does, and so",
        "does any method in its `dense_epochs`; the `compact` preset is shown in the epochs after them. The aim for",
        f"`dpq` and `mgqe` is {AIMS['gmf']:g} × full on GMF and NeuMF and {AIMS['sasrec']:g} × on SASRec, at the batch",
        f"sizes of the papers ({', '.join(f'{name} {size}' for name, size in usual.items())}).",
        "",
        "| recommender | batch | method | ms per step | × full |",
        "| --- | ---: | --- | ---: | ---: |",
    ]
    lines += [
        f"| {row['backbone']} | {row['batch_size']} | `{row['method']}` | {1e3 * row['seconds_per_step']:.3f} | "
        f"{row['over_full']:.2f} |"
        for row in report["rows"]
    ]
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    main()
