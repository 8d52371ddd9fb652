"""Fine-tune the shared values of packed tables while their codes stay fixed.

Rows of the codebooks are trained so that users score items as they do with the uncompressed tables (distillation,
Hinton et al. 2015, arXiv 1503.02531): for a batch of users, the distribution over sampled items by compressed scores
comes closer to that by uncompressed scores. The result is kept only if a guard's measure does not fall.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor, nn

from slimtable.artifact.packed import Packed
from slimtable.codecs.vectors import Vectors
from slimtable.compress.guard import Decoded, Guard
from slimtable.compress.result import Kept
from slimtable.config import Config, Count, Positive, PositiveInt
from slimtable.embeddings.frozen import FrozenEmbedding

_SHARED = re.compile(r"(?:^|\.)(?:codebook|rows)(?:\.\d+)?$")


@dataclass(frozen=True)
class FineTuneConfig(Config):
    """Options of fine-tuning.

    Attributes:
        steps: batches.
        users: users per batch.
        items: sampled items per batch, by frequency^½ where frequencies are known.
        learning_rate: of Adam, relative to the root mean square of each array.
        temperature: of both distributions, relative to the standard deviation of the uncompressed scores.
        seed: of the samples.
    """

    steps: PositiveInt = 300
    users: PositiveInt = 256
    items: PositiveInt = 1024
    learning_rate: Positive = 0.003
    temperature: Positive = 0.5
    seed: Count = 0


@dataclass(frozen=True, eq=False)
class FineTuned:
    """The result of fine-tuning.

    Attributes:
        tables: packed tables; those that were given, if the guard's measure fell.
        before: the guard's measures of the tables that were given.
        after: its measures of the fine-tuned tables.
        kept: True if the fine-tuned tables were kept.
    """

    tables: Mapping[str, Packed]
    before: Mapping[str, Kept]
    after: Mapping[str, Kept]
    kept: bool


def fine_tune(
    tables: Mapping[str, Packed],
    uncompressed: Mapping[str, Vectors],
    users: str,
    items: str,
    guard: Guard,
    *,
    frequencies: np.ndarray | None = None,
    config: FineTuneConfig | None = None,
) -> FineTuned:
    """Trains the codebooks and shared rows of packed tables; codes, gains and scales stay as they are.

    Args:
        tables: packed tables by name; those that are not of users or items are returned unchanged.
        uncompressed: the uncompressed tables of users and items, by name.
        users: name of the users' table, which may be missing in ``tables``.
        items: name of the items' table, likewise.
        guard: judges whether fine-tuning helped.
        frequencies: (num_items,) how often each item occurs, for the sample of items.
        config: options; None for the defaults.

    Returns:
        The tables with the larger measure, with both measures.

    Raises:
        ValueError: no table has anything to train, such as codebooks.
    """
    config = config or FineTuneConfig()
    sides = {side: tables[side] for side in (users, items) if side in tables}
    trained = {name: _Tuned(packed) for name, packed in sides.items()}
    trained = {name: table for name, table in trained.items() if len(table.values)}
    if not trained:
        raise ValueError("None of the tables has codebooks or shared rows, so that there is nothing to fine-tune.")
    _train(trained, sides, uncompressed, users, items, frequencies, config)
    after = {**tables, **{name: table.rounded() for name, table in trained.items()}}
    found = [guard.judge({name: Decoded(packed) for name, packed in some.items()}) for some in (tables, after)]
    measure = guard.facts.measures[0]
    better = found[1][measure].share >= found[0][measure].share
    return FineTuned(after if better else dict(tables), found[0], found[1], better)


class _Tuned(FrozenEmbedding):
    """A packed table whose shared values are parameters, as float32 and not yet rounded."""

    def __init__(self, packed: Packed) -> None:
        super().__init__(packed)
        self.values = nn.ParameterDict()
        self._keys: dict[str, str] = {}
        self._source = packed
        for name, array in packed.arrays.items():
            if _SHARED.search(name) and array.ndim >= 2 and array.dtype.kind in "fu":
                self._keys[name] = name.replace(".", "_")
                self.values[self._keys[name]] = nn.Parameter(torch.from_numpy(array.astype(np.float32)))

    def array(self, name: str) -> Tensor:
        own = getattr(self, "_keys", {}).get(name)
        if own is None:
            return super().array(name)
        parameter: Tensor = self.values[own]
        return parameter

    def forward(self, ids: Tensor) -> Tensor:
        return self._rows_by_torch(ids)

    def rounded(self) -> Packed:
        """The table with its trained values, rounded as they are stored."""
        arrays = dict(self._source.arrays)
        for name, key in self._keys.items():
            value, dtype = self.values[key].detach().numpy(), arrays[name].dtype
            arrays[name] = np.clip(np.rint(value), 0, 255).astype(dtype) if dtype.kind == "u" else value.astype(dtype)
        return replace(self._source, arrays=arrays)


def _train(
    trained: Mapping[str, _Tuned],
    packed: Mapping[str, Packed],
    uncompressed: Mapping[str, Vectors],
    users: str,
    items: str,
    frequencies: np.ndarray | None,
    config: FineTuneConfig,
) -> None:
    """Lowers the divergence of the distributions over sampled items."""
    groups = []
    for table in trained.values():
        for value in table.values.values():
            size = float(value.detach().square().mean().sqrt()) or 1.0
            groups.append({"params": [value], "lr": config.learning_rate * size})
    optimizer = torch.optim.Adam(groups)
    frozen = {name: Decoded(one) for name, one in packed.items() if name not in trained}
    random = np.random.default_rng(config.seed)
    num_users, num_items = uncompressed[users].shape[0], uncompressed[items].shape[0]
    chances = None if frequencies is None else np.sqrt(np.asarray(frequencies, np.float64) + 1)
    chances = None if chances is None else chances / chances.sum()

    def rows(name: str, ids: np.ndarray) -> Tensor:
        if name in trained:
            return trained[name](torch.from_numpy(ids))
        return torch.from_numpy(frozen.get(name, uncompressed[name]).take(ids))

    for step in range(config.steps):
        asking = random.integers(0, num_users, min(config.users, num_users))
        ranked = random.choice(num_items, min(config.items, num_items), replace=False, p=chances)
        teacher = torch.from_numpy(uncompressed[users].take(asking) @ uncompressed[items].take(ranked).T)
        scale = 1 / (config.temperature * float(teacher.std()) or 1.0)
        student = rows(users, asking) @ rows(items, ranked).T
        loss = nn.functional.kl_div(
            (student * scale).log_softmax(1), (teacher * scale).log_softmax(1), reduction="batchmean", log_target=True
        )
        for group in optimizer.param_groups:
            group["lr"] *= 1 - 1 / (config.steps - step + 1)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
