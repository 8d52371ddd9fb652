"""Time of the groupings at a matched number of rows: that of Louvain at resolution 200, on Beauty and Gowalla.

    python benchmarks/grouping.py [--data beauty gowalla] [--groupings baco louvain leiden scc] [--write PAGE]

Each grouping runs in a process of its own, which is stopped at a limit. It is compiled and imported on a small graph
first; options that fit the number of rows are then found, which has a time of its own, and last it is timed with these
options: labels of users and items, and BACO's second clusters.
"""

import argparse
import datetime
import importlib.metadata
import json
import os
import platform
import subprocess
import sys
from pathlib import Path
from typing import Any

FIRST = ("baco", "louvain", "leiden", "scc")
REFERENCE = "louvain[resolution=200]"
OWN_NUMBER = "chooses its number of rows itself"
SECONDS_PER_GROUPING = 20  # after which timing is not repeated
LIBRARIES = ("numpy", "numba", "scipy", "scikit-network", "scikit-learn", "infomap")


def load(data: str) -> Any:
    """The graph of the training part: the data's own, else a seeded 80 %."""
    from slimtable.data import load_dataset, random_split
    from slimtable.grouping import InteractionGraph

    source = load_dataset(data)
    own = source.fixed_test is not None
    return InteractionGraph.from_interactions(
        source.interactions if own else random_split(source.interactions, seed=0).train
    )


def small() -> Any:
    """A graph to compile and import on."""
    import numpy as np

    from slimtable.data import Interactions
    from slimtable.grouping import InteractionGraph

    users, items = np.random.default_rng(0).integers(0, 60, (2, 400))
    return InteractionGraph.from_interactions(Interactions.from_raw(users, items))


def measure(data: str, name: str, num_rows: int, seed: int, repeat: int) -> dict[str, Any]:
    """Times one grouping in this process."""
    from slimtable.errors import BudgetError
    from slimtable.grouping import format_grouping, group

    def run(graph: Any, rows: int) -> Any:
        if name == REFERENCE:
            return group(graph, name, seed=seed)
        try:
            return group(graph, name, num_rows=rows, seed=seed)
        except BudgetError as error:
            if OWN_NUMBER not in str(error):
                raise
            return group(graph, name, seed=seed)

    run(small(), 40)
    graph = load(data)
    first = run(graph, num_rows)
    times = [first.statistics.seconds]
    while len(times) < repeat and sum(times) < SECONDS_PER_GROUPING:
        times.append(group(graph, first.grouping, seed=seed).statistics.seconds)
    return {
        "grouping": format_grouping(first.grouping),
        "rows": first.num_rows,
        "seconds": min(times),
        "runs": len(times),
        "tuning_seconds": first.statistics.tuning_seconds,
        "users": graph.num_users,
        "items": graph.num_items,
        "edges": graph.num_edges,
    }


def in_process(data: str, name: str, num_rows: int, arguments: argparse.Namespace) -> dict[str, Any]:
    """The result of a process of its own, or why there is none."""
    words = [data, name, str(num_rows), str(arguments.seed), str(arguments.repeat)]
    known = {"data": data, "name": name}
    try:
        done = subprocess.run(
            [sys.executable, __file__, "--step", *words], capture_output=True, text=True, timeout=arguments.limit
        )
    except subprocess.TimeoutExpired:
        return {**known, "stopped": arguments.limit}
    if done.returncode:
        return {**known, "failed": done.stderr.strip().splitlines()[-1]}
    return {**known, **json.loads(done.stdout.splitlines()[-1])}


def as_markdown(results: list[dict[str, Any]]) -> str:
    lines = []
    for data in dict.fromkeys(each["data"] for each in results):
        here = [each for each in results if each["data"] == data]
        graph = next((each for each in here if "edges" in each), {"users": 0, "items": 0, "edges": 0})
        base = next((each.get("seconds") for each in here if each["name"] == "baco"), None)
        lines += [
            f"\n{data}: {graph['users']:,} users, {graph['items']:,} items, {graph['edges']:,} edges\n",
            "| grouping | options | rows | seconds | tuning (s) | time over that of baco |",
            "|---|---|--:|--:|--:|--:|",
        ]
        lines += [_line(each, base) for each in here]
    return "\n".join(lines) + "\n"


