"""The law that every method keeps; methods are found by themselves."""

from __future__ import annotations

import copy
import io
import json
from dataclasses import FrozenInstanceError, fields

import numpy as np
import pytest
import torch
from torch import nn

from slimtable.artifact.file import read_artifact, verify_artifact, write_artifact
from slimtable.artifact.layouts import decode, exact_bits, validate
from slimtable.embeddings.base import CompressedEmbedding, get_config, method_names
from slimtable.embeddings.frozen import FrozenEmbedding
from tests.contract.cases import CASES, case_id, create, fitting, from_table, make_config, shares_rows

N, D = 50, 8


@pytest.fixture(params=CASES, ids=case_id)
def config(request: pytest.FixtureRequest):
    return make_config(request.param)


@pytest.fixture(params=["plain", "padding", "unsorted"])
def embedding(request: pytest.FixtureRequest, config) -> CompressedEmbedding:
    """A table whose rows differ visibly; with a padding id, or with ids that are not sorted by frequency."""
    frequencies = torch.randperm(N) if request.param == "unsorted" else None
    padding = 0 if request.param == "padding" else None
    table = create(config, N, D, padding_idx=padding, frequencies=frequencies)
    with torch.no_grad():
        for parameter in table.parameters():
            parameter.mul_(20)
    return table


def served(embedding: CompressedEmbedding, ids: torch.Tensor) -> np.ndarray:
    return decode(embedding.eval().pack(), ids.numpy())


def assert_served_equal(embedding: CompressedEmbedding, got: np.ndarray, want: torch.Tensor) -> None:
    want = want.detach().numpy()
    assert got.shape == want.shape
    if embedding.serve_tolerance == 0:
        np.testing.assert_array_equal(got, want)
    else:
        np.testing.assert_allclose(got, want, rtol=embedding.serve_tolerance, atol=embedding.serve_tolerance)


def test_shapes_of_ids(embedding) -> None:
    for shape in ((), (0,), (1,), (7,), (2, 3), (2, 0, 3)):
        for dtype in (torch.int64, torch.int32):
            ids = torch.randint(N, shape, dtype=dtype)
            for mode in (True, False):
                assert embedding.train(mode)(ids).shape == (*shape, D), (shape, dtype, mode)


def test_out_of_range_ids_raise(embedding) -> None:
    for bad in (-1, N, N + 1000):
        for mode in (True, False):
            with pytest.raises(IndexError):
                embedding.train(mode)(torch.tensor([1, bad]))


def test_float_ids_raise(embedding) -> None:
    for ids in (torch.tensor([1.0]), np.array([1])):
        with pytest.raises(TypeError, match="int"):
            embedding(ids)


def test_padding_idx_may_count_from_the_end(config) -> None:
    assert create(config, N, D, padding_idx=-1).padding_idx == N - 1


def test_same_seed_same_table(config) -> None:
    tables = []
    for _ in range(2):
        torch.manual_seed(3)
        tables.append(create(config, N, D).weight)
    assert torch.equal(*tables)


def test_gradients_are_finite_and_reach_what_is_trained(embedding) -> None:
    ids = torch.randint(1, N, (40,))
    (embedding.train()(ids).square().sum() + embedding.penalty()).backward()
    reached = [name for name, parameter in embedding.named_parameters() if parameter.grad is not None]
    assert reached
    for name in reached:
        assert torch.isfinite(embedding.get_parameter(name).grad).all(), name


def test_padding_row_is_zero_and_never_trained(config) -> None:
    embedding = create(config, N, D, padding_idx=3)
    optimizer = torch.optim.Adam(embedding.parameters(), lr=0.1)
    for _ in range(3):
        ids = torch.tensor([3, 3, 5, 9])
        out = embedding.train()(ids)
        assert not out[:2].any()
        (out - 1).square().sum().add(embedding.penalty()).backward()
        optimizer.step()
        optimizer.zero_grad()
    assert not embedding.eval()(torch.tensor(3)).any()
    assert not served(embedding, torch.tensor(3)).any()
    assert embedding.weight[5].any()


