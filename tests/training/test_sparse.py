"""Sparse gradients are the dense ones, for every method that gives them; the joint lookup is that of the tables."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from slimtable.embeddings.bag import embedding_bag
from slimtable.embeddings.base import get_config
from slimtable.methods.full import Full, FullConfig
from slimtable.models.parts.fields import CTRBatch, FieldTables
from tests.contract.cases import CASES, case_id, create, make_config
from tests.training.ctr_samples import make_clicks


@pytest.mark.parametrize("padding_idx", [None, 3])
@pytest.mark.parametrize("case", CASES, ids=case_id)
def test_sparse_is_dense(case, padding_idx: int | None) -> None:
    ids = torch.tensor([3, 1, 1, 29, 3, 1])
    pull = torch.randn(len(ids), 8)
    gradients = []
    for sparse in (False, True):
        torch.manual_seed(1)
        table = create(make_config(case), 30, 8, padding_idx=padding_idx)
        table.sparse = sparse
        ((table(ids) * pull).sum() + table.penalty()).backward()
        gradients.append({name: parameter.grad for name, parameter in table.named_parameters()})
        of_rows = {id(parameter) for parameter in table.row_parameters()}
    for name, parameter in table.named_parameters():
        dense, found = gradients[0][name], gradients[1][name]
        if dense is None:  # the codebook of a table that still trains as it is
            assert found is None
            continue
        assert found.is_sparse == (id(parameter) in of_rows)
        torch.testing.assert_close(found.to_dense() if found.is_sparse else found, dense, rtol=1e-5, atol=1e-6)


def test_who_is_sparse() -> None:
    for name in ("full", "shared", "mgqe", "uniform"):
        config = get_config(name, {"rows": "50%"} if name == "shared" else {})
        assert create(config, 10, 4).row_parameters()


@pytest.mark.parametrize("sparse", [False, True])
def test_joint_lookup_is_that_of_each_table(sparse: bool) -> None:
    sizes = (40, 12, 6)
    shared = get_config("shared", {"rows": "50%"})
    tables = {f"f{i}": create(shared if i == 1 else FullConfig(), size, 5) for i, size in enumerate(sizes)}
    fields = FieldTables(tables)
    for table in tables.values():
        table.sparse = sparse
    batch = CTRBatch.from_clicks(make_clicks(50))
    pull = torch.randn(50, 3, 5)
    rows = fields(batch)
    (rows * pull).sum().backward()
    joint = {name: parameter.grad for name, parameter in fields.named_parameters()}
    assert all(gradient.is_sparse == sparse for gradient in joint.values())
    fields.zero_grad()
    apart = []
    for table, ids in zip(tables.values(), batch.ids, strict=True):
        apart.append(embedding_bag(table, *ids, mode="mean") if isinstance(ids, tuple) else table(ids))
    torch.testing.assert_close(rows, torch.stack(apart, dim=1), rtol=0, atol=0)
    (torch.stack(apart, dim=1) * pull).sum().backward()
    for name, parameter in fields.named_parameters():
        torch.testing.assert_close(joint[name].to_dense(), parameter.grad.to_dense(), rtol=1e-5, atol=1e-6)


def test_joint_lookup_of_rows_as_served() -> None:
    """In evaluation, rows of few bits are those that the file holds, though a lookup copies them whole."""
    config = get_config("shared", {"rows": "60%", "row_bits": 4})
    table = create(config, 40, 8)
    fields = FieldTables({"user": table}).eval()
    ids = torch.arange(40, dtype=torch.int32)
    rows = fields(CTRBatch(torch.zeros(40), torch.zeros(40, 0), (ids,)))[:, 0]
    torch.testing.assert_close(rows, table(ids), rtol=0, atol=0)
    assert not torch.equal(rows, table.train()(ids))


def test_ids_out_of_range_are_refused() -> None:
    fields = FieldTables({"user": Full(4, 2)})
    for wrong in (4, -1):
        batch = CTRBatch(torch.zeros(2), torch.zeros(2, 0), (torch.tensor([0, wrong], dtype=torch.int32),))
        with pytest.raises(IndexError, match=r"0\.\.3"):
            fields(batch)


def test_empty_batch_and_empty_bags() -> None:
    fields = FieldTables({"user": Full(4, 2), "tags": Full(3, 2)})
    clicks = make_clicks(3).slice(0, 0)
    assert fields(CTRBatch.from_clicks(type(clicks)(clicks.labels, clicks.numeric, clicks.ids[:2]))).shape == (0, 2, 2)
    none = (torch.zeros(0, dtype=torch.int32), torch.zeros(2, dtype=torch.int64))
    rows = fields(CTRBatch(torch.zeros(2), torch.zeros(2, 0), (torch.tensor([1, 2], dtype=torch.int32), none)))
    assert not rows[:, 1].any()
    assert rows[:, 0].all()


def test_a_step_touches_what_the_batch_does() -> None:
    """The gradient of a table of a million rows holds a row for each id of the batch, no more."""
    table = Full(1_000_000, 2)
    table.sparse = True
    fields = FieldTables({"user": table})
    ids = torch.from_numpy(np.array([5, 999_999, 5], np.int32))
    fields(CTRBatch(torch.zeros(3), torch.zeros(3, 0), (ids,))).sum().backward()
    assert table.table.grad is not None
    assert table.table.grad._values().shape == (3, 2)
    assert table.table.grad.coalesce().indices().tolist() == [[5, 999_999]]
