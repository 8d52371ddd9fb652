"""Trained models as tables and a way to score with other tables in their place; trained once and kept."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any, Literal, cast

import numpy as np
import torch

from slimtable.bench.results import canonical
from slimtable.config import Config
from slimtable.data.datasets import load_dataset
from slimtable.data.interactions.interactions import without_duplicates
from slimtable.data.interactions.split import Split, order_by_frequency, random_split, split
from slimtable.embeddings.modes import evaluating
from slimtable.errors import SlimtableError
from slimtable.files import replace_file
from slimtable.methods.full import FullConfig
from slimtable.models.base import Ranker
from slimtable.models.lightgcn import LightGCN
from slimtable.training.trainer import TrainConfig, train
from studies.codecs.evaluation import Lists, per_user
from studies.codecs.experiments import IALSConfig, K, Panel
from studies.kept import kept

TUNING = "tuning.json"
"""Validation Recall@20 of every training setting that was tried."""

Scorer = Callable[[np.ndarray], np.ndarray]
"""User ids (B,) -> scores of all items (B, N)."""
Part = Literal["valid", "test"]
VALIDATED = 2_000
"""Users of a panel that codecs are chosen by; fewer than those that are reported."""
PARTS: tuple[Part, ...] = ("valid", "test")


@dataclass(frozen=True, eq=False)
class Tables:
    """A trained model.

    Attributes:
        items: float32 (N, d); of SASRec, below a row of zeros for the padding.
        users: float32 (U, d); None where users are no table.
        item_counts: int64 (N,) training interactions of each row.
        user_counts: int64 (U,) likewise.
        padding_idx: row of the items that is served as zeros, or None.
        training: the settings that it was trained with.
        scorer: makes a function that scores, from items and users that stand in for the trained ones, for a part.
    """

    items: np.ndarray
    users: np.ndarray | None
    item_counts: np.ndarray
    user_counts: np.ndarray
    padding_idx: int | None
    training: Mapping[str, Any]
    scorer: Callable[[np.ndarray, np.ndarray | None, Part], Scorer]


@lru_cache(maxsize=2)
def load_split(panel: Panel, data_root: Path | None) -> Split:
    """The parts of a panel's data, ids by descending frequency in training."""
    dataset = load_dataset(panel.data, data_root=data_root)
    if panel.split == "random":
        return order_by_frequency(random_split(dataset.interactions, panel.fractions))
    return order_by_frequency(split(dataset, panel.split))


@lru_cache(maxsize=4)
def lists_of(panel: Panel, part: Part, data_root: Path | None) -> Lists:
    """What is ranked: the held-out items of the users of a panel, and what is hidden from them."""
    parts = load_split(panel, data_root)
    held_out = parts.valid if part == "valid" else parts.test
    hidden = parts.train if part == "valid" else parts.train.followed_by(parts.valid)
    wanted = without_duplicates(*held_out.csr())
    users = np.flatnonzero(np.diff(wanted[0]))
    most = panel.users if part == "test" else min(panel.users, VALIDATED)
    if most and most < len(users):
        users = np.sort(np.random.default_rng(0).permutation(users)[:most])
    return Lists(users, *wanted, *without_duplicates(*hidden.csr()))


@lru_cache(maxsize=2)
def load_tables(panel: Panel, out: Path, data_root: Path | None) -> Tables:
    """The tables of a panel, trained where they are not there yet.

    Every candidate of the training settings is trained once, and the one with the best validation Recall@20 counts.

    Args:
        panel: what to train.
        out: folder of the results; tables are kept in its ``tables``.
        data_root: folder of datasets.

    Raises:
        SlimtableError: the library ``implicit`` is needed and not installed.
    """
    found: dict[str, float] = {}
    for candidate in panel.candidates:

        def measure(candidate: Config = candidate) -> float:
            tables = _tables(panel, candidate, out, data_root)
            recall, _ = per_user(
                tables.scorer(tables.items, tables.users, "valid"), lists_of(panel, "valid", data_root), K
            )
            return float(recall.mean())

        found[canonical(candidate.to_dict())] = kept(out / TUNING, _key(panel, candidate), measure)
    best = max(panel.candidates, key=lambda candidate: found[canonical(candidate.to_dict())])
    return _tables(panel, best, out, data_root)


