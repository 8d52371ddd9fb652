"""Finding, fetching and loading datasets by name or path."""

from __future__ import annotations

import difflib
import importlib
import os
import pkgutil
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import slimtable.data.datasets as package
from slimtable.data.datasets.click_source import ClickSource
from slimtable.data.datasets.source import Dataset, Fetchable, GeneratedSource, InteractionSource
from slimtable.data.download import download as download_file
from slimtable.data.interactions.formats import (
    atomic_parts,
    part_files,
    read_atomic_parts,
    read_interactions,
    read_pairs,
    read_train_test,
)
from slimtable.errors import DatasetError, DatasetNotFoundError


@dataclass(frozen=True)
class DatasetInfo:
    """One line of :func:`list_datasets`.

    Attributes:
        name: name of the dataset.
        kind: "interactions" for rankers, or "clicks" for CTR models.
        present: true if it can be loaded without fetching.
        rows: its documented number of rows; None if it varies.
        size_bytes: bytes of its folder; 0 if absent.
        fetchable: true if it can be downloaded without a login.
        about: a one-line description.
        licence: its terms of use.
        url: the page about it.
    """

    name: str
    kind: str
    present: bool
    rows: int | None
    size_bytes: int
    fetchable: bool
    about: str
    licence: str
    url: str


Source = InteractionSource | ClickSource | GeneratedSource


@cache
def sources() -> dict[str, Source]:
    """All sources by name, the `SOURCE` of each module of this package: generated datasets first, then by name."""
    modules = (
        importlib.import_module(f"{package.__name__}.{info.name}") for info in pkgutil.iter_modules(package.__path__)
    )
    found = [module.SOURCE for module in modules if isinstance(getattr(module, "SOURCE", None), Source)]
    found.sort(key=lambda source: (not isinstance(source, GeneratedSource), source.name))
    return {source.name: source for source in found}


def find_source(name: str) -> Source | None:
    """The source of a dataset by name, or of a generated one by ``NAME:SIZE``; None if there is none."""
    known = sources()
    generated = known.get(name.partition(":")[0])
    return generated if isinstance(generated, GeneratedSource) else known.get(name)


def data_root(root: str | Path | None = None) -> Path:
    """The folder of datasets, with one subfolder each.

    Args:
        root: the folder; None: the environment variable SLIMTABLE_DATA, else the user's cache folder.

    Returns:
        The folder, which may not exist yet.
    """
    chosen = root or os.environ.get("SLIMTABLE_DATA")
    if chosen:
        return Path(chosen).expanduser()
    return Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache").expanduser() / "slimtable"


def load_dataset(
    name_or_path: str | Path, *, data_root: str | Path | None = None, download: bool = True, **options: Any
) -> Dataset:
    """Load a dataset by name, or a file or folder of your own by path.

    Args:
        name_or_path: one of :func:`list_datasets`; ``"synthetic:1000000"`` for a size; or a path. A name wins
            over a file of the same name: write ``./gowalla`` for the latter.
        data_root: folder of datasets; None: SLIMTABLE_DATA, else the user's cache folder.
        download: fetch a named dataset if it is absent.
        **options: of a generated dataset: such as `num_interactions` and `seed` of ``synthetic``; of a file: those of
            :func:`slimtable.data.interactions.formats.read_interactions`, where ``format="pairs"``, or a column with
            the role ``other``, asks for :func:`slimtable.data.interactions.formats.read_pairs`; of a folder: `format`.

    Returns:
        The dataset; its counts are checked if they are documented.

    Raises:
        DatasetNotFoundError: if the name is unknown, or the data is absent and may not be fetched.
        DatasetError: if the data is malformed or differs from its documentation.
        TypeError: if an option is unknown.

    Example:
        >>> load_dataset("synthetic:2000", seed=3).interactions.num_users
        64
    """
    name = str(name_or_path)
    source = find_source(name)
    if source is None:
        return _load_path(Path(name).expanduser(), options)
    if isinstance(source, ClickSource) or source.kind == ClickSource.kind:
        raise DatasetError(f"{name} is a click log: CTR models read it, such as --model deepfm, and rankers do not.")
    if isinstance(source, GeneratedSource):
        dataset: Dataset = source.load(name, options)
        return dataset
    if options:
        raise TypeError(f"dataset {name!r} takes no options, got {', '.join(options)}.")
    folder = folder_of(source, data_root)
    if not source.present(folder):
        if not download:
            raise DatasetNotFoundError(
                f"dataset {name!r} is not in {folder}. Fetch it with `slimtable data fetch {name}`, "
                f"or get it from {source.url} and put it there."
            )
        fetch_dataset(name, data_root)
    interactions, fixed_test = source.read(folder)
    return Dataset(name, interactions, fixed_test, source.default_split, source.about, source.licence, source.url)


