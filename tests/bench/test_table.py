from __future__ import annotations

import csv
import io
import json
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest

from slimtable.bench.columns import command, format_seeds, tables, to_csv
from slimtable.bench.published import Published, PublishedTable
from slimtable.bench.table import Difference, Estimate, headline, tabulate
from slimtable.errors import SlimtableError
from tests.bench.samples import make_record


def test_mean_and_spread_over_seeds_in_percent() -> None:
    (section,) = tabulate([make_record("full", seed, value) for seed, value in enumerate((0.10, 0.12, 0.17))])
    (row,) = section.rows
    quality = row.last["train"]["hit_rate@10"]
    assert quality.mean == pytest.approx(13.0)
    assert quality.std == pytest.approx(((3**2 + 1 + 4**2) / 2) ** 0.5)  # 10, 12 and 17 about 13
    assert (quality.num_seeds, row.seeds) == (3, (0, 1, 2))


def test_one_seed_has_no_spread() -> None:
    assert Estimate.of([7.0]) == Estimate(7.0, None, 1)
    assert Difference.of([0.5]) == Difference(0.5, None, 1)


def test_differences_are_paired_by_seed_with_a_t_interval() -> None:
    full = {0: 0.10, 1: 0.20, 2: 0.30, 7: 0.9}
    ours = {0: 0.11, 1: 0.22, 2: 0.33, 5: 0.9}
    records = [make_record("full", seed, value, bits=4000) for seed, value in full.items()]
    records += [make_record("dpq", seed, value) for seed, value in ours.items()]
    (section,) = tabulate(records)
    difference = section.rows[1].differences["hit_rate@10"]
    assert difference.num_seeds == 3
    assert difference.mean == pytest.approx(2.0)  # of 1, 2 and 3 points
    assert difference.half_width == pytest.approx(4.302653 * 1.0 / 3**0.5, rel=1e-6)  # t of 2 degrees of freedom
    assert section.rows[0].differences == {}


def test_nothing_is_compared_with_a_full_table_that_was_not_run() -> None:
    other_seeds = [make_record("full", 5, 0.1, bits=4000), make_record("dpq", 0, 0.1)]
    for records in (other_seeds, other_seeds[1:]):
        row = tabulate(records)[0].rows[-1]
        assert (row.differences, row.relative_seconds) == ({}, None)


def test_the_yardstick_is_drawn_with_the_same_spread_where_it_was_run() -> None:
    records = [make_record("full", 0, 0.10, bits=4000), make_record("full[init_std=0.1]", 0, 0.30, bits=4000)]
    records += [make_record("dpq[init_std=0.1]", 0, 0.35), make_record("mgqe[init_std=0.2]", 0, 0.35, bits=500)]
    differences = [row.differences["hit_rate@10"].mean for row in tabulate(records)[0].rows[2:]]
    assert differences == pytest.approx([5.0, 25.0])


def test_time_is_relative_to_full_on_common_seeds() -> None:
    records = [make_record("full", seed, 0.1, 4000, seconds_per_epoch=value) for seed, value in ((0, 1.0), (1, 3.0))]
    records += [make_record("dpq", seed, 0.1, seconds_per_epoch=value) for seed, value in ((1, 6.0), (2, 100.0))]
    full, dpq = tabulate(records)[0].rows
    assert full.relative_seconds == 1.0
    assert dpq.relative_seconds == 2.0
    assert dpq.seconds_per_epoch.mean == 53.0


def test_rows_go_from_large_to_small_and_settings_into_sections() -> None:
    longer = {**make_record("full", 0, 0.1)["train"], "epochs": 9}
    records = [make_record("dpq", 0, 0.1, 900), make_record("full", 0, 0.1, 4000), make_record("mgqe", 0, 0.1, 950)]
    first, second = tabulate([*records, make_record("full", 0, 0.1, 4000, train=longer)])
    assert [row.label for row in first.rows] == ["full", "mgqe", "dpq"]
    assert [row.size_percent for row in first.rows] == [100.0, 23.75, 22.5]
    assert [row.label for row in second.rows] == ["full"]


def test_runs_that_were_not_validated_have_no_best_epoch() -> None:
    record = make_record("full", 0, 0.1, curve=[])
    record["metrics"]["best"] = None
    (row,) = tabulate([record])[0].rows
    assert (row.best, row.curve) == (None, ())
    assert "–" in tables(tabulate([record])[0])[1].rows[0]


PUBLISHED = Published(
    "Paper: somebody.",
    (
        PublishedTable(
            {"data": "ml-1m", "backbone": "gmf", "embedding_dim": 64},
            {"mgqe": {"HR@10": 8.03, "NDCG@10": 3.98, "size %": 20.7}, "low_rank": {"HR@10": 7.2}},
        ),
    ),
    {"low_rank[rank=48]": "low_rank"},
)