def _line(each: dict[str, Any], base: float | None) -> str:
    name = each["name"].partition("[")[0]
    if "failed" in each:
        return f"| {name} | | | | | failed: {each['failed'].replace('|', '/')} |"
    if "stopped" in each:
        ratio = f"more than {each['stopped'] / base:,.0f}×" if base else "–"
        return f"| {name} | | | stopped at {each['stopped']:,} | | {ratio} |"
    ratio = f"{each['seconds'] / base:,.2f}×" if base else "–"
    options = each["grouping"].partition("[")[2].removesuffix("]") or "defaults"
    return f"| {name} | {options} | {each['rows']:,} | {each['seconds']:.3f} | {each['tuning_seconds']:.2f} | {ratio} |"


def cpu() -> str:
    information = Path("/proc/cpuinfo")
    names = information.read_text().split("model name\t: ") if information.exists() else []
    return names[1].split("\n")[0] if len(names) > 1 else platform.processor() or platform.machine()


def page(results: list[dict[str, Any]], arguments: argparse.Namespace) -> str:
    versions = ", ".join(f"{name} {importlib.metadata.version(name)}" for name in LIBRARIES)
    return (
        "# Time of the groupings\n\n"
        "Seconds on the clock to group users and items, at the number of rows that Louvain gives at resolution 200 "
        "(groupings that choose their number themselves have their own). BACO's include second clusters of users. "
        f"The best of up to {arguments.repeat} runs, fewer where these take {SECONDS_PER_GROUPING} s; reading the "
        "data, imports and compilation are not counted. *Tuning* is the search for options that give the number of "
        f"rows, for the seed at hand. Each grouping has a process of its own, stopped at {arguments.limit:,} s, tuning "
        "included.\n"
        f"{as_markdown(results)}\n"
        f"- date: {datetime.date.today()}\n"
        f"- machine: {cpu()}, {os.cpu_count()} cores, {platform.system()}; load of the last minute when this was "
        f"written: {os.getloadavg()[0]:.1f}\n"
        f"- versions: Python {platform.python_version()}, {versions}\n"
        f"- seed: {arguments.seed}\n"
        f"- command: `python {' '.join(sys.argv)}`\n"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--data", nargs="+", default=["beauty", "gowalla"])
    parser.add_argument("--groupings", nargs="+", help="names; all, the slowest last, where not given")
    parser.add_argument("--repeat", type=int, default=5)
    parser.add_argument("--limit", type=int, default=600, help="seconds at which a grouping is stopped")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--json", type=Path, help="write the results there")
    parser.add_argument("--write", type=Path, help="write a page with the results there")
    parser.add_argument("--step", nargs=5, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.step:
        data, name, num_rows, seed, repeat = arguments.step
        print(json.dumps(measure(data, name, int(num_rows), int(seed), int(repeat))))
        return
    from slimtable.grouping import grouping_names

    names = arguments.groupings or [*FIRST, *(name for name in grouping_names() if name not in FIRST)]
    results: list[dict[str, Any]] = []
    for data in arguments.data:
        reference = in_process(data, REFERENCE, 0, arguments)
        if "rows" not in reference:
            raise SystemExit(f"louvain gives no number of rows to match on {data}: {reference}")
        for name in names:
            found = reference if name == "louvain" else in_process(data, name, reference["rows"], arguments)
            results.append({**found, "name": name})
            print(json.dumps(results[-1]), flush=True)
    print(as_markdown(results))
    if arguments.json:
        arguments.json.write_text(json.dumps(results, indent=1) + "\n")
    if arguments.write:
        arguments.write.write_text(page(results, arguments))


if __name__ == "__main__":
    main()
