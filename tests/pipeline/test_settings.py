"""What a pipeline is told, and what it takes for granted."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from slimtable.errors import SlimtableError
from slimtable.methods.saec import SaecConfig
from slimtable.pipeline import read_settings
from slimtable.pipeline.settings import CompressSettings, PipelineSettings
from tests.pipeline.samples import write_settings


def settings(**others: Any) -> PipelineSettings:
    return PipelineSettings.model_validate({"state": "state", "data": {"path": "windows"}, **others})


@pytest.mark.parametrize(
    ("given", "options"),
    [
        ({}, {"row_bits": 8}),
        ({"method": "saec"}, {"row_bits": 8}),
        ({"options": {"head": 0.1}}, {"row_bits": 8, "head": 0.1}),
        ({"options": {"row_bits": 32}}, {"row_bits": 32}),
        ({"method": "uniform", "budget": None}, {}),
        ({"method": "uniform", "options": {"bits": 4}, "budget": None}, {"bits": 4}),
    ],
)
def test_rows_have_eight_bits_unless_told_otherwise(given: dict[str, Any], options: dict[str, Any]) -> None:
    compress = CompressSettings.model_validate(given)
    assert compress.options == options
    assert CompressSettings.model_validate(compress.model_dump()) == compress
    if isinstance(compress.config, SaecConfig):
        assert compress.config.row_bits == options["row_bits"]


def test_retraining_takes_small_steps_whatever_training_takes() -> None:
    train = {"row_optimizer": "adagrad", "row_learning_rate": 0.5, "batch_size": 7}
    own = settings(train=train).retrain_config
    assert (own.learning_rate, own.row_optimizer, own.row_learning_rate, own.batch_size) == (3e-4, "adam", 1e-3, 7)
    assert own.table_learning_rate == own.row_learning_rate
    same = {"learning_rate": None, "row_optimizer": None, "row_learning_rate": None}
    assert settings(train=train, retrain=same).retrain_config == settings(train=train).train_config


def test_settings_of_compression_decide_whether_groups_are_continued() -> None:
    keys = [settings(compress=own).compression_key() for own in ({}, {"sensitivity": False}, {"max_row_share": 0.5})]
    assert keys[0] != keys[1]
    assert keys[0] != keys[2]
    assert keys[0] == settings(compress={"recluster_every": 3}).compression_key()
    assert keys[2] == settings(compress={"most_rows": 0.5}).compression_key()  # as earlier versions called it
    assert keys[2]["most_rows"] == 0.5  # as their journals do


@pytest.mark.parametrize(
    ("others", "message"),
    [
        (
            {"shema": "a.yaml"},
            r"unknown key `shema`\. Did you mean schema\? Known keys there: state, data, schema, model,",
        ),
        ({"retrain": {"teacher": 1.5}}, r"`retrain\.teacher`: Input should be less than or equal to 1, got 1\.5"),
        ({"compress": {"stages": [0]}}, r"`compress\.stages\.0`"),
        ({"compress": {"stages": [1, 2], "budget": None}}, "`stages` and `max_row_share` need a `budget`"),
        ({"compress": {"method": "dpq", "max_row_share": 0.5}}, "`stages` and `max_row_share` need a `budget`"),
    ],
)
def test_mistakes_are_one_line(tmp_path: Path, others: dict[str, Any], message: str) -> None:
    path = write_settings(tmp_path, **{**others, "compress": {"options": {}, **others.get("compress", {})}})
    with pytest.raises(SlimtableError, match=message) as caught:
        read_settings(path)
    assert "\n" not in str(caught.value)
    assert "log_schema" not in str(caught.value)


def test_the_loop_does_not_load_what_draws_pictures() -> None:
    script = "import sys, slimtable.pipeline; print('matplotlib' in sys.modules, 'slimtable.bench' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["False", "False"]