def list_datasets(data_root: str | Path | None = None) -> list[DatasetInfo]:
    """Lists the named datasets, with those that are present.

    Args:
        data_root: as in :func:`load_dataset`.

    Returns:
        One entry per dataset: generated ones first, then by name.
    """
    listed = []
    for source in sources().values():
        present, size = True, 0
        if not isinstance(source, GeneratedSource):
            folder = folder_of(source, data_root)
            present = source.present(folder)
            size = sum(file.stat().st_size for file in folder.rglob("*") if file.is_file()) if present else 0
        about = (source.about, source.licence, source.url)
        listed.append(DatasetInfo(source.name, source.kind, present, source.rows, size, bool(source.files), *about))
    return listed


def fetch_dataset(name: str, data_root: str | Path | None = None) -> Path:
    """Download a named dataset if it is absent, with progress, checksum and resume.

    Args:
        name: one of :func:`list_datasets`.
        data_root: as in :func:`load_dataset`.

    Returns:
        Its folder.

    Raises:
        DatasetNotFoundError: if the name is unknown, or the download needs a login; the message says where
            to get it.
        DatasetError: if the download fails; the next call resumes it.
    """
    source = sources().get(name)
    if source is None:
        raise unknown(name)
    if isinstance(source, GeneratedSource):
        raise DatasetError(f"dataset {name!r} is generated and never fetched. Load it directly.")
    return fetch_source(source, folder_of(source, data_root))


def fetch_source(source: Fetchable, folder: Path) -> Path:
    """Downloads the missing files of a source into its folder; errors as for :func:`fetch_dataset`."""
    if source.present(folder):
        return folder
    if not source.files:
        raise DatasetNotFoundError(
            f"dataset {source.name!r} cannot be downloaded without a login. Get it from {source.url} and put it in "
            f"{folder}."
        )
    for file in source.files:
        if not (folder / file.path).is_file():
            download_file(file.url, folder / file.path, checksum=file.checksum)
    if source.unpack is not None:
        source.unpack(folder)
    if not source.present(folder):
        raise DatasetError(f"{folder} still lacks files of {source.name!r} after fetching. Delete it and fetch again.")
    return folder


def folder_of(source: InteractionSource | ClickSource, root: str | Path | None) -> Path:
    """The folder of a source, which may not exist."""
    return data_root(root) / (source.folder or source.name)


def _load_path(path: Path, options: dict[str, Any]) -> Dataset:
    if not path.exists():
        raise unknown(str(path))
    about = f"read from {path}"
    if path.is_dir() and (files := atomic_parts(path)):
        train, valid, test = read_atomic_parts(files, **options)
        return Dataset(str(path), train, test, "fixed", about, fixed_valid=valid)
    if path.is_dir() and not part_files(path):
        train, test = read_train_test(path, **options)
        return Dataset(str(path), train, test, "fixed", about)
    if options.get("format") == "pairs" or "other" in (options.get("columns") or ()):
        pairs = read_pairs(path, **{name: value for name, value in options.items() if name != "format"})
        return Dataset(str(path), pairs, None, pairs.default_split, about)
    interactions = read_interactions(path, **options)
    has_order = interactions.chronological or interactions.times is not None
    return Dataset(str(path), interactions, None, "leave-two-out" if has_order else "random", about)


def unknown(name: str) -> DatasetNotFoundError:
    """The error for a name that is neither a dataset nor a path."""
    known = list(sources())
    close = difflib.get_close_matches(name, known, n=1)
    hint = f" Did you mean {close[0]!r}?" if close else ""
    return DatasetNotFoundError(
        f"{name!r} is neither a known dataset nor a file or folder.{hint} Known: {', '.join(known)}."
    )
