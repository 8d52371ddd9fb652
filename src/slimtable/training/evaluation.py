"""Evaluation by full ranking: every held-out item is ranked among all items, under three masks in one pass.

Models that predict scores of pairs are evaluated by their errors.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import chain
from typing import Literal, cast

import numpy as np
import torch
from numba import njit

from slimtable.data.clicks.parts import ClickParts
from slimtable.data.interactions.interactions import Interactions, without_duplicates
from slimtable.data.interactions.split import Split
from slimtable.embeddings.modes import evaluating
from slimtable.models.base import Ranker, Recommender
from slimtable.models.ctr import CTRModel
from slimtable.training.ctr_trainer import evaluate_clicks
from slimtable.training.metrics import (
    capped_recall_at_k,
    hit_rate_at_k,
    mean_absolute_error,
    mean_reciprocal_rank,
    ndcg_at_k,
    recall_at_k,
    rmse,
)

MASKS = ("none", "train", "train+valid")
"""Items that are excluded from the candidates: none, the user's training items, or also the validation items."""

POPULARITY_SHARES = {"head": 0.1, "torso": 0.4, "tail": 0.5}
"""Share of the items in each popularity group, most frequent in training first."""

ACTIVITY_QUARTERS = ("q1", "q2", "q3", "q4")
"""Names of the quarters of the users, least active in training first."""

_SCORES_AT_A_TIME = 1 << 21  # 8 MB: small enough for caches, large enough for fast products
_PAIRS_AT_A_TIME = 1 << 16


@dataclass(frozen=True)
class Ranks:
    """Rank of every held-out item among all items.

    Attributes:
        users: int64 (T,) the user of each held-out item, ascending.
        items: int64 (T,) the held-out items.
        by_mask: float64 (T,) ranks for each mask of :data:`MASKS`; 0 is first, ties count at mid-rank.
    """

    users: np.ndarray
    items: np.ndarray
    by_mask: dict[str, np.ndarray]


