"""A click log in three parts, to train, validate and test a CTR model."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np

from slimtable.data.clicks.clicks import Bags, Clicks
from slimtable.data.clicks.raw import RawClicks
from slimtable.data.clicks.vocabulary import Vocabularies
from slimtable.data.clicks.windows import check_order, concatenate_clicks, split_clicks
from slimtable.errors import DatasetError

SHARES = (0.8, 0.1, 0.1)
"""Shares of the rows for training, validation and test."""

Parts = Literal["temporal", "random"]


@dataclass(frozen=True, eq=False)
class ClickParts:
    """The parts of a log; if it is split by time, the vocabularies are those of the training part.

    Attributes:
        train: clicks to train on.
        valid: clicks to choose the best epoch on.
        test: clicks to test on.
        vocabularies: the vocabulary of each field; id 0 is out of vocabulary.
    """

    train: Clicks
    valid: Clicks
    test: Clicks
    vocabularies: Vocabularies

    @property
    def sizes(self) -> dict[str, int]:
        """Number of ids by field, including the OOV id."""
        return dict(self.vocabularies.sizes)

    @property
    def num_numeric(self) -> int:
        """Number of numeric columns."""
        return int(self.train.numeric.shape[1])

    def counts(self) -> dict[str, np.ndarray]:
        """Training counts of the ids of each field, int64 (ids,)."""
        return dict(zip(self.sizes, self.train.counts(self.sizes), strict=True))

    def fingerprint(self) -> str:
        """A fingerprint of the parts, 16 hex digits."""
        digest = hashlib.sha256()
        for part in (self.train, self.valid, self.test):
            for values in _arrays(part):
                digest.update(np.ascontiguousarray(values).data)
        return digest.hexdigest()[:16]


def load_click_parts(
    data: str | Path,
    data_root: str | Path | None = None,
    split: str | None = None,
    *,
    seed: int = 0,
    **options: Any,
) -> tuple[ClickParts, str]:
    """Reads a click log and splits it into 80, 10 and 10 % of its rows.

    Args:
        data: name or path, as for :func:`slimtable.data.datasets.load_click_dataset`.
        data_root: folder of datasets; None for the default one.
        split: "temporal" trains on the first rows and tests on the last; "random" assigns rows at random; None for
            "temporal" if the log is in time order, else "random".
        seed: seed of a random split.
        **options: as for :func:`slimtable.data.datasets.load_click_dataset`.

    Returns:
        The parts, and the name of the split.

    Raises:
        DatasetError: the data is missing, malformed or too short.
        ValueError: the split is unknown, or needs time order that the log does not have.
    """
    from slimtable.data.datasets import load_click_dataset

    dataset = load_click_dataset(data, data_root=data_root, **options)
    how = split if split is not None else ("temporal" if dataset.chronological else "random")
    if how not in ("temporal", "random"):
        raise ValueError(f"A click log is split by temporal or random, not by {how!r}.")
    if how == "temporal" and not dataset.chronological:
        raise ValueError(f"{dataset.name} is not in time order. Use --split random.")
    rows = dataset.num_rows()
    if rows < 10:
        raise DatasetError(f"{dataset.name} has {rows} rows, too few for three parts.")
    cuts = [round(rows * cut) for cut in np.cumsum(SHARES)[:-1]]
    vocabularies = Vocabularies.from_schema(dataset.schema)
    for chunk in _first_rows(dataset.chunks(), cuts[0] if how == "temporal" else rows, dataset.name):
        vocabularies.count(chunk)
    clicks = concatenate_clicks([vocabularies.encode(chunk) for chunk in dataset.chunks()])
    if how == "temporal":
        parts = [clicks.slice(start, stop) for start, stop in zip([0, *cuts], [*cuts, rows], strict=True)]
    else:
        parts = split_clicks(clicks, SHARES, seed)
    return ClickParts(parts[0], parts[1], parts[2], vocabularies), how


def _first_rows(chunks: Iterator[RawClicks], rows: int, name: str) -> Iterator[RawClicks]:
    """The first rows of a log; checks the time order if there are times."""
    last = None
    for chunk in chunks:
        last = check_order(chunk, name, after=last)
        yield chunk.slice(0, min(rows, len(chunk)))
        rows -= min(rows, len(chunk))
        if not rows:
            return


def _arrays(clicks: Clicks) -> Iterator[np.ndarray]:
    yield clicks.labels
    yield clicks.numeric
    for field in clicks.ids:
        if isinstance(field, Bags):
            yield field.values
            yield field.offsets
        else:
            yield field
