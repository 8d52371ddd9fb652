from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from slimtable.bench import jobs as jobs_module
from slimtable.bench import parse_methods, run_bench
from slimtable.bench.columns import command, tables, to_csv
from slimtable.bench.grids import Grid, _epochs_done, run_grids
from slimtable.bench.jobs import Job, Setting, Source, run_folder
from slimtable.bench.measures import HIT_RATE, MAE, NDCG, NDCG_20, RECALL, RMSE, measures_of
from slimtable.bench.report import render
from slimtable.bench.results import Record, identity_of, setting_of
from slimtable.bench.table import headline, tabulate
from slimtable.models.base import get_ranker, ranker_names
from slimtable.models.neumf import NeuMFConfig
from slimtable.training.trainer import TrainConfig
from tests.bench.samples import make_record, write_records

SMALL, OTHER = Source("synthetic:1500"), Source("synthetic:1600")
TRAIN = TrainConfig(embedding_dim=8, epochs=2, batch_size=512, evaluate_every=2)


def grid(methods: str = "full", source: Source = SMALL, model_name: str = "gmf", **options: Any) -> Grid:
    options = {"train": TRAIN, "seeds": (0,), **options}
    return Grid(source, model_name, methods=tuple(parse_methods(methods)), **options)


def summary(records: list[Record]) -> list[tuple[str, str, str, int]]:
    return sorted((each["data"], each["backbone"], each["label"], each["seed"]) for each in records)


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("grids")
    layers = NeuMFConfig(layers=(8, 4))
    run_grids(
        [grid("full,low_rank"), grid(model_name="neumf"), grid(model_name="neumf", model_config=layers)], out, workers=1
    )
    return out


def records_of(out: Path) -> list[Record]:
    return [json.loads(line) for line in (out / "results.jsonl").read_text().splitlines()]


@pytest.mark.slow
def test_grids_of_several_settings_share_processes_and_a_file(tmp_path: Path) -> None:
    told: list[int] = []
    grids = [grid(), grid("full,uniform", seeds=(0, 1)), grid("low_rank", OTHER)]
    done = run_grids(grids, tmp_path, workers=2, on_change=lambda records: told.append(len(records)))
    assert summary(done.records) == [
        ("synthetic:1500", "gmf", "full", 0),
        ("synthetic:1500", "gmf", "full", 1),
        ("synthetic:1500", "gmf", "uniform", 0),
        ("synthetic:1500", "gmf", "uniform", 1),
        ("synthetic:1600", "gmf", "low_rank", 0),
    ]
    assert (done.num_jobs, done.failures) == (3, [])  # full and uniform share a training
    assert (told[0], told[-1], len(told)) == (0, 5, 4)


def test_options_of_a_model_are_part_of_a_run_only_where_there_are_any(finished: Path) -> None:
    plain, optioned = (each for each in records_of(finished) if each["backbone"] == "neumf")
    assert "backbone_config" not in plain
    assert optioned["backbone_config"] == {"layers": [8, 4]}
    assert optioned["bits"] < plain["bits"]
    assert identity_of(plain) != identity_of(optioned)
    assert setting_of(plain) != setting_of(optioned)
    assert len(tabulate([plain, optioned])) == 2
    assert "--model-set 'layers=[8, 4]'" in command(tabulate([optioned])[0], "runs/x")


def test_defaults_spelled_out_are_no_options(finished: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "results.jsonl").write_bytes((finished / "results.jsonl").read_bytes())
    monkeypatch.setattr(jobs_module, "train", lambda *_, **__: pytest.fail("trained again"))
    done = run_grids([grid(model_name="neumf", model_config=NeuMFConfig())], tmp_path, workers=1)
    assert done.num_jobs == 0


def test_names_of_run_folders_stay_what_they_were() -> None:
    """Trainings that were begun before must be found again."""
    record = make_record("uniform[bits=4]", 3, 0.1)
    assert run_folder(Path(), record).as_posix() == "runs/full-41d2e805-s3"


def test_a_runs_folder_is_found_from_its_record(finished: Path) -> None:
    for record in records_of(finished):
        assert (run_folder(finished, record) / "checkpoint.pt").is_file()


def test_every_epoch_has_its_loss_and_validated_ones_their_metrics(finished: Path) -> None:
    curve = records_of(finished)[0]["curve"]
    assert [set(point) for point in curve] == [{"epoch", "loss"}, {"epoch", "loss", "hit_rate@10", "ndcg@10"}]
    (section, *_) = tabulate(records_of(finished))
    assert [epoch for epoch, _ in section.rows[0].curve] == [2]


def test_run_bench_takes_options_of_the_model(tmp_path: Path) -> None:
    options = {"train": TRAIN, "seeds": [0], "out": tmp_path, "workers": 1}
    result = run_bench("synthetic:1500", "neumf", parse_methods("full"), model_config=NeuMFConfig((4, 2)), **options)  # type: ignore[arg-type]
    assert [record["backbone_config"] for record in result.records] == [{"layers": [4, 2]}]