def test_published_figures_stand_beside_the_papers_own_configuration_alone() -> None:
    def of(method: str, **changes: Any) -> Mapping[str, float]:
        return PUBLISHED.of(make_record(method, 0, 0.1, **changes))

    assert of("mgqe") == {"HR@10": 8.03, "NDCG@10": 3.98, "size %": 20.7}
    assert of("low_rank[rank=48]") == of("low_rank") == {"HR@10": 7.2}
    assert of("mgqe", backbone="neumf") == of("mgqe[codebook_sizes=[256,32]]") == {}
    assert of("mgqe", train={**make_record("mgqe", 0, 0.1)["train"], "embedding_dim": 32}) == {}
    assert of("mgqe", data="beauty") == of("mgqe", backbone_config={"layers": [32, 8]}) == {}


def test_published_figures_are_read_from_a_file(tmp_path: Path) -> None:
    path = tmp_path / "published.json"
    path.write_text(json.dumps(asdict(PUBLISHED)))
    assert Published.read(path) == PUBLISHED
    for text in ("{", "[]", '{"note": "", "tables": [{"where": {}, "figures": {"full": {"HR@10": "high"}}}]}'):
        path.write_text(text)
        with pytest.raises(SlimtableError, match="holds no published results"):
            Published.read(path)
    with pytest.raises(SlimtableError, match="cannot read"):
        Published.read(tmp_path / "none.json")


def test_the_quality_table_says_what_was_measured() -> None:
    records = [make_record("full", seed, 0.08, bits=4000) for seed in (0, 1)]
    records += [make_record("mgqe", seed, value, bits=992) for seed, value in enumerate((0.081, 0.083))]
    quality = tables(tabulate(records, PUBLISHED)[0])[0]
    assert dict(zip(quality.columns, quality.rows[1], strict=True)) == {
        "method": "mgqe",
        "size %": "24.80",
        "HR@10": "8.20 ± 0.14",
        "NDCG@10": "4.10 ± 0.07",
        "HR@10 − full [95 %]": "+0.20 [-1.07, +1.47]",  # 12.706 · 0.1414 / √2
        "NDCG@10 − full [95 %]": "+0.10 [-0.54, +0.74]",
        "bits": "992",
        "seeds": "2 (0, 1)",
        "paper HR@10": "8.03",
        "paper NDCG@10": "3.98",
        "paper size %": "20.7",
    }
    assert quality.rows[0][-3:] == ("–", "–", "–")
    assert quality.note == "Paper: somebody."


def test_without_published_figures_there_are_no_columns_for_them() -> None:
    quality = tables(tabulate([make_record("full", 0, 0.1)], PUBLISHED)[0])[0]
    assert (len(quality.columns), quality.note) == (8, "")


def test_headline_is_the_smallest_that_keeps_quality() -> None:
    full = make_record("full", 0, 0.100, bits=4000)
    dpq, small = make_record("dpq", 0, 0.098, bits=1000), make_record("uniform[bits=2]", 0, 0.05, bits=250)
    assert headline(tabulate([full, dpq, small])[0]).startswith("dpq takes 25.00 % of the uncompressed model's size")
    assert headline(tabulate([full, small])[0]).startswith("uniform[bits=2] takes 6.25 %")
    assert "keeps 50.0 % of its HR@10: 5.00 % against 10.00 %" in headline(tabulate([full, small])[0])
    assert headline(tabulate([dpq, small])[0]).startswith("dpq has the highest HR@10, 9.80 %")


def test_command_line_names_every_method_and_what_is_not_usual() -> None:
    train = {**make_record("full", 0, 0.1)["train"], "ks": [10, 20], "batch_size": 2048}
    records = [make_record(method, 2, 0.1, train=train) for method in ("full", "uniform[bits=4;axis=row]")]
    assert command(tabulate(records)[0], "runs/gmf") == (
        "slimtable bench --data ml-1m --split leave-two-out --model gmf --methods "
        "'full,uniform[bits=4;axis=row]' --seeds 3 --epochs 2 --batch-size 2048 --ks 10 --ks 20 --out runs/gmf"
    )


def test_seeds_in_few_characters() -> None:
    assert [format_seeds(seeds) for seeds in ([4], [0, 1], [3, 4, 5], [0, 1, 3])] == ["4", "0, 1", "3–5", "0, 1, 3"]


def test_csv_has_a_line_for_every_row_with_all_numbers() -> None:
    records = [make_record("full", 0, 0.1, 4000), make_record("dpq", 0, 0.2), make_record("dpq", 1, 0.3)]
    full, dpq = csv.DictReader(io.StringIO(to_csv(tabulate(records))))
    assert (dpq["label"], dpq["seeds"], dpq["bits"], dpq["full_bits"]) == ("dpq", "0 1", "1000", "4000")
    assert float(dpq["last train hit_rate@10 percent"]) == pytest.approx(25.0)
    assert float(dpq["hit_rate@10 minus full"]) == pytest.approx(10.0)
    assert (full["last train hit_rate@10 percent std"], full["hit_rate@10 minus full"]) == ("", "")
