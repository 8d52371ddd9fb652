"""Compressed copies of CTR models, their sizes, and their files."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from slimtable.artifact.file import read_artifact, write_artifact
from slimtable.embeddings.base import CompressedEmbedding, get_config, get_method, method_names
from slimtable.errors import ArtifactFormatError, BudgetError
from slimtable.methods.shared import Shared
from slimtable.models.ctr import CTRModel, ctr_model_names
from slimtable.training.ctr_trainer import CTRTrainConfig, CTRTrainer, evaluate_clicks, predict
from slimtable.training.field_compression import compress_fields, field_bits
from slimtable.training.packing import load_model, pack_model
from tests.contract.cases import without_graph
from tests.training.ctr_samples import SIZES, make_clicks, make_model

CONFIG = CTRTrainConfig(batch_size=64, learning_rate=0.01, row_learning_rate=0.1)
MIXED = {
    "user": get_config("shared", {"rows": "50%", "row_bits": 8}),
    "tags": get_config("mgqe", {"codebook_sizes": [4, 2], "num_codebooks": 1}),
}


def counts() -> dict[str, np.ndarray]:
    return dict(zip(SIZES, make_clicks().counts(list(SIZES.values())), strict=True))


def trained(name: str = "deepfm", num_numeric: int = 2) -> CTRModel:
    model = make_model(name, num_numeric=num_numeric)
    CTRTrainer(model, CONFIG).fit(make_clicks(num_numeric=num_numeric), epochs=2)
    return model


def test_copy_is_compressed_trains_and_leaves_the_model_alone() -> None:
    model, clicks = trained(), make_clicks()
    before = predict(model, clicks)
    smaller = compress_fields(model, {"user": get_config("shared", {"rows": "40%"})}, {"user": counts()["user"]})
    assert [table.method for table in smaller.fields.embeddings().values()] == ["shared", "full", "full"]
    assert smaller.linear.bias is not model.linear.bias
    damaged = evaluate_clicks(smaller, clicks)["log_loss"]
    losses = CTRTrainer(smaller, CONFIG).fit(clicks, epochs=2)
    assert losses[-1] < losses[0]
    assert evaluate_clicks(smaller, clicks)["log_loss"] < damaged
    np.testing.assert_array_equal(predict(model, clicks), before)


@pytest.mark.parametrize("method", method_names())
def test_every_method_compresses_fields(method: str) -> None:
    model, configs = trained("fm"), dict.fromkeys(SIZES, without_graph(method))
    if not get_method(method).signed:
        with pytest.raises(ValueError, match="without negative values"):
            compress_fields(model, configs, counts())
        return
    smaller = compress_fields(model, configs, counts())
    found = [table.method for table in smaller.fields.embeddings().values()]
    assert found == [method] * 3
    assert evaluate_clicks(smaller, make_clicks())["auc"] > 0.5


def test_frequencies_and_previous_tables_reach_the_method(monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[tuple[CompressedEmbedding, bool]] = []
    monkeypatch.setattr(
        Shared, "fit_", lambda self, table, context: seen.append((context.previous, context.frequencies is None))
    )
    model = trained("fm")
    first = compress_fields(model, MIXED, counts())
    assert seen == [(None, False)]
    compress_fields(model, {"user": MIXED["user"]}, {"user": counts()["user"]}, previous=first)
    assert seen[1:] == [(first.fields.embeddings()["user"], False)]


def test_sizes_are_those_of_the_file(tmp_path: Path) -> None:
    smaller = compress_fields(trained(), MIXED, counts())
    weights = field_bits(smaller)
    pack_model(smaller, tmp_path / "model.safetensors")
    opened = read_artifact(tmp_path / "model.safetensors")
    for field, packed in opened.tables.items():
        assert weights.bits[field] <= 8 * sum(a.nbytes for a in packed.arrays.values()) < weights.bits[field] + 64
    assert weights.other_bits == 8 * sum(tensor.nbytes for tensor in opened.tensors.values())
    assert weights.total == smaller.fields.bits() == sum(weights.bits.values())
    assert weights.dense_bits == 32 * 5 * sum(SIZES.values())
    rows = len(smaller.fields.embeddings()["user"].row_parameters()[0])
    assert weights.vectors == {"user": rows, "tags": 12, "hour": 6}
    assert weights.num_vectors == rows + 18 < sum(SIZES.values())
    assert weights.compression_ratio == weights.dense_bits / weights.total > 1
    assert field_bits(load_model(tmp_path / "model.safetensors")) == weights


@pytest.mark.parametrize("num_numeric", [0, 2])
@pytest.mark.parametrize("name", ctr_model_names())
def test_a_loaded_model_predicts_the_same(name: str, num_numeric: int, tmp_path: Path) -> None:
    clicks = make_clicks(num_numeric=num_numeric)
    smaller = compress_fields(trained(name, num_numeric), MIXED, counts())
    path = tmp_path / "model.safetensors"
    size = pack_model(smaller, path, about={"window": 3})
    assert path.stat().st_size == size
    loaded = load_model(path, verify=True)
    np.testing.assert_array_equal(predict(loaded, clicks), predict(smaller, clicks))
    assert loaded.fields.names == tuple(SIZES)
    assert not any(parameter.requires_grad for parameter in loaded.parameters())
    assert read_artifact(path).model["window"] == 3
    with pytest.raises(ValueError, match="Nothing in this model can be trained"):
        CTRTrainer(loaded)


def test_equal_models_give_equal_bytes(tmp_path: Path) -> None:
    for name in ("a", "b"):
        torch.manual_seed(0)
        smaller = compress_fields(trained(), MIXED, counts())
        CTRTrainer(smaller, CONFIG).fit(make_clicks())
        pack_model(smaller, tmp_path / name)
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()


def test_vocabularies(tmp_path: Path) -> None:
    path = tmp_path / "model.safetensors"
    texts = ["<oov>", *(f"tag {i}" for i in range(10))]
    raw = {"user": np.arange(100, 139), "tags": texts, "hour": [f"{i}h" for i in range(6)]}
    pack_model(make_model("fm"), path, raw)
    found = read_artifact(path).vocabularies
    assert list(found["user"])[:2] == [-(2**63), 100]
    assert list(found["tags"]) == ["<oov>_", *texts]
    assert list(found["hour"]) == raw["hour"]
    with pytest.raises(ValueError, match="of 30 values"):
        pack_model(make_model("fm"), path, {"user": np.arange(30)})
    with pytest.raises(ValueError, match="names film"):
        pack_model(make_model("fm"), path, {"film": np.arange(30)})


def test_files_of_something_else_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "model.safetensors"
    pack_model(make_model("fm"), path)
    opened = read_artifact(path)
    about = opened.model
    for wrong in (
        {},
        {**about, "click_model": "gmf"},
        {**about, "fields": ["user"]},
        {**about, "num_integers": -1},
        {**about, "num_integers": 5},
        {**about, "click_model": "dlrm"},
        {**about, "click_model_config": {"hidden": [3]}},
    ):
        write_artifact(tmp_path / "wrong", opened.tables, tensors=opened.tensors, model=wrong)
        with pytest.raises(ArtifactFormatError, match="holds no valid recommender"):
            load_model(tmp_path / "wrong")


def test_mistakes_name_the_field() -> None:
    model = make_model("fm")
    with pytest.raises(ValueError, match="names film"):
        compress_fields(model, {"film": get_config("full")})
    with pytest.raises(ValueError, match="field user cannot be compressed"):
        compress_fields(model, {"user": get_config("mgqe", {"num_codebooks": 3})})


def test_a_field_whose_budget_is_too_small_is_named() -> None:
    with pytest.raises(
        BudgetError, match=r"field user cannot be compressed as asked: A budget of 0\.1% is too small for 1 row"
    ):
        compress_fields(make_model("fm"), {"user": get_config("saec", {"budget": "0.1%"})})


def test_counts_may_be_unsigned() -> None:
    configs, counts = {"user": get_config("saec", {"num_rows": 9})}, np.arange(SIZES["user"])
    model = make_model("fm")
    signed, unsigned = (
        compress_fields(model, configs, {"user": counts.astype(kind)}) for kind in (np.int64, np.uint64)
    )
    assert torch.equal(signed.fields.tables[0].row_map(0), unsigned.fields.tables[0].row_map(0))