def regression(method: str, seed: int, rmse: float, bits: int) -> Record:
    metrics = {"last": {"all": {"rmse": rmse, "mae": rmse / 2}}, "best": None}
    return make_record(
        method, seed, 0.0, bits, metrics=metrics, backbone="item_gmf", data="pairs", curve=[{"epoch": 1, "loss": 9.0}]
    )


def test_errors_are_reported_as_errors(tmp_path: Path) -> None:
    records = [regression("full", seed, 13.0 + seed, 4000) for seed in (0, 1)]
    records += [regression("dpq", seed, 13.2 + seed, 1000) for seed in (0, 1)]
    (section,) = tabulate(records)
    quality = tables(section)[0]
    assert dict(zip(quality.columns, quality.rows[1], strict=True)) == {
        "method": "dpq",
        "size %": "25.00",
        "RMSE": "13.70 ± 0.71",
        "MAE": "6.85 ± 0.35",
        "RMSE − full [95 %]": "+0.20 [+0.20, +0.20]",
        "MAE − full [95 %]": "+0.10 [+0.10, +0.10]",
        "bits": "1,000",
        "seeds": "2 (0, 1)",
    }
    assert headline(section) == (
        "dpq takes 25.00 % of the uncompressed model's size and has 101.5 % of its RMSE: 13.70 against 13.50."
    )
    assert "last all rmse," in to_csv([section]).replace("last all rmse std", "")
    result = render(write_records(tmp_path, *records))
    assert result.curves is None
    for text in (result.markdown.read_text(), result.report.read_text()):
        assert "HR@10" not in text
        assert "13.70 ± 0.71" in text


def test_digests_of_data_stay_what_they_were() -> None:
    parts, _ = SMALL.load()
    assert jobs_module.fingerprint(parts) == "b148ecdcca9ad016"


def test_a_training_with_patience_is_measured_at_its_best_epoch(tmp_path: Path) -> None:
    """And what was recorded is found again: nothing is trained twice."""
    patient = replace(TRAIN, epochs=40, learning_rate=0.1, evaluate_every=1, patience=1, negatives=1)
    grids = [grid("full,uniform", model_name="lightgcn", train=patient)]
    done = run_grids(grids, tmp_path, workers=1)
    done.raise_failures()
    for record in done.records:
        assert record["metrics"]["last"] == record["metrics"]["best"]
        assert len(record["curve"]) in (0, record["best_epoch"] + 1) if record["label"] == "full" else True
        assert record["train"]["patience"] == 1
        assert "weight_decay" not in record["train"]
        assert measures_of(record) == (RECALL, NDCG_20)
        assert {"capped_recall@20", "ndcg@20", "capped_recall@20/q1"} <= set(record["metrics"]["last"]["train+valid"])
    (full,) = (record for record in done.records if record["label"] == "full")
    assert full["best_epoch"] < 39
    assert all({"capped_recall@20", "ndcg@20"} < set(point) for point in full["curve"])
    edges = full["counts"]["users"] + 1 + full["counts"]["train"]
    assert full["bits"] == full["full_bits"] == full["embedding_bits"] + 32 * edges
    assert run_grids(grids, tmp_path, workers=1).num_jobs == 0
    (section,) = tabulate(done.records)
    assert "--patience 1" in command(section, "out")
    assert "--weight-decay 0.0" in command(section, "out")  # not the model's own
    assert tables(section)[0].columns[2:4] == ("R@20", "NDCG@20")
    render(tmp_path)


def test_ended_trainings_count_as_whole(tmp_path: Path) -> None:
    """One that ends early must not keep the bar from its end."""
    parts, name = SMALL.load()
    job = Job(SMALL, Setting.of(SMALL, parts, name, "gmf", TRAIN), *parse_methods("full"), 0, (), tmp_path)
    assert _epochs_done(job, set()) == 0
    (tmp_path / "log.jsonl").write_text("{}\n")
    assert _epochs_done(job, set()) == 1
    assert _epochs_done(job, {tmp_path}) == 2


@pytest.mark.parametrize("model_name", ranker_names())
def test_every_model_leads_with_what_chooses_its_best_epoch(model_name: str) -> None:
    expected = {"item_gmf": (RMSE, MAE), "bprmf": (RECALL, NDCG_20), "lightgcn": (RECALL, NDCG_20)}
    first, _ = measures_of({"backbone": model_name})
    assert measures_of({"backbone": model_name}) == expected.get(model_name, (HIT_RATE, NDCG))
    chosen = get_ranker(model_name).selection
    assert chosen.metric == first.metric or (first is HIT_RATE and chosen.metric == NDCG.metric)
    assert chosen.lower_is_better == first.lower_is_better
