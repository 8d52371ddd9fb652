"""Item-to-item similarity made of MovieTweetings: the adjusted cosine of the ratings of two films.

A second substitute for judged pairs besides `ml-1m-npmi`, from ratings instead of co-occurrence. Its scores are
computed too, and nothing measured on it can be compared with the MGQE paper.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from slimtable.data.datasets import movietweetings
from slimtable.data.interactions.pair_scores import sample_pairs, score_by_cosine
from slimtable.data.interactions.pairs import Pairs
from slimtable.data.interactions.split import leave_two_out

_MAX_PAIRS = 200_000
_MIN_RATERS = 5  # leaves 49,602 pairs of the version of 141,695 ratings, so all are used


def _read(folder: Path) -> tuple[Pairs, None]:
    interactions, _ = movietweetings.SOURCE.read(folder)
    train = leave_two_out(interactions).train
    return sample_pairs(score_by_cosine(train, _MIN_RATERS), train, _MAX_PAIRS, seed=0).compact(), None


SOURCE = replace(
    movietweetings.SOURCE,
    name="movietweetings-cosine",
    about="Pairs of the films of movietweetings with at least 5 common raters, scored by 100 × adjusted cosine",
    read=_read,
    default_split=Pairs.default_split,
    folder=movietweetings.SOURCE.name,
)
