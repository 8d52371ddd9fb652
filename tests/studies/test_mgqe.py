from __future__ import annotations

from pathlib import Path

import pytest

from slimtable.bench import label_of, parse_methods
from slimtable.models.base import get_ranker
from slimtable.training.trainer import TrainConfig
from studies.mgqe.experiments import (
    ITEMS,
    PAPER_PANELS,
    Profile,
    curves,
    grids,
    make_profile,
    spell_training,
    wanted,
)
from studies.mgqe.published import RANKING, REGRESSION, UNSHARED_D, UNSHARED_K
from studies.mgqe.store import Store
from studies.mgqe.texts import STATEMENTS, TITLES
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


def test_the_full_profile_trains_as_the_paper() -> None:
    trains = {panel.name: panel.train for panel in make_profile(quick=False).panels}
    assert trains["gmf"] == TrainConfig(epochs=20, batch_size=256, learning_rate=1e-3, negatives=4)
    assert (trains["neumf"].epochs, trains["neumf"].batch_size) == (20, 256)
    assert trains["sasrec"] == TrainConfig.from_dict(dict(get_ranker("sasrec").train_defaults))
    assert {panel.train.embedding_dim for panel in PAPER_PANELS} == {64}


def test_every_item_has_a_title_and_what_the_paper_says() -> None:
    assert set(TITLES) == set(STATEMENTS) == set(ITEMS)


def test_seeds_and_batch_sizes_are_as_asked_for() -> None:
    profile = make_profile(False, seeds=5, batch_sizes={"neumf": 1024})
    assert [panel.train.batch_size for panel in profile.panels] == [256, 1024, 128, 256, 256]
    assert {want.seeds for want in wanted("table6", profile)} == {(0, 1, 2, 3, 4)}
    added = [want for want in wanted("figure6", profile) if label_of(want.config) == "mgqe[num_codebooks=8]"]
    assert [want.seeds for want in added] == [(0,)] * 5


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"seeds": 0}, "at least 1, got 0"),
        ({"batch_sizes": {"gfm": 8}}, "'gfm'.*gmf, neumf, sasrec, item_gmf"),
        ({"batch_sizes": {"gmf": 0}}, "batch_size"),
    ],
)
def test_bad_profiles_are_refused(options: dict[str, object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        make_profile(False, **options)  # type: ignore[arg-type]


def test_what_items_share_is_trained_once() -> None:
    profile = make_profile(False)
    together = grids(["table3", "table6", "figure6", "figure7"], profile, Path("data"))
    gmf = [grid for grid in together if grid.model_name == "gmf" and grid.train.embedding_dim == 64]
    assert [grid.seeds for grid in gmf] == [(0, 1, 2), (0,)]
    labels = [label_of(method) for method in gmf[0].methods]
    assert labels[:7] == ["full", "low_rank", "uniform", "dpq", "mgqe", UNSHARED_K, UNSHARED_D]
    assert labels[7:] == [f"uniform[bits={bits}]" for bits in range(1, 8)]  # from the trainings of full
    assert not set(gmf[0].methods) & set(gmf[1].methods)
    widths = {grid.train.embedding_dim for grid in together if grid.model_name == "gmf"}
    assert widths == {8, 16, 32, 64}


def test_lines_of_figure6_go_from_small_to_large_and_end_at_the_tables_configuration() -> None:
    by_method = {curve.method: curve for curve in curves(PAPER_PANELS[0])}
    labels = {method: [(dim, label_of(config)) for dim, config in curve.points] for method, curve in by_method.items()}
    assert labels["full"] == [(8, "full"), (16, "full"), (32, "full"), (None, "full")]
    assert labels["low_rank"][0] == (None, "low_rank[rank=8]")
    assert labels["uniform"][:2] == [(None, "uniform[bits=1]"), (None, "uniform[bits=2]")]
    assert labels["mgqe"][0] == (None, "mgqe[num_codebooks=8]")
    assert {points[-1] for points in labels.values()} == {(None, method) for method in labels}


def test_captions_say_where_training_is_not_the_papers() -> None:
    full, quick = make_profile(False, batch_sizes={"neumf": 1024}), make_profile(True)
    assert spell_training(full.panel("gmf")) == ("GMF on MovieLens-1M: 20 epochs, batch size 256, learning rate 0.001.")
    assert "batch size 1024 (paper: 256)" in spell_training(full.panel("neumf"))
    for panel in quick.panels:
        source = "full version" if panel.model_name == "item_gmf" else "paper"
        assert f"epochs ({source}: " in spell_training(panel)


def test_small_tables_stand_beside_uncompressed_ones_of_as_many_epochs() -> None:
    profile = make_profile(quick=False)
    found = [(want.panel, label_of(want.config), want.epochs) for want in wanted("compact", profile)]
    usual = [("full", None), ("mgqe", None)]
    longer = [("mgqe[preset=compact]", None), ("full", 23), ("mgqe[preset=compact]", 23)]
    assert found == [
        *(("gmf", *row) for row in (*usual, *longer)),
        *(("neumf", *row) for row in (*usual, *longer)),
        *(("sasrec", *row) for row in usual),
        ("sasrec", "mgqe[preset=compact;dense_epochs=200]", None),
        ("sasrec", "mgqe[preset=compact]", None),
    ]
    assert sorted({grid.train.epochs for grid in grids(["compact"], profile, None)}) == [20, 23, 200]


def test_other_epochs_are_compared_among_themselves() -> None:
    panel = make_profile(quick=False).panel("gmf")
    usual, longer = ({"train": _settings(panel.trained_at(epochs=epochs))} for epochs in (None, 23))
    (small,) = parse_methods("mgqe[preset=compact]")
    records = [make_record("full", seed, 0.5, 4000, **usual) for seed in (0, 1)]
    records += [make_record("full", seed, 0.1, 4000, **longer) for seed in (0, 1)]
    records += [make_record(label_of(small), seed, 0.11 + 0.01 * seed, 400, **longer) for seed in (0, 1)]
    store = Store(records, Profile("full", (panel,)))
    (row,) = store.rows(panel, [small], epochs=23)
    assert row is not None
    assert row.differences["hit_rate@10"].mean == pytest.approx(1.5)
    assert store.rows(panel, [small]) == [None]
    assert store.missing(panel.compact_wants()) == 3 + 1 + 1  # all of 20 epochs, the third seed of both of 23


def _settings(config) -> dict[str, object]:
    return {name: value for name, value in config.to_dict().items() if name != "seed"}
