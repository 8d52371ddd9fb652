"""What DPQ and MGQE share: gradients, penalties, tiers."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import numpy as np
import pytest
import torch

from slimtable.artifact.layouts import decode
from slimtable.codecs.product import tier_sizes, tiers_in_order
from slimtable.embeddings.base import get_config
from slimtable.methods.dpq import DPQ, DPQConfig
from slimtable.methods.mgqe import MGQE, MGQEConfig
from slimtable.training.evaluation import evaluate
from slimtable.training.trainer import TrainConfig, train

WAYS = [
    DPQConfig(num_codebooks=8, codebook_size=16),
    DPQConfig(num_codebooks=2, codebook_size=16),
    DPQConfig(num_codebooks=2, codebook_size=16, batch_norm=True),
    DPQConfig(num_codebooks=4, codebook_size=16, share_subspaces=True),
]


@pytest.mark.parametrize("config", WAYS, ids=str)
def test_gradients_of_the_paper(config) -> None:
    """The task reaches the row unchanged and no centroid; the penalty reaches centroids and no row (DPQ §3)."""
    embedding = DPQ(30, 8, config)
    with torch.no_grad():
        embedding.table.mul_(50)
        embedding.quantizers[0].codebook.mul_(50)
    ids, upstream = torch.tensor([4, 7, 4, 20]), torch.randn(4, 8)
    out = embedding(ids)
    out.backward(upstream)
    expected = torch.zeros(30, 8).index_add_(0, ids, upstream)
    torch.testing.assert_close(embedding.table.grad, expected)
    codebook = embedding.quantizers[0].codebook
    assert codebook.grad is None or not codebook.grad.any()

    embedding.penalty()
    embedding.zero_grad()
    out = embedding(ids)
    (2 * embedding.penalty()).backward()
    assert embedding.table.grad is None or not embedding.table.grad.any()
    rows = embedding.table.detach()[ids].reshape(4, config.num_codebooks, -1)
    difference = out.detach().reshape(rows.shape) - rows
    # d/dc of 2 · mean((c − e)²) is 4 (c − e) / numel, added up by chosen centroid.
    codes = embedding.quantizers[0].encode(embedding.table[ids], torch.zeros(4, dtype=torch.int8))
    expected = torch.zeros(config.num_codebooks, 16, rows.shape[2])
    expected.index_put_(
        (torch.arange(config.num_codebooks).expand_as(codes), codes), 4 * difference / 32, accumulate=True
    )
    if config.share_subspaces:
        expected = expected.sum(0, keepdim=True)
    if not config.batch_norm:  # in training, batch statistics choose; the codes above are those of evaluation
        torch.testing.assert_close(codebook.grad, expected, rtol=1e-4, atol=1e-6)
        assert torch.equal(out, embedding.eval()(ids))


@pytest.mark.parametrize("padding_idx", [None, 5])
@pytest.mark.parametrize("options", [{}, {"share_codebook": False}, {"num_codebooks": 2}], ids=str)
def test_quantizing_repeated_ids_once_changes_nothing(padding_idx, options) -> None:
    config = MGQEConfig(codebook_sizes=(16, 4), **options)
    embedding = MGQE(40, 8, config, padding_idx=padding_idx)
    ids = torch.randint(40, (60,))
    upstream = torch.randn(60, 8)
    counted = (ids != padding_idx).sum() if padding_idx is not None else len(ids)
    results = []
    for batches in ([ids], list(ids.split(1))):  # together, where ids are merged, and one by one
        embedding.zero_grad()
        outs, penalties = [], []
        for batch in batches:
            outs.append(embedding(batch))
            penalties.append(embedding.penalty())
        out = torch.cat(outs)
        penalty = sum(penalties) * (1 if len(batches) == 1 else 1 / counted)  # of one row each, or of none
        ((out * upstream).sum() + penalty).backward()
        results.append([out.detach(), penalty.detach(), *(p.grad.clone() for p in embedding.parameters())])
    for first, second in zip(*results, strict=True):
        torch.testing.assert_close(first, second, rtol=1e-4, atol=1e-6)


def test_penalty_adds_up_over_lookups_and_is_then_spent() -> None:
    embedding = DPQ(30, 8, DPQConfig(codebook_size=4))
    terms = []
    for ids in (torch.arange(5), torch.arange(9)):
        embedding(ids)
        terms.append(embedding.penalty())
    embedding(torch.arange(5))
    embedding(torch.arange(9))
    torch.testing.assert_close(embedding.penalty(), sum(terms))
    assert embedding.penalty() == 0
    embedding.eval()(torch.arange(5))
    assert embedding.penalty() == 0


def test_penalty_is_the_mean_squared_distance() -> None:
    embedding = DPQ(30, 8, DPQConfig(codebook_size=4), padding_idx=0)
    ids = torch.tensor([0, 3, 0, 9, 11])
    out = embedding(ids)
    kept = ids != 0
    expected = (out[kept] - embedding.table[ids][kept]).square().mean()
    torch.testing.assert_close(embedding.penalty(), expected)


def test_forgetting_the_penalty_warns() -> None:
    embedding = DPQ(3, 2, DPQConfig(codebook_size=2))
    for _ in range(1000):
        embedding(torch.tensor([1]))
    with pytest.warns(UserWarning, match=r"penalty\(\) was not called"):
        embedding(torch.tensor([1]))


def test_centroids_follow_their_rows() -> None:
    """Training the penalty alone drives the quantization error down to that of k-means."""
    torch.manual_seed(0)
    embedding = DPQ(500, 4, DPQConfig(num_codebooks=2, codebook_size=8))
    with torch.no_grad():
        embedding.table.copy_(torch.randn(500, 4))
    by_kmeans = DPQ.from_table(embedding.table, embedding.config)
    optimum = (by_kmeans.weight - embedding.table).square().mean()
    optimizer = torch.optim.Adam([embedding.quantizers[0].codebook], lr=0.05)
    for _ in range(400):
        embedding(torch.arange(500))
        optimizer.zero_grad()
        embedding.penalty().backward()
        optimizer.step()
    assert (embedding.weight - embedding.table).square().mean() < 1.2 * optimum


def test_dead_centroids_are_revived() -> None:
    embedding = DPQ(200, 2, DPQConfig(num_codebooks=1, codebook_size=32, revive_dead=True))
    quantizer = embedding.quantizers[0]
    with torch.no_grad():
        embedding.table.copy_(torch.randn(200, 2))
        quantizer.codebook.copy_(torch.full((1, 32, 2), 100.0))
        quantizer.codebook[0, 0] = 0.0
    assert len(embedding.codes(0).unique()) == 1
    embedding(torch.arange(200))
    embedding.end_epoch()
    assert len(embedding.codes(0).unique()) == 32
    before = quantizer.codebook.clone()
    embedding(torch.arange(200))
    embedding.end_epoch()
    assert torch.equal(before, quantizer.codebook)  # none is dead now


def test_tier_sizes_of_the_paper() -> None:
    assert tier_sizes(6040, (0.1, 0.9)) == [604, 5436]
    assert tier_sizes(3416, (0.1, 0.9)) == [342, 3074]
    assert tier_sizes(3417, (0.1, 0.9)) == [342, 3075]
    assert tier_sizes(10, (0.2, 0.3, 0.5)) == [2, 3, 5]
    assert tier_sizes(1, (0.1, 0.9)) == [0, 1]


def test_tiers_follow_frequencies_with_ties_by_id() -> None:
    assert tiers_in_order([1, 2], None).tolist() == [0, 1, 1]
    assert tiers_in_order([2, 2], np.array([1, 9, 1, 5])).tolist() == [1, 0, 1, 0]
    assert tiers_in_order([2, 2], np.array([3, 3, 3, 3])).tolist() == [0, 0, 1, 1]


def test_tail_uses_its_first_centroids_only() -> None:
    embedding = MGQE(50, 4, MGQEConfig(codebook_sizes=(32, 4), tier_fractions=(0.2, 0.8)))
    assert embedding.codes(0).max() >= 4
    assert embedding.codes(1).max() < 4


def test_unsorted_ids_give_the_same_rows_at_the_cost_of_a_flag() -> None:
    torch.manual_seed(0)
    config = MGQEConfig(codebook_sizes=(16, 4), tier_fractions=(0.2, 0.8))
    in_order = MGQE(50, 4, config)
    frequencies = torch.randperm(50)
    shuffled = MGQE(50, 4, config, frequencies=frequencies)
    order = frequencies.argsort(descending=True)
    with torch.no_grad():
        shuffled.table[order] = in_order.table
        shuffled.quantizers[0].codebook.copy_(in_order.quantizers[0].codebook)
    assert torch.equal(shuffled.weight[order], in_order.weight)
    assert shuffled.bits() == in_order.bits() + 50
    assert "tiers" in shuffled.pack().arrays
    assert "tiers" not in in_order.pack().arrays


def test_diverged_tables_are_not_packed() -> None:
    embedding = DPQ(5, 2)
    with torch.no_grad():
        embedding.table[3, 1] = np.nan
    with pytest.raises(ValueError, match="diverged"):
        embedding.pack()


def test_softmax_variant_learns_by_the_softmax() -> None:
    embedding = DPQ(30, 8, DPQConfig(num_codebooks=4, codebook_size=8, variant="softmax"))
    (embedding(torch.arange(30)) - 1).square().sum().backward()
    quantizer = embedding.quantizers[0]
    for parameter in (embedding.table, quantizer.codebook, quantizer.keys):
        assert parameter.grad.abs().sum() > 0
    assert "keys" not in embedding.pack().arrays
    assert embedding.penalty() == 0


def test_torch_compile_gives_the_same_rows() -> None:
    embedding = DPQ(30, 8, DPQConfig(num_codebooks=4, codebook_size=8)).eval()
    compiled = torch.compile(embedding, backend="eager", fullgraph=True)
    torch.testing.assert_close(compiled(torch.arange(30)), embedding(torch.arange(30)))


@pytest.mark.parametrize("config", WAYS[:2], ids=str)
def test_threads_may_share_a_table(config) -> None:
    embedding = DPQ.from_table(torch.randn(3000, 8), config).eval()
    ids = [torch.randint(3000, (200,)) for _ in range(4)]
    expected = [embedding(part) for part in ids]
    with ThreadPoolExecutor(4) as pool:
        for _ in range(30):
            for got, want in zip(pool.map(embedding, ids), expected, strict=True):
                assert torch.equal(got, want)


def test_a_step_without_the_penalty_does_not_break_the_next() -> None:
    embedding = DPQ(30, 8, DPQConfig(codebook_size=4))
    embedding(torch.arange(5)).sum().backward()
    (embedding(torch.arange(5)).sum() + embedding.penalty()).backward()
    out = embedding(torch.arange(5))
    penalty = embedding.penalty()
    out.sum().backward()
    penalty.backward()


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16], ids=str)
@pytest.mark.parametrize("scale", [1e-3, 300.0])
def test_half_precision_is_exact_too(dtype, scale) -> None:
    embedding = DPQ.from_table(scale * torch.randn(300, 8), DPQConfig(num_codebooks=4, codebook_size=16)).to(dtype)
    codes = embedding.codes(0)
    parts = embedding.table.detach().double().reshape(300, 4, 1, 2)
    distances = (parts - embedding.quantizers[0].codebook.detach().double()).square().sum(3)
    chosen = distances.gather(2, codes.unsqueeze(2)).squeeze(2)
    torch.testing.assert_close(chosen, distances.min(2).values, rtol=1e-5, atol=0)
    embedding.train()(torch.arange(300))
    expected = distances.min(2).values.sum() / (300 * 8)
    assert embedding.penalty().item() == pytest.approx(float(expected), rel=0.02)


def test_batch_norm_does_not_see_padding() -> None:
    means = []
    for ids in ([3, 9, 11], [0, 3, 0, 9, 11, 0]):
        torch.manual_seed(0)
        embedding = DPQ(30, 8, DPQConfig(num_codebooks=2, codebook_size=4, batch_norm=True), padding_idx=0)
        embedding(torch.tensor(ids))
        means.append(embedding.quantizers[0].norm.running_mean)
    torch.testing.assert_close(*means)


def test_tiers_of_another_configuration_are_refused() -> None:
    other = MGQE(50, 4, MGQEConfig(codebook_sizes=(8, 4), tier_fractions=(0.5, 0.5)))
    with pytest.raises(
        RuntimeError, match=r"tiers hold \[25, 25\] ids, but the configuration makes tiers of \[5, 45\]"
    ):
        MGQE(50, 4, MGQEConfig(codebook_sizes=(8, 4))).load_state_dict(other.state_dict())


def test_many_moves_are_sorted_anew_and_many_centroids_are_quick() -> None:
    embedding = DPQ.from_table(torch.randn(300, 1), DPQConfig(codebook_size=4096))
    assert (embedding.weight - embedding.table).abs().max() < 0.05


@pytest.mark.parametrize("model_name", ["gmf", "sasrec"])
def test_dense_epochs_are_those_of_the_uncompressed_table(communities, model_name) -> None:
    """Bit for bit, so that a method may start where a training of ``full`` ended."""
    config = TrainConfig.for_model(model_name, embedding_dim=8, epochs=3, batch_size=32, evaluate_every=1)
    full = train(communities, model_name, get_config("full"), config).model
    options = {"codebook_size": 4, "num_codebooks": 4, "dense_epochs": 3}
    model = train(communities, model_name, get_config("dpq", options), config).model
    assert torch.equal(model.item_embedding.table, full.item_embedding.table)
    assert not torch.equal(model.item_embedding.weight, full.item_embedding.weight)  # yet codes are what is served


def test_training_goes_on_from_centroids_placed_on_the_dense_table(communities, tmp_path) -> None:
    config = TrainConfig(embedding_dim=8, epochs=12, batch_size=32, learning_rate=0.02, evaluate_every=1)
    method = get_config("dpq", {"codebook_size": 4, "dense_epochs": 8})
    trained = train(communities, "gmf", method, config)
    penalties = [record["penalty"] for record in trained.history]
    assert penalties[:8] == [0.0] * 8
    assert min(penalties[8:]) > 0
    assert evaluate(trained.model, communities)["train+valid"]["hit_rate@10"] > 0.8
    # Stopped before and after the centroids are placed, it ends the same.
    for epochs in (8, 10, 12):
        resumed = train(communities, "gmf", method, replace(config, epochs=epochs), out=tmp_path)
    for name, value in trained.model.state_dict().items():
        assert torch.equal(value, resumed.model.state_dict()[name]), name


def test_a_dense_table_is_served_by_centroids_placed_on_it() -> None:
    embedding = DPQ(500, 4, DPQConfig(codebook_size=16, dense_epochs=2))
    with torch.no_grad():
        embedding.table.normal_()
    ids = torch.arange(500)
    assert torch.equal(embedding(ids), embedding.table)
    assert float(embedding.penalty()) == 0
    expected = DPQ.from_table(embedding.table.detach(), DPQConfig(codebook_size=16)).weight
    assert torch.equal(embedding.weight, expected)
    for _ in range(2):
        embedding.end_epoch()
    assert torch.equal(embedding(ids), expected)  # now in training too
    assert embedding.penalty() > 0


def test_half_precision_codebooks_serve_rounded_centroids_and_train_exact_ones() -> None:
    table = torch.randn(200, 4)
    exact, rounded = (DPQ.from_table(table, DPQConfig(codebook_size=8, codebook_bits=bits)) for bits in (32, 16))
    assert exact.bits() - rounded.bits() == 16 * 8 * 4
    assert torch.equal(rounded(torch.arange(200)), exact(torch.arange(200)))
    assert torch.equal(rounded.weight.half().float(), rounded.weight)
    assert not torch.equal(rounded.weight, exact.weight)
    assert rounded.pack().arrays["codebook.0"].dtype == np.float16


@pytest.mark.parametrize("variant", ["vq", "softmax"])
def test_a_dense_table_is_never_served_by_centroids_that_were_not_placed(variant) -> None:
    """Whatever comes first: packing, or loading into a table that is being evaluated."""
    config = DPQConfig(codebook_size=8, num_codebooks=2, dense_epochs=3, variant=variant)
    embedding = DPQ(50, 4, config)
    with torch.no_grad():
        embedding.table.normal_()
    packed = decode(embedding.pack(), np.arange(50))  # while training
    loaded = DPQ(50, 4, config).eval()
    loaded.load_state_dict(embedding.state_dict())
    ids = torch.arange(50)
    expected = embedding.eval()(ids)
    assert expected.abs().max() > 0.5
    np.testing.assert_array_equal(packed, expected.detach().numpy())
    assert torch.equal(loaded(ids), expected)


def test_values_beyond_half_precision_are_refused() -> None:
    with pytest.raises(ValueError, match="too large for 16 bits"):
        DPQ.from_table(1e5 * torch.randn(50, 4), DPQConfig(codebook_size=8, codebook_bits=16))


def test_negative_tiers_are_refused() -> None:
    embedding = MGQE(40, 4, MGQEConfig(codebook_sizes=(8, 4)))
    state = {name: value.clone() for name, value in embedding.state_dict().items()}
    state["tiers"][:4] = -100
    with pytest.raises(RuntimeError, match="tiers hold"):
        embedding.load_state_dict(state)


def test_the_gradient_goes_to_the_ids_that_were_looked_up() -> None:
    embedding, ids = DPQ(10, 4, DPQConfig(codebook_size=4)), torch.tensor([1, 2])
    rows = embedding(ids)
    ids.fill_(7)
    rows.sum().backward()
    assert embedding.table.grad.abs().sum(1).nonzero().flatten().tolist() == [1, 2]


def test_torch_compile_does_not_break_the_graph() -> None:
    embedding = MGQE(20, 4, MGQEConfig(codebook_sizes=(8, 4)))
    for mode in (True, False):
        assert torch._dynamo.explain(embedding.train(mode))(torch.arange(6)).graph_break_count == 0
