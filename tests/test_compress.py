"""Compressing what is already trained."""

from __future__ import annotations

import pickle

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from torch import nn

from slimtable.artifact.file import write_artifact
from slimtable.artifact.layouts import decode
from slimtable.compress import compress_, compress_table, read_table
from slimtable.embeddings.base import EmbeddingTable
from slimtable.embeddings.frozen import FrozenEmbedding, freeze_
from slimtable.errors import BudgetError
from slimtable.methods.dpq import DPQ, DPQConfig
from slimtable.methods.full import FullConfig
from slimtable.methods.mgqe import MGQEConfig
from slimtable.methods.saec import SaecConfig
from slimtable.methods.uniform import UniformConfig


class TwoTowers(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.user = nn.Embedding(200, 16)
        self.item = nn.Embedding(100, 16, padding_idx=0)
        self.tied = self.item
        self.dense = nn.Linear(16, 1)

    def forward(self, users: torch.Tensor, items: torch.Tensor) -> torch.Tensor:
        return self.dense(self.user(users) * self.item(items))


@pytest.fixture
def model() -> TwoTowers:
    return TwoTowers().eval()


def test_tables_become_small_and_stay_close(model) -> None:
    users, items = torch.arange(90), torch.arange(90)
    before = model(users, items)
    assert compress_(model, UniformConfig(bits=8)) is model
    assert isinstance(model.user, FrozenEmbedding)
    assert model.item is model.tied
    assert not list(model.user.parameters())
    torch.testing.assert_close(model(users, items), before, rtol=0, atol=0.05)
    assert model.user.compression_ratio() == pytest.approx(4, rel=0.1)
    assert not model.item(torch.tensor(0)).any()


def test_filter_and_frequencies(model) -> None:
    counts = torch.arange(200)
    compress_(
        model, MGQEConfig(codebook_sizes=(64, 4)), lambda module, name: name == "user", frequencies={"user": counts}
    )
    assert isinstance(model.user, EmbeddingTable)
    assert isinstance(model.item, nn.Embedding)
    assert "tiers" in model.user.pack().arrays


def test_trainable_tables_can_be_fine_tuned(model) -> None:
    model.train()
    compress_(model, DPQConfig(num_codebooks=4, codebook_size=16), trainable=True)
    assert isinstance(model.user, DPQ)
    assert model.user.training
    (model(torch.arange(5), torch.arange(5)).sum() + model.user.penalty()).backward()
    assert model.user.table.grad.any()
    freeze_(model)
    assert isinstance(model.user, FrozenEmbedding)


def test_float_type_of_the_model_is_kept(model) -> None:
    model.half()
    compress_(model, UniformConfig())
    assert model.user(torch.tensor([1])).dtype == torch.float16


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda m: m.user.weight.data.fill_(float("nan")), "Table user: The table holds NaN"),
        (lambda m: setattr(m.user, "max_norm", 1.0), "max_norm"),
        (lambda m: m.item.weight.data.fill_(1.0), "Table item: The row of padding_idx=0 is not zeros"),
    ],
)
def test_nothing_is_skipped_and_nothing_half_done(model, change, message) -> None:
    change(model)
    with pytest.raises(ValueError, match=message):
        compress_(model, UniformConfig())
    assert isinstance(model.user, nn.Embedding)
    assert isinstance(model.item, nn.Embedding)


def test_no_table_to_compress(model) -> None:
    with pytest.raises(ValueError, match="no embedding table"):
        compress_(model, UniformConfig(), lambda module, name: False)
    with pytest.raises(ValueError, match="frequencies names nobody"):
        compress_(model, UniformConfig(), frequencies={"nobody": torch.ones(3)})
    with pytest.raises(ValueError, match="compressed tables inside"):
        freeze_(model)


def test_one_table(tmp_path) -> None:
    table = np.random.default_rng(0).standard_normal((300, 16)).astype(np.float32)
    packed = compress_table(table, UniformConfig(bits=6))
    assert np.abs(decode(packed, np.arange(300)) - table).max() < 0.1
    with pytest.raises(ValueError, match="NaN"):
        compress_table(np.full((3, 2), np.nan), UniformConfig())


