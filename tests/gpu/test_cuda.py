"""What must hold on a CUDA device: every method and model trains there, and serves what it serves on the CPU.

Run by ``make test-gpu``, which also prints the time of a training step of every method beside that of ``full``.
"""

from __future__ import annotations

import time

import numpy as np
import pytest
import torch

from slimtable.artifact.layouts import decode
from slimtable.data.clicks.clicks import Clicks
from slimtable.data.interactions.split import Split
from slimtable.embeddings.base import CompressedEmbedding, method_names
from slimtable.embeddings.frozen import FrozenEmbedding
from slimtable.embeddings.nearest_torch import nearest_codes_torch
from slimtable.models.base import model_names
from slimtable.models.ctr import build_ctr_model
from slimtable.training.ctr_trainer import CTRTrainConfig, CTRTrainer, evaluate_clicks
from slimtable.training.evaluation import evaluate
from slimtable.training.trainer import TrainConfig, train
from tests.contract.cases import CASES, case_id, create, from_table, make_config

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="PyTorch finds no CUDA device"),
]

N, D = 60, 8
STEP_ROWS, STEP_WIDTH, STEP_BATCH = 200_000, 64, 4096


@pytest.fixture(params=CASES, ids=case_id)
def config(request: pytest.FixtureRequest):  # type: ignore[no-untyped-def]
    return make_config(request.param)


def on_cuda(config, **options: object) -> CompressedEmbedding:  # type: ignore[no-untyped-def]
    return create(config, N, D, **options).cuda()


@pytest.mark.parametrize("padding", [None, 0])
def test_lookups_agree_with_the_cpu_and_the_file(config, padding) -> None:
    table = create(config, N, D, padding_idx=padding, frequencies=torch.randperm(N))
    ids = torch.randint(N, (4, 7))
    with torch.no_grad():
        expected = table.eval()(ids)
        there = table.cuda()(ids.cuda())
    assert there.device.type == "cuda"
    torch.testing.assert_close(there.cpu(), expected, rtol=1e-5, atol=1e-6)
    packed = table.pack()
    served = torch.from_numpy(decode(packed, ids.flatten().numpy())).reshape(4, 7, D)
    torch.testing.assert_close(there.cpu(), served, rtol=1e-5, atol=1e-6)
    frozen = FrozenEmbedding(packed).cuda()
    torch.testing.assert_close(frozen(ids.cuda()).cpu(), served, rtol=1e-5, atol=1e-6)


def test_ids_out_of_range_are_refused_where_that_is_cheap(config) -> None:
    frozen = FrozenEmbedding(on_cuda(config).eval().pack()).cuda()
    with pytest.raises(IndexError):
        frozen(torch.tensor([N], device="cuda"))


def test_steps_lower_a_loss_and_gradients_are_finite(config) -> None:
    table = on_cuda(config)
    target = torch.ones(N, D, device="cuda")
    optimizer = torch.optim.Adam(table.parameters(), lr=0.05)
    losses = []
    for _ in range(20):
        ids = torch.arange(N, device="cuda")
        loss = (table.train()(ids) - target).square().mean()
        optimizer.zero_grad()
        (loss + table.penalty()).backward()
        for parameter in table.parameters():
            assert parameter.grad is None or bool(torch.isfinite(parameter.grad).all())
        optimizer.step()
        losses.append(float(loss.detach()))
    assert losses[-1] < losses[0]
    table.end_epoch()
    assert bool(torch.isfinite(table.eval()(torch.arange(N, device="cuda"))).all())


def test_mixed_precision_trains(config) -> None:
    table, head = on_cuda(config), torch.nn.Linear(D, 1).cuda()
    with torch.autocast("cuda", dtype=torch.bfloat16):
        out = head(table.train()(torch.arange(N, device="cuda")))
        loss = out.float().square().mean() + table.penalty()
    loss.backward()
    grads = [parameter.grad for parameter in table.parameters() if parameter.grad is not None]
    assert grads
    assert all(bool(torch.isfinite(grad).all()) for grad in grads)


def test_post_training_works_on_the_device(config) -> None:
    table = torch.randn(N, D).clamp(-0.9, 0.9)
    here = from_table(table, config)
    there = from_table(table.cuda(), config)
    error = [float((each.eval().weight.cpu() - table).square().mean()) for each in (here, there)]
    assert error[1] <= 1.1 * error[0] + 1e-4


