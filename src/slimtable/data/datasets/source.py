"""What a named dataset is, and what it takes to get one."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar, Protocol

from slimtable.data.interactions.interactions import Interactions
from slimtable.errors import DatasetError


@dataclass(frozen=True)
class Dataset:
    """Interactions with a name and an origin.

    Attributes:
        name: what it is asked for by, or the path it was read from.
        interactions: all rows, or the training rows where there is a `fixed_test`.
        fixed_test: the test rows that the source itself sets apart, same vocabularies; or None.
        default_split: how the literature splits it; see :func:`slimtable.data.interactions.split.split`.
        about: one line on what it holds.
        licence: under what terms it may be used.
        url: where it comes from.
        fixed_valid: the validation rows that the source itself sets apart, or None.
    """

    name: str
    interactions: Interactions
    fixed_test: Interactions | None = None
    default_split: str = "leave-two-out"
    about: str = ""
    licence: str = ""
    url: str = ""
    fixed_valid: Interactions | None = None


@dataclass(frozen=True)
class RemoteFile:
    """A file that can be downloaded without a login.

    Attributes:
        url: where it is.
        path: where it goes, relative to the dataset's folder.
        checksum: ``"sha256:…"`` or ``"md5:…"`` of its bytes; None for a file that its owner still changes.
    """

    url: str
    path: str
    checksum: str | None


class Fetchable(Protocol):
    """What it takes to fetch a dataset; attributes as those of :class:`InteractionSource`."""

    @property
    def name(self) -> str: ...
    @property
    def url(self) -> str: ...
    @property
    def present(self) -> Callable[[Path], bool]: ...
    @property
    def files(self) -> tuple[RemoteFile, ...]: ...
    @property
    def unpack(self) -> Callable[[Path], None] | None: ...


@dataclass(frozen=True)
class InteractionSource:
    """How a named dataset is found, fetched, read and checked.

    Attributes:
        name: the word it is asked for by.
        about: one line on what it holds.
        licence: under what terms it may be used.
        url: the page about it.
        rows: its documented number of rows, test rows included; None if it may grow.
        read: from its folder to ``(interactions, fixed_test or None)``.
        present: whether its folder holds what `read` needs.
        files: what to download; empty if it cannot be had without a login.
        unpack: called with the folder once the files are there.
        default_split: how the literature splits it.
        folder: its folder under the data root; None: its name. What is derived from another dataset has its folder.
    """

    name: str
    about: str
    licence: str
    url: str
    rows: int | None
    read: Callable[[Path], tuple[Interactions, Interactions | None]]
    present: Callable[[Path], bool]
    files: tuple[RemoteFile, ...]
    unpack: Callable[[Path], None] | None = None
    default_split: str = "leave-two-out"
    folder: str | None = None

    kind: ClassVar[str] = "interactions"


def holds(*names: str) -> Callable[[Path], bool]:
    """A test for whether a folder holds all of these files."""
    return lambda folder: all((folder / name).is_file() for name in names)


def check_counts(name: str, folder: Path, **counts: tuple[int, int]) -> None:
    """Compare what was read with what is documented.

    Args:
        name: the dataset.
        folder: where it was read from.
        **counts: ``(read, documented)`` of each quantity.

    Raises:
        DatasetError: if any differs.
    """
    wrong = [f"{got:,} {what} instead of {want:,}" for what, (got, want) in counts.items() if got != want]
    if wrong:
        raise DatasetError(
            f"{folder} does not hold the documented {name} data: {', '.join(wrong)}. Fetch it again, "
            "or read your own version of it by its path."
        )
