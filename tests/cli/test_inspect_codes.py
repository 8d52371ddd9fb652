"""``inspect --codes``: code health of artifacts and of codes that other programs made."""

from pathlib import Path

import numpy as np
import polars as pl
import pytest

from slimtable.artifact import write_artifact
from tests.artifact.artifact_samples import samples
from tests.cli.commands import Command

CODES = np.array([[0, 1], [0, 1], [3, 1], [2, 0]])


@pytest.fixture
def several(tmp_path: Path) -> Path:
    tables = samples()
    path = tmp_path / "several.safetensors"
    write_artifact(path, {"item": tables["tiers-own-codebooks"], "user": tables["scaled-row"]})
    return path


def test_code_health_of_an_artifact(must: Command, several: Path) -> None:
    found = must("inspect", several, "--codes", "--json").json["tables"]
    assert [(group["name"], group["num_ids"]) for group in found["item"]["groups"]] == [("tier 0", 10), ("tier 1", 90)]
    book = found["item"]["groups"][1]["codebooks"][0]
    assert book["codebook_size"] == 10
    assert book["used"] + book["dead"] == 10
    assert found["user"] == {"no_collision_rate": None, "groups": [], "warnings": []}
    shown = must("inspect", several, "--codes").out
    assert "item, tier 1: 90 ids" in shown
    assert "user: no codebooks" in shown


@pytest.mark.parametrize(
    "columns",
    [
        {"item_id": [7, 8, 9, 10], "codes": CODES.tolist()},
        {"codes": pl.Series(CODES.tolist(), dtype=pl.Array(pl.Int32, 2))},
        {"item_id": [7, 8, 9, 10], "first": CODES[:, 0], "second": CODES[:, 1], "title": list("abcd")},
    ],
    ids=["lists", "arrays", "columns"],
)
def test_parquet_and_npy_agree(must: Command, tmp_path: Path, columns) -> None:
    np.save(tmp_path / "codes.npy", CODES)
    pl.DataFrame(columns).write_parquet(tmp_path / "codes.parquet")
    found = [must("inspect", tmp_path / f"codes.{end}", "--codes", "--json").json for end in ("npy", "parquet")]
    assert found[0]["tables"] == found[1]["tables"]
    (group,) = found[0]["tables"]["codes"]["groups"]
    assert (group["distinct_tuples"], group["no_collision_rate"], group["largest_collision"]) == (3, 0.5, 2)
    assert [book["codebook_size"] for book in group["codebooks"]] == [4, 4]


def test_the_codebook_size_of_a_file(must: Command, tmp_path: Path) -> None:
    np.save(tmp_path / "codes.npy", CODES)
    told = must("inspect", tmp_path / "codes.npy", "--codes").out
    assert "the largest code + 1; --codebook-size sets them" in told
    found = must("inspect", tmp_path / "codes.npy", "--codes", "--codebook-size", 8, "--json").json
    assert found["tables"]["codes"]["groups"][0]["codebooks"][0]["used_fraction"] == 3 / 8


@pytest.mark.parametrize(
    ("columns", "words"),
    [
        ({"codes": [[1, 2], [3]]}, "as many integers"),
        ({"codes": [[1, 2], None]}, "as many integers"),
        ({"codes": [[1, None], [3, 4]]}, "as many integers"),
        ({"codes": [["a"], ["b"]]}, "as many integers"),
        ({"codes": [[1], [2]], "more": [[1], [2]]}, "several columns of lists"),
        ({"item_id": [1, 2], "title": ["a", "b"]}, "no integer columns"),
        ({"a": [1, None]}, "without a code"),
    ],
)
def test_parquet_files_that_hold_no_codes(slimtable: Command, tmp_path: Path, columns, words: str) -> None:
    pl.DataFrame(columns).write_parquet(tmp_path / "codes.parquet")
    outcome = slimtable("inspect", tmp_path / "codes.parquet", "--codes")
    assert (outcome.code, outcome.out) == (2, "")
    assert words in outcome.err


def test_what_cannot_be_inspected(slimtable: Command, several: Path, tmp_path: Path) -> None:
    np.save(tmp_path / "codes.npy", CODES)
    np.save(tmp_path / "floats.npy", CODES / 2)
    (tmp_path / "cut.npy").write_bytes((tmp_path / "codes.npy").read_bytes()[:100])
    for words, message in (
        ((tmp_path / "codes.npy", "--codes", "--codebook-size", 3), "Code 0 of id 2 is 3"),
        ((tmp_path / "floats.npy", "--codes"), "must be integers"),
        ((tmp_path / "cut.npy", "--codes"), "not a readable .npy file"),
        ((tmp_path / "none.npy", "--codes"), "There is no file"),
        ((several, "--codes", "--codebook-size", 3), "Leave --codebook-size out"),
        ((several, "--codebook-size", 3), "needs --codes"),
    ):
        outcome = slimtable("inspect", *words)
        assert (outcome.code, outcome.out) == (2, "")
        assert message in outcome.err
