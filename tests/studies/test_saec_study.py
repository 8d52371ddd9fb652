from __future__ import annotations

import csv
import json
import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from slimtable.errors import SlimtableError
from slimtable.models.ctr import build_ctr_model
from slimtable.training.field_compression import compress_fields, field_bits
from studies import Saec, reproduce
from studies.cli import main
from studies.run import SETTINGS
from studies.saec import cells as saec_cells
from studies.saec.cells import CELLS, keep_cell, measure_cell, measure_cells, read_cells
from studies.saec.experiments import (
    AS_PUBLISHED,
    BITS,
    COMPARED,
    EQUAL_BITS,
    FULL,
    LEVELS,
    MGQE,
    MOVING,
    NARROW,
    PQ,
    SAEC,
    Cell,
    Entry,
)
from studies.saec.other_measurements import count_moved, guess_by_request, guessed_counts
from studies.saec.plans import find_plan, widest
from studies.saec.snapshots import Snapshot, load_log, train_snapshots
from studies.saec.tables import holds, indistinct, sizes_table, smallest, times_smaller
from studies.series import Row, Series
from tests.studies.saec_samples import DATA, SPLIT, WINDOWS, tiny_study

ITEMS = tuple(Saec.items)


@pytest.fixture(scope="module")
def snapshots() -> list[Snapshot]:
    return list(train_snapshots(WINDOWS, load_log(DATA, WINDOWS.windows, None), 0, 16))