def test_evaluation_is_deterministic(embedding) -> None:
    ids = torch.arange(N)
    embedding.eval()
    assert torch.equal(embedding(ids), embedding(ids))
    assert torch.equal(embedding(ids), embedding.weight)
    assert torch.equal(embedding(ids[7:11]), embedding.weight[7:11])


def test_the_bits_law(embedding) -> None:
    packed = embedding.eval().pack()
    validate(packed)
    assert embedding.bits() == exact_bits(packed)
    padding_bits = 8 * packed.nbytes - embedding.bits()
    assert 0 <= padding_bits < 8 * len(packed.arrays)
    assert embedding.compression_ratio() == pytest.approx(32 * N * D / embedding.bits())
    assert embedding.size_percent() == pytest.approx(100 / embedding.compression_ratio())


def test_smaller_than_dense_at_size(config) -> None:
    embedding = create(config, 20_000, 16)
    assert embedding.bits() <= 32 * 20_000 * 16
    assert (embedding.bits() == 32 * 20_000 * 16) == (embedding.method == "full")


def test_served_rows_equal_forward(embedding) -> None:
    ids = torch.arange(N)
    assert_served_equal(embedding, served(embedding, ids), embedding.eval()(ids))


def test_after_training_served_rows_equal_forward(embedding) -> None:
    optimizer = torch.optim.Adam(embedding.parameters(), lr=0.05)
    for _ in range(5):
        ids = torch.randint(1, N, (30,))
        optimizer.zero_grad()
        ((embedding.train()(ids) - 0.3).square().sum() + embedding.penalty()).backward()
        optimizer.step()
    embedding.end_epoch()
    ids = torch.arange(N)
    assert_served_equal(embedding, served(embedding, ids), embedding.eval()(ids))


def test_through_a_file(embedding, tmp_path) -> None:
    packed = embedding.eval().pack()
    first, second = tmp_path / "a.safetensors", tmp_path / "b.safetensors"
    size = write_artifact(first, {"item": packed})
    write_artifact(second, {"item": embedding.pack()})
    assert first.read_bytes() == second.read_bytes()
    verify_artifact(first)
    opened = read_artifact(first)
    assert size == first.stat().st_size == opened.header_size + packed.nbytes
    assert_served_equal(embedding, decode(opened.tables["item"], np.arange(N)), embedding(torch.arange(N)))
    assert opened.tables["item"].method == embedding.method
    assert get_config(embedding.method, dict(opened.tables["item"].method_config)) == embedding.config


def test_state_dict_is_plain_tensors_and_restores(embedding) -> None:
    state = embedding.state_dict()
    assert all(type(value) is torch.Tensor for value in state.values())
    buffer = io.BytesIO()
    torch.save(state, buffer)
    buffer.seek(0)
    torch.manual_seed(99)
    fresh = create(embedding.config, N, D, padding_idx=embedding.padding_idx)
    fresh.load_state_dict(torch.load(buffer, weights_only=True))
    assert torch.equal(fresh.weight, embedding.weight)
    assert fresh.bits() == embedding.bits()


def test_deepcopy_is_independent(embedding) -> None:
    embedding.train()(torch.arange(1, N))  # a pending penalty must not be in the way
    twin = copy.deepcopy(embedding)
    before = twin.weight.clone()
    with torch.no_grad():
        for parameter in embedding.parameters():
            parameter.add_(1.0)
    assert torch.equal(twin.weight, before)


@pytest.mark.parametrize("dtype", [torch.float64, torch.float16, torch.bfloat16], ids=str)
def test_float_types(config, dtype) -> None:
    embedding = create(config, N, D).to(dtype)
    (embedding.train()(torch.arange(N)).sum() + embedding.penalty()).backward()
    out = embedding.eval()(torch.arange(N))
    assert out.dtype == dtype
    packed = embedding.eval().pack()
    assert embedding.bits() == exact_bits(packed)
    np.testing.assert_allclose(decode(packed, np.arange(N)), out.detach().float(), rtol=2e-2, atol=1e-3)


def test_config_survives_json(config) -> None:
    again = type(config).from_dict(json.loads(json.dumps(config.to_dict())))
    assert again == config
    with pytest.raises(ValueError, match="no option nonsense"):
        type(config).from_dict({"nonsense": 1})
    with pytest.raises(FrozenInstanceError):
        setattr(config, fields(config)[0].name, None)


