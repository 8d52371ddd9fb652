from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from slimtable.bench import label_of, parse_methods
from slimtable.bench.measures import HIT_RATE, RMSE
from slimtable.bench.table import Difference
from slimtable.models.base import get_ranker
from slimtable.training.trainer import TrainConfig
from studies import BACO, MGQE, Saec
from studies.mgqe.experiments import FULL_PANELS, UNSHARED_D, UNSHARED_K, curves, describe_training
from studies.mgqe.items import RANKING, REGRESSION
from studies.series import Series, Want
from studies.study import Place, Study
from studies.tables import judge, verdict
from tests.bench.samples import make_record


def test_paper_values() -> None:
    assert RANKING["gmf"]["mgqe"] == {"HR@10": 8.03, "NDCG@10": 3.98, "size %": 20.7}
    assert RANKING["neumf"]["low_rank"] == {"HR@10": 7.41, "NDCG@10": 3.70, "size %": 77.3}
    assert RANKING["neumf"][UNSHARED_K] == {"HR@10": 8.22, "NDCG@10": 4.04}
    assert RANKING["sasrec"]["dpq"] == {"HR@10": 20.23, "NDCG@10": 8.81, "size %": 38.3}
    assert RANKING["sasrec"][UNSHARED_D] == {"HR@10": 20.27, "NDCG@10": 8.83}
    assert REGRESSION["mgqe"] == {"RMSE on AAR": 29.49, "size %": 19.4}


@pytest.mark.parametrize("label", sorted({label for table in (*RANKING.values(), REGRESSION) for label in table}))
def test_paper_values_are_found_by_the_label_of_their_method(label: str) -> None:
    assert [label_of(config) for config in parse_methods(label)] == [label]


def wanted(item: str, study: MGQE) -> list[Want]:
    return MGQE.items[item].wanted(Place(study, Path("out")))


@pytest.mark.parametrize("paper", [MGQE, BACO, Saec], ids=lambda paper: paper.name)
def test_every_item_has_captions(paper: type[Study[Any]]) -> None:
    assert set(paper.captions.items) == set(paper.items)


def test_the_full_profile_trains_as_the_paper() -> None:
    trains = {panel.name: panel.train for panel in MGQE.of().panels}
    assert trains["gmf"] == TrainConfig(epochs=20, batch_size=256, learning_rate=1e-3, negatives=4)
    assert (trains["neumf"].epochs, trains["neumf"].batch_size) == (20, 256)
    assert trains["sasrec"] == TrainConfig.from_dict(dict(get_ranker("sasrec").train_defaults))
    assert {panel.train.embedding_dim for panel in FULL_PANELS} == {64}


