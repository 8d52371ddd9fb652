"""Train DeepFM on clicks in time order, make its tables 27 times smaller, retrain, pack, and predict from the file.

Run it with `python examples/compress_ctr.py`; it takes some seconds.
"""

import tempfile
from pathlib import Path

import torch

from slimtable.data.clicks.windows import concatenate_clicks, encode_windows
from slimtable.models import ctr as model
from slimtable.pipeline.compression import choose_configs
from slimtable.pipeline.settings import CompressSettings
from slimtable.training import ctr_trainer as train
from slimtable.training import distillation as distill
from slimtable.training import field_compression as compress
from slimtable.training import packing, sensitivity

torch.set_num_threads(1)
windows, sizes = encode_windows("synthetic-ctr:60000", 6)  # or "movietweetings-ctr", "criteo"; ids as values appear
known = sizes[4]  # ids of each field after window 4; what is new in window 5 is id 0, out of vocabulary
clicks, test = concatenate_clicks(windows[:5]), windows[5].with_known(known)
torch.manual_seed(0)
full = model.build_ctr_model("deepfm", known, clicks.numeric.shape[1], embedding_dim=16)
train.CTRTrainer(full, train.CTRTrainConfig(epochs=3, batch_size=256, row_learning_rate=0.1)).fit(clicks)

models, counts = {"uncompressed": full}, dict(zip(known, clicks.counts(known), strict=True))
costs = sensitivity.measure_sensitivity(full, clicks)  # what errors cost, in each direction of each field's vectors
for name, cost in {"compressed, all errors alike": None, "compressed, errors by cost": costs}.items():
    configs = choose_configs(CompressSettings(budget="3.7%"), full, counts, cost)  # splits the budget over the fields
    models[name] = compress.compress_fields(full, configs, counts, sensitivity=cost)
models["… and retrained"] = small = compress.compress_fields(models[name], {})  # a copy, tables as they are
gently = train.CTRTrainConfig(learning_rate=3e-4, row_optimizer="adam", row_learning_rate=1e-3)
train.CTRTrainer(small, gently).fit(distill.soften(clicks, full))  # labels are what the uncompressed model predicts

for name, each in models.items():
    found, size = train.evaluate_clicks(each, test), compress.field_bits(each)
    print(f"{name:<28} AUC {found['auc']:.3f}, log loss {found['log_loss']:.3f}, {size.total // 8:6,} bytes of tables")
with tempfile.TemporaryDirectory() as folder:
    packing.pack_model(small, Path(folder) / "ctr.safetensors")
    served = packing.load_model(Path(folder) / "ctr.safetensors", verify=True)
same = (train.predict(served, test) == train.predict(small, test)).all()
print("predictions from the file equal those of the model:", bool(same))
