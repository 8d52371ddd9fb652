"""This checkout against another one, such as an older commit: what takes more than 5 % longer is marked.

    git worktree add ../older v0.3.0
    python benchmarks/against.py ../older [--rounds 5] [--only lookup training] [--json FILE]

It times lookups, training steps, clustering, groupings and one window of the pipeline. The checkouts take turns, each
in a process of its own with one thread, and both read files that the other checkout wrote. A figure is the least CPU
time of a process over all rounds, of the best repeat: what other processes take of a busy machine does not count.
"""

import argparse
import importlib
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from operator import attrgetter
from pathlib import Path
from typing import Any

import numpy as np

HERE = Path(__file__).parents[1]
MARKED = 1.05
SECONDS = 1.0  # repeats of one thing go on for so long in a process …
REPEATS = 3  # … and are at least so many
METHODS = {"full": "Full", "dpq": "DPQ", "mgqe": "MGQE", "saec": "Saec", "uniform": "Uniform"}
PLACES = {
    "fast_kmeans": ("slimtable.codecs.quantize:fast_kmeans", "slimtable.clustering:fast_kmeans"),
    "make_graph": ("slimtable.grouping:InteractionGraph.from_interactions", "slimtable.grouping:InteractionGraph.of"),
}
"""By name here: module and attribute of what has moved, the newest place first."""

Case = tuple[str, Callable[[], object]]


def find(name: str) -> Any:
    """What has a name in ``PLACES``, from the first place that this checkout has."""
    for place in PLACES[name]:
        module, attribute = place.split(":")
        try:
            return attrgetter(attribute)(importlib.import_module(module))
        except (ModuleNotFoundError, AttributeError):
            continue
    raise SystemExit(f"{name} is at none of {', '.join(PLACES[name])}. Add its place in that checkout to PLACES.")


def table_of(method: str, num_embeddings: int, embedding_dim: int) -> Any:
    """A new table of a method; ids are sorted by a frequency that follows Zipf's law."""
    import torch

    import slimtable

    torch.manual_seed(0)
    frequencies = 1_000_000 / (1 + torch.arange(num_embeddings))
    return getattr(slimtable, METHODS[method])(num_embeddings, embedding_dim, frequencies=frequencies)


LOOKUP_ROWS, LOOKUP_DIM = 200_000, 64


def write_lookup(folder: Path) -> None:
    from slimtable import write_artifact

    for method in ("full", "uniform", "dpq", "saec"):
        write_artifact(folder / f"{method}.safetensors", {"t": table_of(method, LOOKUP_ROWS, LOOKUP_DIM).pack()})


def lookup(folder: Path) -> Iterator[Case]:
    """Opening, and lookups of random ids; short ones many times over, so that a clock can tell."""
    from slimtable import open_artifact

    ids = np.random.default_rng(0).integers(LOOKUP_ROWS, size=65_536)
    batches = ids.reshape(-1, 256)
    for path in sorted(folder.glob("*.safetensors")):
        table = open_artifact(path)["t"]
        yield f"{path.stem}, open 20 times", lambda path=path: [open_artifact(path)["t"] for _ in range(20)]
        yield f"{path.stem}, batch of 65,536", lambda table=table: table.lookup(ids)
        yield f"{path.stem}, 256 batches of 256", lambda table=table: [table.lookup(batch) for batch in batches]


def training(folder: Path) -> Iterator[Case]:
    """Forward, backward and Adam on one batch."""
    import torch

    ids = torch.from_numpy(np.random.default_rng(0).integers(100_000, size=4096))
    for method in ("full", "dpq", "mgqe", "saec"):
        table = table_of(method, 100_000, 64).train()
        optimizer = torch.optim.Adam(table.parameters(), lr=1e-3, fused=True)

        def step(table: Any = table, optimizer: Any = optimizer) -> None:
            optimizer.zero_grad()
            (table(ids).square().mean() + table.penalty()).backward()
            optimizer.step()

        yield f"{method}, step", step


def clustering(folder: Path) -> Iterator[Case]:
    """Vectors around centres, as trained rows are."""
    import torch

    from slimtable import Saec, SaecConfig

    generator = np.random.default_rng(0)
    centres = generator.standard_normal((2000, 32), dtype=np.float32)
    vectors = centres[generator.integers(2000, size=200_000)]
    vectors += np.float32(0.5) * generator.standard_normal(vectors.shape, dtype=np.float32)
    counts = 1e6 / (1.0 + generator.permutation(len(vectors)))
    fast_kmeans = find("fast_kmeans")
    yield "fast_kmeans, 5,000 rows", lambda: fast_kmeans(vectors, 5_000, counts)
    table, frequencies = torch.from_numpy(vectors[:100_000]), torch.from_numpy(counts[:100_000])
    config = SaecConfig.from_dict({"levels": 4, "budget": "2%"})  # `stages` now; `levels` is understood by both
    yield "saec, 4 levels", lambda: Saec.from_table(table, config, frequencies=frequencies)


