from __future__ import annotations

import json
from pathlib import Path

import pytest

from slimtable.bench.results import ResultsFile, identity_of, read_results, setting_of
from slimtable.errors import SlimtableError
from tests.bench.samples import make_record, write_records


def test_appended_records_are_read_back(tmp_path: Path) -> None:
    records = [make_record("full", seed, 0.1) for seed in range(3)]
    with ResultsFile(tmp_path) as results:
        for record in records:
            results.append(record)
        assert all(identity_of(record) in results for record in records)
    assert read_results(tmp_path) == records


def test_a_run_is_never_written_twice(tmp_path: Path) -> None:
    record = make_record("dpq", 1, 0.1)
    with ResultsFile(write_records(tmp_path, record)) as results, pytest.raises(ValueError, match=r"dpq, seed 1"):
        results.append({**record, "date": "2027-01-01T00:00:00+00:00"})
    assert read_results(tmp_path) == [record]


@pytest.mark.parametrize("torn", [b'{"data": "ml', b"\x00\x00", json.dumps(make_record("dpq", 0, 0.2)).encode()])
def test_a_line_that_was_cut_off_is_dropped(tmp_path: Path, torn: bytes) -> None:
    first, second = make_record("full", 0, 0.1), make_record("full", 1, 0.3)
    path = write_records(tmp_path, first) / "results.jsonl"
    path.write_bytes(path.read_bytes() + torn)
    assert read_results(tmp_path) == [first]
    with ResultsFile(tmp_path) as results:
        results.append(second)
    assert [json.loads(line) for line in path.read_text().splitlines()] == [first, second]


@pytest.mark.parametrize("line", ["no json", "{}", "[1]", "3"])
def test_a_damaged_line_is_named(tmp_path: Path, line: str) -> None:
    path = write_records(tmp_path, make_record("full", 0, 0.1)) / "results.jsonl"
    path.write_text(path.read_text() + line + "\n")
    before = path.read_bytes()
    for read in (read_results, ResultsFile):
        with pytest.raises(SlimtableError, match=r"Line 2 of .*results\.jsonl is not a finished run"):
            read(tmp_path)
    assert path.read_bytes() == before


def test_a_run_that_stands_there_twice_is_named(tmp_path: Path) -> None:
    write_records(tmp_path, make_record("full", 0, 0.1), make_record("dpq", 0, 0.1), make_record("full", 0, 0.2))
    with pytest.raises(SlimtableError, match="Lines 1 and 3"):
        read_results(tmp_path)


def test_one_bench_at_a_time(tmp_path: Path) -> None:
    with ResultsFile(tmp_path), pytest.raises(SlimtableError, match="Another bench is writing"):
        ResultsFile(tmp_path)
    with ResultsFile(tmp_path) as results:
        assert results.records == []


def test_an_empty_folder_has_no_results(tmp_path: Path) -> None:
    with pytest.raises(SlimtableError, match="no finished run"):
        read_results(tmp_path)


def test_identity_tells_seeds_methods_and_training_apart_and_setting_only_training() -> None:
    record = make_record("full", 0, 0.1)
    longer = {**record, "train": {**record["train"], "epochs": 3}}
    others = [make_record("full", 1, 0.1), make_record("full[init_std=0.1]", 0, 0.1)]
    assert len({identity_of(one) for one in (record, longer, *others)}) == 4
    assert len({setting_of(one) for one in (record, *others)}) == 1
    assert setting_of(longer) != setting_of(record)
    assert identity_of({**record, "date": "later", "bits": 1}) == identity_of(record)