def rank_held_out(model: Ranker, split: Split, part: Literal["valid", "test"] = "test") -> Ranks:
    """Ranks every held-out interaction of a part.

    Args:
        model: the recommender.
        split: the source of the masks and the held-out interactions.
        part: the part to rank. With "valid", the mask "train+valid" does not exclude the validation items.

    Returns:
        The ranks.

    Raises:
        ValueError: the part is empty, or the scores are NaN because training diverged.
    """
    held_out: Interactions = getattr(split, part)
    if len(held_out) == 0:
        raise ValueError(f"There is nothing to rank: the {part} part of the split is empty.")
    starts, items = without_duplicates(*held_out.csr())  # an item can be a hit only once
    seen = [split.train.csr(), (split.valid if part == "test" else split.valid.empty_like()).csr()]
    users = np.flatnonzero(np.diff(starts))
    ranks = np.empty((len(items), len(MASKS)))
    with evaluating(model), torch.no_grad():
        score = model.scorer(split.history(part))
        device = _device_of(model)
        step = max(1, _SCORES_AT_A_TIME // held_out.num_items)
        for first in range(0, len(users), step):
            chunk = users[first : first + step]
            scores = score(torch.from_numpy(chunk).to(device)).float().cpu().numpy()
            _require_finite(scores)
            _rank(scores, chunk, starts, items, *seen[0], *seen[1], ranks)
    owners = np.repeat(np.arange(len(starts) - 1), np.diff(starts))
    return Ranks(owners, items.astype(np.int64), {mask: ranks[:, i].copy() for i, mask in enumerate(MASKS)})


def summarize(
    ranks: Ranks,
    train_counts: np.ndarray,
    ks: tuple[int, ...] = (10,),
    *,
    user_counts: np.ndarray | None = None,
    masks: tuple[str, ...] = MASKS,
) -> dict[str, dict[str, float]]:
    """Metrics of ranks for each mask, by popularity of the held-out item and by activity of the user.

    Args:
        ranks: output of :func:`rank_held_out`.
        train_counts: (num_items,) interactions of each item in training.
        ks: list lengths.
        user_counts: (num_users,) interactions of each user in training; None omits the quarters of users.
        masks: subset of :data:`MASKS` to report.

    Returns:
        For each mask: ``hit_rate@k``, ``recall@k``, ``capped_recall@k``, ``ndcg@k`` for each k, ``mrr``, and
        ``hit_rate@k/head``, ``/torso`` and ``/tail``: the share of held-out items of that popularity among
        the first k, and ``capped_recall@k/q1`` to ``/q4``: that of the users of each quarter, least active first. All
        between 0 and 1.
    """
    group_of_item = _groups(train_counts, list(POPULARITY_SHARES.values()))
    quarters = []
    if user_counts is not None:
        group_of_user = _groups(-np.asarray(user_counts), [0.25] * len(ACTIVITY_QUARTERS))  # least active first
        members_of = [group_of_user[ranks.users] == index for index in range(len(ACTIVITY_QUARTERS))]
        quarters = [(q, found) for q, found in zip(ACTIVITY_QUARTERS, members_of, strict=True) if found.any()]
    report: dict[str, dict[str, float]] = {}
    for mask in masks:
        values = ranks.by_mask[mask]
        metrics: dict[str, float] = {"mrr": mean_reciprocal_rank(values, ranks.users)}
        for k in ks:
            metrics[f"hit_rate@{k}"] = hit_rate_at_k(values, ranks.users, k)
            metrics[f"recall@{k}"] = recall_at_k(values, ranks.users, k)
            metrics[f"capped_recall@{k}"] = capped_recall_at_k(values, ranks.users, k)
            metrics[f"ndcg@{k}"] = ndcg_at_k(values, ranks.users, k)
            for index, group in enumerate(POPULARITY_SHARES):
                members = group_of_item[ranks.items] == index
                if members.any():
                    metrics[f"hit_rate@{k}/{group}"] = float(np.mean(values[members] < k))
            for quarter, members in quarters:
                metrics[f"capped_recall@{k}/{quarter}"] = capped_recall_at_k(values[members], ranks.users[members], k)
        report[mask] = metrics
    return report


def evaluate(
    model: Recommender,
    parts: Split | ClickParts,
    part: Literal["valid", "test"] = "test",
    ks: tuple[int, ...] = (10,),
    masks: tuple[str, ...] = MASKS,
) -> dict[str, dict[str, float]]:
    """Evaluates a model on a part, by the metrics of its task.

    Args:
        model: the recommender.
        parts: the data: a split of interactions, or the parts of a click log.
        part: the part to evaluate on.
        ks: list lengths; ignored for a regression.
        masks: subset of :data:`MASKS` that a ranking reports; ignored for a regression.

    Returns:
        For a ranking, the metrics of :func:`summarize` for each mask. For a regression, ``{"all": {"rmse": …, "mae":
        …}}`` in the unit of the scores. For a CTR model, ``{"clicks": …}`` with the metrics of
        :func:`slimtable.training.ctr_trainer.evaluate_clicks`.

    Raises:
        TypeError: the parts are for another kind of model.
        ValueError: the part is empty or has no scores, or predictions are NaN.
    """
    if isinstance(parts, ClickParts) and isinstance(model, CTRModel):
        return {"clicks": evaluate_clicks(model, getattr(parts, part))}
    if not isinstance(parts, Split) or model.task == "ctr":
        raise TypeError(f"{type(model).__name__} cannot be evaluated on {type(parts).__name__}.")
    split, model = parts, cast(Ranker, model)
    if model.task == "regression":
        held_out: Interactions = getattr(split, part)
        if len(held_out) == 0:
            raise ValueError(f"There is nothing to predict: the {part} part of the split is empty.")
        if held_out.ratings is None:
            raise ValueError(f"{model.name} predicts scores, but the data has none. Use pairs of items with scores.")
        predicted = predict(model, held_out)
        return {
            "all": {"rmse": rmse(predicted, held_out.ratings), "mae": mean_absolute_error(predicted, held_out.ratings)}
        }
    return summarize(
        rank_held_out(model, split, part),
        split.train.item_counts(),
        ks,
        user_counts=split.train.user_counts(),
        masks=masks,
    )


def predict(model: Ranker, pairs: Interactions) -> np.ndarray:
    """The prediction for each row, from the tables as served.

    Args:
        model: the recommender.
        pairs: rows to predict; their scores are ignored.

    Returns:
        float32 (E,).

    Raises:
        ValueError: a prediction is NaN because training diverged.
    """
    predicted = np.empty(len(pairs), np.float32)
    device = _device_of(model)
    with evaluating(model), torch.no_grad():
        for first in range(0, len(pairs), _PAIRS_AT_A_TIME):
            rows = slice(first, first + _PAIRS_AT_A_TIME)
            users, items = (torch.from_numpy(side[rows]).to(device) for side in (pairs.users, pairs.items))
            predicted[rows] = model(users, items).float().cpu().numpy()
    _require_finite(predicted)
    return predicted


def _device_of(model: Ranker) -> torch.device:
    """The device of the model; a model from a packed file may have only buffers."""
    return next(chain(model.parameters(), model.buffers())).device


def _require_finite(scores: np.ndarray) -> None:
    if not np.isfinite(scores).all():
        raise ValueError("The scores of the model are NaN. Lower the learning rate.")


def _groups(counts: np.ndarray, shares: list[float]) -> np.ndarray:
    """Group of each id as an index into ``shares``, (N,); the ids with the largest counts are in group 0."""
    edges = np.round(np.cumsum(shares) * len(counts))
    place = np.empty(len(counts), dtype=np.int64)
    place[np.argsort(-counts, kind="stable")] = np.arange(len(counts))
    return np.searchsorted(edges, place, side="right").clip(max=len(shares) - 1)


@njit(cache=True, nogil=True)
def _rank(  # type: ignore[no-untyped-def]
    scores, users, starts, items, train_starts, train_items, valid_starts, valid_items, ranks
):
    for b in range(users.size):
        user, line = users[b], scores[b]
        seen = train_items[train_starts[user] : train_starts[user + 1]]
        validated = valid_items[valid_starts[user] : valid_starts[user + 1]]
        for t in range(starts[user], starts[user + 1]):
            target = items[t]
            score = line[target]
            higher, equal = 0, 0
            for j in range(line.size):
                higher += line[j] > score
                equal += line[j] == score
            rank = higher + 0.5 * (equal - 1)  # the item itself is among the equal ones
            ranks[t, 0] = rank
            for i in range(seen.size):
                if seen[i] != target and (i == 0 or seen[i] != seen[i - 1]):
                    rank -= (line[seen[i]] > score) + 0.5 * (line[seen[i]] == score)
            ranks[t, 1] = rank
            for i in range(validated.size):
                item = validated[i]
                if item != target and (i == 0 or item != validated[i - 1]):
                    place = np.searchsorted(seen, item)
                    if place == seen.size or seen[place] != item:
                        rank -= (line[item] > score) + 0.5 * (line[item] == score)
            ranks[t, 2] = rank
