from __future__ import annotations

import csv
import json
import re
from dataclasses import replace
from pathlib import Path

import pytest

from slimtable.bench import jobs as jobs_module
from slimtable.errors import SlimtableError
from studies import BACO as STUDY
from studies import Reproduction, reproduce
from studies.baco.experiments import BACO, COMPARED, FULL, LEIDEN, LOUVAIN, RANDOM, SIZED, at_equal_bytes, wants
from studies.baco.size import Size
from studies.baco.timing import Timing, keep_timing, timing_key
from studies.run import INDEX, SETTINGS
from studies.study import Place
from tests.bench.samples import write_records
from tests.studies.baco_samples import SIZE, record_of, tiny_study, write_sizes

GOOD = {FULL.name: 0.076, BACO.name: 0.063, LOUVAIN.name: 0.058, LEIDEN.name: 0.056, RANDOM.name: 0.031}


@pytest.fixture
def out(tmp_path: Path) -> Path:
    """Three seeds of the leading rows on Beauty, with the paper's settings."""
    study = STUDY.of()
    records = [
        record_of(study, entry, seed, GOOD[entry.name] + 0.0002 * seed)
        for entry in (FULL, BACO, LOUVAIN, LEIDEN, RANDOM)
        for seed in range(3)
    ]
    return write_sizes(write_records(tmp_path / "baco", *records))


def cells_of(result: Reproduction, item: str, table: int = 0) -> dict[str, dict[str, str]]:
    """Rows of a table by their first cell."""
    drawn = next(each for each in result.items if each.item == item).tables[table]
    return {row[0]: dict(zip(drawn.columns, row, strict=True)) for row in drawn.rows}


def lines_of(path: Path) -> list[dict[str, str]]:
    with path.open() as file:
        return list(csv.DictReader(file))


def never(*_: object, **__: object) -> None:
    pytest.fail("trained again")


def test_the_comparison_stands_beside_the_paper(out: Path) -> None:
    result = reproduce(STUDY, out, only=["beauty"], render=True)
    rows = cells_of(result, "beauty")
    baco = rows["BACO"]
    assert (baco["R@10"], baco["paper R@10"], baco["paper N@50"]) == ("6.32 ± 0.02", "6.31", "5.64")
    assert baco["R@10 − full [95 %]"] == "-1.30 [-1.30, -1.30]"
    assert (baco["R@10 of full"], baco["seeds"]) == ("82.9 %", "3 (0–2)")
    assert (baco["rows"], baco["MB served"]) == ("8,267", "2.12")
    details = cells_of(result, "beauty", 2)["BACO"]
    assert (details["trained parameters"], details["paper's count"]) == ("529,088", "549,088")
    assert details["best epoch of each seed"].count(",") == 2
    assert rows["SCC"]["R@10"] == "not run"
    assert rows["SCC"]["paper R@10"] == "5.92"
    assert "infomap (own size)" in rows
    order = cells_of(result, "beauty", 1)
    assert {row["verdict on R@10"] for row in order.values()} == {"better"}
    assert (
        result.items[0].missing
        == sum(len(want.configs) for want in result.study.items["beauty"].wanted(Place(result.study, out))) - 15
    )


def test_an_order_that_does_not_hold_is_said(tmp_path: Path) -> None:
    study = STUDY.of()
    values = {BACO: (0.058, 0.059, 0.06), LOUVAIN: (0.062, 0.063, 0.064), RANDOM: (0.05, 0.07, 0.06)}
    records = [record_of(study, e, seed, value) for e, each in values.items() for seed, value in enumerate(each)]
    result = reproduce(STUDY, write_sizes(write_records(tmp_path, *records)), only=["beauty"], render=True)
    order = cells_of(result, "beauty", 1)
    assert order["BACO over GraphHash"]["verdict on R@10"] == "worse"
    assert order["GraphHash over Random"]["verdict on R@10"] == "undecided"


