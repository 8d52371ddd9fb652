from __future__ import annotations

import multiprocessing
import os
import signal
import subprocess
import sys
import threading
import time
from collections import Counter
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import pytest

from slimtable.bench import parse_methods
from slimtable.bench.grids import run_apart
from slimtable.bench.jobs import Setting, Source, plan
from slimtable.errors import SlimtableError
from slimtable.pool import Failure, run_here, run_parallel
from tests.bench.test_run import DATA, TRAIN, bench, folder_of, lasting

_LONG = """
import sys
from pathlib import Path
from slimtable.training.trainer import TrainConfig
from tests.bench.test_run import TRAIN, bench
if __name__ == "__main__":
    endless = TrainConfig.from_dict({**TRAIN.to_dict(), "epochs": 100_000})
    bench(Path(sys.argv[1]), methods="full,low_rank", seeds=[0], workers=2, train=endless)
"""
_PATIENCE = 120.0  # seconds; only a broken program takes nearly as long


def wait_for(condition: object, what: str) -> None:
    deadline = time.monotonic() + _PATIENCE
    while not condition():  # type: ignore[operator]
        assert time.monotonic() < deadline, f"gave up waiting: {what}"
        time.sleep(0.05)


def children_of(pid: int) -> list[int]:
    listed = Path(f"/proc/{pid}/task/{pid}/children")
    return [int(child) for child in listed.read_text().split()]


def epochs_done(out: Path) -> list[int]:
    """Of each training that has finished one."""
    counts = [log.read_bytes().count(b"\n") for log in out.glob("runs/*/log.jsonl")]
    return [count for count in counts if count]


def is_running(pid: int) -> bool:
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except FileNotFoundError:
        return False
    return state != "Z"  # nobody may be there to collect an orphan


def test_processes_give_the_records_of_this_one_and_report_failures(tmp_path: Path) -> None:
    here = bench(tmp_path / "here", methods="full,uniform,low_rank", seeds=[0])
    there = tmp_path / "there"
    broken = there / "runs" / folder_of(tmp_path / "here", "low_rank", 0).name
    broken.mkdir(parents=True)
    (broken / "run.json").write_text("{}")
    with pytest.raises(SlimtableError, match=r"1 of 2 trainings failed. low_rank \(seed 0\): CheckpointError: .*other"):
        bench(there, methods="full,uniform,low_rank", seeds=[0], workers=2)
    (broken / "run.json").unlink()
    assert lasting(bench(there, methods="full,uniform,low_rank", seeds=[0]).records) == lasting(here.records)


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/self/task").is_dir(), reason="needs /proc to find child processes")
@pytest.mark.parametrize("way", ["ctrl-c", "kill"])
def test_processes_end_with_their_parent(tmp_path: Path, way: str) -> None:
    root, script = Path(__file__).parents[2], tmp_path / "long.py"
    script.write_text(_LONG)
    parent = subprocess.Popen(
        [sys.executable, str(script), str(tmp_path)],
        env={**os.environ, "PYTHONPATH": f"{root / 'src'}{os.pathsep}{root}"},
        stderr=subprocess.PIPE,
        start_new_session=True,
    )
    try:
        wait_for(lambda: len(epochs_done(tmp_path)) == 2 or parent.poll() is not None, "both trainings to begin")
        assert parent.poll() is None
        children = children_of(parent.pid)
        assert len(children) >= 2
        if way == "kill":
            parent.kill()
        else:  # a terminal sends it to all, and only the parent shall hear it
            for child in children:
                os.kill(child, signal.SIGINT)
            before = min(epochs_done(tmp_path))
            wait_for(lambda: min(epochs_done(tmp_path)) > before + 1 or parent.poll() is not None, "trainings to go on")
            parent.send_signal(signal.SIGINT)
        stderr = parent.communicate(timeout=_PATIENCE)[1].decode()
        wait_for(lambda: not any(map(is_running, children)), "the workers to end")
    finally:
        if parent.poll() is None:
            os.killpg(parent.pid, signal.SIGKILL)
            parent.communicate()
    if way == "ctrl-c":
        assert stderr.count("Traceback") == 1  # the parent's own
        assert "KeyboardInterrupt" in stderr
        assert not list(tmp_path.glob("runs/*/.*.tmp"))
    assert len(bench(tmp_path, methods="full,low_rank", seeds=[0]).records) == 2  # nothing is left locked


def test_a_process_that_dies_fails_its_job_alone(tmp_path: Path) -> None:
    source = Source(DATA)
    parts, how = source.load()
    jobs = []
    for epochs in (100_000, 2):
        setting = Setting.of(source, parts, how, "gmf", replace(TRAIN, epochs=epochs))
        jobs += plan(source, setting, parse_methods("full"), [0], (), tmp_path)

    def kill_the_first() -> None:
        wait_for(lambda: len(epochs_done(tmp_path)) == 1, "the first training to begin")
        (worker,) = multiprocessing.active_children()
        worker.kill()

    killer = threading.Thread(target=kill_the_first)
    killer.start()
    failed, done = run_parallel(jobs, run_apart, workers=1)
    killer.join()
    assert isinstance(failed, Failure)
    assert (failed.job, failed.reason) == (jobs[0], "its process ended with exit code -9")
    assert isinstance(done, list)
    assert [(record["label"], record["train"]["epochs"]) for record in done] == [("full", 2)]
    assert not multiprocessing.active_children()


def test_a_script_without_a_guard_is_told_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(multiprocessing.current_process(), "_inheriting", True, raising=False)
    with pytest.raises(SlimtableError, match="if __name__ == '__main__'"):
        next(run_parallel([], abs, workers=2))


def _work(job: int) -> int:
    """Ends its process, fails, or gives the square."""
    if job == 0:
        os._exit(3)
    if job < 0:
        raise ValueError(f"{job} is negative\nand more")
    return job * job


def test_any_work_is_done_and_what_dies_or_fails_is_named() -> None:
    jobs = [3, 0, -1, 4, 0, 5]
    expected = {
        9: 1,
        16: 1,
        25: 1,
        Failure(0, "its process ended with exit code 3"): 2,
        Failure(-1, "ValueError: -1 is negative"): 1,
    }
    assert Counter(run_parallel(jobs, _work, workers=2)) == expected
    assert not multiprocessing.active_children()
    assert list(run_here([2, -1], _work)) == [4, Failure(-1, "ValueError: -1 is negative")]


def _wait(folder: Path) -> None:
    aside = folder / f"{os.getpid()}.partial"
    try:
        aside.touch()
        time.sleep(_PATIENCE)
    finally:
        aside.unlink()


@pytest.mark.slow
def test_stopping_early_ends_processes_and_leaves_no_temporary_files(tmp_path: Path) -> None:
    threading.Thread(target=_interrupt_when, args=(lambda: len(list(tmp_path.iterdir())) == 2,)).start()
    with closing(run_parallel([tmp_path] * 3, _wait, workers=2)) as outcomes, pytest.raises(KeyboardInterrupt):
        next(outcomes)
    assert not multiprocessing.active_children()
    assert not list(tmp_path.iterdir())


def _interrupt_when(condition: object) -> None:
    wait_for(condition, "both jobs to begin")
    os.kill(os.getpid(), signal.SIGINT)
