from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from slimtable.artifact.file import read_artifact, write_artifact
from slimtable.errors import ArtifactChecksumError, ArtifactError, ArtifactValueError
from slimtable.grouping import Groups, Hash, RowMap, group
from slimtable.grouping.files import read_groups, read_raw_ids, write_groups
from tests.grouping.graphs import power_law


@pytest.fixture(scope="module")
def groups() -> Groups:
    return group(power_law(), "baco[gamma=0.7;sweeps=3]", seed=5)


def assert_same(left: RowMap, right: RowMap) -> None:
    np.testing.assert_array_equal(left.rows, right.rows)
    assert (left.secondary is None) == (right.secondary is None)
    if left.secondary is not None:
        np.testing.assert_array_equal(left.secondary, right.secondary)
    assert (left.num_rows, left.secondary_weight, left.computed) == (
        right.num_rows,
        right.secondary_weight,
        right.computed,
    )


def rewrite(source: Path, path: Path, tensors: dict[str, Any] | None = None, **about: Any) -> Path:
    """The same file with other tensors or statements."""
    opened = read_artifact(source)
    kept = {
        name: np.array(tensor) for name, tensor in {**opened.tensors, **(tensors or {})}.items() if tensor is not None
    }
    write_artifact(path, {}, tensors=kept, model={**opened.model, **about})
    return path


def test_what_is_read_is_what_was_written(groups: Groups, tmp_path: Path) -> None:
    path = tmp_path / "maps.safetensors"
    assert write_groups(path, groups) == path.stat().st_size
    read = read_groups(path)
    for side in ("user", "item"):
        assert_same(read.map_of(side), groups.map_of(side))
    assert (read.grouping, read.seed, read.statistics) == (groups.grouping, groups.seed, groups.statistics)
    assert read.users.secondary is not None
    assert read.items.secondary is None
    assert read_raw_ids(path) == {}


def test_equal_groups_give_equal_bytes(groups: Groups, tmp_path: Path) -> None:
    for name in ("a", "b"):
        write_groups(tmp_path / name, groups)
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()


def test_hashes_are_kept(groups: Groups, tmp_path: Path) -> None:
    hashed = RowMap.from_hash(groups.users.num_embeddings, Hash(a=5, b=3, head=2, first=2, count=20))
    write_groups(tmp_path / "maps", replace(groups, users=hashed))
    assert read_groups(tmp_path / "maps").users.bits() == 0
    assert_same(read_groups(tmp_path / "maps").users, hashed)
    wrong = (hashed.rows + 1) % hashed.num_rows
    with pytest.raises(ArtifactValueError, match="does not give its rows"):
        read_groups(rewrite(tmp_path / "maps", tmp_path / "forged", {"user.rows": wrong}))


def test_raw_ids_come_along(groups: Groups, tmp_path: Path) -> None:
    users = np.arange(groups.users.num_embeddings) * 3
    items = np.array([f"ä{item}" for item in range(groups.items.num_embeddings)])
    write_groups(tmp_path / "maps", groups, {"user": users, "item": items})
    found = read_raw_ids(tmp_path / "maps")
    assert found["user"].tolist() == users.tolist()
    assert list(found["item"]) == items.tolist()
    assert_same(read_groups(tmp_path / "maps").users, groups.users)


@pytest.mark.parametrize(
    ("tensors", "about", "message"),
    [
        ({}, {"kind": "something"}, "holds no row maps"),
        ({}, {"version": 2}, "need a newer slimtable"),
        ({"item.rows": None}, {}, "it lacks 'item.rows'"),
        ({"item.rows": np.full(200, 10**6, np.int32)}, {}, "must be in"),
        ({"item.rows": np.zeros(200, np.int64)}, {}, "must be int32"),
        ({"user.second": np.zeros(3, np.int32)}, {}, "one row for each"),
        ({}, {"grouping": "nonsense"}, "no grouping 'nonsense'"),
        ({}, {"seed": "1"}, "the seed '1' is no integer"),
        ({}, {"statistics": {}}, "it lacks 'users'"),
        ({}, {"user": {"num_rows": 0, "second_weight": 0.5, "hash": None}}, "must have 1 to 300 rows"),
        ({}, {"user": {"num_rows": 2**40, "second_weight": 0.5, "hash": None}}, "must have 1 to 300 rows"),
        ({}, {"grouping": 5}, "no grouping '5'"),
        ({}, {"seed": -1}, "the seed -1 is no integer of 0 or more"),
    ],
)
def test_files_that_mean_nothing_are_refused(
    groups: Groups, tmp_path: Path, tensors: dict[str, Any], about: dict[str, Any], message: str
) -> None:
    write_groups(tmp_path / "maps", groups)
    with pytest.raises(ArtifactValueError, match=message):
        read_groups(rewrite(tmp_path / "maps", tmp_path / "forged", tensors, **about))


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [("rows", "many", "'many' among the statistics"), ("sweeps", ["1"], "'1' among"), ("users", [], "mapping")],
)
def test_statistics_must_be_numbers(groups: Groups, tmp_path: Path, name: str, value: Any, message: str) -> None:
    write_groups(tmp_path / "maps", groups)
    statistics = {**groups.statistics.to_dict(), name: value}
    with pytest.raises(ArtifactValueError, match=message):
        read_groups(rewrite(tmp_path / "maps", tmp_path / "forged", statistics=statistics))


@pytest.mark.parametrize(
    "wrong", [{"count": 0}, {"a": -1}, {"a": 2**70}, {"a": 1.5}, {"a": True}, {"first": 2**40}, {"c": 1}, {"b": "x"}]
)
def test_forged_hashes_are_refused(groups: Groups, tmp_path: Path, wrong: dict[str, Any]) -> None:
    hashed = RowMap.from_hash(groups.users.num_embeddings, Hash(a=5, b=3, count=20))
    write_groups(tmp_path / "maps", replace(groups, users=hashed))
    about = read_artifact(tmp_path / "maps").model["user"]
    forged = {**about, "hash": {**about["hash"], **wrong}}
    with pytest.raises(ArtifactError, match=r"user\.hash"):
        read_groups(rewrite(tmp_path / "maps", tmp_path / "forged", user=forged))


def test_a_changed_byte_is_found(groups: Groups, tmp_path: Path) -> None:
    write_groups(tmp_path / "maps", groups)
    data = bytearray((tmp_path / "maps").read_bytes())
    data[-1] ^= 1
    (tmp_path / "maps").write_bytes(data)
    with pytest.raises(ArtifactChecksumError):
        read_groups(tmp_path / "maps")