def test_every_item_is_drawn_from_records(out: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    trained = [name for name, item in STUDY.items.items() if item.wants and name != "ablations"]
    monkeypatch.setattr(jobs_module, "train", never)
    study = STUDY.of()
    records = [json.loads(line) for line in (out / "results.jsonl").read_text().splitlines()]
    records += [
        record_of(study, entry, 0, 0.05 + 0.001 * place, "small_start")
        for place, entry in enumerate(entry for share in (10, 20) for entry in SIZED[share].values())
    ]
    records += [
        record_of(study, entry, seed, GOOD[entry.name] + 0.0002 * seed, "small_start")
        for entry in (FULL, BACO, LOUVAIN, LEIDEN)
        for seed in range(3)
    ]
    equal = [entry for entry in at_equal_bytes(SIZE, 64) if entry not in (FULL, BACO)]
    records += [
        record_of(study, entry, 0, 0.071, "small_start", embedding_bits=10**7)
        if entry.method == "uniform"
        else record_of(study, entry, 0, 0.07, "small_start")
        for entry in equal
        if "preset" not in entry.options
    ]
    records.append(record_of(study, FULL, 0, 0.12, "gowalla"))
    write_records(out, *records)
    result = reproduce(STUDY, out, only=trained, render=True)
    assert [each.item for each in result.items] == trained
    for figure in ("quartiles", "sizes"):
        assert (out / f"{figure}.png").read_bytes().startswith(b"\x89PNG")
    shown = cells_of(result, "equal_bytes")
    assert shown["Full"]["MB served"] == "8.82"
    assert shown["uniform, 7 bits"]["training MB"] == "26.5"
    assert shown["BACO"]["training MB"] == "6.3"
    note = result.items[trained.index("equal_bytes")].notes[0]
    assert re.search(r"At BACO's bytes, 2\.12 MB: uniform, 7 bits \(7\.10 % R@10, 1\.25 MB\) serves better", note)
    quarters = lines_of(out / "quartiles.csv")
    assert [row["quarter"] for row in quarters if row["method"] == "BACO"] == ["q1", "q2", "q3", "q4"]
    assert {row["method"] for row in quarters} == {"Full", "GraphHash", "Leiden", "BACO"}
    assert [row["budget_percent"] for row in lines_of(out / "sizes.csv")] == ["10", "10", "20", "20"]
    page = result.report.read_text()
    assert not re.search(r"https?://|url\(|@import|<script|<link", page)
    ours = cells_of(result, "quartiles")
    assert ours["BACO"] == {
        "method": "BACO",
        "0–25 %": "8.85 ± 0.03",
        "25–50 %": "9.73 ± 0.03",
        "50–75 %": "10.62 ± 0.03",
        "75–100 %": "11.50 ± 0.04",
    }
    assert "What grouping before training gives" in (out / INDEX).read_text()


def test_ablations_show_rows_after_each_sweep(tmp_path: Path) -> None:
    study = tiny_study()
    *_, gowalla = study.panels
    study = replace(study, panels=(*study.panels[:-1], replace(gowalla, data="synthetic:1400")))
    write_sizes(tmp_path, Size(64, 400, 30, 120, 16, ""))
    write_records(tmp_path, record_of(study, FULL, 0, 0.06))
    result = reproduce(STUDY, tmp_path, study, only=["ablations"], render=True)
    assert cells_of(result, "ablations")["clean volumes"]["R@10"] == "not run"
    shares = [float(row["rows"]) for row in lines_of(tmp_path / "ablations.csv") if row["sweep"]]
    assert len(shares) == 16  # eight sweeps on each of both data
    assert shares[:8] == sorted(shares[:8], reverse=True)
    assert shares[4] <= (150 * 16 - 64) // 16


def test_times_are_shown_and_what_was_stopped_is_said(out: Path) -> None:
    limit = 600.0
    baco = Timing(7_900, 0.05, 1.5, "done", limit, "a processor")
    keep_timing(out, timing_key("beauty", "baco", SIZE.second_rows, limit), baco)
    keep_timing(out, timing_key("beauty", "leiden", SIZE.rows, limit), Timing(8_200, 0.2, 0.0, "done", limit, "cpu"))
    scc = Timing(None, None, None, "stopped", limit, "cpu")
    keep_timing(out, timing_key("beauty", "scc", SIZE.rows, limit), scc)
    result = reproduce(STUDY, out, only=["timing"], render=True)
    assert [table.title for table in result.items[0].tables] == ["Amazon Beauty", "Gowalla"]  # however it is trained on
    rows = cells_of(result, "timing")
    assert [name for name in rows if name.startswith("BACO")] == ["BACO", "BACO with merging"]
    assert (rows["Leiden"]["seconds"], rows["Leiden"]["times BACO"]) == ("0.200", "4.0")
    assert rows["SCC"]["seconds"] == "stopped at 600 s"
    assert rows["LSH"]["seconds"] == "not run"


def test_a_folder_has_the_settings_it_was_begun_with(out: Path) -> None:
    study = STUDY.of(changes={"beauty": {"batch_size": 4096}})
    started = {"profile": "full", "train": {"beauty": study.panel("beauty").train.to_dict()}, "seeds": None}
    (out / SETTINGS).write_text(json.dumps(started))
    result = reproduce(STUDY, out, only=["beauty"], render=True)
    assert result.study.panel("beauty").train.batch_size == 4096
    assert "--batch-size beauty=4096" in (out / INDEX).read_text()
    other = STUDY.of(changes={"gowalla": {"batch_size": 64}, "beauty": {"batch_size": 4096}})
    reproduce(STUDY, out, other, only=["beauty"], render=True)  # nothing was trained on Gowalla yet
    told = "started as a full reproduction with other settings.* which were --batch-size beauty=4096;"
    with pytest.raises(SlimtableError, match=told):
        reproduce(STUDY, out, STUDY.of(), only=["beauty"], render=True)


def test_runs_on_other_data_are_refused(out: Path) -> None:
    study = STUDY.of()
    records = [json.loads(line) for line in (out / "results.jsonl").read_text().splitlines()]
    write_records(out, *records, record_of(study, FULL, 7, 0.1, fingerprint="f" * 16))
    with pytest.raises(SlimtableError, match="runs of Amazon Beauty on different data"):
        reproduce(STUDY, out, only=["beauty"], render=True)


@pytest.mark.parametrize("text", ["{", "[]", '{"beauty": {"rows": 3}}', '{"beauty": 3}'])
@pytest.mark.parametrize(("item", "file"), [("timing", "timing.json"), ("beauty", "matched-sizes.json")])
def test_damaged_files_are_named(out: Path, item: str, file: str, text: str) -> None:
    (out / file).write_text(text)
    with pytest.raises(SlimtableError, match=f"{file} is damaged.*Delete it"):
        reproduce(STUDY, out, only=[item], render=True)


@pytest.mark.parametrize(("item", "file"), [("clusters", "clusters.json"), ("ablations", "sweeps.json")])
def test_damaged_measurements_are_named(out: Path, item: str, file: str) -> None:
    (out / file).write_text("{")
    with pytest.raises(SlimtableError, match=f"{file} is damaged"):
        reproduce(STUDY, out, only=[item], render=True)


def test_unknown_items_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"no 'table3'.*beauty, small_start, gowalla"):
        reproduce(STUDY, tmp_path / "out", only=["table3"])
    assert not (tmp_path / "out").exists()


def test_end_to_end_on_synthetic_data(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    study = tiny_study()
    few = tuple(entry for entry in COMPARED if entry.name in ("Full", "Random", "BACO"))
    monkeypatch.setitem(STUDY.items, "beauty", replace(STUDY.items["beauty"], wants=wants(few)))
    write_sizes(tmp_path, Size(64, 400, 30, 120, 16, ""))
    result = reproduce(STUDY, tmp_path, study, only=["beauty", "clusters"], workers=1)
    assert [(each.item, each.missing) for each in result.items] == [("beauty", 0), ("clusters", 0)]
    assert (tmp_path / "clusters.png").read_bytes().startswith(b"\x89PNG")
    rows = cells_of(result, "beauty")
    assert rows["Random"]["rows"] == "150"
    assert 140 <= int(rows["BACO"]["rows"]) <= 146
    before = (tmp_path / "results.jsonl").read_bytes()
    monkeypatch.setattr(jobs_module, "train", never)
    again = reproduce(STUDY, tmp_path, study, only=["beauty", "clusters"], workers=1)
    assert (tmp_path / "results.jsonl").read_bytes() == before
    assert again.report.read_bytes() == result.report.read_bytes()
