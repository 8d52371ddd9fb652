"""Small clicks whose probabilities are known."""

from __future__ import annotations

import numpy as np

from slimtable.data.clicks.clicks import Bags, Clicks
from slimtable.embeddings.base import MethodConfig
from slimtable.models.ctr import CTRModel, build_ctr_model

SIZES = {"user": 40, "tags": 12, "hour": 6}


def make_clicks(rows: int = 1500, num_numeric: int = 2, seed: int = 0) -> Clicks:
    """Clicks that depend on a user, up to three tags, an hour and, where there are any, the first integer column."""
    taste = np.random.default_rng(7)
    weights = {field: taste.normal(size=size) for field, size in SIZES.items()}
    generator = np.random.default_rng(seed)
    users, hours = (generator.integers(SIZES[field], size=rows).astype(np.int32) for field in ("user", "hour"))
    offsets = np.concatenate([[0], np.cumsum(generator.integers(0, 4, size=rows))])
    tags = Bags(generator.integers(SIZES["tags"], size=offsets[-1]).astype(np.int32), offsets)
    integers = generator.normal(size=(rows, num_numeric)).astype(np.float32)
    sums = np.add.reduceat(np.append(weights["tags"][tags.values], 0.0), np.minimum(offsets[:-1], offsets[-1]))
    logits = weights["user"][users] + weights["hour"][hours] + np.where(np.diff(offsets) > 0, sums, 0.0)
    if num_numeric:
        logits = logits + integers[:, 0]
    labels = (generator.random(rows) < 1 / (1 + np.exp(-1.5 * logits))).astype(np.float32)
    return Clicks(labels, integers, (users, tags, hours))


def make_model(name: str, config: MethodConfig | None = None, num_numeric: int = 2, **options) -> CTRModel:
    """A small model for such clicks."""
    return build_ctr_model(name, SIZES, num_numeric, 4, config, **options)