def grouping(folder: Path) -> Iterator[Case]:
    """Users and items of 50 communities."""
    from slimtable import Interactions, group

    generator = np.random.default_rng(0)
    users = (20_000 * generator.random(400_000) ** 2).astype(np.int64)
    items = (10_000 * generator.random(400_000) ** 2).astype(np.int64)
    inside = generator.random(400_000) < 0.8
    items = np.where(inside, items - items % 50 + users % 50, items)
    interactions = Interactions.from_raw(users, items)
    make_graph = find("make_graph")
    graph = make_graph(interactions)
    yield "graph", lambda: make_graph(interactions)
    for name in ("baco[gamma=5]", "louvain[resolution=5]"):
        yield name, lambda name=name: group(graph, name, seed=0)
    yield "baco, 25% of the rows", lambda: group(graph, "baco", num_rows=7_500, seed=0)


def write_pipeline(folder: Path) -> None:
    import yaml

    from slimtable.cli import main as slimtable

    assert slimtable(["data", "make-clicks", "--out", str(folder / "clicks"), "--rows", "30000", "--windows", "3"]) == 0
    settings = yaml.safe_load((HERE / "examples" / "pipeline.yaml").read_text())
    settings.update(data={"path": str(folder / "clicks")}, schema=str(folder / "clicks" / "schema.yaml"))
    (folder / "pipeline.yaml").write_text(yaml.safe_dump(settings))


def pipeline(folder: Path) -> Iterator[Case]:
    """One window from an empty state folder: train, compress, retrain, pack, gate, publish."""
    import yaml

    from slimtable.pipeline import read_settings, run_pipeline

    def window() -> None:
        with tempfile.TemporaryDirectory(dir=folder) as state:
            path = Path(state, "pipeline.yaml")
            settings = yaml.safe_load((folder / "pipeline.yaml").read_text())
            path.write_text(yaml.safe_dump({**settings, "state": str(Path(state, "state"))}))
            assert len(run_pipeline(read_settings(path), windows=1)) == 1

    yield "one window of 10,000 clicks", window


WRITERS = {"lookup": write_lookup, "pipeline": write_pipeline}
QUESTIONS = {each.__name__: each for each in (lookup, training, clustering, grouping, pipeline)}


def least(call: Callable[[], object]) -> float:
    """CPU seconds of the best of several calls, after one that compiles and warms up."""
    call()
    seconds: list[float] = []
    while len(seconds) < REPEATS or sum(seconds) < SECONDS:
        started = time.process_time()
        call()
        seconds.append(time.process_time() - started)
    return min(seconds)


def in_process(checkout: Path, step: str, question: str, folder: Path) -> dict[str, float]:
    """Writes the files of a question, or measures it, with the code of a checkout."""
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    environment |= {"PYTHONPATH": str(checkout / "src"), "OMP_NUM_THREADS": "1", "NUMBA_NUM_THREADS": "1"}
    command = [sys.executable, __file__, str(checkout), "--step", step, question, str(folder)]
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, env=environment)
    if done.returncode:
        raise SystemExit(f"{question} failed in {checkout}.")
    result: dict[str, float] = json.loads(done.stdout.splitlines()[-1])
    return result


def do(step: str, question: str, folder: Path) -> dict[str, float]:
    if step == "write":
        WRITERS[question](folder)
        return {}
    return {f"{question}: {name}": least(call) for name, call in QUESTIONS[question](folder)}


def compare(question: str, other: Path, rounds: int) -> dict[str, tuple[float, float]]:
    """The least CPU seconds of this checkout and of the other one, by case."""
    found: dict[str, tuple[float, float]] = {}
    with tempfile.TemporaryDirectory(prefix="against-") as name:
        folder = Path(name)
        if question in WRITERS:
            in_process(other, "write", question, folder)
        for turn in range(rounds):
            order = (HERE, other) if turn % 2 == 0 else (other, HERE)
            seconds = {checkout: in_process(checkout, "measure", question, folder) for checkout in order}
            for case, mine in seconds[HERE].items():
                best = found.get(case, (float("inf"), float("inf")))
                found[case] = min(best[0], mine), min(best[1], seconds[other][case])
    return found


def as_text(found: dict[str, tuple[float, float]]) -> str:
    lines = []
    for case, (mine, theirs) in found.items():
        mark = "  slower" if mine > MARKED * theirs else ""
        lines.append(f"{case:44} {1e3 * mine:10.2f} {1e3 * theirs:11.2f} {mine / theirs:6.2f}{mark}")
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("other", type=Path, help="root of the other checkout")
    parser.add_argument("--rounds", type=int, default=5, help="turns of each checkout")
    parser.add_argument("--only", nargs="+", choices=list(QUESTIONS), default=list(QUESTIONS))
    parser.add_argument("--json", type=Path, help="write the seconds to this file")
    parser.add_argument("--step", nargs=3, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.step:
        step, question, folder = arguments.step
        print(json.dumps(do(step, question, Path(folder))))
        return
    if not (arguments.other / "src" / "slimtable").is_dir():
        parser.error(f"{arguments.other} is no checkout: it has no src/slimtable.")
    print(f"{'':44} {'this (ms)':>10} {'other (ms)':>11} {'ratio':>6}")
    found: dict[str, tuple[float, float]] = {}
    for question in arguments.only:
        some = compare(question, arguments.other.resolve(), arguments.rounds)
        print(as_text(some), flush=True)
        found |= some
    if arguments.json:
        arguments.json.write_text(json.dumps(found, indent=1) + "\n")


if __name__ == "__main__":
    main()