@pytest.fixture(scope="module")
def done(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("saec")
    reproduce(Saec, out, tiny_study(), workers=1, progress=False)
    return out


def record(auc: float, loss: float, bits: int = 100, vectors: int = 2) -> dict[str, object]:
    metrics = {"auc": auc, "log_loss": loss, "calibration": 1.0, "relative_information_gain": 0.1}
    window = {"bits": bits, "dense_bits": 3200, "vectors": vectors, "values": 100, "width": 16}
    return {"windows": [{"window": 0, "before": metrics, "after": metrics, "seconds": {}, **window}]}


def row(entry: Entry, series: Series) -> Row[Entry]:
    return Row(entry, entry.name, series)


def runs(*values: tuple[float, float], bits: int = 100) -> Series:
    return Series({seed: record(auc, loss, bits) for seed, (auc, loss) in enumerate(values)})


def test_everything_is_made_once(done: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    cells = read_cells(done)
    assert set(cells) == {cell.key for cell in tiny_study().cells(ITEMS)}
    monkeypatch.setattr(saec_cells, "measure_cell", lambda *_: pytest.fail("measured again"))
    again = reproduce(Saec, done, tiny_study(), workers=1, progress=False)
    assert [(each.item, each.missing) for each in again.items] == [(item, 0) for item in ITEMS]
    for figure in ("movietweetings", "ml-1m", "sizes"):
        assert (done / f"{figure}.png").read_bytes().startswith(b"\x89PNG")
    page = again.report.read_text()
    assert f"{len(cells)} runs, " in page
    assert not re.search(r"https?://|url\(|@import|<script|<link", page)
    with (done / "movietweetings.csv").open() as file:
        lines = list(csv.DictReader(file))
    assert {line["tables"] for line in lines} == {entry.name for entry in COMPARED if entry.quick} - {PQ.name}
    assert f"{PQ.name} (does not fit into the budget)" in page  # few values, so that codebooks are too much
    full = [float(line["after auc"]) for line in lines if line["tables"] == FULL.name]
    assert len(full) == 2  # tested windows
    assert min(full) > 0.5


def test_a_lost_cell_is_measured_again_and_is_the_same(done: Path, tmp_path: Path) -> None:
    cells = tiny_study().cells(["movietweetings"])
    lost = next(cell for cell in cells if cell.entry is SAEC)
    before = read_cells(done)
    lines = (done / CELLS).read_text().splitlines()
    kept = [line for line in lines if tuple(json.loads(line)[name] for name in ("panel", "seed", "entry")) != lost.key]
    (tmp_path / CELLS).write_text("\n".join(kept) + '\n{"panel": "cut off')
    measure_cells([lost], tmp_path, None, progress=False)
    after = read_cells(tmp_path)
    assert len(after) == len(kept) + 1
    for old, new in zip(before[lost.key]["windows"], after[lost.key]["windows"], strict=True):
        assert {name: old[name] for name in ("bits", "vectors", "before", "after")} == {
            name: new[name] for name in ("bits", "vectors", "before", "after")
        }


def test_what_fails_is_named_and_the_others_are_measured(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def measure(cell: Cell, data_root: Path | None) -> list[dict[str, object]]:
        if cell.panel is SPLIT:
            raise ValueError("diverged")
        return []

    monkeypatch.setattr(saec_cells, "measure_cell", measure)
    with pytest.raises(SlimtableError, match=r"1 measurements failed. Synthetic, DLRM, seed 0: ValueError: diverged"):
        reproduce(Saec, tmp_path, tiny_study(), only=["movietweetings", "ml-1m"], workers=1, progress=False)
    assert {panel for panel, *_ in read_cells(tmp_path)} == {WINDOWS.name}
    assert "does not fit into the budget" in (tmp_path / "movietweetings.md").read_text()


@pytest.mark.slow  # processes import PyTorch anew
def test_several_processes_share_a_file(tmp_path: Path) -> None:
    cells = [Cell(panel, 0, FULL) for panel in (WINDOWS, SPLIT)]
    measure_cells(cells, tmp_path, None, workers=2, progress=False)
    assert set(read_cells(tmp_path)) == {cell.key for cell in cells}


@pytest.mark.parametrize("entry", [SAEC, AS_PUBLISHED, LEVELS, PQ, MGQE, *BITS], ids=lambda entry: entry.name)
def test_plans_keep_the_budget_and_count_as_the_tables_do(snapshots: list[Snapshot], entry: Entry) -> None:
    snapshot = snapshots[-1]
    fields = snapshot.fields(replace(entry, ratio=9.0 if entry.ratio else 0))
    configs = find_plan(entry, fields)
    compressed = compress_fields(snapshot.model, configs, snapshot.counts, sensitivity=snapshot.sensitivity)
    size = field_bits(compressed)
    assert size.total <= fields.bits
    assert fields.bits_of(configs) >= size.total  # tiers of sorted ids need no flags
    if entry is not MGQE:
        assert fields.bits_of(configs) == size.total
        if entry not in (PQ, *BITS):
            assert fields.vectors_of(configs) == size.num_vectors


@pytest.mark.parametrize("entry", [e for e in COMPARED if e.kind == "trained"], ids=lambda entry: entry.name)
def test_tables_trained_from_the_start_keep_the_budget(snapshots: list[Snapshot], entry: Entry) -> None:
    fields = snapshots[-1].fields(replace(entry, ratio=3.0))
    configs = find_plan(entry, fields)
    assert set(configs) == set(fields.sizes)
    model = build_ctr_model("deepfm", fields.sizes, 0, 16, configs)
    assert 0.5 * fields.bits < field_bits(model).total <= fields.bits


def test_the_widest_vectors_fit_and_the_next_do_not(snapshots: list[Snapshot]) -> None:
    log = load_log(DATA, WINDOWS.windows, None)
    entry = replace(EQUAL_BITS[0], ratio=20.0)
    width = widest(entry, WINDOWS, log.sizes[: log.steps])
    sizes = log.sizes[0]

    def bits(embedding_dim: int) -> int:
        return (embedding_dim + 1) * (4 * sum(sizes.values()) + 64 * len(sizes))

    budget = 32 * 17 * sum(sizes.values()) / 20
    assert bits(width) <= budget < bits(width + 1)
    assert widest(replace(NARROW, ratio=1e6), WINDOWS, log.sizes) == 1


def test_compressed_models_are_those_of_the_window(snapshots: list[Snapshot]) -> None:
    log = load_log(DATA, WINDOWS.windows, None)
    for number, snapshot in enumerate(snapshots):
        sizes = {field: table.num_embeddings for field, table in snapshot.model.fields.embeddings().items()}
        assert sizes == log.sizes[number]
        assert all(counts.sum() > 0 for counts in snapshot.counts.values())
    (narrow,) = {window["width"] for window in measure_cell(Cell(WINDOWS, 0, NARROW), None)}
    assert narrow < snapshots[0].model.fields.width


def test_rows_guessed_for_requests_leave_known_values_alone(snapshots: list[Snapshot]) -> None:
    snapshot = snapshots[-1]
    model, guessed = guess_by_request(snapshot.model, snapshot, snapshot.unseen)
    sizes = [table.num_embeddings for table in snapshot.model.fields.embeddings().values()]
    grown = [table.num_embeddings for table in model.fields.embeddings().values()]
    unseen = [int((np.asarray(field) >= size).sum()) if not hasattr(field, "offsets") else 0
              for field, size in zip(snapshot.unseen.ids, sizes, strict=True)]  # fmt: skip
    assert grown == [size + more for size, more in zip(sizes, unseen, strict=True)]
    assert sum(unseen) > 0
    for before, now, size in zip(snapshot.test.ids, guessed.ids, sizes, strict=True):
        if not hasattr(now, "offsets"):
            assert (np.asarray(now)[np.asarray(now) < size] == np.asarray(before)[np.asarray(now) < size]).all()
    both = zip(snapshot.model.fields.embeddings().values(), model.fields.embeddings().values(), strict=True)
    assert all((new.weight[: old.num_embeddings] == old.weight).all() for old, new in both)


def test_only_fresh_values_are_guessed(snapshots: list[Snapshot]) -> None:
    snapshot = snapshots[-1]
    model = guessed_counts(snapshot.model, snapshot)
    tables = snapshot.model.fields.embeddings()
    changed = 0
    for field, table in model.fields.embeddings().items():
        same = (table.weight == tables[field].weight).all(dim=1)
        assert same[: snapshot.before[field]].all()
        changed += int((~same).sum())
    assert changed > 0


def test_moves_are_counted_by_row(done: Path, snapshots: list[Snapshot]) -> None:
    assert count_moved(snapshots[0].model, snapshots[1].model) == (0, 0)  # nothing is shared
    cells = read_cells(done)
    found = [cells[WINDOWS.name, 0, entry.name]["windows"][1] for entry in MOVING if entry.quick]
    assert all(0 < window["moved"] <= window["known"] and window["delta"] > 0 for window in found)
    anew, continued = (window["moved"] / window["known"] for window in found)
    assert continued < anew


def test_the_bound_and_what_a_log_can_tell() -> None:
    full = runs((0.760, 0.580), (0.762, 0.578))
    near, far = runs((0.759, 0.581), (0.761, 0.579)), runs((0.700, 0.650), (0.702, 0.648))
    assert (holds(near, full), holds(far, full)) == ("yes", "no")
    assert "cannot tell" in indistinct([row(FULL, full), row(NARROW, near)])
    assert "tells methods apart" in indistinct([row(FULL, full), row(NARROW, far)])
    assert "fewer than two seeds" in indistinct([row(FULL, runs((0.7, 0.6)))])


def test_the_smallest_size_within_the_bound_is_named() -> None:
    full = runs((0.760, 0.580), (0.762, 0.578), bits=3200)
    large, small, bad = (
        runs((0.759, 0.581), (0.761, 0.579), bits=bits) if bits > 40 else runs((0.70, 0.65), (0.70, 0.65), bits=bits)
        for bits in (100, 50, 25)
    )
    assert smallest(small, times_smaller) == 64
    rows = [row(replace(SAEC, name=name), each) for name, each in (("1/32", large), ("1/64", small), ("1/128", bad))]
    table = sizes_table(WINDOWS, {"ours": rows, "as reconstructed": rows[2:]}, full)
    assert [line[-1] for line in table.rows] == ["yes", "yes", "no", "no"]
    assert "ours: 1/64 (" in table.note
    assert "as reconstructed: at none" in table.note


def test_what_is_not_there_is_said(tmp_path: Path) -> None:
    cell = Cell(WINDOWS, 0, FULL)
    keep_cell(tmp_path, cell, record(0.76, 0.58)["windows"])  # type: ignore[arg-type]
    result = reproduce(Saec, tmp_path, tiny_study(), only=["movietweetings", "new-values"], render=True)
    shown = {row[0]: row for row in result.items[0].tables[1].rows}
    assert shown[FULL.name][6] == "0.7600"
    assert set(shown[SAEC.name][1:]) == {"not run"}
    assert result.items[0].missing == len([entry for entry in COMPARED if entry.quick]) - 1
    assert result.items[0].picture is None
    assert "not run" in result.items[1].tables[0].rows[0]


@pytest.mark.parametrize("line", ["{", "[]", '{"panel": "a"}'])
def test_damaged_cells_are_named(tmp_path: Path, line: str) -> None:
    (tmp_path / CELLS).write_text(line + "\n")
    with pytest.raises(SlimtableError, match=r"Line 1 of .*cells\.jsonl is no finished cell"):
        reproduce(Saec, tmp_path, tiny_study(), only=["seconds"], render=True)


def test_a_folder_has_the_settings_it_was_begun_with(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    trained = {panel.name: panel.settings() for panel in Saec.of(quick=True).panels}
    (tmp_path / SETTINGS).write_text(json.dumps({"profile": "quick", "train": trained, "seeds": None}))
    assert main(["saec", "--render", "--only", "hysteresis", "--json", "--out", str(tmp_path)]) == 0
    assert json.loads(capsys.readouterr().out)["profile"] == "quick"
    assert main(["saec", "--render", "--seeds", "3", "--out", str(tmp_path)]) == 2
    assert "started as a quick reproduction" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("words", "message"), [(["--only", "table3"], "no 'table3' to reproduce"), (["--seeds", "0"], "seeds")]
)
def test_bad_input_is_one_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], words: list[str], message: str
) -> None:
    assert main(["saec", *words, "--out", str(tmp_path / "out")]) == 2
    complaint = capsys.readouterr().err
    assert re.fullmatch(r"error: [^\n]+\n", complaint)
    assert message in complaint
    assert not (tmp_path / "out").exists()