def test_seeds_and_batch_sizes_are_as_asked_for() -> None:
    study = MGQE.of(seeds=5, changes={"neumf": {"batch_size": 1024}})
    assert [panel.train.batch_size for panel in study.panels] == [256, 1024, 128, 256, 256]
    assert {tuple(want.configs) for want in wanted("table6", study)} == {(0, 1, 2, 3, 4)}
    added = [want for want in wanted("figure6", study) if want.name == "mgqe[num_codebooks=8]"]
    assert [tuple(want.configs) for want in added] == [(0,)] * 5


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"seeds": 0}, "at least 1, got 0"),
        ({"changes": {"gfm": {"batch_size": 8}}}, "'gfm'.*gmf, neumf, sasrec, item_gmf"),
        ({"changes": {"gmf": {"batch_size": 0}}}, "batch_size"),
    ],
)
def test_bad_profiles_are_refused(options: dict[str, object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        MGQE.of(**options)  # type: ignore[arg-type]


def test_what_items_share_is_trained_once() -> None:
    study = MGQE.of()
    place = Place(study, Path("out"), data_root=Path("data"))
    together = study.grids(["table3", "table6", "figure6", "figure7"], place)
    gmf = [grid for grid in together if grid.model_name == "gmf" and grid.train.embedding_dim == 64]
    assert [grid.seeds for grid in gmf] == [(0, 1, 2), (0,)]
    labels = [label_of(method) for method in gmf[0].methods]
    assert labels[:7] == ["full", "low_rank", "uniform", "dpq", "mgqe", UNSHARED_K, UNSHARED_D]
    assert labels[7:] == [f"uniform[bits={bits}]" for bits in range(1, 8)]  # from the trainings of full
    assert not set(gmf[0].methods) & set(gmf[1].methods)
    widths = {grid.train.embedding_dim for grid in together if grid.model_name == "gmf"}
    assert widths == {8, 16, 32, 64}


def test_lines_of_figure6_go_from_small_to_large_and_end_at_the_tables_configuration() -> None:
    labels = {method: [want.name for want in points] for (method, _), points in curves(FULL_PANELS[0]).items()}
    full = curves(FULL_PANELS[0])["full", "d varied"]
    assert [want.train.embedding_dim for want in full] == [8, 16, 32, 64]
    assert labels["low_rank"] == [*(f"low_rank[rank={rank}]" for rank in (8, 16, 32)), "low_rank"]
    assert labels["uniform"][:2] == ["uniform[bits=1]", "uniform[bits=2]"]
    assert labels["mgqe"][0] == "mgqe[num_codebooks=8]"
    assert {points[-1]: method for method, points in labels.items()} == {method: method for method in labels}


def test_captions_say_where_training_is_not_the_papers() -> None:
    full, quick = MGQE.of(changes={"neumf": {"batch_size": 1024}}), MGQE.of(quick=True)
    assert describe_training(full.panel("gmf")) == (
        "GMF on MovieLens-1M: 20 epochs, batch size 256, learning rate 0.001."
    )
    assert "batch size 1024 (paper: 256)" in describe_training(full.panel("neumf"))
    for panel in quick.panels:
        source = "full version" if panel.model_name == "item_gmf" else "paper"
        assert f"epochs ({source}: " in describe_training(panel)


def test_small_tables_stand_beside_uncompressed_ones_of_as_many_epochs() -> None:
    study = MGQE.of()
    found = [(want.panel.name, want.name, want.train.epochs) for want in wanted("compact", study)]
    rows = [("full", 20), ("mgqe", 20), ("mgqe[preset=compact]", 20), ("full", 23), ("mgqe[preset=compact]", 23)]
    assert found == [
        *(("gmf", *row) for row in rows),
        *(("neumf", *row) for row in rows),
        *(("sasrec", label, 200) for label in ("full", "mgqe", "mgqe[preset=compact;dense_epochs=200]")),
        ("sasrec", "mgqe[preset=compact]", 200),
    ]
    assert sorted({grid.train.epochs for grid in study.grids(["compact"], Place(study, Path("out")))}) == [20, 23, 200]


def test_other_epochs_are_compared_among_themselves() -> None:
    panel = FULL_PANELS[0]
    usual, longer = ({"train": _settings(panel.trained(epochs=epochs).train)} for epochs in (20, 23))
    small = "mgqe[preset=compact]"
    records = [make_record("full", seed, 0.5, 4000, **usual) for seed in (0, 1)]
    records += [make_record("full", seed, 0.1, 4000, **longer) for seed in (0, 1)]
    records += [make_record(small, seed, 0.11 + 0.01 * seed, 400, **longer) for seed in (0, 1)]
    study = MGQE("full", (panel,))
    place = Place(study, Path("out"), records)
    (table,) = study.render("compact", place).tables
    cells = {(row[0], row[-2]): dict(zip(table.columns, row, strict=True)) for row in table.rows}
    assert cells[small, "23"]["HR@10 − full [95 %]"].startswith("+1.50 [")
    assert cells[small, "not run"]["HR@10"] == "not run"
    assert study.missing("compact", place) == 3 + 3 + 1 + 1 + 1  # but two seeds of full, and of both of 23 epochs


def _settings(config: TrainConfig) -> dict[str, object]:
    return {name: value for name, value in config.to_dict().items() if name != "seed"}


def _series(method: str, values: list[float], bits: int = 1000, **changes: object) -> Series:
    return Series({seed: make_record(method, seed, value, bits, **changes) for seed, value in enumerate(values)})


def test_rows_are_judged_by_their_leading_figure() -> None:
    full, dpq = _series("full", [0.08, 0.081, 0.082], 4000), _series("dpq", [0.09, 0.091, 0.092])
    assert (verdict(full, full, HIT_RATE), verdict(dpq, full, HIT_RATE)) == ("–", "better")


@pytest.mark.parametrize(("spread", "expected"), [(0.03, "matches"), (0.05, "undecided")])
def test_the_margin_of_an_error_is_one_percent_of_the_uncompressed_one(spread: float, expected: str) -> None:
    def run(method: str, rmses: list[float], bits: int) -> Series:
        found = [{"last": {"all": {"rmse": rmse, "mae": 1.0}}, "best": None} for rmse in rmses]
        return Series({seed: make_record(method, seed, 0.0, bits, metrics=each) for seed, each in enumerate(found)})

    full, dpq = run("full", [10.0] * 3, 4000), run("dpq", [10.0 - spread, 10.0, 10.0 + spread], 900)
    assert verdict(dpq, full, RMSE) == expected  # half an interval is 4.303 / √3 · spread, 0.075 and 0.124 of 0.1


@pytest.mark.parametrize(
    ("mean", "half_width", "expected"),
    [
        (0.5, 0.4, "better"),
        (-0.5, 0.4, "worse"),
        (-0.1, 0.05, "worse"),  # however small the loss
        (0.0, 0.29, "matches"),
        (0.4, 0.6, "matches"),  # from -0.2 to 1.0
        (-0.1, 0.25, "undecided"),  # down to -0.35
        (0.0, 5.0, "undecided"),
        (2.0, None, "not enough seeds"),
    ],
)
def test_the_verdict_is_what_the_interval_allows(mean: float, half_width: float | None, expected: str) -> None:
    assert judge(Difference(mean, half_width, 3), HIT_RATE, 0.3) == expected
    assert judge(Difference(-mean, half_width, 3), RMSE, 0.3) == expected  # of an error, less is more
    assert judge(None, HIT_RATE, 0.3) == "not enough seeds"
