"""Finding, fetching and loading click logs by name or path."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Any

from slimtable.data.clicks.reader import read_clicks
from slimtable.data.clicks.schema import Schema, read_schema
from slimtable.data.datasets.catalogue import fetch_source, find_source, folder_of, unknown
from slimtable.data.datasets.click_source import ClickDataset, ClickSource
from slimtable.data.datasets.source import GeneratedSource, InteractionSource
from slimtable.errors import DatasetError, DatasetNotFoundError


def load_click_dataset(
    name_or_path: str | Path,
    schema: Schema | str | Path | None = None,
    data_root: str | Path | None = None,
    *,
    download: bool = True,
    **options: Any,
) -> ClickDataset:
    """Finds a click log; its rows are read on demand.

    Args:
        name_or_path: one of the click logs of :func:`slimtable.data.list_datasets`; ``"synthetic-ctr:1000000"`` for a
            size; or the path of your file or folder, with a schema. A name takes precedence over a file.
        schema: a schema, or the path of a schema file. None: ``schema.yaml`` in the folder.
        data_root: folder of datasets; None: SLIMTABLE_DATA, else the user's cache folder.
        download: fetch a named dataset if it is absent.
        **options: `min_count` of all fields; of ``synthetic-ctr`` also those of
            :func:`slimtable.data.datasets.make_synthetic_clicks`.

    Returns:
        The dataset.

    Raises:
        DatasetNotFoundError: the name is unknown, or the data is absent and may not be fetched.
        DatasetError: the schema is missing or malformed.
        TypeError: an option is unknown, or a named dataset is given a schema.

    Example:
        >>> load_click_dataset("synthetic-ctr:2000", seed=3).num_rows()
        2000
    """
    min_count = options.pop("min_count", None)
    name = str(name_or_path)
    source = find_source(name)
    if source is not None and schema is not None:
        raise TypeError(f"dataset {name!r} has a schema of its own. Leave yours out.")
    if isinstance(source, InteractionSource) or (source is not None and source.kind != ClickSource.kind):
        raise DatasetError(
            f"{name} is a dataset of interactions: rankers read it, such as --model gmf, not CTR models."
        )
    if isinstance(source, GeneratedSource):
        dataset: ClickDataset = source.load(name, options, "min_count")
    elif options:
        raise TypeError(f"dataset {name!r} takes no {', '.join(options)}; its options: min_count.")
    elif source is not None:
        dataset = _load_source(source, data_root, download)
    else:
        dataset = _load_path(Path(name).expanduser(), schema)
    if min_count is None:
        return dataset
    settings = {**vars(dataset), "schema": dataset.schema.with_min_count(min_count)}
    return ClickDataset(**settings)


def _load_source(source: ClickSource, root: str | Path | None, download: bool) -> ClickDataset:
    folder = folder_of(source, root)
    if not source.present(folder):
        if not download:
            raise DatasetNotFoundError(
                f"dataset {source.name!r} is not in {folder}. Fetch it with `slimtable data fetch {source.name}`, "
                f"or get it from {source.url} and put it there."
            )
        fetch_source(source, folder)
    return ClickDataset(
        source.name,
        source.schema,
        partial(source.read, folder, source.schema),
        source.chronological,
        source.windows,
        source.rows,
        source.about,
        source.licence,
        source.url,
    )


def _load_path(path: Path, schema: Schema | str | Path | None) -> ClickDataset:
    if not path.exists():
        raise unknown(str(path))
    if schema is None:
        schema = path / "schema.yaml"
        if not schema.is_file():
            raise DatasetError(f"{path} needs a schema. Name its file, or put it into the folder as schema.yaml.")
    if not isinstance(schema, Schema):
        schema = read_schema(schema)
    return ClickDataset(str(path), schema, partial(read_clicks, path, schema), about=f"read from {path}")
