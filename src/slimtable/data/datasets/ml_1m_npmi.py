"""Item-to-item relevance made of MovieLens-1M: how much oftener two films are taken together than by chance.

A stand-in for the app-to-app relevance data of the MGQE paper, which is private: it has the same form and range, but
its scores were computed from interactions and judged by nobody, its films are fewer and its pairs denser. Errors on it
cannot be compared with that paper's.
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
