"""Windows of click logs: cutting and encoding."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

import numpy as np

from slimtable.data.clicks.clicks import Bags, Clicks
from slimtable.data.clicks.raw import RawClicks, concatenate, join_offsets
from slimtable.data.clicks.vocabulary import Vocabularies
from slimtable.errors import DatasetError

if TYPE_CHECKING:
    from slimtable.data.clicks.schema import Schema
    from slimtable.data.datasets import ClickDataset

_Log = TypeVar("_Log", Clicks, RawClicks)


def windows(log: _Log, count: int) -> list[_Log]:
    """Cuts a log into ``count`` windows of equal size, up to one row, in the order of its rows.

    Raises:
        ValueError: there are fewer rows than windows.
    """
    bounds = _bounds(len(log), count)
    return [log.slice(start, stop) for start, stop in pairwise(bounds)]


def split_clicks(clicks: _Log, shares: Sequence[float] = (0.8, 0.1, 0.1), seed: int = 0) -> list[_Log]:
    """Splits the rows at random.

    Args:
        clicks: the clicks.
        shares: shares of the parts, summing to 1.
        seed: equal seeds give equal parts.

    Returns:
        The parts, each in the order of the rows.

    Raises:
        ValueError: the shares do not sum to 1, or leave a part without rows.
    """
    if not shares or min(shares) <= 0 or abs(sum(shares) - 1) > 1e-6:
        raise ValueError(f"`shares` must be above 0 and sum to 1, got {tuple(shares)}.")
    order = np.random.default_rng(seed).permutation(len(clicks))
    cuts = [round(cut) for cut in np.cumsum(shares)[:-1] * len(clicks)]
    parts = np.split(order, cuts)
    if not all(map(len, parts)):
        raise ValueError(f"`shares` {tuple(shares)} leave a part of {len(clicks):,} rows empty.")
    return [clicks.take(np.sort(part)) for part in parts]


def raw_windows(dataset: ClickDataset, count: int | None = None) -> Iterator[RawClicks]:
    """Yields the windows of a dataset, holding one at a time.

    Args:
        dataset: in time order.
        count: number of windows; None for the dataset's default.

    Yields:
        Windows of equal size, up to one row.

    Raises:
        DatasetError: times run backwards.
        ValueError: the dataset is not in time order, or has fewer rows than windows.
    """
    if not dataset.chronological:
        raise ValueError(f"{dataset.name} is not in time order, so it has no windows. Use `split_clicks`.")
    sizes = np.diff(_bounds(dataset.num_rows(), dataset.windows if count is None else count)).tolist()
    parts: list[RawClicks] = []
    held, window, last = 0, 0, None
    for chunk in dataset.chunks():
        last = check_order(chunk, dataset.name, after=last)
        start = 0
        while start < len(chunk):
            part = chunk.slice(start, start + sizes[window] - held)
            parts.append(part)
            start, held = start + len(part), held + len(part)
            if held == sizes[window]:
                yield concatenate(parts)
                parts, held, window = [], 0, window + 1


def check_order(raw: RawClicks, where: str, after: float | None = None) -> float | None:
    """Raises an error if times decrease.

    Args:
        raw: the rows.
        where: their name in messages.
        after: time of the row before them.

    Returns:
        Their last time; ``after`` without times.

    Raises:
        DatasetError: a row is older than the one before it, or than ``after``.
    """
    if raw.times is None or not len(raw):
        return after
    if after is not None and raw.times[0] < after:
        raise DatasetError(
            f"{where}: its first row is of time {raw.times[0]:.15g}, and those before end at {after:.15g}. "
            "Sort the rows by time."
        )
    back = np.diff(raw.times) < 0
    if back.any():
        row = int(np.argmax(back))
        raise DatasetError(
            f"{where}: time runs backwards after its row {row + 1:,}, from {raw.times[row]:.15g} to "
            f"{raw.times[row + 1]:.15g}. Sort the rows by time."
        )
    return float(raw.times[-1])


def encode_log(
    source: str | Path | ClickDataset, schema: Schema | None = None, min_count: int | None = None
) -> tuple[Clicks, Vocabularies]:
    """Reads a log twice: to count its values, and to encode them.

    Args:
        source: a dataset, its name, or the path of a file or folder.
        schema: schema of a file; None for datasets.
        min_count: minimum count of all fields; None for those of the schema.

    Returns:
        The clicks and their vocabularies.

    Raises:
        DatasetError: the log is malformed.
    """
    dataset = _dataset(source, schema)
    vocabularies = _vocabularies(dataset, min_count)
    for chunk in dataset.chunks():
        vocabularies.count(chunk)
    return concatenate_clicks([vocabularies.encode(chunk) for chunk in dataset.chunks()]), vocabularies


def encode_windows(
    source: str | Path | ClickDataset, count: int | None = None, min_count: int | None = None
) -> tuple[list[Clicks], list[dict[str, int]]]:
    """Encodes a log window by window, as in production.

    Args:
        source: a dataset or its name.
        count: number of windows; None for the dataset's default.
        min_count: minimum count of all fields; None for those of the schema.

    Returns:
        The windows, each encoded by vocabularies of all windows up to it, and the number of ids by field after each.
        ``windows[t + 1].with_known(sizes[t])`` is the next window as a model trained up to window t sees it.

    Raises:
        DatasetError: the log is malformed, or times run backwards.
        ValueError: it is not in time order, or has fewer rows than windows.
    """
    dataset = _dataset(source, None)
    vocabularies = _vocabularies(dataset, min_count)
    encoded, sizes = [], []
    for window in raw_windows(dataset, count):
        vocabularies.count(window)
        encoded.append(vocabularies.encode(window))
        sizes.append(vocabularies.sizes)
    return encoded, sizes


def concatenate_clicks(parts: Sequence[Clicks]) -> Clicks:
    """Concatenates the rows of one or more parts."""
    if len(parts) == 1:
        return parts[0]
    ids: list[np.ndarray | Bags] = []
    for fields in zip(*(part.ids for part in parts), strict=True):
        if any(isinstance(field, Bags) for field in fields):
            bags = [field if isinstance(field, Bags) else Bags(field, np.arange(len(field) + 1)) for field in fields]
            values = np.concatenate([bag.values for bag in bags])
            ids.append(Bags(values, join_offsets([bag.offsets for bag in bags])))
        else:
            ids.append(np.concatenate([np.asarray(field) for field in fields]))
    labels = np.concatenate([part.labels for part in parts])
    return Clicks(labels, np.concatenate([part.numeric for part in parts]), tuple(ids))


def _bounds(rows: int, count: int) -> list[int]:
    if not 1 <= count <= rows:
        raise ValueError(f"the number of windows must be in 1..{rows:,}, the number of rows; got {count}.")
    return [rows * window // count for window in range(count + 1)]


def _dataset(source: str | Path | ClickDataset, schema: Schema | None) -> ClickDataset:
    from slimtable.data.datasets import ClickDataset, load_click_dataset

    return source if isinstance(source, ClickDataset) else load_click_dataset(source, schema)


def _vocabularies(dataset: ClickDataset, min_count: int | None) -> Vocabularies:
    return Vocabularies.from_schema(dataset.schema if min_count is None else dataset.schema.with_min_count(min_count))
