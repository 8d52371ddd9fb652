from __future__ import annotations

import csv
import json
import re
import shutil
from pathlib import Path

import pytest

from slimtable.bench import jobs as jobs_module
from slimtable.errors import SlimtableError
from studies import MGQE, Reproduction, reproduce
from studies.mgqe.experiments import UNSHARED_K
from studies.run import INDEX, SETTINGS
from studies.study import Place
from tests.bench.samples import write_records
from tests.studies.samples import make_movies, record_of, tiny_study

ITEMS = tuple(MGQE.items)
CHOSEN = ("figure4", "figure7", "figure8", "table4")


@pytest.fixture(scope="module")
def data_root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A list of films for the items of the synthetic data."""
    root = tmp_path_factory.mktemp("data")
    genres = ["Sci-Fi", "Romance", "Animation|Horror", "Horror"]
    make_movies(root / "ml-1m", [genres[film % 4] for film in range(400)])
    return root


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory, data_root: Path) -> Reproduction:
    out = tmp_path_factory.mktemp("finished") / "mgqe"
    return reproduce(MGQE, out, tiny_study(), only=CHOSEN, data_root=data_root, workers=1)


@pytest.fixture
def copied(finished: Reproduction, tmp_path: Path) -> Path:
    return shutil.copytree(finished.out, tmp_path / "mgqe")


def never(*_: object, **__: object) -> None:
    pytest.fail("trained again")


def lines_of(path: Path) -> list[dict[str, str]]:
    with path.open() as file:
        return list(csv.DictReader(file))


def test_each_chosen_item_has_its_files(finished: Reproduction) -> None:
    there = {path.name for path in finished.out.iterdir()}
    assert {"table4.md", "table4.csv"} <= there
    for figure in ("figure4", "figure7", "figure8"):
        assert (finished.out / f"{figure}.png").read_bytes().startswith(b"\x89PNG")
        assert f"{figure}.csv" in there
    assert not [name for name in there if re.match("table[356]|figure6", name)]
    assert [each.item for each in finished.items] == sorted(CHOSEN, key=ITEMS.index)
    assert [each.missing for each in finished.items] == [0] * len(CHOSEN)


def test_pages_hold_everything_and_fetch_nothing(finished: Reproduction) -> None:
    page, index = finished.report.read_text(), (finished.out / INDEX).read_text()
    assert not re.search(r"https?://|url\(|@import|<script|<link", page)
    assert page.count("<img ") == 3
    for text in (page, index):
        for each in finished.items:
            assert each.title in text
        assert "epochs (paper: 200)" in text
        assert str(finished.out.parent) not in text
    for name in re.findall(r"\]\(([^)]+)\)", index):
        assert (finished.out / name).is_file()


def test_the_table_has_the_papers_values_beside_ours(finished: Reproduction) -> None:
    rows = {row["method"]: row for row in lines_of(finished.out / "table4.csv")}
    assert list(rows) == ["full", "low_rank", "uniform", "dpq", "mgqe"]
    assert (rows["dpq"]["paper HR@10"], rows["dpq"]["paper NDCG@10"]) == ("20.23", "8.81")
    assert rows["mgqe"]["verdict"] == "not enough seeds"
    assert rows["full"]["size_percent"] == "100.0"
    assert "20.36" in (finished.out / "table4.md").read_text()


def test_losses_are_those_of_the_runs(finished: Reproduction) -> None:
    rows = lines_of(finished.out / "figure7.csv")
    assert {(row["panel"], row["method"]) for row in rows} == {
        (panel, method) for panel in ("gmf", "neumf", "sasrec") for method in ("full", "mgqe")
    }
    logs = [json.loads(log.read_text()) for log in finished.out.glob("runs/*/log.jsonl")]
    assert {float(row["loss"]) for row in rows} <= {log["loss"] for log in logs}


def test_calling_again_trains_nothing(copied: Path, data_root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before = (copied / "results.jsonl").read_bytes()
    monkeypatch.setattr(jobs_module, "train", never)
    told: list[str] = []
    reproduce(
        MGQE,
        copied,
        tiny_study(),
        only=CHOSEN,
        data_root=data_root,
        workers=1,
        on_item=lambda each: told.append(each.item),
    )
    assert (copied / "results.jsonl").read_bytes() == before
    assert told == sorted(CHOSEN, key=ITEMS.index)


def test_another_item_trains_what_is_missing_and_keeps_the_others(copied: Path, data_root: Path) -> None:
    before = len((copied / "results.jsonl").read_text().splitlines())
    result = reproduce(MGQE, copied, tiny_study(), only=["table6"], data_root=data_root, workers=1)
    added = len((copied / "results.jsonl").read_text().splitlines()) - before
    assert added == 6  # two variants on three models
    assert [each.item for each in result.items] == sorted([*CHOSEN, "table6"], key=ITEMS.index)
    rows = [row for row in lines_of(copied / "table6.csv") if row["method"] == UNSHARED_K]
    assert [row["paper HR@10"] for row in rows] == ["7.79", "8.22", "20.14"]
    assert all(row["HR@10"] for row in rows)


def test_drawing_needs_neither_data_nor_run_folders(copied: Path, finished: Reproduction, tmp_path: Path) -> None:
    shutil.rmtree(copied / "runs")
    (copied / "figure8.png").unlink()
    result = reproduce(MGQE, copied, tiny_study(), only=CHOSEN, render=True, data_root=tmp_path / "nothing")
    assert (copied / "figure8.png").read_bytes() == (finished.out / "figure8.png").read_bytes()
    assert result.report.read_bytes() == finished.report.read_bytes()


def test_what_was_not_run_is_said(tmp_path: Path) -> None:
    study = tiny_study(seeds=3)
    sasrec = study.panel("sasrec")
    records = [record_of(sasrec, "full", seed, 0.2 + seed / 100, 4000) for seed in range(3)]
    records += [record_of(sasrec, "mgqe", seed, 0.23 + seed / 100, 1000) for seed in range(2)]
    result = reproduce(
        MGQE, write_records(tmp_path, *records), study, only=["table4", "figure6", "table3"], render=True
    )
    items = {each.item: each for each in result.items}
    (table,) = items["table4"].tables
    cells = {row[0]: dict(zip(table.columns, row, strict=True)) for row in table.rows}
    assert cells["full"]["HR@10"] == "21.00 ± 1.00"
    assert (cells["mgqe"]["verdict"], cells["mgqe"]["seeds"]) == ("better", "2 (0, 1)")
    assert cells["dpq"]["HR@10"] == cells["dpq"]["size %"] == "not run"
    assert cells["dpq"]["paper HR@10"] == "20.23"
    assert items["table4"].missing == 10  # fifteen less five
    assert {cell for row in items["table3"].tables[0].rows for cell in row[3:4]} == {"not run"}
    points = lines_of(tmp_path / "figure6.csv")
    assert [(point["method"], float(point["size_percent_of_usual_width"])) for point in points] == [
        ("full", 100.0),
        ("mgqe", 25.0),
    ]
    assert any(note.startswith("Not run: GMF on MovieLens-1M, NeuMF") for note in items["figure6"].notes)


def test_other_widths_are_sized_by_the_usual_one(tmp_path: Path) -> None:
    study = tiny_study()
    gmf = study.panel("gmf")
    narrow = record_of(gmf, "full", 0, 0.05, 500, full_bits=500)
    narrow["train"] = {**narrow["train"], "embedding_dim": 8}
    write_records(tmp_path, record_of(gmf, "full", 0, 0.08, 4000), narrow)
    reproduce(MGQE, tmp_path, study, only=["figure6"], render=True)
    assert [
        (point["embedding_dim"], point["size_percent_of_usual_width"]) for point in lines_of(tmp_path / "figure6.csv")
    ] == [
        ("8", "12.5"),
        ("64", "100.0"),
    ]


def test_stand_ins_for_private_data_never_stand_beside_the_papers_figures(tmp_path: Path) -> None:
    study = tiny_study(seeds=3)
    npmi = study.panel("npmi")
    records = [record_of(npmi, "full", seed, 13.0 + seed / 100, 4000) for seed in range(3)]
    records += [record_of(npmi, "dpq", seed, 12.0 + seed / 100, 1000) for seed in range(3)]
    result = reproduce(MGQE, write_records(tmp_path, *records), study, only=["table5"], render=True)
    ours, missing, paper = result.items[0].tables
    assert not any("paper" in column for column in (*ours.columns, *missing.columns))
    dpq = next(dict(zip(ours.columns, row, strict=True)) for row in ours.rows if row[0] == "dpq")
    assert (dpq["RMSE"], dpq["verdict"]) == ("12.01 ± 0.01", "better")
    assert dict(zip(paper.columns, paper.rows[-1], strict=True)) == {
        "method": "mgqe",
        "RMSE on AAR": "29.49",
        "size %": "19.4",
    }
    assert "NOT comparable" in (tmp_path / "table5.md").read_text()


def test_runs_of_other_settings_are_not_taken(tmp_path: Path) -> None:
    study = tiny_study()
    sasrec = study.panel("sasrec")
    usual = record_of(sasrec, "full", 0, 0.2, 4000)
    longer = {**usual, "seed": 1, "train": {**usual["train"], "epochs": 9}}
    optioned = {**usual, "seed": 2, "backbone_config": {"num_blocks": 1}}
    write_records(tmp_path, usual, longer, optioned)
    result = reproduce(MGQE, tmp_path, study, only=["table4"], render=True)
    assert result.items[0].tables[0].rows[0][-1] == "1 (0)"
    write_records(tmp_path, usual, {**usual, "seed": 1, "fingerprint": "f" * 16})
    with pytest.raises(SlimtableError, match="different data"):
        reproduce(MGQE, tmp_path, study, only=["table4"], render=True)


def test_a_folder_is_of_one_profile(copied: Path) -> None:
    with pytest.raises(SlimtableError, match="started as a quick reproduction with other settings"):
        reproduce(MGQE, copied, MGQE.of(), render=True)
    (copied / SETTINGS).write_text("[]")
    with pytest.raises(SlimtableError, match="is damaged"):
        reproduce(MGQE, copied, render=True)


def test_a_folder_remembers_its_profile(tmp_path: Path) -> None:
    started = MGQE.of(True, None, {"neumf": {"batch_size": 512}})
    write_records(tmp_path, record_of(started.panel("gmf"), "full", 0, 0.07, 4000))
    reproduce(MGQE, tmp_path, started, only=["table3"], render=True)
    trained = {panel.name: panel.settings() for panel in started.panels}
    (tmp_path / SETTINGS).write_text(json.dumps({"profile": "quick", "train": trained}))
    again = reproduce(MGQE, tmp_path, only=["table3"], render=True)
    assert again.study == started
    assert "--quick --batch-size neumf=512" in (tmp_path / INDEX).read_text()


def test_an_item_that_cannot_be_drawn_leaves_the_others(copied: Path, tmp_path: Path) -> None:
    (copied / "figure8.json").unlink()
    (copied / "table4.md").unlink()
    with pytest.raises(SlimtableError, match="Figure 8 needs the genres"):
        reproduce(MGQE, copied, tiny_study(), only=CHOSEN, render=True, data_root=tmp_path / "nothing")
    assert (copied / "table4.md").is_file()
    assert "Table 4" in (copied / INDEX).read_text()


def test_unknown_items_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"no 'table9'.*table3, table4"):
        reproduce(MGQE, tmp_path / "out", only=["table9"])
    assert not (tmp_path / "out").exists()


@pytest.mark.slow
def test_everything_in_two_processes(tmp_path: Path, data_root: Path, real_data: Path) -> None:
    """All items end to end; the pairs are real, and the films are those of the synthetic data."""
    root = shutil.copytree(data_root, tmp_path / "data")
    for path in [*(real_data / "ml-1m").iterdir(), real_data / "movietweetings"]:
        beside = root / path.relative_to(real_data)
        if not beside.exists():
            beside.symlink_to(path)
    study = tiny_study()
    result = reproduce(MGQE, tmp_path / "out", study, data_root=root, workers=2)
    assert [each.item for each in result.items] == list(ITEMS)
    assert all(each.missing == 0 for each in result.items)
    runs = {
        (want.panel.name, want.train, want.config, seed)
        for item in study.items.values()
        for want in item.wanted(Place(study, result.out))
        for seed in want.configs
    }
    assert len((result.out / "results.jsonl").read_text().splitlines()) == len(runs)
