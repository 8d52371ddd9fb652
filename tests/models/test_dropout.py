"""Dropout drops the share that it says, decided by PyTorch's seed, and only in training."""

from __future__ import annotations

import pytest
import torch

from slimtable.models.parts.dropout import Dropout


@pytest.mark.parametrize("share", [0.1, 0.2, 0.5, 0.9])
def test_drops_its_share_and_scales_up_the_others(share: float) -> None:
    values = torch.ones(1000, 300)
    given = Dropout(share)(values)
    dropped = (given == 0).float().mean()
    assert dropped == pytest.approx(share, abs=5 * (share * (1 - share) / values.numel()) ** 0.5)
    torch.testing.assert_close(given[given != 0].unique(), torch.tensor([1 / (1 - share)]), rtol=1e-3, atol=0)
    assert given.mean() == pytest.approx(1, abs=0.02)


def test_every_place_is_dropped_on_its_own() -> None:
    kept = (Dropout(0.5)(torch.ones(20_000, 8)) != 0).float()
    correlations = torch.corrcoef(kept.T) - torch.eye(8)
    assert correlations.abs().max() < 0.04
    assert (kept.mean(dim=0) - 0.5).abs().max() < 0.02


def test_the_seed_of_pytorch_decides() -> None:
    dropout, values = Dropout(0.3), torch.randn(50, 7)
    torch.manual_seed(3)
    first, second = dropout(values), dropout(values)
    torch.manual_seed(3)
    assert torch.equal(dropout(values), first)
    assert not torch.equal(first, second)


def test_changes_nothing_in_evaluation_or_without_a_share() -> None:
    values = torch.randn(4, 5)
    assert Dropout(0.3).eval()(values) is values
    assert Dropout(0)(values) is values


def test_gradient_goes_through_what_was_kept() -> None:
    values = torch.randn(40, 30, requires_grad=True)
    given = Dropout(0.25)(values)
    given.sum().backward()
    torch.testing.assert_close(values.grad * values, given)
    assert (values.grad == 0).any()


def test_keeps_shape_and_type() -> None:
    for shape in ((), (0, 3), (2, 3, 4)):
        given = Dropout(0.5)(torch.ones(shape, dtype=torch.float64))
        assert (given.shape, given.dtype) == (shape, torch.float64)


@pytest.mark.parametrize("share", [-0.1, 1.0])
def test_impossible_share(share: float) -> None:
    with pytest.raises(ValueError, match=r"must be in \[0, 1\)"):
        Dropout(share)


def test_almost_everything_may_be_dropped() -> None:
    assert torch.isfinite(Dropout(0.9999999).train()(torch.ones(1000))).all()
