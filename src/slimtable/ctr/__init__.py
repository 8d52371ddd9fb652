"""Click-through-rate models over field tables, and how they are trained, tested and compressed."""

from slimtable.models.ctr import CTRModel, build_ctr_model, ctr_model_names
from slimtable.models.parts.fields import CTRBatch, FieldTables
from slimtable.training.ctr_packing import load_ctr_model, pack_ctr_model
from slimtable.training.ctr_trainer import CTRTrainConfig, CTRTrainer, evaluate_clicks, predict
from slimtable.training.distillation import soften
from slimtable.training.field_budget import compress_to_budget
from slimtable.training.field_compression import FieldBits, compress_fields, field_bits
from slimtable.training.sensitivity import measure_sensitivity

__all__ = [
    "CTRBatch",
    "CTRModel",
    "CTRTrainConfig",
    "CTRTrainer",
    "FieldBits",
    "FieldTables",
    "build_ctr_model",
    "compress_fields",
    "compress_to_budget",
    "ctr_model_names",
    "evaluate_clicks",
    "field_bits",
    "load_ctr_model",
    "measure_sensitivity",
    "pack_ctr_model",
    "predict",
    "soften",
]
