"""Writing click logs as one file per window, with their schema."""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path
from typing import Any

import numpy as np
import yaml

from slimtable.artifact.vocabulary import Strings
from slimtable.data.clicks.raw import RawClicks, RawField
from slimtable.data.clicks.schema import Schema
from slimtable.data.clicks.text import series
from slimtable.data.clicks.windows import raw_windows
from slimtable.data.datasets.click_source import ClickDataset
from slimtable.data.interactions.tables import require_polars
from slimtable.files import replace_file


def write_windows(
    dataset: ClickDataset,
    folder: str | Path,
    count: int | None = None,
    format: str = "csv",
    poison: Collection[int] = (),
) -> list[Path]:
    """Writes a dataset as ``window-0000.csv``, ``window-0001.csv``, … and ``schema.yaml``.

    Args:
        dataset: in time order.
        folder: created if missing; each file is written atomically.
        count: number of windows; None for the dataset's default.
        format: ``"csv"`` or ``"parquet"``.
        poison: indices of windows, from 0, whose labels are flipped.

    Returns:
        The files of the windows.

    Raises:
        ValueError: the format is unknown, or there is no such window.
    """
    if format not in ("csv", "parquet"):
        raise ValueError(f"unknown format {format!r}. Use csv or parquet.")
    count = dataset.windows if count is None else count
    odd = [window for window in poison if not 0 <= window < count]
    if odd:
        raise ValueError(f"`poison` names window {odd[0]}, but they are 0 to {count - 1}.")
    require_polars()
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    schema = _plain_schema(dataset.schema, format)
    with replace_file(folder / "schema.yaml") as file:
        file.write(yaml.safe_dump(schema.model_dump(mode="json", exclude_defaults=True), sort_keys=False).encode())
    paths = []
    for number, window in enumerate(raw_windows(dataset, count)):
        paths.append(folder / f"window-{number:04d}.{format}")
        frame = _frame(window, schema, flipped=number in poison)
        with replace_file(paths[-1]) as file:
            if format == "csv":
                frame.write_csv(file)
            else:
                frame.write_parquet(file)
    return paths


def _plain_schema(schema: Schema, format: str) -> Schema:
    """The schema of the files: columns named after their fields, labels of 0 and 1."""
    fields = [
        {"name": field.name, "min_count": field.min_count, "separator": field.separator} for field in schema.fields
    ]
    numeric = [name if isinstance(name, str) else f"integer-{name}" for name in schema.numeric]
    plain = {"format": format, "label": "clicked", "numeric": numeric, "fields": fields}
    return Schema.model_validate(plain | ({} if schema.time is None else {"time": "time"}))


def _frame(window: RawClicks, schema: Schema, flipped: bool) -> Any:
    import polars as pl

    labels = 1 - window.labels if flipped else window.labels
    columns = {"clicked": pl.Series(labels.astype(np.int8))}
    if window.times is not None:
        whole = bool((window.times == np.floor(window.times)).all())
        columns["time"] = pl.Series(window.times.astype(np.int64) if whole else window.times)
    for i, name in enumerate(schema.numeric):
        scaled = window.numeric[:, i].astype(np.float64)
        columns[str(name)] = pl.Series(np.rint(np.sign(scaled) * np.expm1(np.abs(scaled))).astype(np.int64))
    for field, values in zip(schema.fields, window.fields, strict=True):
        columns[field.name] = _column(values, "" if schema.format == "parquet" else field.separator)
    return pl.DataFrame(columns)


def _column(field: RawField, separator: str) -> Any:
    """A Series of values; for a multi-valued field, of lists, or of joined texts if there is a separator."""
    import polars as pl

    if isinstance(field.values, Strings):
        values = series(field.values)
        values = values.set(values == "", None) if (values == "").any() else values
    else:
        values = pl.Series(field.values)
        if field.present is not None:
            values = values.set(pl.Series(~field.present), None)
    if field.offsets is None:
        return values
    rows = pl.Series(np.repeat(np.arange(len(field)), np.diff(field.offsets)))
    lists = pl.DataFrame({"row": rows, "value": values}).group_by("row", maintain_order=True).agg("value")
    every = pl.DataFrame({"row": pl.Series(np.arange(len(field)))})
    joined = every.join(lists, on="row", how="left", maintain_order="left")["value"]
    return joined.cast(pl.List(pl.String)).list.join(separator).fill_null("") if separator else joined