@pytest.mark.parametrize(("codebooks", "size", "width"), [(8, 16, 1), (4, 256, 2), (2, 64, 4)])
def test_nearest_centroids_are_those_of_the_cpu(codebooks: int, size: int, width: int) -> None:
    generator = torch.Generator().manual_seed(0)
    rows = torch.randn(5000, codebooks * width, generator=generator)
    codebook = torch.randn(codebooks, size, width, generator=generator)
    tiers = torch.zeros(5000, dtype=torch.int8)
    here = nearest_codes_torch(rows, codebook, tiers, (size,))
    there = nearest_codes_torch(rows.cuda(), codebook.cuda(), tiers.cuda(), (size,)).cpu()
    assert float((here == there).float().mean()) > 0.999
    parts = rows.reshape(5000, codebooks, width)
    distances = [(parts - codebook[torch.arange(codebooks), codes]).square().sum(dim=2) for codes in (here, there)]
    torch.testing.assert_close(distances[1], distances[0], rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("method", ["full", "mgqe", "low_rank"])
@pytest.mark.parametrize("model", [name for name in model_names("ranking") if name != "sasrec"] + ["sasrec"])
def test_rankers_train_on_the_device(communities: Split, model: str, method: str) -> None:
    options = {"codebook_sizes": [8, 4]} if method == "mgqe" else {}
    config = TrainConfig.for_model(model, embedding_dim=8, epochs=2, batch_size=256, device="cuda", evaluate_every=1)
    trained = train(communities, model, make_config((method, options)), config, progress=False)
    assert trained.history[1]["loss"] <= trained.history[0]["loss"] * 1.01
    metrics = evaluate(trained.model, communities)
    for mask in metrics.values():
        assert all(np.isfinite(value) for value in mask.values())
    moved = trained.model.cpu()
    assert evaluate(moved, communities)["train"]["ndcg@10"] == pytest.approx(metrics["train"]["ndcg@10"], abs=0.02)


def make_clicks(rows: int = 2000) -> Clicks:
    generator = np.random.default_rng(0)
    ids = tuple(generator.integers(0, size, rows).astype(np.int32) for size in (40, 12, 6))
    labels = (generator.random(rows) < 0.2 + 0.6 * (ids[0] % 2)).astype(np.float32)
    return Clicks(labels, generator.random((rows, 2)).astype(np.float32), ids)


@pytest.mark.parametrize("optimizer", ["adagrad", "adam"])
@pytest.mark.parametrize("model", model_names("ctr"))
def test_ctr_models_train_on_the_device(model: str, optimizer: str) -> None:
    clicks, sizes = make_clicks(), {"user": 40, "type": 12, "hour": 6}
    built = build_ctr_model(model, sizes, 2, 8)
    settings = CTRTrainConfig(epochs=3, batch_size=256, row_optimizer=optimizer, row_learning_rate=0.05, device="cuda")
    losses = CTRTrainer(built, settings).fit(clicks)
    assert losses[-1] < losses[0]
    there = evaluate_clicks(built, clicks)
    assert evaluate_clicks(built.cpu(), clicks)["auc"] == pytest.approx(there["auc"], abs=1e-3)


def test_step_times_beside_full(capsys: pytest.CaptureFixture[str]) -> None:
    """Prints the time of a step of every method on a table of 200,000 rows; asserts nothing about it."""
    times = {name: _step_seconds(name) for name in method_names()}
    with capsys.disabled():
        print(f"\n{torch.cuda.get_device_name()}: {STEP_ROWS:,} rows of {STEP_WIDTH}, batches of {STEP_BATCH:,}")
        for name, seconds in sorted(times.items(), key=lambda item: item[1]):
            print(f"  {name:18} {1e3 * seconds:8.3f} ms a step  {seconds / times['full']:6.2f} x full")
    assert set(times) == set(method_names())


def _step_seconds(name: str, steps: int = 30) -> float:
    table = create(make_config((name, {})), STEP_ROWS, STEP_WIDTH).cuda().train()
    optimizer = torch.optim.Adam(table.parameters(), lr=1e-3, fused=True)
    ids = torch.randint(STEP_ROWS, (STEP_BATCH,), device="cuda")
    for step in range(steps + 5):
        if step == 5:
            torch.cuda.synchronize()
            started = time.perf_counter()
        loss = table(ids).square().mean() + table.penalty()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    torch.cuda.synchronize()
    return (time.perf_counter() - started) / steps
