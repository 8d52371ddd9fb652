from __future__ import annotations

from pathlib import Path

import numpy as np
import polars as pl
import pytest

from slimtable.grouping.files import read_groups, read_raw_ids
from tests.cli.commands import Command

SMALL = ["group", "--data", "synthetic:3000"]


@pytest.fixture
def edges(tmp_path: Path) -> Path:
    generator = np.random.default_rng(0)
    users, items = (90 * generator.random((2, 2000)) ** 2).astype(np.int64)
    pl.DataFrame({"user": users, "item": 5 * items}).write_parquet(tmp_path / "edges.parquet")
    return tmp_path / "edges.parquet"


def test_statistics_and_file_agree(must: Command, tmp_path: Path) -> None:
    path = tmp_path / "maps.safetensors"
    found = must(*SMALL, "--gamma", 0.5, "--seed", 3, "--dim", 16, "--out", path, "--json").json
    groups = read_groups(path)
    assert found["grouping"] == "baco[gamma=0.5]"
    assert groups.seed == found["seed"] == 3
    assert found["statistics"] == groups.statistics.to_dict()
    assert found["statistics"]["rows"] == groups.num_rows == found["statistics"]["sweeps"][-1]
    assert (groups.users.num_embeddings, groups.items.num_embeddings) == (found["users"], found["items"])
    sizes = found["size"]
    assert sizes["bits"] == 32 * 16 * groups.num_rows + groups.users.bits() + groups.items.bits()
    assert sizes["parameters"] == 16 * groups.num_rows + groups.users.num_secondary
    assert sizes["full_parameters"] == 16 * (found["users"] + found["items"])
    assert len(read_raw_ids(path)["user"]) == found["users"]


def test_the_text_says_what_the_json_says(must: Command) -> None:
    found = must(*SMALL, "--gamma", 0.5, "--json").json
    text = must(*SMALL, "--gamma", 0.5).out
    statistics = found["statistics"]
    assert "rows after each sweep: " + ", ".join(f"{rows:,}" for rows in statistics["sweeps"]) in text
    assert f"rows: {statistics['rows']:,}, {statistics['rows_percent']:.2f}% of all" in text
    assert f"{found['size']['parameters']:,} parameters, {found['size']['parameters_percent']:.2f}%" in text


def test_a_seed_gives_one_answer(must: Command, tmp_path: Path) -> None:
    for name in ("a", "b"):
        must(*SMALL, "--gamma", 0.5, "--out", tmp_path / name, "--json")
    np.testing.assert_array_equal(read_groups(tmp_path / "a").users.rows, read_groups(tmp_path / "b").users.rows)


def test_options_can_be_given_in_three_ways(must: Command) -> None:
    ways = [
        ("--grouping", "baco[gamma=0.5;sweeps=2]"),
        ("--set", "gamma=0.5", "--set", "sweeps=2"),
        ("--gamma", "0.5", "--set", "sweeps=2"),
    ]
    found = [must(*SMALL, *way, "--json").json for way in ways]
    assert {each["grouping"] for each in found} == {"baco[gamma=0.5;sweeps=2]"}
    assert len({tuple(each["statistics"]["sweeps"]) for each in found}) == 1


@pytest.mark.parametrize(
    ("option", "text"),
    [("--rows", "60%"), ("--rows", "70rows"), ("--rows", "70"), ("--budget", "7kB"), ("--budget", "2x")],
)
def test_budgets_are_kept(must: Command, option: str, text: str) -> None:
    found = must(*SMALL, option, text, "--dim", 16, "--json").json
    ids = found["users"] + found["items"]
    size = {"60%": 0.6 * ids, "70rows": 70, "70": 70, "7kB": 7000, "2x": 2 * 16 * ids}[text]
    used = found["size"]["bytes"] if option == "--budget" else found["statistics"]["rows"]
    assert 0.9 * size < used <= size


def test_what_is_grouped_by(must: Command) -> None:
    edges = {words: must(*SMALL, "--gamma", 1, "--json", *words).json["edges"] for words in _USES}
    whole = edges["--use", "all"]
    assert edges[()] == edges["--split", "random"] < whole  # a seeded 80 %
    assert 0.75 * whole < edges[()] < 0.9 * whole
    assert edges["--split", "leave-two-out"] not in (edges[()], whole)


_USES: list[tuple[str, ...]] = [(), ("--use", "all"), ("--split", "random"), ("--split", "leave-two-out")]


