"""Click-through-rate models over field tables, and how they are trained, tested and compressed."""

from slimtable.models.ctr import ClickModel, build_click_model, click_model_names
from slimtable.models.parts.fields import ClickBatch, FieldTables
from slimtable.training.ctr_packing import load_click_model, pack_click_model
from slimtable.training.ctr_trainer import ClickTrainConfig, ClickTrainer, evaluate_clicks, predict
from slimtable.training.distillation import soften
from slimtable.training.field_budget import compress_to_budget
from slimtable.training.field_compression import FieldBits, compress_fields, field_bits
from slimtable.training.sensitivity import measure_sensitivity

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