def test_tables_from_files(tmp_path) -> None:
    table = np.arange(12, dtype=np.float32).reshape(4, 3)
    np.save(tmp_path / "a.npy", table)
    torch.save({"user.weight": torch.from_numpy(table), "bias": torch.zeros(3)}, tmp_path / "b.pt")
    torch.save(torch.from_numpy(table).bfloat16(), tmp_path / "c.pt")
    save_file({"x": torch.from_numpy(table), "y": torch.zeros(2, 2)}, tmp_path / "d.safetensors")
    for name, key in (("a.npy", None), ("b.pt", None), ("b.pt", "user.weight"), ("c.pt", None), ("d.safetensors", "x")):
        np.testing.assert_array_equal(read_table(tmp_path / name, key), table)
    with pytest.raises(ValueError, match=r"does not hold exactly one table.*x \(4, 3\), y \(2, 2\)"):
        read_table(tmp_path / "d.safetensors")
    with pytest.raises(ValueError, match="holds no table 'z'"):
        read_table(tmp_path / "d.safetensors", "z")


def test_files_that_are_no_tables(tmp_path) -> None:
    with pytest.raises(FileNotFoundError, match="no file"):
        read_table(tmp_path / "nothing")
    (tmp_path / "pickle").write_bytes(pickle.dumps({"a": 1}))
    (tmp_path / "empty").write_bytes(b"")
    (tmp_path / "cut.npy").write_bytes(b"\x93NUMPY\x01\x00")
    np.save(tmp_path / "objects.npy", np.array([object()]), allow_pickle=True)
    torch.save(TwoTowers(), tmp_path / "whole.pt")
    (tmp_path / "cut.safetensors").write_bytes((10).to_bytes(8, "little") + b'{"a":')
    for name in ("pickle", "empty", "cut.npy", "objects.npy", "whole.pt", "cut.safetensors"):
        with pytest.raises(ValueError, match=name):
            read_table(tmp_path / name)


def test_tied_weights_are_shared_or_refused() -> None:
    model = nn.ModuleDict({"a": nn.Embedding(20, 4), "b": nn.Embedding(20, 4)})
    model["b"].weight = model["a"].weight
    compress_(model, UniformConfig())
    assert model["a"] is model["b"]

    model = nn.ModuleDict({"a": nn.Embedding(20, 4), "out": nn.Linear(4, 20, bias=False)})
    model["out"].weight = model["a"].weight
    with pytest.raises(ValueError, match=r"Table a shares its weight with out\.weight"):
        compress_(model, UniformConfig())


def test_what_cannot_be_replaced_is_refused() -> None:
    model = nn.ModuleDict({"bag": nn.EmbeddingBag(20, 4), "a": nn.Embedding(20, 4, sparse=True)})
    with pytest.raises(ValueError, match="Table bag is an EmbeddingBag"):
        compress_(model, UniformConfig())
    with pytest.raises(ValueError, match="sparse"):
        compress_(model, UniformConfig(), lambda module, name: name == "a", trainable=True)
    compress_(model, UniformConfig(), lambda module, name: name == "a")


def test_common_pytorch_files(tmp_path) -> None:
    table = nn.Embedding(4, 3).weight
    torch.save(table, tmp_path / "parameter.pt")
    torch.save({"state_dict": {"item.weight": table}, "epoch": 3}, tmp_path / "checkpoint.pt")
    for name in ("parameter.pt", "checkpoint.pt"):
        np.testing.assert_array_equal(read_table(tmp_path / name), table.detach().numpy())
    torch.save([table], tmp_path / "list.pt")
    np.savez(tmp_path / "many.npz", a=np.ones((2, 2)))
    with pytest.raises(ValueError, match="holds a list"):
        read_table(tmp_path / "list.pt")
    np.testing.assert_array_equal(read_table(tmp_path / "many.npz"), np.ones((2, 2)))


def test_frozen_tables_keep_the_float_type() -> None:
    model = nn.Sequential(DPQ(20, 4, DPQConfig(codebook_size=4)), nn.Linear(4, 1)).half()
    assert freeze_(model)[0](torch.tensor([1])).dtype == torch.float16


def test_frozen_tiers_follow_a_loaded_state() -> None:
    config = MGQEConfig(codebook_sizes=(8, 4), tier_fractions=(0.2, 0.8))
    first, second = (
        FrozenEmbedding(compress_table(np.random.default_rng(i).standard_normal((50, 4)), config, frequencies=order))
        for i, order in enumerate((np.arange(50) % 7, np.arange(50) % 11))
    )
    ids = torch.arange(50)
    torch.testing.assert_close(first._rows_by_torch(ids), first(ids))
    first.load_state_dict(second.state_dict())
    torch.testing.assert_close(first._rows_by_torch(ids), second(ids))
    torch.testing.assert_close(first(ids), second(ids))


