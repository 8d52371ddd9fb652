from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from slimtable.bench import BenchResult, parse_methods, run_bench
from slimtable.bench import jobs as jobs_module
from slimtable.bench.jobs import Source
from slimtable.errors import DatasetNotFoundError, SlimtableError
from slimtable.training.trainer import TrainConfig

DATA, METHODS = "synthetic:2000", "uniform,full,uniform[bits=3],low_rank"
TRAIN = TrainConfig(embedding_dim=8, epochs=3, learning_rate=0.01, batch_size=128)


def bench(out: Path, methods: str = METHODS, train: TrainConfig = TRAIN, **options: Any) -> BenchResult:
    options = {"data": DATA, "model_name": "gmf", "seeds": [0, 1], "workers": 1, **options}
    return run_bench(methods=parse_methods(methods), train=train, out=out, **options)


def lasting(records: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Records without what differs from one time to the next, in an order of their own."""
    kept = [{k: v for k, v in record.items() if k not in ("seconds_per_epoch", "date")} for record in records]
    return sorted(kept, key=lambda record: (record["label"], record["seed"]))


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> BenchResult:
    return bench(tmp_path_factory.mktemp("finished"))


@pytest.fixture
def copied(finished: BenchResult, tmp_path: Path) -> Path:
    """A copy of the finished folder, to be harmed."""
    return shutil.copytree(finished.results.parent, tmp_path / "copied")


def folder_of(out: Path, start: str, seed: int) -> Path:
    (folder,) = (out / "runs").glob(f"{start}-*-s{seed}")
    return folder


def test_every_method_and_seed_gives_one_record(finished: BenchResult) -> None:
    runs = [(record["label"], record["seed"]) for record in finished.records]
    assert sorted(runs) == sorted((label, seed) for label in METHODS.split(",") for seed in (0, 1))
    assert [json.loads(line) for line in finished.results.read_text().splitlines()] == finished.records


def test_a_record_says_everything(finished: BenchResult) -> None:
    record = next(record for record in finished.records if record["label"] == "uniform[bits=3]")
    parts, _ = Source(DATA).load()
    rows = parts.num_users + parts.num_items
    assert record["counts"] == {
        "users": parts.num_users,
        "items": parts.num_items,
        "train": len(parts.train),
        "valid": len(parts.valid),
        "test": len(parts.test),
    }
    dense = 32 * (8 + 1)  # the output layer
    assert record["full_bits"] == 32 * 8 * rows + dense
    assert record["bits"] == 3 * 8 * rows + 2 * (2 * 8 * 32) + dense  # an offset and a step per column and table
    assert record["size_percent"] == 100 * record["bits"] / record["full_bits"]
    assert record["embedding_compression_ratio"] == (record["full_bits"] - dense) / (record["bits"] - dense)
    assert (record["split"], record["backbone"], record["method"]) == ("leave-two-out", "gmf", "uniform")
    assert record["method_config"]["bits"] == 3
    assert "seed" not in record["train"]
    assert set(record["metrics"]["last"]) == set(record["metrics"]["best"]) == {"none", "train", "train+valid"}
    assert record["compressed_after_training"]
    assert record["curve"] == []


def test_one_training_serves_all_that_compresses_afterwards(finished: BenchResult) -> None:
    names = sorted(path.name for path in (finished.results.parent / "runs").iterdir())
    assert [(name.split("-")[0], name.split("-")[-1]) for name in names] == [
        (method, seed) for method in ("full", "low_rank") for seed in ("s0", "s1")
    ]


def test_compressing_afterwards_starts_from_the_trained_table(finished: BenchResult) -> None:
    by_label = {record["label"]: record for record in finished.records if record["seed"] == 0}
    full, fine, coarse = (by_label[label] for label in ("full", "uniform", "uniform[bits=3]"))
    ranks = [record["metrics"]["last"]["train"]["mrr"] for record in (full, fine, coarse)]
    assert ranks[1] == pytest.approx(ranks[0], rel=0.02)  # eight bits change next to nothing
    assert len(set(ranks)) == 3
    assert {record["best_epoch"] for record in (full, fine, coarse)} == {full["best_epoch"]}


def test_finished_runs_are_not_repeated(copied: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before = (copied / "results.jsonl").read_bytes()
    monkeypatch.setattr(jobs_module, "train", lambda *_, **__: pytest.fail("trained again"))
    bench(copied, methods="low_rank,full,uniform", seeds=[1, 0, 1])
    assert (copied / "results.jsonl").read_bytes() == before


def test_other_settings_add_rows(copied: Path, finished: BenchResult) -> None:
    result = bench(copied, methods="full,uniform[bits=2]", seeds=[1, 2])
    assert len(result.records) == len(finished.records) + 3
    assert result.records[: len(finished.records)] == finished.records
    shorter = TrainConfig.from_dict({**TRAIN.to_dict(), "epochs": 1, "evaluate_every": 0})
    result = bench(copied, methods="full", seeds=[0], train=shorter)
    assert [len(section.rows) for section in result.sections] == [5, 1]
    assert result.records[-1]["metrics"]["best"] is None
    (point,) = result.records[-1]["curve"]
    assert set(point) == {"epoch", "loss"}


def test_a_line_that_was_cut_off_is_run_again(copied: Path, finished: BenchResult) -> None:
    path = copied / "results.jsonl"
    path.write_bytes(path.read_bytes()[:-20])
    result = bench(copied)
    assert lasting(result.records) == lasting(finished.records)
    assert len(path.read_text().splitlines()) == len(finished.records)


_KILLED = """
import importlib, os, signal, sys
from pathlib import Path
from tests.bench.test_run import bench
folder = importlib.import_module("slimtable.training.run_folder").RunFolder
add = folder.add
def add_and_die(self, record, state, *, last):
    add(self, record, state, last=last)
    if self.path.name.endswith("-s1") and record["epoch"] == 2:
        os.kill(os.getpid(), signal.SIGKILL)
folder.add = add_and_die
bench(Path(sys.argv[1]))
"""


def test_a_killed_bench_goes_on_as_if_nothing_had_happened(tmp_path: Path, finished: BenchResult) -> None:
    root = Path(__file__).parents[2]
    killed = subprocess.run(
        [sys.executable, "-c", _KILLED, str(tmp_path)],
        cwd=root,
        env={**os.environ, "PYTHONPATH": f"{root / 'src'}{os.pathsep}{root}"},
    )
    assert killed.returncode == -9
    assert len((tmp_path / "results.jsonl").read_text().splitlines()) == 4  # seed 0
    assert len((folder_of(tmp_path, "full", 1) / "log.jsonl").read_text().splitlines()) == 2
    result = bench(tmp_path)
    assert lasting(result.records) == lasting(finished.records)


def test_the_others_finish_when_one_run_fails(copied: Path, finished: BenchResult) -> None:
    (copied / "results.jsonl").unlink()
    settings = folder_of(copied, "low_rank", 0) / "run.json"
    whole = settings.read_bytes()
    settings.write_text("{}")
    with pytest.raises(SlimtableError, match=r"1 of 4 trainings failed.*low_rank \(seed 0\).*is damaged") as failed:
        bench(copied)
    assert "\n" not in str(failed.value)
    assert len((copied / "results.jsonl").read_text().splitlines()) == len(finished.records) - 1
    assert "low_rank" in (copied / "report.html").read_text()
    log = settings.parent / "error.log"
    assert "CheckpointError" in log.read_text()
    settings.write_bytes(whole)
    assert lasting(bench(copied).records) == lasting(finished.records)
    assert not log.exists()


def test_a_loss_that_is_not_a_number_is_a_failed_run(tmp_path: Path) -> None:
    diverging = TrainConfig.from_dict({**TRAIN.to_dict(), "learning_rate": 1e30})
    with pytest.raises(SlimtableError, match=r"1 of 1 trainings failed. full \(seed 0\): ValueError: .*diverged"):
        bench(tmp_path, methods="full", train=diverging, seeds=[0])


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"methods": "dpq[num_codebooks=7]"}, ValueError, "num_codebooks"),
        ({"model_name": "gfm"}, ValueError, "no model 'gfm'.*gmf"),
        ({"data": "ml-1"}, DatasetNotFoundError, "Did you mean 'ml-1m'"),
        ({"split": "random walk"}, ValueError, "unknown split"),
        ({"seeds": []}, ValueError, "at least one method and one seed"),
        ({"workers": 0}, ValueError, "`workers` must be at least 1, got 0"),
    ],
)
def test_bad_arguments_fail_before_anything_is_done(
    tmp_path: Path, options: dict[str, Any], error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=message):
        bench(tmp_path / "out", **options)
    assert not (tmp_path / "out").exists()


def test_data_that_changed_under_way_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "clicks.txt"
    path.write_text("".join(f"{user} {item}\n" for user in range(1, 5) for item in range(user, user + 4)))
    source = Source(str(path))
    parts, how = source.load()
    setting = jobs_module.Setting.of(source, parts, how, "gmf", TRAIN)
    (job,) = jobs_module.plan(source, setting, parse_methods("full"), [0], (), tmp_path)
    assert jobs_module.fingerprint(jobs_module.load_again(job)) == setting.fingerprint
    path.write_text(path.read_text() + "1 8\n")
    with pytest.raises(SlimtableError, match="changed while the bench was running"):
        jobs_module.load_again(job)
