"""A click log in three parts: what a CTR model is trained, validated and tested on."""

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
    """The parts of a log, numbered by vocabularies that have seen the training part alone where it is cut by time.

    Attributes:
        train: clicks to train on.
        valid: clicks that choose the best epoch.
        test: clicks to test on.
        vocabularies: what the ids of each field mean; id 0 stands for values that are not known.
    """

    train: Clicks
    valid: Clicks
    test: Clicks
    vocabularies: Vocabularies

    @property
    def sizes(self) -> dict[str, int]:
        """Number of ids by field, that of unknown values included."""
        return dict(self.vocabularies.sizes)

    @property
    def num_numeric(self) -> int:
        """Number of numeric columns."""
        return int(self.train.numeric.shape[1])

    def counts(self) -> dict[str, np.ndarray]:
        """How often each id of each field occurs in the training part, int64 (ids,)."""
        return dict(zip(self.sizes, self.train.counts(self.sizes), strict=True))

    def fingerprint(self) -> str:
        """16 hex digits that tell logs and their parts apart."""
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
    """Reads a click log and cuts it into parts of 80, 10 and 10 % of its rows.

    Args:
        data: name or path, as :func:`slimtable.data.datasets.load_click_dataset` takes it.
        data_root: folder of datasets; None for the default one.
        split: "temporal" trains on the first rows and tests on the last; "random" deals rows out; None for
            "temporal" where the log is in the order of time, else "random".
        seed: of a random split.
        **options: as of :func:`slimtable.data.datasets.load_click_dataset`.

    Returns:
        The parts, and the name of the split.

    Raises:
        DatasetError: the data cannot be had, is malformed, or is too short.
        ValueError: the split is unknown, or asks for an order of time that the log has not.
    """
    from slimtable.data.datasets import load_click_dataset

    dataset = load_click_dataset(data, data_root=data_root, **options)
    how = split if split is not None else ("temporal" if dataset.chronological else "random")
    if how not in ("temporal", "random"):
        raise ValueError(f"A click log is split by temporal or random, not by {how!r}.")
    if how == "temporal" and not dataset.chronological:
        raise ValueError(f"{dataset.name} is in no order of time. Use --split random.")
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
    """The first rows of a log; the order of time is checked where there are times."""
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