def test_compiled_frozen_tables_check_their_ids() -> None:
    frozen = FrozenEmbedding(compress_table(np.eye(10, dtype=np.float32), UniformConfig()))
    compiled = torch.compile(frozen, backend="eager", fullgraph=True)
    torch.testing.assert_close(compiled(torch.arange(10)), frozen(torch.arange(10)))
    with pytest.raises(RuntimeError, match="out of range"):
        compiled(torch.tensor([1, 500]))


def test_an_artifact_is_not_compressed_again(tmp_path) -> None:
    path = tmp_path / "a.safetensors"
    write_artifact(path, {"t": compress_table(np.eye(4, dtype=np.float32), UniformConfig())})
    with pytest.raises(ValueError, match="compressed already"):
        read_table(path)


def test_values_beyond_float32_and_counts_below_zero_are_refused() -> None:
    with pytest.raises(ValueError, match="NaN or infinite"):
        compress_table(np.full((3, 2), 1e300), UniformConfig())
    with pytest.raises(ValueError, match="not negative"):
        compress_table(np.eye(3, dtype=np.float32), MGQEConfig(codebook_sizes=(4, 2)), frequencies=np.array([1, -5, 2]))


@pytest.mark.parametrize("counts", [torch.ones(60).bfloat16(), torch.ones(60, requires_grad=True)])
def test_frequencies_may_be_any_tensor(counts) -> None:
    config = MGQEConfig(codebook_sizes=(4, 2), num_codebooks=2)
    model = compress_(nn.Sequential(nn.Embedding(60, 8)), config, frequencies={"0": counts})
    assert isinstance(model[0], FrozenEmbedding)


@pytest.mark.parametrize(
    ("weight", "said"),
    [
        (torch.full((6, 2), 1e60, dtype=torch.float64), "Table 0: .*finite"),
        (torch.empty(6, 2, device="meta"), "Table 0 has no values"),
    ],
)
def test_a_table_without_finite_values_is_named(weight, said) -> None:
    with pytest.raises(ValueError, match=said):
        compress_(nn.Sequential(nn.Embedding.from_pretrained(weight)), FullConfig())


def test_the_table_that_a_budget_is_too_small_for_is_named() -> None:
    with pytest.raises(BudgetError, match=r"Table 0: A budget of 1% is too small"):
        compress_(nn.Sequential(nn.Embedding(60, 8)), SaecConfig(budget="1%"))


@pytest.mark.filterwarnings("ignore:.*torch.jit:DeprecationWarning")
def test_a_trace_is_refused_since_it_would_not_follow_its_input() -> None:
    model = compress_(nn.Sequential(nn.Embedding(60, 8), nn.Linear(8, 2)).eval(), UniformConfig())
    with pytest.raises(TypeError, match=r"torch\.jit\.trace would record.*torch\.compile"):
        torch.jit.trace(model, torch.tensor([1, 2, 3]))


def test_patterns_of_names_have_their_own_methods(model) -> None:
    compress_(model, {"item": UniformConfig(bits=4), "*": UniformConfig(bits=8)})
    assert (model.item.config.bits, model.user.config.bits) == (4, 8)
    assert model.tied is model.item
    other = TwoTowers()
    compress_(other, {"us?r": UniformConfig(bits=2)})
    assert isinstance(other.user, FrozenEmbedding)
    assert isinstance(other.item, nn.Embedding)


@pytest.mark.parametrize(
    ("config", "message"),
    [
        ({"nobody*": UniformConfig()}, r"No table matches 'nobody\*'. The tables: user, item, tied"),
        ({"item": UniformConfig(bits=4), "tied": UniformConfig()}, "Table tied is configured twice"),
        ("many", "is not a budget"),
    ],
)
def test_patterns_and_budgets_that_cannot_be(model, config, message) -> None:
    with pytest.raises(ValueError, match=message):
        compress_(model, config)
    assert isinstance(model.user, nn.Embedding)


def test_a_budget_of_all_tables_of_a_model() -> None:
    torch.manual_seed(0)
    model = nn.ModuleDict({"user": nn.Embedding(2000, 16), "item": nn.Embedding(1000, 16, padding_idx=0)}).half()
    compress_(model, "10x", frequencies={"item": torch.arange(1000)})
    assert sum(table.bits() for table in model.values()) <= 3000 * 16 * 32 / 10
    assert not model["item"](torch.tensor(0)).any()
    assert model["user"](torch.tensor([1])).dtype == torch.float16
    with pytest.raises(BudgetError, match="smallest possible is"):
        compress_(nn.ModuleDict({"a": nn.Embedding(2000, 16)}), "10000x")
    with pytest.raises(ValueError, match="For trainable tables, give configurations"):
        compress_(nn.ModuleDict({"a": nn.Embedding(2000, 16)}), "10x", trainable=True)
