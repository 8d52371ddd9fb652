"""Item-to-item relevance made of MovieLens-1M: how much more often two films occur together than by chance.

A substitute for the private app-to-app relevance data of the MGQE paper: the same form and range, but its scores are
computed from interactions, not judged by people; it has fewer items and denser pairs. Errors on it cannot be compared
with those of the paper.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from slimtable.data.datasets import ml_1m
from slimtable.data.interactions.pair_scores import sample_pairs, score_by_npmi
from slimtable.data.interactions.pairs import Pairs
from slimtable.data.interactions.split import leave_two_out

_PAIRS = 200_000


def _read(folder: Path) -> tuple[Pairs, None]:
    interactions, _ = ml_1m.SOURCE.read(folder)
    train = leave_two_out(interactions).train
    return sample_pairs(score_by_npmi(train), train, _PAIRS, seed=0), None


SOURCE = replace(
    ml_1m.SOURCE,
    name="ml-1m-npmi",
    about="200,000 pairs of the 3,416 movies of ml-1m, scored by 100 × NPMI of who saw both (computed, not judged)",
    rows=_PAIRS,
    read=_read,
    default_split=Pairs.default_split,
    folder=ml_1m.SOURCE.name,
)