def test_twenty_steps_lower_the_loss(config) -> None:
    embedding = create(config, N, D)
    target = torch.randn(N, D)
    optimizer = torch.optim.Adam(embedding.parameters(), lr=0.05)
    losses = []
    for _ in range(21):
        ids = torch.arange(N)
        loss = (embedding.train()(ids) - target).square().mean()
        losses.append(loss.item())
        optimizer.zero_grad()
        (loss + embedding.penalty()).backward()
        optimizer.step()
    assert losses[-1] < losses[0]


def test_from_table_is_close(config) -> None:
    """Every method takes over a trained table; one bit between minimum and maximum is the coarsest."""
    table = fitting(config, torch.randn(N, 1) * torch.randn(1, D) + 0.3 * torch.randn(N, D))
    embedding = from_table(table, config)
    correlation = torch.corrcoef(torch.stack([embedding.weight.flatten(), table.flatten()]))[0, 1]
    # Four ids that share a row by chance correlate with their mean by a half.
    assert correlation > (0.3 if shares_rows(config) else 0.5)


@pytest.mark.parametrize(
    ("table", "message"),
    [
        (torch.full((4, D), float("nan")), "NaN or infinite values, first in row 0"),
        (torch.tensor([[1.0] * D, [float("inf")] * D]), "first in row 1"),
        (torch.zeros(4), "matrix"),
        (torch.zeros(4, D, dtype=torch.int64), "floating-point"),
    ],
)
def test_from_table_refuses(config, table, message) -> None:
    with pytest.raises(ValueError, match=message):
        from_table(table, config)


def test_from_table_refuses_a_padding_row_that_is_not_zero(config) -> None:
    with pytest.raises(ValueError, match="padding_idx=2 is not zeros"):
        from_table(torch.ones(N, D), config, padding_idx=2)


def test_frozen_form_serves_the_same(embedding) -> None:
    frozen = FrozenEmbedding(embedding.eval().pack())
    assert not list(frozen.parameters())
    assert frozen.bits() == embedding.bits()
    ids = torch.randint(N, (3, 5))
    assert_served_equal(embedding, frozen(ids).numpy(), embedding(ids))
    by_torch = frozen._rows_by_torch(torch.arange(N))
    if embedding.padding_idx is not None:
        by_torch[embedding.padding_idx] = 0
    torch.testing.assert_close(by_torch, embedding.weight, rtol=1e-5, atol=1e-6)
    again = frozen.pack()
    assert {k: v.tobytes() for k, v in again.arrays.items()} == {
        k: v.tobytes() for k, v in embedding.pack().arrays.items()
    }
    assert torch.equal(copy.deepcopy(frozen).half()(ids), frozen(ids).half())


def test_inside_a_model(config) -> None:
    """state_dict names, safetensors and train/eval work as for any module."""
    from safetensors.torch import load, save

    model = nn.Sequential(create(config, N, D), nn.Linear(D, 1))
    restored = load(save(model.state_dict()))
    model.load_state_dict(restored)
    assert model.eval()(torch.arange(3)).shape == (3, 1)


@pytest.mark.parametrize(("n", "d"), [(1, 1), (1, 8), (3, 2), (2, 1)])
def test_tiny_tables(n, d) -> None:
    for name in method_names():
        embedding = create(get_config(name), n, d)
        embedding.train()(torch.zeros(4, dtype=torch.int64))
        assert_served_equal(embedding, served(embedding, torch.arange(n)), embedding.eval()(torch.arange(n)))


@pytest.mark.parametrize("name", method_names())
def test_impossible_arguments(name) -> None:
    config = get_config(name)
    with pytest.raises(ValueError, match="at least one row"):
        create(config, 0, 4)
    with pytest.raises(ValueError, match="padding_idx=9"):
        create(config, 4, 4, padding_idx=9)
    with pytest.raises(ValueError, match="frequencies must have shape"):
        create(config, 4, 4, frequencies=torch.ones(3))
    with pytest.raises(ValueError, match="init_std"):
        get_config(name, {"init_std": 0})
