"""`slimtable export`: what it writes, and what it refuses."""

from __future__ import annotations

from pathlib import Path

import pytest

from slimtable.artifact.file import write_artifact
from slimtable.cli.export import Form
from slimtable.export import EXPORTERS, export_table
from tests.artifact.quantized_samples import quantized
from tests.cli.commands import Command


def test_the_command(must: Command, slimtable: Command, tmp_path: Path) -> None:
    write_artifact(tmp_path / "a.safetensors", {"t": quantized()})
    words = ["export", tmp_path / "a.safetensors", "--format", "parquet", "--out", tmp_path / "o.parquet"]
    files = must(*words, "--json").json["files"]
    assert files == [str(tmp_path / "o.parquet"), str(tmp_path / "o.parquet.codebooks.npz")]
    assert "exists" in slimtable(*words).err
    assert "o.parquet: " in must(*words, "--force").out
    assert "is a folder" in slimtable(*words[:-1], tmp_path, "--force").err
    with pytest.raises(ValueError, match="'csv' is not a format"):
        export_table(tmp_path / "a.safetensors", tmp_path / "out", "csv")


def test_all_formats_are_offered() -> None:
    assert [form.value for form in Form] == list(EXPORTERS)
