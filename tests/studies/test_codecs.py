from __future__ import annotations

import csv
import json
import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from slimtable.embeddings.base import get_config
from slimtable.errors import BudgetError, SlimtableError
from slimtable.methods.full import FullConfig
from slimtable.models.base import build
from slimtable.training.evaluation import evaluate
from studies import Codecs, reproduce
from studies.cli import main
from studies.codecs import cells as codec_cells
from studies.codecs import ours, with_faiss
from studies.codecs.cells import CELLS, measure_cell, measure_cells, read_cells
from studies.codecs.evaluation import Lists, per_user, share_kept, share_of
from studies.codecs.experiments import (
    CONSTANT_BITS,
    FAISS,
    FULL_PANELS,
    QUICK_PANELS,
    RATES,
    Cell,
    Entry,
    IALSConfig,
    Panel,
    cells_of,
    entries,
)
from studies.codecs.tables import TARGETS, margin_table, targets_table
from studies.codecs.trained import dot_products, lists_of, load_split, load_tables, train_ials

IALS, SASREC, LIGHTGCN = QUICK_PANELS
UNIFORM = next(entry for entry in entries() if entry.kind == "uniform")
FAISS_RABITQ = next(entry for entry in entries() if entry.name == "faiss RaBitQ")
FAISS_SQ = next(entry for entry in entries() if entry.name == "faiss SQ")


