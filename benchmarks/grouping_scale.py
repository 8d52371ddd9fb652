"""Time and memory of clustering graphs of 1, 10 and 100 million edges by BACO, from a file of edges to second clusters.

    python benchmarks/grouping_scale.py [--edges 1000000 10000000] [--repeat 3] [--json FILE] [--write PAGE]

The graphs are random: users and items have power-law degrees and belong to communities, and there are about 20 edges
per node at every size. Each size runs in processes of its own, whose peak memory is that of the operating system's
account: one writes the edges to a Parquet file, one turns that into neighbour lists on disk, one clusters these.
"""

import argparse
import datetime
import json
import os
import platform
import resource
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numba
import numpy as np
from numba import njit

EDGES_PER_NODE = 20
ITEMS_SHARE = 0.4  # of the nodes
USER_TAIL, ITEM_TAIL = 0.5, 0.6  # exponents of rank in the expected degree
COMMUNITY = 800  # nodes
WITHIN = 0.7  # share of edges drawn within the community
SURPLUS = 1.16  # edges drawn for each one wanted: some are drawn twice and merged
RESOLUTION = 1.2e-3  # of modularity, per node: leaves about a sixth of the rows, as published for Gowalla
SWEEPS = 5
CHUNK = 1 << 22


@njit(cache=True, nogil=True)
def draw(seed, first, count, num_users, num_items, communities, users, items):  # type: ignore[no-untyped-def]
    """Draws edges ``first … first + count - 1``; low numbers have high degrees, ``id mod communities`` is the group."""
    state = np.uint64(seed)
    for row in range(count):
        drawn = np.empty(3, np.float64)
        for place in range(3):  # splitmix64
            state = np.uint64(0x9E3779B97F4A7C15) * np.uint64(3 * (first + row) + place + 1) + np.uint64(seed)
            z = (state ^ (state >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
            z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
            drawn[place] = np.float64((z ^ (z >> np.uint64(31))) >> np.uint64(11)) / 9007199254740992.0
        user = int(num_users * drawn[0] ** (1 / (1 - USER_TAIL)))
        position = drawn[1] ** (1 / (1 - ITEM_TAIL))
        item = int(num_items * position)
        if drawn[2] < WITHIN:
            inside = num_items // communities
            item = int(inside * position) * communities + user % communities
        users[row], items[row] = user, item


def write_edges(path: Path, edges: int, seed: int) -> dict[str, int]:
    """Writes a random graph to a Parquet file, ids in no order."""
    import pyarrow as pa
    import pyarrow.parquet as parquet

    nodes = edges // EDGES_PER_NODE
    num_items = round(ITEMS_SHARE * nodes)
    num_users, communities = nodes - num_items, max(1, nodes // COMMUNITY)
    generator = np.random.default_rng(seed)
    names = [generator.permutation(np.arange(count, dtype=np.int32)) for count in (num_users, num_items)]
    rows = round(SURPLUS * edges)
    schema = pa.schema([("user", pa.int32()), ("item", pa.int32())])
    with parquet.ParquetWriter(path, schema, use_dictionary=False) as file:
        for first in range(0, rows, CHUNK):
            count = min(CHUNK, rows - first)
            ids = [np.empty(count, np.int32) for _ in names]
            draw(seed, first, count, num_users, num_items, communities, *ids)
            columns = [pa.array(name[each]) for name, each in zip(names, ids, strict=True)]
            file.write_table(pa.table(columns, schema=schema))
    return {"rows": rows}


def build(source: Path, folder: Path) -> dict[str, Any]:
    from slimtable.grouping.edges import build_graph

    with tempfile.TemporaryDirectory() as name:  # imported and compiled before the clock starts
        write_edges(Path(name) / "edges.parquet", 1000, 0)
        build_graph(Path(name) / "edges.parquet", Path(name) / "graph", chunk=100)
    started = time.perf_counter()
    report = build_graph(source, folder)
    seconds = time.perf_counter() - started
    return {
        "seconds": seconds,
        "rows": report.rows,
        "edges": report.edges,
        "users": report.num_users,
        "items": report.num_items,
    }


def cluster(folder: Path, seed: int) -> dict[str, Any]:
    from slimtable.grouping import InteractionGraph, RowMap, group
    from slimtable.grouping.algorithms.baco import BACO
    from slimtable.grouping.edges import open_graph
    from slimtable.grouping.statistics import measure

    tiny = [np.array(part, kind) for part, kind in _TINY]
    for part in tiny:
        part.flags.writeable = False  # as mapped files are: code is compiled for that
    group(InteractionGraph(*tiny), BACO(gamma=1.0), seed=0)
    started = time.perf_counter()
    graph = open_graph(folder)
    opened = time.perf_counter() - started
    gamma = RESOLUTION * graph.num_nodes * BACO().neutral_gamma(graph)
    before, before_cpu = time.perf_counter(), time.process_time()
    labels = BACO(gamma=gamma, sweeps=SWEEPS).labels(graph, seed)
    seconds, cpu_seconds = time.perf_counter() - before, time.process_time() - before_cpu
    maps = RowMap.from_labels(labels.users, labels.secondary_users), RowMap.from_labels(labels.items)
    statistics = measure(graph, labels, *maps, co_clusters=True)
    return {
        "seconds": seconds,
        "cpu": cpu_seconds,
        "opening": opened,
        "whole": time.perf_counter() - started,
        "gamma": gamma,
        "sweeps": list(statistics.sweeps),
        "second_users_percent": statistics.second_users_percent,
        "largest_user_degree": int(graph.user_degrees().max()),
        "largest_item_degree": int(graph.item_degrees().max()),
    }


_TINY = (([0, 1, 2], np.int64), ([0, 1], np.int32), ([0, 1, 2], np.int64), ([0, 1], np.int32))


def in_process(*words: object) -> dict[str, Any]:
    """Runs one step in a process of its own; its result, with peak memory in bytes."""
    command = [sys.executable, __file__, *map(str, words)]
    done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True)
    result: dict[str, Any] = json.loads(done.stdout)
    return result


def measure(edges: int, repeat: int, seed: int, scratch: Path) -> dict[str, Any]:
    with tempfile.TemporaryDirectory(dir=scratch, prefix="grouping-scale-") as name:
        folder = Path(name)
        source = folder / "edges.parquet"
        in_process("--step", "write", source, edges, seed)
        builds = []
        for _ in range(repeat):
            shutil.rmtree(folder / "graph", ignore_errors=True)
            builds.append(in_process("--step", "build", source, folder / "graph"))
        clusters = [in_process("--step", "cluster", folder / "graph", seed) for _ in range(repeat)]
        on_disk = sum(file.stat().st_size for file in (folder / "graph").iterdir())
    best_build = min(builds, key=lambda each: each["seconds"])
    best = min(clusters, key=lambda each: each["seconds"])
    return {
        "nominal": edges,
        "repeat": repeat,
        **{name: best_build[name] for name in ("rows", "edges", "users", "items")},
        **{name: best[name] for name in ("largest_user_degree", "largest_item_degree", "gamma", "sweeps")},
        "second_users_percent": best["second_users_percent"],
        "build_seconds": best_build["seconds"],
        "cluster_seconds": best["seconds"],
        "cluster_cpu": min(each["cpu"] for each in clusters),
        "whole_seconds": best_build["seconds"] + best["whole"],
        "build_peak": max(each["peak"] for each in builds),
        "cluster_peak": max(each["peak"] for each in clusters),
        "cluster_seconds_all": [each["seconds"] for each in clusters],
        "graph_bytes": on_disk,
    }


def step(words: list[str]) -> None:
    name, *arguments = words
    if name == "write":
        result: dict[str, Any] = write_edges(Path(arguments[0]), int(arguments[1]), int(arguments[2]))
    elif name == "build":
        result = build(Path(arguments[0]), Path(arguments[1]))
    else:
        result = cluster(Path(arguments[0]), int(arguments[1]))
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    print(json.dumps({**result, "peak": peak}))


def as_markdown(results: list[dict[str, Any]]) -> str:
    base = results[0]
    lines = [
        "| edges | users | items | rows left | file to lists (s) | clustering (s) | CPU (s) | CPU ns per edge | "
        "relative | all (s) | peak memory (GB) |",
        "|--:|--:|--:|--:|--:|--:|--:|--:|--:|--:|--:|",
    ]
    for each in results:
        per_edge = each["cluster_cpu"] / each["edges"]
        relative = per_edge / (base["cluster_cpu"] / base["edges"])
        share = 100 * each["sweeps"][-1] / (each["users"] + each["items"])
        lines.append(
            f"| {each['edges']:,} | {each['users']:,} | {each['items']:,} | {share:.1f} % | "
            f"{each['build_seconds']:.2f} | {each['cluster_seconds']:.2f} | {each['cluster_cpu']:.2f} | "
            f"{1e9 * per_edge:.0f} | {relative:.2f}× | {each['whole_seconds']:.1f} | "
            f"{max(each['build_peak'], each['cluster_peak']) / 1e9:.2f} |"
        )
    return "\n".join(lines) + "\n"


def cpu() -> str:
    information = Path("/proc/cpuinfo")
    names = information.read_text().split("model name\t: ") if information.exists() else []
    return names[1].split("\n")[0] if len(names) > 1 else platform.processor() or platform.machine()


def page(results: list[dict[str, Any]]) -> str:
    details = "\n".join(
        f"- {each['edges']:,} edges, merged from {each['rows']:,} rows: largest degrees "
        f"{each['largest_user_degree']:,} and {each['largest_item_degree']:,}; rows after each sweep "
        + ", ".join(f"{rows:,}" for rows in each["sweeps"])
        + f"; {each['second_users_percent']:.1f} % of users have a second cluster; the graph takes "
        f"{each['graph_bytes'] / 1e9:.2f} GB on disk; best of {each['repeat']} runs"
        for each in results
    )
    return (
        "# Time and memory of clustering by number of edges\n\n"
        f"Random bipartite graphs with about {EDGES_PER_NODE} edges per node, power-law degrees on both sides and "
        f"communities of {COMMUNITY} nodes that hold about {WITHIN:.0%} of the edges. *File to lists* turns a Parquet "
        f"file into memory-mapped neighbour lists; *clustering* is `baco` with {SWEEPS} sweeps, one thread, and second "
        "clusters of users, at a γ whose resolution grows with the nodes so that the share of rows left stays alike. "
        "*CPU* is what the clustering process itself computed: on an idle machine the time on the clock, on a busy one "
        "without what other processes took, though these still slow it down by using caches and memory. *Relative* is "
        "CPU time per edge over that of the first line. *All* adds opening the graph, which checks it, and the "
        "statistics of the groups. Memory is the larger peak of the two processes; pages of mapped files count in it. "
        "Imports and compilation are not counted.\n\n"
        f"{as_markdown(results)}\n{details}\n"
        f"- date: {datetime.date.today()}\n"
        f"- machine: {cpu()}, {os.cpu_count()} cores, {platform.system()}; load of the last minute when this was "
        f"written: {os.getloadavg()[0]:.1f}\n"
        f"- versions: Python {platform.python_version()}, numpy {np.__version__}, numba {numba.__version__}\n"
        f"- command: `python {' '.join(sys.argv)}`\n"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--edges", type=int, nargs="+", default=[1_000_000, 10_000_000, 100_000_000])
    parser.add_argument("--repeat", type=int, default=3, help="runs of each size, the best counts; the largest has one")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--scratch", type=Path, help="folder for the graphs; 3 GB for 100 million edges")
    parser.add_argument("--json", type=Path, help="write the results there")
    parser.add_argument("--write", type=Path, help="write a page with the results there")
    parser.add_argument("--step", nargs="+", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.step:
        step(arguments.step)
        return
    results = []
    for edges in sorted(arguments.edges):
        repeat = 1 if edges > 20_000_000 else arguments.repeat
        results.append(measure(edges, repeat, arguments.seed, arguments.scratch))
        print(as_markdown(results), flush=True)
    if arguments.json:
        arguments.json.write_text(json.dumps(results, indent=1) + "\n")
    if arguments.write:
        arguments.write.write_text(page(results))


if __name__ == "__main__":
    main()
