"""Sensitivity: the cost in predictions of errors in a field's vectors, which makes some directions worth more bits."""

from __future__ import annotations

import numpy as np
import torch

from slimtable.data.clicks.clicks import Clicks
from slimtable.embeddings.modes import evaluating
from slimtable.models.ctr import CTRModel
from slimtable.models.parts.fields import CTRBatch

_ROWS_PER_BATCH = 4096


def measure_sensitivity(
    model: CTRModel, clicks: Clicks, *, max_rows: int = 200_000, seed: int = 0
) -> dict[str, np.ndarray]:
    """Measures the matrix S of each field: an error e in its vectors raises log loss by about ``½ eᵀ S e``.

    S is the Gauss–Newton approximation of the Hessian, the mean of ``p (1 − p) g gᵀ`` over impressions, where g is the
    gradient of the logit with respect to the vector of the field and p the predicted probability (the Fisher
    information). Labels are ignored.

    Args:
        model: a trained model; not changed.
        clicks: impressions to measure on; ids below the sizes of its tables.
        max_rows: clicks to sample when there are more.
        seed: seed of the sample.

    Returns:
        By field, float64 (width, width), symmetric and positive semi-definite.

    Raises:
        ValueError: there are no clicks.
    """
    if not len(clicks):
        raise ValueError("There are no clicks to measure sensitivities on.")
    if len(clicks) > max_rows:
        clicks = clicks.take(np.sort(np.random.default_rng(seed).choice(len(clicks), max_rows, replace=False)))
    device = next(model.parameters()).device
    fields = list(model.fields.embeddings())
    width = model.fields.width
    total = torch.zeros(len(fields), width, width, dtype=torch.float64, device=device)
    with evaluating(model):
        for start in range(0, len(clicks), _ROWS_PER_BATCH):
            batch = CTRBatch.from_clicks(clicks.slice(start, start + _ROWS_PER_BATCH), device)
            with torch.no_grad():
                rows = model.fields(batch)  # (B, F, w)
            rows.requires_grad_(True)
            logits = model.logits(rows, batch.numeric)  # (B,)
            (gradients,) = torch.autograd.grad(logits.sum(), rows)  # (B, F, w)
            probabilities = torch.sigmoid(logits.detach())
            gradients = gradients * (probabilities * (1 - probabilities)).sqrt()[:, None, None]
            gradients = gradients.transpose(0, 1)  # (F, B, w)
            total += (gradients.transpose(1, 2) @ gradients).double()
    return {field: matrix.cpu().numpy() / len(clicks) for field, matrix in zip(fields, total, strict=True)}
