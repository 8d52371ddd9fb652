"""Kills a pipeline at random moments, again and again, and compares what it publishes with an undisturbed one.

    python benchmarks/pipeline_kill.py [--rows 240000] [--windows 24] [--poison 12] [--kills 20] [--seed 0] [--out DIR]

The click log is synthetic, one window has flipped labels, and the settings are those of examples/pipeline.yaml. A kill
is SIGKILL, at a random moment of its work. The final versions have to be the same, byte for byte.
"""

import argparse
import fcntl
import hashlib
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import yaml

SLIMTABLE = [sys.executable, "-c", "import sys; from slimtable.cli import main; sys.exit(main())"]
LONGEST = 0.3  # seconds after a stage until the kill
EXAMPLE = Path(__file__).parents[1] / "examples" / "pipeline.yaml"


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=240_000)
    parser.add_argument("--windows", type=int, default=24)
    parser.add_argument("--poison", type=int, default=12)
    parser.add_argument("--kills", type=int, default=20)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, help="keep everything in this new folder")
    options = parser.parse_args(arguments)
    out = options.out or Path(tempfile.mkdtemp(prefix="pipeline-kill-"))
    out.mkdir(parents=True, exist_ok=True)
    try:
        return compare(options, out)
    finally:
        if options.out is None:
            shutil.rmtree(out)


def compare(options: argparse.Namespace, out: Path) -> int:
    call("data", "make-clicks", "--out", out / "clicks", "--rows", options.rows, "--windows", options.windows,
         "--poison", options.poison)  # fmt: skip
    whole, killed = write_settings(out, "whole"), write_settings(out, "killed")
    started = time.monotonic()
    call("pipeline", "run", whole)
    total = time.monotonic() - started
    history = read_history(out / "whole")
    startup = max(0.0, total - sum(sum(record["seconds"].values()) for record in history))
    print(f"undisturbed: {len(history)} windows in {total:.1f} s, of which {startup:.1f} s to start")
    generator = random.Random(options.seed)
    journal = out / "killed" / "journal.json"
    stages = sum(len(record["seconds"]) for record in history)
    for kill in range(1, options.kills + 1):
        left = stages - finished_stages(out / "killed")  # so much has to be there for the kills to come
        steps, wait = generator.randint(0, left // (options.kills - kill + 2)), generator.uniform(0, LONGEST)
        process = subprocess.Popen([*SLIMTABLE, "pipeline", "run", str(killed)], stdout=subprocess.DEVNULL)
        wait_for(process, lambda: is_at_work(out / "killed"))
        for _ in range(steps):
            before = changed(journal)
            wait_for(process, lambda before=before: changed(journal) != before)
        try:
            process.wait(wait)
            outcome = "it had ended already"
        except subprocess.TimeoutExpired:
            process.send_signal(signal.SIGKILL)
            process.wait()
            outcome = where(out / "killed")
        print(f"kill {kill:2}, {steps} stages and {wait:.2f} s after its start: {outcome}", flush=True)
    call("pipeline", "run", killed)
    return report(options, out)


def report(options: argparse.Namespace, out: Path) -> int:
    """Prints what came out; 0 where it is as it has to be."""
    whole, killed = digests(out / "whole" / "published"), digests(out / "killed" / "published")
    same = whole == killed
    print(f"published files: {len(whole)}, byte-identical after {options.kills} kills: {same}")
    for name, digest in whole.items():
        print(f"  {digest[:16]}  {name}" + ("" if killed.get(name) == digest else "  DIFFERS"))
    history = read_history(out / "killed")
    same_history = [timeless(record) for record in history] == [timeless(r) for r in read_history(out / "whole")]
    print(f"history is the same but for times: {same_history}")
    for record in history[max(0, options.poison - 2) : options.poison + 2]:
        verdict = record["verdict"]
        reason = f": {verdict['reasons'][0]}" if verdict["reasons"] else ""
        print(f"window {record['window']}: {verdict['decision']}, serving {record['served']}{reason}")
    poisoned = history[options.poison]
    refused = poisoned["verdict"]["decision"] == "refuse" and poisoned["served"] < f"v{options.poison:05}"
    print(f"the poisoned window {options.poison} is refused and an earlier version served: {refused}")
    versions = len(list((out / "killed" / "published").glob("v*")))
    disk = sum(path.stat().st_size for path in (out / "killed").rglob("*") if path.is_file())
    print(f"versions kept: {versions}; disk: {disk / 1e6:.1f} MB; partial files left: {partial(out / 'killed')}")
    return 0 if same and same_history and refused and not partial(out / "killed") else 1


def write_settings(out: Path, name: str) -> Path:
    settings = yaml.safe_load(EXAMPLE.read_text())
    settings.update(state=name, data={"path": "clicks"}, schema="clicks/schema.yaml")
    path = out / f"{name}.yaml"
    path.write_text(yaml.safe_dump(settings))
    return path


def call(*words: object) -> None:
    subprocess.run([*SLIMTABLE, *map(str, words)], check=True, stdout=subprocess.DEVNULL, env=os.environ)


def wait_for(process: subprocess.Popen, happened: Callable[[], bool]) -> None:
    while process.poll() is None and not happened():
        time.sleep(0.001)


def changed(path: Path) -> int:
    """When a file was written last; 0 where there is none."""
    try:
        return path.stat().st_mtime_ns
    except FileNotFoundError:
        return 0


def is_at_work(state: Path) -> bool:
    """Whether a process holds the lock of a state folder."""
    try:
        with (state / "lock").open() as lock:
            fcntl.flock(lock, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    except FileNotFoundError:
        pass
    return False


def where(state: Path) -> str:
    """Which window and stage a killed process was at."""
    try:
        journal = json.loads((state / "journal.json").read_text())
    except FileNotFoundError:
        return "before the first stage was finished"
    done = ", ".join(journal["stages"]) or "nothing yet"
    return f"window {journal['window']}, finished of it: {done}"


def finished_stages(state: Path) -> int:
    """How many stages of all windows are finished, as far as the journal knows."""
    try:
        journal = json.loads((state / "journal.json").read_text())
    except FileNotFoundError:
        return 0
    done = sum(len(record["seconds"]) for record in read_history(state)) if journal["window"] else 0
    return done + len(journal["ingested"]) + len(journal["stages"])


def digests(folder: Path) -> dict[str, str]:
    files = [path for path in sorted(folder.glob("v*/*")) if path.is_file()]
    found = {str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}
    return {**found, f"current -> {(folder / 'current').readlink()}": "-" * 16}


def read_history(state: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (state / "history.jsonl").read_text().splitlines()]


def timeless(record: dict[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in record.items() if key != "seconds"}


def partial(state: Path) -> int:
    return len(list(state.rglob("*.partial")))


if __name__ == "__main__":
    sys.exit(main())
