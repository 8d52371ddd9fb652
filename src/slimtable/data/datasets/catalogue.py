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
from slimtable.data.datasets import synthetic, synthetic_ctr
from slimtable.data.datasets.click_source import ClickSource
from slimtable.data.datasets.source import Dataset, Fetchable, InteractionSource
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


@cache
def sources() -> dict[str, InteractionSource | ClickSource]:
    """All named sources by name, sorted: the `SOURCE` of each module of this package."""
    modules = (
        importlib.import_module(f"{package.__name__}.{info.name}") for info in pkgutil.iter_modules(package.__path__)
    )
    found = [
        module.SOURCE
        for module in modules
        if isinstance(getattr(module, "SOURCE", None), (InteractionSource, ClickSource))
    ]
    return {source.name: source for source in sorted(found, key=lambda source: source.name)}


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
        **options: of ``synthetic``: `num_interactions`, `seed`; of a file: those of
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
    if name == "synthetic" or name.startswith("synthetic:"):
        unknown = sorted(set(options) - {"num_interactions", "seed"})
        if unknown:
            raise TypeError(f"dataset {name!r} takes no {', '.join(unknown)}; its options: num_interactions, seed.")
        return _load_synthetic(name, options)
    source = sources().get(name)
    if isinstance(source, ClickSource) or name.partition(":")[0] == synthetic_ctr.NAME:
        raise DatasetError(f"{name} is a click log: CTR models read it, such as --model deepfm, and rankers do not.")
    if source is None:
        return _load_path(Path(name).expanduser(), options)
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
    made = (
        (synthetic.NAME, InteractionSource.kind, synthetic.ABOUT),
        (synthetic_ctr.NAME, ClickSource.kind, synthetic_ctr.ABOUT),
    )
    listed = [DatasetInfo(name, kind, True, None, 0, False, about, "Apache-2.0", "") for name, kind, about in made]
    for source in sources().values():
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
    if name in (synthetic.NAME, synthetic_ctr.NAME):
        raise DatasetError(f"dataset {name!r} is generated and never fetched. Load it directly.")
    source = sources().get(name)
    if source is None:
        raise unknown(name)
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


def _load_synthetic(name: str, options: dict[str, Any]) -> Dataset:
    _, colon, size = name.partition(":")
    if colon:
        digits = size.replace("_", "")
        if not (digits.isascii() and digits.isdecimal()):
            raise DatasetError(f"unknown size {size!r} in {name!r}. Write a number, such as synthetic:1000000.")
        if "num_interactions" in options:
            raise TypeError(f"`num_interactions` is given twice: in {name!r} and as an option.")
        options = {"num_interactions": int(digits), **options}
    return synthetic.make_synthetic(**options)


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
    known = [synthetic.NAME, synthetic_ctr.NAME, *sources()]
    close = difflib.get_close_matches(name, known, n=1)
    hint = f" Did you mean {close[0]!r}?" if close else ""
    return DatasetNotFoundError(
        f"{name!r} is neither a known dataset nor a file or folder.{hint} Known: {', '.join(known)}."
    )
