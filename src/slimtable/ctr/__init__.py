"""Click-through-rate models over field tables, and how they are trained, tested and compressed."""

from slimtable.ctr.budget import compress_to_budget
from slimtable.ctr.compress import FieldBits, compress_fields, field_bits
from slimtable.ctr.distill import soften
from slimtable.ctr.fields import ClickBatch, FieldTables
from slimtable.ctr.model import ClickModel, build_click_model, click_model_names
from slimtable.ctr.packing import load_click_model, pack_click_model
from slimtable.ctr.sensitivity import measure_sensitivity
from slimtable.ctr.train import ClickTrainConfig, ClickTrainer, evaluate_clicks, predict

__all__ = [
    "ClickBatch",
    "ClickModel",
    "ClickTrainConfig",
    "ClickTrainer",
    "FieldBits",
    "FieldTables",
    "build_click_model",
    "click_model_names",
    "compress_fields",
    "compress_to_budget",
    "evaluate_clicks",
    "field_bits",
    "load_click_model",
    "measure_sensitivity",
    "pack_click_model",
    "predict",
    "soften",
]
