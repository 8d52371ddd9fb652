"""The history of a state folder: whole lines, one for each window."""

from __future__ import annotations

from pathlib import Path

import pytest

from slimtable.errors import CheckpointError, SlimtableError
from slimtable.pipeline.history import HISTORY, History, read_history


def test_lines_are_read_as_they_were_appended(tmp_path: Path) -> None:
    history = History(tmp_path, 0)
    for window in range(3):
        history.append({"window": window, "auc": 0.5 + window})
    assert read_history(tmp_path) == history.records == [{"window": w, "auc": 0.5 + w} for w in range(3)]
    assert History(tmp_path, 3).records == history.records


def test_what_the_journal_does_not_know_is_dropped(tmp_path: Path) -> None:
    history = History(tmp_path, 0)
    for window in range(3):
        history.append({"window": window})
    with (tmp_path / HISTORY).open("a") as file:
        file.write('{"window": 3, "cut o')
    assert len(read_history(tmp_path)) == 3
    again = History(tmp_path, 2)  # a kill leaves one line at most that the journal does not know
    again.append({"window": 2, "anew": True})
    assert read_history(tmp_path) == [{"window": 0}, {"window": 1}, {"window": 2, "anew": True}]


def test_damage_is_said(tmp_path: Path) -> None:
    (tmp_path / HISTORY).write_text('{"window": 0}\nnonsense\n')
    with pytest.raises(CheckpointError, match="Line 2"):
        read_history(tmp_path)
    (tmp_path / HISTORY).write_text('{"window": 0}\n')
    with pytest.raises(CheckpointError, match="1 of 2 windows"):
        History(tmp_path, 2)
    with pytest.raises(SlimtableError, match="not the state folder"):
        read_history(tmp_path / "nowhere")
    (tmp_path / HISTORY).write_text('{"window": 0}\n{"window": 1}\n{"window": 2}\n')
    with pytest.raises(CheckpointError, match=r"has 3 windows, but the journal has 1\."):
        History(tmp_path, 1)
    assert len(read_history(tmp_path)) == 3