def test_edges_in_files_are_sorted_once(must: Command, slimtable: Command, edges: Path, tmp_path: Path) -> None:
    folder = tmp_path / "graph"
    words = ["group", "--gamma", 0.5, "--json", "--data"]
    first = must(*words, edges, "--graph-folder", folder).json
    made = (folder / "user_items.npy").stat().st_mtime_ns
    second = must(*words, edges, "--graph-folder", folder).json
    third = must(*words, folder).json
    in_memory = must(*words, edges, "--use", "all").json
    assert (folder / "user_items.npy").stat().st_mtime_ns == made
    for found in (second, third, in_memory):
        assert found["statistics"]["sweeps"] == first["statistics"]["sweeps"]
        assert found["repeated_edges"] == first["repeated_edges"] > 0
    for option, value in (("--split", "random"), ("--use", "train")):
        outcome = slimtable(*words, folder, option, value)
        assert outcome.code == 2
        assert f"{option} " in outcome.err
        assert "needs the data in memory" in outcome.err
    pl.read_parquet(edges).head(100).write_parquet(edges)
    outcome = slimtable(*words, edges, "--graph-folder", folder)
    assert outcome.code == 2
    assert "the source has changed" in outcome.err


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ((), "needs `gamma` or a number of rows"),
        (("--gamma", -1), "must not be negative"),
        (("--grouping", "nonsense"), "no grouping 'nonsense'. Known groupings: "),
        (("--gamma", 1, "--set", "gamma=2"), "Give one of them"),
        (("--gamma", 1, "--rows", "50%"), "baco determines gamma from a budget"),
        (("--rows", "50%", "--budget", "50%"), "Give one of them"),
        (("--budget", "101%"), "more than the float32 table"),
        (("--rows", "101%"), "more rows than ids"),
        (("--gamma", 1, "--out", "absent/maps"), "a folder that exists"),
        (("--set", "colour=red"), "no option colour"),
        (("--rows", "1rows"), "must allow at least one row of users and one of items"),
        (("--rows", "100%"), "nothing is shared"),
        (("--budget", "much"), "is not a budget"),
        (("--budget", "10B"), "The smallest budget is"),
        (("--gamma", 1, "--use", "all", "--split", "random"), "--use all takes no --split"),
        (("--gamma", 1, "--split", "fixed"), "brings no test part"),
    ],
)
def test_mistakes_are_one_line(slimtable: Command, words: tuple[object, ...], message: str) -> None:
    outcome = slimtable(*SMALL, *words)
    assert outcome.code == 2
    assert outcome.out == ""
    assert message in outcome.err
    assert outcome.err.startswith("error: ")
    assert outcome.err.count("\n") == 1


def test_budgets_in_bytes_are_kept_whatever_the_split(must: Command) -> None:
    """Near the sizes at which a map needs one more bit, a guess of the split may be wrong."""
    for kilobytes in range(7, 27):
        found = must(*SMALL, "--budget", f"{kilobytes}kB", "--json").json
        assert 0.9 * 1000 * kilobytes < found["size"]["bytes"] <= 1000 * kilobytes


def test_files_are_not_replaced_unasked(slimtable: Command, must: Command, tmp_path: Path) -> None:
    (tmp_path / "maps").write_text("precious")
    words = [*SMALL, "--gamma", 0.5, "--out", tmp_path / "maps"]
    assert slimtable(*words).code == 2
    assert (tmp_path / "maps").read_text() == "precious"
    must(*words, "--force")
    assert read_groups(tmp_path / "maps").num_rows > 2


def test_gowalla_as_published(must: Command, real_data: Path) -> None:
    words = ["--data-root", real_data, "--grouping", "baco", "--gamma", 7.57, "--use", "train", "--json"]
    found = must("group", "--data", "gowalla", *words).json
    assert found["edges"] == 810_128
    expected = [34_200, 21_800, 16_100, 12_900, 11_100]
    assert all(
        abs(rows / wanted - 1) < 0.03 for rows, wanted in zip(found["statistics"]["sweeps"], expected, strict=True)
    )
    assert 93 < found["statistics"]["second_users_percent"] < 97


@pytest.mark.parametrize("kept", [False, True])
@pytest.mark.parametrize("wrong", ["-1", "1.5", ""])
def test_ids_that_are_none_are_refused(slimtable: Command, tmp_path: Path, wrong: str, kept: bool) -> None:
    path = tmp_path / "edges.csv"
    path.write_text(f"user,item\n1,2\n{wrong},3\n2,3\n")
    words = ["--graph-folder", tmp_path / "graph"] if kept else ["--use", "all"]
    outcome = slimtable("group", "--data", path, "--gamma", 1, *words)
    assert outcome.code == 2
    assert "user id" in outcome.err
    assert not (tmp_path / "graph").exists()
