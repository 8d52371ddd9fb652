"""Window files of a synthetic log: what is written is what is read back."""

from __future__ import annotations

import numpy as np
import pytest

from slimtable.cli import main
from slimtable.data.clicks.raw import concatenate
from slimtable.data.clicks.windows import raw_windows
from slimtable.data.clicks.writer import write_windows
from slimtable.data.datasets import load_click_dataset, make_synthetic_clicks
from tests.data.clicks.test_reader import cells


@pytest.mark.parametrize("format", ["csv", "parquet"])
def test_what_is_written_is_read_back(tmp_path, format):
    dataset = make_synthetic_clicks(600, windows=4)
    paths = write_windows(dataset, tmp_path / "log", format=format, poison=[2])
    assert [path.name for path in paths] == [f"window-000{i}.{format}" for i in range(4)]
    back = load_click_dataset(tmp_path / "log")
    assert [field.name for field in back.schema.fields] == [field.name for field in dataset.schema.fields]
    raw, read = concatenate(list(dataset.chunks())), concatenate(list(back.chunks()))
    expected = raw.labels.copy()
    expected[300:450] = 1 - expected[300:450]  # the poisoned window
    assert (read.labels == expected).all()
    assert (read.times == raw.times).all()
    assert (read.numeric == raw.numeric).all()
    for ours, theirs in zip(read.fields, raw.fields, strict=True):
        expected = cells(theirs)
        if format == "csv" and theirs.offsets is None:
            expected = list(map(str, expected))  # a csv file has no integers
        assert cells(ours) == expected


def test_windows_of_the_files_are_windows_of_the_log(tmp_path):
    dataset = make_synthetic_clicks(100, windows=3)
    write_windows(dataset, tmp_path)
    sizes = [len(window) for window in raw_windows(dataset)]
    assert [len((tmp_path / f"window-000{i}.csv").read_text().splitlines()) - 1 for i in range(3)] == sizes


def test_wrong_arguments(tmp_path):
    with pytest.raises(ValueError, match="`poison` names window 3, but they are 0 to 2"):
        write_windows(make_synthetic_clicks(100, windows=3), tmp_path, poison=[3])
    with pytest.raises(ValueError, match="unknown format"):
        write_windows(make_synthetic_clicks(100, windows=3), tmp_path, format="xml")


def test_the_command(tmp_path, capsys):
    words = ["data", "make-clicks", "--rows", "200", "--windows", "4", "--poison", "1", "--out", str(tmp_path / "log")]
    assert main(words) == 0
    assert "200 impressions in 4 windows" in capsys.readouterr().out
    labels = np.concatenate([chunk.labels for chunk in load_click_dataset(tmp_path / "log").chunks()])
    truth = next(make_synthetic_clicks(200, windows=4).chunks()).labels
    assert np.flatnonzero(labels != truth).tolist() == list(range(50, 100))
    assert main(words) == 2
    assert "exists and is not an empty folder" in capsys.readouterr().err
    assert main(["data", "list", "--data-root", str(tmp_path)]) == 0
    listed = capsys.readouterr().out
    assert "synthetic-ctr" in listed
    assert "movietweetings-ctr" in listed