def _key(panel: Panel, candidate: Config) -> str:
    return f"{panel.name} {canonical(candidate.to_dict())}"


def _tables(panel: Panel, config: Config, out: Path, data_root: Path | None) -> Tables:
    parts = load_split(panel, data_root)
    counts, settings = (parts.train.item_counts(), parts.train.user_counts()), config.to_dict()
    place = out / "tables" / f"{panel.name}-{panel.candidates.index(config)}"
    if isinstance(config, IALSConfig):
        users, items = _factors(parts, config, place)
        return Tables(items, users, *counts, None, settings, dot_products)
    assert isinstance(config, TrainConfig)
    trained = train(parts, panel.model_name, FullConfig(), config, out=place, progress=False)
    model = cast(Ranker, trained.model).eval()
    if isinstance(model, LightGCN):
        with torch.no_grad():
            left, right = model.vectors(*(torch.arange(n) for n in (parts.num_users, parts.num_items)))
        return Tables(right.numpy().copy(), left.numpy().copy(), *counts, None, settings, dot_products)
    table = model.embeddings()["item"]
    rows = table.weight.detach().numpy().copy()
    return Tables(
        rows, None, np.append(0, counts[0]), counts[1], table.padding_idx, settings, _Sequential(model, parts)
    )


def dot_products(items: np.ndarray, users: np.ndarray | None, part: Part) -> Scorer:
    """Scores of a model whose score is the dot product of two rows."""
    assert users is not None
    columns = np.ascontiguousarray(items.T)
    return lambda ids: users[ids] @ columns


class _Sequential:
    """Scores of a sequential model, whose users are computed from the rows of their items."""

    def __init__(self, model: Ranker, parts: Split) -> None:
        self.model, self.parts = model, parts

    def __call__(self, items: np.ndarray, users: np.ndarray | None, part: Part) -> Scorer:
        table = self.model.embeddings()["item"]
        with torch.no_grad(), evaluating(self.model):
            next(table.parameters()).copy_(torch.from_numpy(items))
            score = self.model.scorer(self.parts.history(part))

        def scores(ids: np.ndarray) -> np.ndarray:
            with torch.no_grad(), evaluating(self.model):
                return score(torch.from_numpy(ids)).numpy()

        return scores


def _factors(parts: Split, config: IALSConfig, place: Path) -> tuple[np.ndarray, np.ndarray]:
    """Users and items of iALS; read where they are there already."""
    path = place.with_suffix(".npz")
    if not path.is_file():
        path.parent.mkdir(parents=True, exist_ok=True)
        users, items = train_ials(parts, config)
        with replace_file(path) as file:
            np.savez(file, users=users, items=items)
    with np.load(path) as found:
        return found["users"], found["items"]


def train_ials(parts: Split, config: IALSConfig) -> tuple[np.ndarray, np.ndarray]:
    """Trains iALS (Hu, Koren and Volinsky 2008) on the training part, every interaction once, on one thread.

    Returns:
        float32 (users, d) and (items, d).

    Raises:
        SlimtableError: ``implicit`` is not installed.
    """
    from scipy.sparse import csr_matrix

    try:
        from implicit.cpu.als import AlternatingLeastSquares
        from threadpoolctl import threadpool_limits
    except ImportError as error:
        raise SlimtableError("iALS needs the library implicit. Install it: pip install implicit.") from error
    starts, items = without_duplicates(*parts.train.csr())
    ones = np.ones(len(items), np.float32)
    matrix = csr_matrix((ones, items, starts), shape=(parts.num_users, parts.num_items))
    with threadpool_limits(1, "blas"):
        model: Any = AlternatingLeastSquares(
            factors=config.embedding_dim,
            alpha=config.alpha,
            regularization=config.regularization,
            iterations=config.iterations,
            random_state=config.seed,
            num_threads=1,
        )
        model.fit(matrix, show_progress=False)
    return np.array(model.user_factors, np.float32), np.array(model.item_factors, np.float32)