@pytest.fixture(scope="module")
def done(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("codecs")
    study = Codecs("quick", (SASREC, LIGHTGCN), 1)
    reproduce(Codecs, out, study, only=[SASREC.name, LIGHTGCN.name], workers=1, progress=False)
    return out


@pytest.fixture(scope="module")
def rows() -> np.ndarray:
    return np.random.default_rng(3).normal(size=(700, 16)).astype(np.float32)


def test_there_are_twelve_rates_and_all_models_and_data() -> None:
    assert len(RATES) == 12
    assert {panel.model_name for panel in FULL_PANELS} == {"ials", "sasrec", "lightgcn"}
    for model in ("ials", "lightgcn"):
        found = {panel.data for panel in FULL_PANELS if panel.model_name == model}
        assert found == {"gowalla", "ml-1m", "beauty", "lastfm", "movietweetings"}
    assert {name for name in Codecs.items if name != "targets"} == {panel.name for panel in FULL_PANELS}
    assert all(set(wanted) <= set(RATES) for wanted in TARGETS.values())


def test_entries_are_the_methods_with_a_codec_and_those_of_faiss() -> None:
    named = [entry.name for entry in entries()]
    assert len(set(named)) == len(named)
    assert {"uniform", "saec", "low_rank", *(f"faiss {kind}" for kind in FAISS)} <= set(named)
    assert not {"full", "double_hash"} & set(named)


def test_everything_is_made_once(done: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    study = Codecs("quick", (SASREC, LIGHTGCN), 1)
    wanted = {cell.key for cell in study.cells([SASREC.name, LIGHTGCN.name])}
    assert set(read_cells(done)) == wanted
    monkeypatch.setattr(codec_cells, "measure_cell", lambda *_: pytest.fail("measured again"))
    again = reproduce(Codecs, done, study, only=[SASREC.name, LIGHTGCN.name], workers=1, progress=False)
    assert [each.missing for each in again.items] == [0, 0]
    page = again.report.read_text()
    assert f"{len(wanted)} runs, " in page
    assert not re.search(r"https?://|url\(|@import|<script|<link", page)
    assert (done / f"{LIGHTGCN.name}.png").read_bytes().startswith(b"\x89PNG")
    with (done / f"{LIGHTGCN.name}.csv").open() as file:
        lines = list(csv.DictReader(file))
    assert {line["side"] for line in lines} == {"items", "both"}
    for line in lines:
        if not line["why"]:
            tables = 2 if line["side"] == "both" else 1
            slack = tables * CONSTANT_BITS / 100  # at least a hundred rows
            assert float(line["bits a row"]) <= float(line["budget bits a row"]) + slack
    text = (done / f"{LIGHTGCN.name}.md").read_text()
    assert "ours − faiss" in text
    assert "not run" not in text


def test_a_lost_cell_is_measured_again_and_is_the_same(done: Path, tmp_path: Path) -> None:
    before = read_cells(done)
    lost = Cell(LIGHTGCN, "items", UNIFORM, LIGHTGCN.rates[-1])
    measure_cells([lost], tmp_path, None, progress=False)
    for name in ("recall", "ndcg", "bits", "settings", "validation"):
        assert read_cells(tmp_path)[lost.key][name] == before[lost.key][name]


def test_the_same_table_at_another_rate_is_not_evaluated_again(
    done: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    counted: list[int] = []
    evaluate_ = codec_cells.per_user
    monkeypatch.setattr(codec_cells, "per_user", lambda *given: counted.append(1) or evaluate_(*given))
    cells = [Cell(LIGHTGCN, "items", FAISS_RABITQ, rate) for rate in (200, 201)]
    measure_cells(cells, tmp_path, None, progress=False)
    first, second = (read_cells(tmp_path)[cell.key] for cell in cells)
    assert first["settings"] == second["settings"]
    assert first["recall"] == second["recall"]
    assert len(counted) == 4  # the validation and the test part, uncompressed and compressed


def test_a_method_that_finds_its_size_itself_gets_the_budget(rows: np.ndarray) -> None:
    counts = np.ones(len(rows))
    for rate in (40, 136):
        options = ours.size_within("auto", {}, rows.shape, counts, rate * len(rows))
        assert ours.compress("auto", options, rows, counts, None).bits <= rate * len(rows)
        assert options["budget"] == f"{rate * len(rows) // 8}B"


def test_what_a_codec_refuses_is_kept_with_the_reason(done: Path) -> None:
    refused = [cell for cell in read_cells(done).values() if cell["why"]]
    assert refused
    assert all("recall" not in cell for cell in refused)
    with pytest.raises(BudgetError):
        measure_cell(Cell(LIGHTGCN, "items", FAISS_SQ, LIGHTGCN.rates[0]), done, None)


def test_what_fails_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def measure(*_: object) -> dict[str, object]:
        raise OSError("no space")

    monkeypatch.setattr(codec_cells, "measure_cell", measure)
    study = Codecs("quick", (LIGHTGCN,), 1)
    with pytest.raises(SlimtableError, match=r"1 measurements failed. LightGCN, synthetic: OSError: no space"):
        reproduce(Codecs, tmp_path, study, only=[LIGHTGCN.name], workers=1, progress=False)
    assert "not run" not in (tmp_path / "README.md").read_text()
    assert "cells are not measured yet" in (tmp_path / "README.md").read_text()


def test_recall_and_ndcg_are_those_of_evaluation() -> None:
    parts = load_split(LIGHTGCN, None)
    model = build("bprmf", parts.num_users, parts.num_items, 8, FullConfig(init_std=1.0)).eval()
    table = {name: each.weight.detach().numpy() for name, each in model.embeddings().items()}
    table["item"][5:9] = table["item"][4]  # ties
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(type(model), "scorer", lambda self, history=None: lambda ids: _scores(table, ids))
        wanted = evaluate(model, parts, "test", (20,))["train+valid"]
    score = dot_products(table["item"], table["user"], "test")
    recall, ndcg = per_user(score, lists_of(replace(LIGHTGCN, users=0), "test", None), 20)
    assert recall.mean() == pytest.approx(wanted["recall@20"], abs=1e-12)
    assert ndcg.mean() == pytest.approx(wanted["ndcg@20"], abs=1e-12)


def _scores(table: dict[str, np.ndarray], ids: object) -> object:
    import torch

    return torch.from_numpy(table["user"][np.asarray(ids)] @ np.ascontiguousarray(table["item"].T))


def test_scores_that_are_nan_are_refused() -> None:
    lists = Lists(*(np.array(each) for each in ([0], [0, 1], [2], [0, 0], [])))
    with pytest.raises(ValueError, match="NaN or infinite"):
        per_user(lambda ids: np.full((len(ids), 4), np.nan), lists, 20)


def test_intervals_cover_the_truth_as_often_as_they_say() -> None:
    rng, covered = np.random.default_rng(0), 0
    for _ in range(400):
        full = rng.random(300)
        mine = full * (0.9 + 0.2 * rng.normal(size=300))
        share, half = share_kept(mine, full)
        covered += abs(share - 90) <= half
    assert 0.92 <= covered / 400 <= 0.98
    assert share_kept(full, full) == (100.0, 0.0)
    assert share_of(full, full, full) == (0.0, 0.0)


_TOO_SMALL = {("SQ", 24), ("OPQ", 24), ("RaBitQ", 24), ("RaBitQ", 72)}


@pytest.mark.parametrize("kind", FAISS)
@pytest.mark.parametrize("rate", [24, 72, pytest.param(136, marks=pytest.mark.slow)])
def test_faiss_keeps_the_budget_and_gets_better_with_it(rows: np.ndarray, kind: str, rate: int) -> None:
    if (kind, rate) in _TOO_SMALL:
        with pytest.raises(BudgetError, match=f"No setting of {kind} of faiss"):
            with_faiss.settings_within(kind, rows.shape, rate * len(rows))
        return

    def closeness(decoded: np.ndarray) -> float:
        return -float(np.square(decoded - rows).sum())

    settings = with_faiss.settings_within(kind, rows.shape, rate * len(rows))
    coded = with_faiss.compress_best(kind, settings, rows, closeness)
    assert coded.setting in settings
    assert coded.bits <= rate * len(rows)
    assert coded.rows.shape == rows.shape
    error = np.square(coded.rows - rows).sum() / np.square(rows).sum()
    assert error < 0.95
    more = with_faiss.compress_best(
        kind, with_faiss.settings_within(kind, rows.shape, 4 * rate * len(rows)), rows, closeness
    )
    assert np.square(more.rows - rows).sum() <= np.square(coded.rows - rows).sum()


def test_bits_of_faiss_are_those_of_its_arrays(rows: np.ndarray) -> None:
    import faiss

    setting = with_faiss.settings_within("PQ", rows.shape, 72 * len(rows))[0]
    index = faiss.IndexPQ(rows.shape[1], setting["codebooks"], setting["code_bits"])
    index.train(rows)
    floats = faiss.vector_to_array(index.pq.centroids).size
    assert setting["bits"] == 32 * floats + len(rows) * setting["codebooks"] * setting["code_bits"]


def test_our_bits_are_those_of_the_packed_arrays(rows: np.ndarray) -> None:
    counts = np.arange(len(rows))[::-1]
    options = ours.size_within("uniform", dict(UNIFORM.options), rows.shape, counts, 150.0 * len(rows))
    coded = ours.compress("uniform", options, rows, counts, None)
    config = get_config("uniform", options)
    assert 0 <= coded.bits - config.table_bits(*rows.shape) < 8 * 4
    assert np.abs(coded.rows - rows).max() < np.abs(rows).max()


def test_ials_learns_and_is_tuned_on_the_validation_part(tmp_path: Path) -> None:
    pytest.importorskip("implicit")
    bad = IALSConfig(alpha=1e-3, regularization=1e6, iterations=1, embedding_dim=4)
    panel: Panel = replace(IALS, candidates=(bad, *IALS.candidates))
    tables = load_tables(panel, tmp_path, None)
    assert tables.training == IALS.candidates[0].to_dict()
    assert len(json.loads((tmp_path / "tuning.json").read_text())) == 2
    users, items = train_ials(load_split(IALS, None), IALS.candidates[0])
    np.testing.assert_array_equal(tables.items, items)
    assert users.shape == tables.users.shape
    lists = lists_of(IALS, "test", None)
    recall, _ = per_user(tables.scorer(tables.items, tables.users, "test"), lists, 20)
    rng = np.random.default_rng(0)
    chance, _ = per_user(lambda ids: rng.random((len(ids), len(items))), lists, 20)
    assert recall.mean() > 3 * chance.mean()


def test_a_better_codec_counts_by_the_validation_part_alone(tmp_path: Path) -> None:
    def cell(entry: str, validation: float, recall: float, rate: int = 40) -> None:
        record = {"panel": IALS.name, "side": "items", "entry": entry, "rate": rate, "why": "", "date": "2026-01-01"}
        figures = {"validation": validation, "recall": [recall, 0.5], "bits": 4000, "rows": 100, "settings": {}}
        with (tmp_path / CELLS).open("a") as file:
            file.write(json.dumps({**record, **figures, "versions": {}, "cpu": ""}) + "\n")

    cell("uniform", 97.0, 99.0)
    cell("saec", 98.0, 97.2)
    cell("faiss PQ", 90.0, 91.0)
    cells = read_cells(tmp_path)
    lines = {line[0]: line for line in targets_table(cells, [IALS], "items").rows}
    assert lines["40"] == ("40", "97.5", "saec", "97.2 ± 0.5", "within its interval")
    assert lines["24"][2:] == ("not run",) * 3
    (best, *_) = margin_table(cells, IALS, "items", tmp_path).rows
    assert best[:2] == ("40", "saec")
    assert best[4] == "PQ"
    assert best[-2:] == ("not run", "not all of faiss run")  # and there are no figures of single users


def test_cells_of_a_panel_begin_with_the_items() -> None:
    study = Codecs("full", FULL_PANELS)
    cells = cells_of([Codecs.items[name] for name in ("ials-ml-1m", "ials-gowalla")], study)
    sides = [(cell.panel.name, cell.side) for cell in cells]
    order = list(dict.fromkeys(sides))
    assert order == [(name, side) for name in ("ials-gowalla", "ials-ml-1m") for side in ("items", "both")]
    assert len({cell.key for cell in cells}) == len(cells) == 2 * 2 * 12 * len(entries())


def test_the_command_draws_what_is_there(done: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["codecs", "--render", "--only", LIGHTGCN.name, "--out", str(done)]) == 0
    assert "ours − faiss" in capsys.readouterr().out


def test_an_entry_of_a_missing_method_is_none() -> None:
    with pytest.raises(ValueError, match="no method"):
        ours.size_within("nothing", {}, (10, 4), np.ones(10), 1000.0)
    assert Entry("faiss PQ", False, "PQ") in entries()
